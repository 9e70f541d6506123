"""Check that a text needs visible characters."""

import pytest

from chatws.exceptions import BadFrame
from chatws.protocol.frames import SendMessage, SendMessageData
from chatws.socket.handlers.message import check


def frame(content: str) -> SendMessage:
    return SendMessage(data=SendMessageData("g", 1, content))


@pytest.mark.parametrize(
    "content", ["x", " x ", "你", "\u200d👩\u200d💻", "e\u0301", ".", "\ufe0f1", "x" * 5_000, "\u0301"]
)
def test_text_with_a_visible_character_is_accepted(content: str) -> None:
    check(frame(content))


@pytest.mark.parametrize(
    "content", ["", " \t\n", "\u00a0\u3000", "\u200b", "\u2062\u202e", "\U000e0100", "\u180e\u180b"]
)
def test_text_without_visible_characters_is_empty(content: str) -> None:
    with pytest.raises(BadFrame, match="empty"):
        check(frame(content))
