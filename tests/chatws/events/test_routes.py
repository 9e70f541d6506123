"""Check events as other services write them: equal values, missing values, unreadable entries."""

import json
from typing import Any

import msgspec
import pytest

from chatws.events.routes import GROUPS_CHANGED, LATEST, ROUTES
from realtime.exceptions import PoisonEntry
from realtime.feeds.publication import AskAccess
from realtime.relay.watermill import Entry

ENTERED = 1_700_000_000
MESSAGE = {"message_id": "m", "group_id": "g", "sender_id": 1}
NOTIFICATION = {"user_id": 1, "notification_id": "n"}
VERIFY = {"user_id": 1, "verify_id": 2}


def frame_of(topic: str, payload: dict[str, Any] | bytes) -> dict[str, Any]:
    raw = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    [(_, publication)] = ROUTES[topic](Entry(f"{ENTERED}000-0", {}, payload=raw))
    frame: dict[str, Any] = msgspec.json.decode(publication.payload)
    return frame


def test_missing_or_null_field_takes_its_zero_value() -> None:
    nothing = dict.fromkeys(("sender_name", "sender_avatar", "msg_type", "content", "image_url", "created_at"))
    for payload in (MESSAGE, MESSAGE | nothing):
        frame = frame_of("chat.message.new", payload)
        assert frame["data"] == {
            "message_id": "m", "group_id": "g", "sender_id": 1, "sender_name": "", "sender_avatar": "", "msg_type": 0,
            "content": "", "image_url": "", "created_at": ENTERED, "sender": "1",
        }  # fmt: skip
        assert frame["timestamp"] == ENTERED
    notification = frame_of("notification:push", NOTIFICATION)
    assert notification["data"] == {"notification_id": "n", "type": "", "title": "", "content": ""}
    assert notification["timestamp"] == ENTERED
    verify = frame_of("verify:progress", VERIFY | {"refresh": None})
    assert verify["data"] == {"verify_id": 2, "status": 0, "refresh": False}
    assert verify["message_id"] == f"verify_2_{ENTERED}"


def test_number_given_as_text_is_sent_as_number() -> None:
    message = MESSAGE | {"sender_id": "18446744073709551615", "msg_type": "2", "created_at": "1700000001"}
    data = frame_of("chat.message.new", message)["data"]
    assert (data["sender_id"], data["msg_type"], data["created_at"]) == (2**64 - 1, 2, 1_700_000_001)
    assert frame_of("verify:progress", {"user_id": "1", "verify_id": "2", "status": "-1"})["data"]["status"] == -1


@pytest.mark.parametrize(
    ("given", "seconds"),
    [
        (1_700_000_001.9, 1_700_000_001), (1.7e9, 1_700_000_000), (0, ENTERED), (-5, ENTERED), (0.4, ENTERED),
        (1_700_000_001_000_000, LATEST), (2**80, LATEST), (1e300, LATEST),
    ],
)  # fmt: skip
def test_time_out_of_range_is_replaced(given: float, seconds: int) -> None:
    assert frame_of("notification:push", NOTIFICATION | {"timestamp": given})["timestamp"] == seconds
    assert frame_of("chat.message.new", MESSAGE | {"created_at": given})["data"]["created_at"] == seconds


def test_unknown_fields_are_ignored() -> None:
    known = frame_of("chat.message.new", MESSAGE)
    assert frame_of("chat.message.new", MESSAGE | {"extra": [1, {"a": None}], "sender_id": "1"}) == known


@pytest.mark.parametrize(
    ("topic", "payload", "reason"),
    [
        ("chat.message.new", {"group_id": "g", "sender_id": 1}, "message_id"),
        ("chat.message.new", MESSAGE | {"sender_id": None}, "sender_id"),
        ("chat.message.new", MESSAGE | {"sender_id": 1.5}, "sender_id"),
        ("chat.message.new", MESSAGE | {"sender_id": "１"}, "sender_id"),
        ("chat.message.new", MESSAGE | {"sender_id": "18446744073709551616"}, "sender_id"),
        ("chat.message.new", MESSAGE | {"content": 5}, "content"),
        ("chat.message.new", MESSAGE | {"created_at": "soon"}, "created_at"),
        ("chat.message.new", b'{"message_id": "m", "group_id": "g", "sender_id": 1, "created_at": 1e999}', "payload"),
        ("chat.group.member.added", {"group_id": "g", "user_id": "0"}, "user_id"),
        ("verify:progress", VERIFY | {"refresh": "yes"}, "refresh"),
        ("notification:push", b"[]", "object"),
        ("notification:push", b"5", "object"),
    ],
)
def test_unreadable_entry_error_names_the_reason(topic: str, payload: dict[str, Any] | bytes, reason: str) -> None:
    with pytest.raises(PoisonEntry, match=reason):
        frame_of(topic, payload)


@pytest.mark.parametrize("kind", [*sorted(GROUPS_CHANGED), "system"])
def test_group_change_notification_refreshes_membership(kind: str) -> None:
    payload = json.dumps(NOTIFICATION | {"type": kind}).encode()
    [(feed, publication)] = ROUTES["notification:push"](Entry("1-0", {}, payload=payload))
    assert publication.command == (AskAccess(feed) if kind in GROUPS_CHANGED else None)
