"""Check the server's id of a message (docs/protocol.md, Sending once)."""

import json

from hypothesis import given
from hypothesis import strategies as st

from chatws.messaging.sending import stored_id
from chatws.protocol import codec
from chatws.protocol.frames import SendMessage


def frame(**changes: object) -> SendMessage:
    data = {"group_id": "g1", "msg_type": 1, "content": "你好", "image_url": ""}
    envelope = {"type": "send_message", "message_id": "c-1", "timestamp": 1_700_000_000}
    data |= {name: value for name, value in changes.items() if name in data}
    envelope |= {name: value for name, value in changes.items() if name in envelope}
    decoded = codec.decode(json.dumps({**envelope, "data": data}))
    assert isinstance(decoded, SendMessage)
    return decoded


def test_example_of_the_protocol_is_reproduced() -> None:
    assert stored_id(42, frame()) == "0cc8e0e0-26fb-56a3-bdce-2d93fc942a2f"


def test_every_part_of_the_name_changes_the_id() -> None:
    changes: list[dict[str, object]] = [
        {"message_id": "c-2"}, {"timestamp": 1_700_000_001}, {"group_id": "g2"}, {"msg_type": 2}, {"content": "x"},
        {"image_url": "https://x.example/"},
    ]  # fmt: skip
    ids = {stored_id(42, frame()), stored_id(43, frame()), *(stored_id(42, frame(**change)) for change in changes)}
    assert len(ids) == len(changes) + 2


def test_frame_without_id_or_time_gets_a_new_id() -> None:
    for change in ({"message_id": ""}, {"timestamp": 0}):
        assert stored_id(42, frame(**change)) != stored_id(42, frame(**change))


@given(st.text(min_size=1, max_size=64), st.text(max_size=50))
def test_same_frame_has_the_same_id(message_id: str, content: str) -> None:
    assert stored_id(1, frame(message_id=message_id, content=content)) == stored_id(
        1, frame(message_id=message_id, content=content)
    )
