"""The audit's events and how they are decoded from stream entries."""

from collections.abc import Mapping, Sequence

import msgspec

from realtime.exceptions import PoisonEntry

FIELD = b"event"


class _Event(msgspec.Struct, frozen=True, tag_field="event", kw_only=True):
    connection_id: str
    node: str
    at: float


class Opened(_Event, frozen=True, tag="opened", kw_only=True):
    """A socket was accepted."""

    address: str
    user_agent: str


class Authenticated(_Event, frozen=True, tag="authenticated", kw_only=True):
    """A socket was authenticated; ``way`` is how its token came."""

    user_id: int
    way: str


class Closed(_Event, frozen=True, tag="closed", kw_only=True):
    """A socket was closed; counts of frames and bytes from the client (in) and to it (out)."""

    code: int
    frames_in: int
    frames_out: int
    bytes_in: int
    bytes_out: int


Event = Opened | Authenticated | Closed

_decoder = msgspec.msgpack.Decoder(Event)


def parse(entry_id: str, fields: Mapping[bytes, bytes]) -> Sequence[Event]:
    """Decode the event of an entry of the audit's stream.

    Raises:
        PoisonEntry: the entry has no event, or one that cannot be decoded.
    """
    try:
        return [_decoder.decode(fields.get(FIELD, b""))]
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise PoisonEntry(f"event: {error}") from None
