"""Model the two kinds of histories that chat services return (docs/protocol.md, gRPC)."""

from collections.abc import Sequence

from chatws.chat_service.port import History, Message, error_of

SECOND = 1_700_000_000


class Histories:
    """A chat group's messages, oldest first, each with the second in which it was stored."""

    def __init__(self, seconds: Sequence[int]) -> None:
        self.messages = [Message(f"m{n}", "g", 1, "", 1, "", "", 1, second) for n, second in enumerate(seconds)]

    def before(self, before_id: str) -> list[Message]:
        raise NotImplementedError

    async def message_history(self, group_id: str, before_id: str, limit: int) -> History:
        found = self.before(before_id)[::-1]
        return History(found[:limit], len(found) > limit)


class ByPlace(Histories):
    """Return messages before that message, as the reference service does; an unknown id is an error."""

    def before(self, before_id: str) -> list[Message]:
        ids = [message.message_id for message in self.messages]
        if before_id and before_id not in ids:
            raise error_of(404, "no such message")
        return self.messages[: ids.index(before_id)] if before_id else self.messages


class BySecond(Histories):
    """Return messages before that message's second, as the platform does; an unknown id counts as no id."""

    def before(self, before_id: str) -> list[Message]:
        second = {message.message_id: message.created_at for message in self.messages}.get(before_id)
        return [message for message in self.messages if second is None or message.created_at < second]
