"""Whether a message is stored, found out from histories of two kinds (docs/protocol.md, gRPC)."""

from collections.abc import Sequence

import pytest

from chatws.rpc.gateway import ChatServiceError, Message
from chatws.stored import is_stored
from tests.support.histories import SECOND, ByPlace, BySecond, Histories


@pytest.mark.parametrize("kind", [ByPlace, BySecond])
@pytest.mark.parametrize(
    "seconds",
    [
        [], [SECOND], [SECOND] * 150, range(SECOND, SECOND + 150), [SECOND, *[SECOND + 1] * 120],
        [SECOND, SECOND, *range(SECOND, SECOND + 130)],
    ],
)  # fmt: skip
async def test_each_message_of_a_history_is_found_and_no_other(kind: type[Histories], seconds: Sequence[int]) -> None:
    chat = kind(seconds)
    for message in chat.messages:
        assert await is_stored(chat, "g", message.message_id), message  # type: ignore[arg-type]
    assert not await is_stored(chat, "g", "unknown")  # type: ignore[arg-type]


async def test_what_comes_meanwhile_is_not_taken_for_an_answer() -> None:
    class Busy(BySecond):
        def before(self, before_id: str) -> list[Message]:
            found = list(super().before(before_id))
            self.messages.append(Message(f"new{len(self.messages)}", "g", 1, "", 1, "", "", 1, SECOND + 500))
            return found

    assert not await is_stored(Busy(range(SECOND, SECOND + 150)), "g", "unknown")  # type: ignore[arg-type]


async def test_a_history_that_cannot_be_had_is_no_answer() -> None:
    class Away(BySecond):
        def before(self, before_id: str) -> list[Message]:
            raise ChatServiceError(503, "away")

    with pytest.raises(ChatServiceError):
        await is_stored(Away([]), "g", "m")  # type: ignore[arg-type]
