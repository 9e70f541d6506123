"""Channels: who is subscribed, and the commands SUBSCRIBE, UNSUBSCRIBE and PUBLISH."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from tests.simulation.redis import session as connections
from tests.simulation.redis import table
from tests.simulation.redis.keyspace import Keyspace
from tests.simulation.redis.replies import Push, Replies, Reply
from tests.simulation.redis.session import Session

if TYPE_CHECKING:
    from tests.simulation.redis.model import Model


class Channels:
    """The subscribed connections of each channel, in the order in which they subscribed."""

    def __init__(self) -> None:
        self._sessions: dict[bytes, dict[int, Session]] = {}

    def subscribe(self, session: Session, channel: bytes) -> None:
        """Let a connection receive the messages of a channel."""
        session.channels[channel] = None
        self._sessions.setdefault(channel, {})[session.id] = session

    def unsubscribe(self, session: Session, channel: bytes) -> None:
        """End what `subscribe` began; nothing happens without it."""
        if channel in session.channels:
            del session.channels[channel]
            subscribed = self._sessions[channel]
            del subscribed[session.id]
            if not subscribed:
                del self._sessions[channel]

    def unsubscribe_all(self, session: Session) -> None:
        """End every subscription of a connection."""
        for channel in list(session.channels):
            self.unsubscribe(session, channel)

    def publish(self, channel: bytes, message: bytes) -> int:
        """Push a message to the connections of a channel; return how many there are."""
        subscribed = self._sessions.get(channel)
        if not subscribed:
            return 0
        for session in list(subscribed.values()):
            session.push(Push([b"message", channel, message]))
        return len(subscribed)


@connections.add("subscribe", -2)
def subscribe(model: "Model", session: Session, words: Sequence[bytes]) -> Reply:
    replies = Replies()
    for channel in words[1:]:
        model.channels.subscribe(session, channel)
        replies.append(Push([b"subscribe", channel, len(session.channels)]))
    return replies


@connections.add("unsubscribe", -1)
def unsubscribe(model: "Model", session: Session, words: Sequence[bytes]) -> Reply:
    replies = Replies()
    for channel in words[1:] or list(session.channels):
        model.channels.unsubscribe(session, channel)
        replies.append(Push([b"unsubscribe", channel, len(session.channels)]))
    return replies or Push([b"unsubscribe", None, 0])


@table.add("publish", 3, while_loading=True, while_stale=True)
def publish(keys: Keyspace, words: Sequence[bytes]) -> Reply:
    return keys.publish(words[1], words[2])
