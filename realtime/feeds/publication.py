"""Publications: the entries of a feed, their encoding in the log, and their commands to the hub."""

import msgspec

FORMAT_VERSION = b"\x01"


class DropUser(msgspec.Struct, frozen=True, tag="drop", array_like=True):
    """Unsubscribe this user's connections from the feed right after this publication, then check access again."""

    user_id: int


class AskAccess(msgspec.Struct, frozen=True, tag="ask", array_like=True):
    """Let the connections that receive this publication check whether they may subscribe to ``feed``."""

    feed: str


Command = DropUser | AskAccess


class Publication(msgspec.Struct, frozen=True, array_like=True):
    """One entry of a feed. ``payload`` is a JSON object's bytes without feed and offset; ``id`` identifies a repeat."""

    id: str
    payload: bytes
    command: Command | None = None


_encoder = msgspec.msgpack.Encoder()

_decoder = msgspec.msgpack.Decoder(Publication)


def encode_publication(publication: Publication) -> bytes:
    """Encode a publication for the log and the channel layer: a format version, then msgpack."""
    return FORMAT_VERSION + _encoder.encode(publication)


def decode_publication(entry: bytes) -> Publication:
    """Decode the publication of a log entry.

    Raises:
        ValueError: the entry cannot be decoded, or has a format unknown to this process.
    """
    if entry[:1] != FORMAT_VERSION:
        raise ValueError(f"feed entry of unknown format {entry[:1]!r}")
    try:
        return _decoder.decode(memoryview(entry)[1:])
    except msgspec.MsgspecError as error:
        raise ValueError(f"feed entry cannot be decoded: {error}") from error
