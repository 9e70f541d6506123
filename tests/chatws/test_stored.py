"""Whether a message is stored, found out from histories of two kinds (docs/protocol.md, gRPC)."""

from collections.abc import Sequence

import pytest

from chatws.rpc.gateway import ChatServiceError, History, Message
from chatws.stored import is_stored

SECOND = 1_700_000_000


class Histories:
    """A chat group's messages, the oldest first, each with the second in which it was said."""

    def __init__(self, seconds: Sequence[int]) -> None:
        self.messages = [Message(f"m{n}", "g", 1, "", 1, "", "", 1, second) for n, second in enumerate(seconds)]

    def before(self, before_id: str) -> list[Message]:
        raise NotImplementedError

    async def message_history(self, group_id: str, before_id: str, limit: int) -> History:
        found = self.before(before_id)[::-1]
        return History(found[:limit], len(found) > limit)


class ByPlace(Histories):
    """As the reference service: before that message; one that isn't there is an error."""

    def before(self, before_id: str) -> list[Message]:
        ids = [message.message_id for message in self.messages]
        if before_id and before_id not in ids:
            raise ChatServiceError(404, "no such message")
        return self.messages[: ids.index(before_id)] if before_id else self.messages


class BySecond(Histories):
    """As the platform's: before the second of that message; one that isn't there counts as none."""

    def before(self, before_id: str) -> list[Message]:
        second = {message.message_id: message.created_at for message in self.messages}.get(before_id)
        return [message for message in self.messages if second is None or message.created_at < second]


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
