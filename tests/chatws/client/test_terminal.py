"""Check that the terminal shows something for each message, whatever another service put into it."""

from typing import Any

import pytest

from chatws.client import ChatClient
from chatws.client.terminal import Terminal, clock

ORDINARY = {
    "message_id": "m", "group_id": "g", "sender_id": 7, "sender_name": "Ann", "msg_type": 1, "content": "hello",
    "image_url": "", "created_at": 1_700_000_000,
}  # fmt: skip


@pytest.mark.parametrize("seconds", [1.7e15, 1.7e18, -1e30, float("nan"), float("inf"), None, "soon", {}])
def test_odd_time_is_shown_as_some_time(seconds: object) -> None:
    assert len(clock(seconds)) == len("--:--")


@pytest.mark.parametrize(
    "odd",
    [
        {"created_at": 1.7e18}, {"created_at": None}, {"content": None}, {"content": {"a": 1}}, {"sender_name": None},
        {"sender_id": None}, {"msg_type": 99}, {"msg_type": 2, "image_url": None}, {"group_id": None},
    ],
)  # fmt: skip
def test_odd_message_is_shown(odd: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    terminal = Terminal(ChatClient("ws://127.0.0.1:1/ws", "t"), lambda user: {})
    terminal._message(ORDINARY | odd, "g")
    terminal._message({}, "g")
    assert len(capsys.readouterr().out.splitlines()) >= 2
