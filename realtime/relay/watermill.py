"""Parse and encode stream entries in the format of Watermill's Redis publisher (docs/protocol.md, Streams)."""

import uuid as uuids
from collections.abc import Mapping

import msgspec

from realtime.exceptions import PoisonEntry

UUID = b"_watermill_message_uuid"
METADATA = b"metadata"
PAYLOAD = b"payload"

_metadata = msgspec.msgpack.Decoder(dict[str, str])


class Entry(msgspec.Struct, frozen=True):
    """A parsed entry."""

    id: str
    fields: Mapping[bytes, bytes]
    uuid: str = ""
    metadata: Mapping[str, str] = msgspec.field(default_factory=dict)
    payload: bytes = b""

    @property
    def publication_id(self) -> str:
        """Watermill's uuid, else the entry's id: identifies a repeat if the payload has no id of its own."""
        return self.uuid or self.id

    @property
    def seconds(self) -> int:
        """When the entry was written, from its id, in Unix seconds."""
        return int(self.id.partition("-")[0]) // 1000


def parse(entry_id: str, fields: Mapping[bytes, bytes]) -> Entry:
    """Parse an entry's raw fields; an entry with only a ``payload`` is accepted.

    Raises:
        PoisonEntry: no payload, a uuid that isn't text, metadata that isn't a msgpack map of strings.
    """
    payload = fields.get(PAYLOAD)
    if payload is None:
        raise PoisonEntry("payload: the entry has no such field")
    try:
        uuid = fields.get(UUID, b"").decode()
    except UnicodeDecodeError as error:
        raise PoisonEntry(f"{UUID.decode()}: {error}") from None
    return Entry(entry_id, fields, uuid, read_metadata(fields), payload)


def read_metadata(fields: Mapping[bytes, bytes]) -> dict[str, str]:
    """Return the metadata of raw fields; a missing or empty field is an empty map.

    Raises:
        PoisonEntry: it isn't a msgpack map of strings.
    """
    raw = fields.get(METADATA, b"")
    if not raw:
        return {}
    try:
        return _metadata.decode(raw)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise PoisonEntry(f"metadata: {error}") from None


def encode(payload: bytes, metadata: Mapping[str, str] | None = None, uuid: str = "") -> dict[bytes, bytes]:
    """Return the fields of an entry in Watermill's format; without ``uuid`` the entry gets a new one."""
    return {
        UUID: (uuid or str(uuids.uuid4())).encode(),
        METADATA: msgspec.msgpack.encode(dict(metadata or {})),
        PAYLOAD: payload,
    }
