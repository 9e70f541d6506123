"""Entries of a feed: what is published, as it stands in the log, and what it may ask of the hub."""

import msgspec

FORMAT_VERSION = b"\x01"


class DropUser(msgspec.Struct, frozen=True, tag="drop", array_like=True):
    """This user's connections stop hearing the feed right after this publication; access is then asked again."""

    user_id: int


class AskAccess(msgspec.Struct, frozen=True, tag="ask", array_like=True):
    """The connections that hear this publication ask whether they may hear ``feed``."""

    feed: str


Command = DropUser | AskAccess


class Publication(msgspec.Struct, frozen=True, array_like=True):
    """One entry of a feed. ``payload`` is a JSON object's bytes, unstamped; ``id`` makes a repeat known."""

    id: str
    payload: bytes
    command: Command | None = None


_encoder = msgspec.msgpack.Encoder()

_decoder = msgspec.msgpack.Decoder(Publication)


def encode_publication(publication: Publication) -> bytes:
    """A publication as it stands in the log and travels over the layer: a format version, then msgpack."""
    return FORMAT_VERSION + _encoder.encode(publication)


def decode_publication(entry: bytes) -> Publication:
    """The publication of a log entry.

    Raises:
        ValueError: an entry of a format this process doesn't know.
    """
    if entry[:1] != FORMAT_VERSION:
        raise ValueError(f"feed entry of unknown format {entry[:1]!r}")
    try:
        return _decoder.decode(memoryview(entry)[1:])
    except msgspec.MsgspecError as error:
        raise ValueError(f"feed entry can't be read: {error}") from error
