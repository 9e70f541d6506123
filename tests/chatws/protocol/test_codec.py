"""Check valid and invalid frames of clients (docs/protocol.md, WebSocket)."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatws.exceptions import BadFrame
from chatws.protocol import codec, frames

SEND = {"type": "send_message", "message_id": "m-1", "timestamp": 1, "data": {"group_id": "g1", "msg_type": 1}}


def with_data(**changes: object) -> str:
    return json.dumps({**SEND, "data": {**SEND["data"], **changes}})  # type: ignore[dict-item]


def bad(text: str) -> BadFrame:
    with pytest.raises(BadFrame) as caught:
        codec.decode(text)
    return caught.value


def test_frame_without_data_takes_the_defaults() -> None:
    assert codec.decode('{"type": "ping"}') == frames.Ping()


def test_unknown_keys_are_ignored_and_last_duplicate_wins() -> None:
    frame = codec.decode('{"type": "ping", "x": 1, "message_id": "a", "message_id": "b"}')
    assert frame.message_id == "b"


def test_last_of_several_types_counts() -> None:
    assert codec.decode('{"type": "auth", "type": "ping"}') == frames.Ping()
    assert codec.decode('{"type": "ping", "type": "leave_group", "data": {"group_id": "g"}}') == frames.LeaveGroup(
        data=frames.GroupData("g")
    )
    assert "type" in bad('{"type": "ping", "type": "dance"}').message


@pytest.mark.parametrize("text", ["", "x", "[]", "1", "null", "\ufeff{}", '{"type":"ping"}{"type":"ping"}'])
def test_anything_but_one_json_object_is_400(text: str) -> None:
    assert bad(text).code == 400


@pytest.mark.parametrize(
    ("text", "field"),
    [
        ('{"message_id": "m"}', "type"),
        ('{"type": "dance", "message_id": "m"}', "type"),
        ('{"type": 5}', "type"),
        ('{"type": "ping", "data": []}', "data"),
        ('{"type": "ping", "message_id": 5}', "message_id"),
        ('{"type": "ping", "timestamp": "now"}', "timestamp"),
        ('{"type": "ping", "timestamp": 123456789012345678901234567890}', "timestamp"),
        ('{"type": "ping", "timestamp": 1e400}', "timestamp"),
        ('{"type": "send_message"}', "data"),
        ('{"type": "send_message", "data": {"msg_type": 1}}', "group_id"),
        (with_data(group_id="a b"), "data.group_id"),
        (with_data(group_id="a:b"), "data.group_id"),
        (with_data(group_id="a\n"), "data.group_id"),
        (with_data(group_id=""), "data.group_id"),
        (with_data(msg_type=3), "data.msg_type"),
        (with_data(msg_type=True), "data.msg_type"),
        (with_data(msg_type=1.5), "data.msg_type"),
        (with_data(content=5), "data.content"),
        (with_data(content="\ud800"), "data.content"),
        ('{"type": "auth", "data": {"token": "t", "resume": {"user:1": {"epoch": "e", "offset": -1}}}}', "offset"),
    ],
)
def test_bad_field_is_400_and_named(text: str, field: str) -> None:
    error = bad(text)
    assert error.code == 400
    assert field in error.message


@pytest.mark.parametrize(
    "text",
    [
        json.dumps({**SEND, "message_id": "m" * 65}),
        with_data(group_id="g" * 65),
        with_data(image_url="https://x.example/" + "y" * 2048),
    ],
)
def test_field_over_its_limit_is_413(text: str) -> None:
    assert bad(text).code == 413


def test_answer_to_a_bad_frame_carries_its_message_id() -> None:
    assert bad('{"type": "dance", "message_id": "m-7"}').message_id == "m-7"
    assert bad('{"type": "dance", "message_id": 7}').message_id == ""


def test_deep_nesting_is_400() -> None:
    depth = 1_000_000  # from Python 3.14 on the C stack is the limit
    assert bad('{"type": "ping", "x": ' + "[" * depth + "]" * depth + "}").code == 400


def test_server_frame_has_envelope_without_unset_fields() -> None:
    frame = json.loads(codec.encode(frames.Error(400, "no"), "m"))
    assert frame.keys() == {"type", "message_id", "timestamp", "data"}
    assert frame["type"] == "error"
    assert frame["message_id"] == "m"
    assert frame["data"] == {"code": 400, "message": "no"}


@given(
    st.text()
    | st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    ).map(json.dumps)
)
def test_any_text_decodes_or_raises_bad_frame(text: str) -> None:
    try:
        codec.decode(text)
    except BadFrame as error:
        assert error.code in (400, 413)


@pytest.mark.parametrize("name", ["\\ud800", "x" * 10_000])
def test_error_for_half_a_surrogate_pair_is_encodable(name: str) -> None:
    with pytest.raises(BadFrame, match="half a surrogate pair") as caught:
        codec.decode('{"type": "ping", "message_id": "m", "data": {"NAME": "\\udc00"}}'.replace("NAME", name))
    assert (caught.value.code, caught.value.message_id) == (400, "m")
    assert len(caught.value.message.encode()) < 200
