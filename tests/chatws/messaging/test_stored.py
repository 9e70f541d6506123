"""Check the search for a stored message in both kinds of histories (docs/protocol.md, gRPC)."""

from collections.abc import Sequence

import pytest

from chatws.chat_service.port import ChatServiceError, History, Message, error_of
from chatws.messaging.stored import LAG_SECONDS, MAX_PAGES, is_stored
from tests.support.histories import SECOND, ByPlace, BySecond, Histories

HOUR = 3_600


async def found(chat: Histories, message_id: str, since: int = SECOND + HOUR) -> bool:
    return await is_stored(chat, "g", message_id, since)  # type: ignore[arg-type]  # all that is asked of it


@pytest.mark.parametrize("kind", [ByPlace, BySecond])
@pytest.mark.parametrize(
    "seconds",
    [
        [], [SECOND], [SECOND] * 150, range(SECOND, SECOND + 350),
        [SECOND + n // 3 for n in range(700)],
        [SECOND, SECOND, *range(SECOND, SECOND + 130)],
        [SECOND + 17 * n for n in range(300)],
    ],
)  # fmt: skip
@pytest.mark.parametrize("since", [SECOND, SECOND + HOUR])
async def test_only_messages_in_the_history_are_found(
    kind: type[Histories], seconds: Sequence[int], since: int
) -> None:
    chat = kind(seconds)
    for message in chat.messages:
        assert await found(chat, message.message_id, since), message
    try:
        assert not await found(chat, "unknown", since)
    except ChatServiceError as error:
        assert "too many messages of one second" in str(error)


async def test_crowded_second_never_reports_a_stored_message_missing() -> None:
    chat = BySecond([SECOND, *[SECOND + 1] * 120])
    for message in [*chat.messages, Message("unknown", "g", 1, "", 1, "", "", 1, SECOND)]:
        try:
            assert await found(chat, message.message_id) is (message.message_id != "unknown")
        except ChatServiceError as error:
            assert "of one second" in str(error)


async def test_message_too_far_back_is_not_reported_missing() -> None:
    chat = ByPlace(range(SECOND, SECOND + 100 * (MAX_PAGES + 1)))
    assert await found(chat, "m3")
    with pytest.raises(ChatServiceError, match="too many messages"):
        await found(chat, "m3", SECOND)


async def test_message_stored_during_the_search_is_ignored() -> None:
    class Busy(BySecond):
        def before(self, before_id: str) -> list[Message]:
            found = list(super().before(before_id))
            self.messages.append(Message(f"new{len(self.messages)}", "g", 1, "", 1, "", "", 1, SECOND + 500))
            return found

    assert not await found(Busy(range(SECOND, SECOND + 150)), "unknown")


@pytest.mark.parametrize("behind", [1, 40, 170])
async def test_lagging_replica_does_not_report_unknown_message_stored(behind: int) -> None:
    """Read the newest messages from one database, and those before an unknown message from a lagging replica."""

    class Lagging(BySecond):
        async def message_history(self, group_id: str, before_id: str, limit: int) -> History:
            everything = self.messages
            if before_id == "unknown":
                self.messages = everything[:-behind]
            try:
                return await super().message_history(group_id, before_id, limit)
            finally:
                self.messages = everything

    per_second = 170 // LAG_SECONDS + 1
    assert not await found(Lagging([SECOND + n // per_second for n in range(600)]), "unknown")


async def test_unavailable_history_raises() -> None:
    class Away(BySecond):
        def before(self, before_id: str) -> list[Message]:
            raise error_of(503, "away")

    with pytest.raises(ChatServiceError):
        await found(Away([]), "m")
