"""The payloads of the topics' entries, decoded leniently (docs/protocol.md, Redis Streams)."""

import re
from functools import cache
from typing import Annotated, Any, TypeVar, get_args, get_origin, get_type_hints

import msgspec
from msgspec import Meta

from chatws.protocol.frames import GroupId
from realtime.exceptions import PoisonEntry
from realtime.relay.watermill import Entry

LARGEST_ID = 2**64 - 1

UserId = Annotated[int, Meta(ge=1)]

Seconds = Annotated[int, "a time"]

Name = Annotated[str, Meta(min_length=1, max_length=256)]


class MessageEvent(msgspec.Struct, frozen=True, kw_only=True):
    """The `data` of `new_message`, as it is published."""

    message_id: Name
    group_id: GroupId
    sender_id: UserId
    msg_type: int = 0
    created_at: Seconds = 0
    sender_name: str = ""
    sender_avatar: str = ""
    content: str = ""
    image_url: str = ""


class MemberEvent(msgspec.Struct, frozen=True):
    group_id: GroupId
    user_id: UserId


class NotificationEvent(msgspec.Struct, frozen=True):
    user_id: UserId
    notification_id: Name
    type: str = ""
    title: str = ""
    content: str = ""
    timestamp: Seconds = 0


class VerifyEvent(msgspec.Struct, frozen=True):
    user_id: UserId
    verify_id: UserId
    status: int = 0
    refresh: bool = False
    timestamp: Seconds = 0
    operator: Any = None


Event = TypeVar("Event", bound=msgspec.Struct)

_anything = msgspec.json.Decoder()

_DECIMAL = re.compile(r"-?[0-9]{1,20}")


def decode(kind: type[Event], entry: Entry) -> Event:
    try:
        event: Event = _decoder(kind).decode(entry.payload)
    except msgspec.ValidationError:
        event = _decode_leniently(kind, entry)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise PoisonEntry(f"payload: {str(error) or 'nested too deeply'}") from None
    for name in ("user_id", "sender_id", "verify_id"):
        if getattr(event, name, 0) > LARGEST_ID:
            raise PoisonEntry(f"payload: {name} is over {LARGEST_ID}")
    return event


def _decode_leniently(kind: type[Event], entry: Entry) -> Event:
    """Accept other languages' forms of the same values: numbers as text, times with a fraction, null for missing."""
    try:
        given = _anything.decode(entry.payload)
        if isinstance(given, dict):
            types = get_type_hints(kind, include_extras=True)
            present = {name: given[name] for name in types if given.get(name) is not None}
            given = {name: _leniently(value, types[name]) for name, value in present.items()}
        event: Event = msgspec.convert(given, kind)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise PoisonEntry(f"payload: {str(error) or 'nested too deeply'}") from None
    return event


def _leniently(value: object, kind: Any) -> object:
    if kind == Seconds and isinstance(value, float):
        return int(value)
    is_number = kind is int or (get_origin(kind) is Annotated and get_args(kind)[0] is int)
    if is_number and isinstance(value, str) and _DECIMAL.fullmatch(value):
        return int(value)
    return value


@cache
def _decoder(kind: type[Event]) -> "msgspec.json.Decoder[Event]":
    return msgspec.json.Decoder(kind)
