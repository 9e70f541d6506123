"""What Redis lost in a crash, by going back or by FLUSHALL, and what nobody can notice of it.

That is promised to nobody: messages are in the history, and memberships are read again later.
"""

from collections.abc import Callable, Collection, Iterator
from typing import TYPE_CHECKING, Any

from chatws.events import routes
from realtime.audit import events as audit_events
from realtime.feeds.log import Position
from realtime.hub.subscription import LocalFeed
from realtime.redis import keys
from tests.simulation import checks

if TYPE_CHECKING:
    from tests.simulation.world import World

LOOK_SECONDS = 1.0


class Losses:
    """What was lost so far. ``messages``: those that no relay had seen. ``records``: connections of which an event of
    the audit is missing. ``intents``: messages that nobody publishes for a sender that gave up. ``ends``: connections
    whose request to end them is gone."""

    def __init__(self, world: "World") -> None:
        self.messages: set[str] = set()
        self.records: set[str] = set()
        self.intents: set[str] = set()
        self.ends: set[str] = set()
        self._world = world
        self._received: dict[LocalFeed, dict[str, int]] = {}
        """By feed of a gateway: the last offset that it had of each epoch whenever Redis went back."""

    def of(self, change: Callable[[], Any]) -> Any:
        """Do something after which Redis may lack data, note what it lost, and return the result."""
        entries, ends = self._entries(), checks.positions(self._world)
        intents, requests = self._intents(), self._requests()
        self._look()
        answer = change()
        self.intents |= intents - self._intents()
        self.ends |= requests - self._requests()
        for topic, left in self._entries().items():
            for entry_id in entries[topic].keys() - left.keys():
                self._lost_entry(topic, entry_id, entries[topic][entry_id])
        for feed, end in checks.positions(self._world).items():
            if end != ends.get(feed):
                self._watch(feed, end, self._witnesses(feed, end))
        return answer

    def _entries(self) -> dict[str, dict[bytes, Any]]:
        dump: dict[bytes, Any] = self._world.redis.model.dump()
        return {topic: dict(dump.get(topic.encode(), ())) for topic in self._world.topics}

    def _intents(self) -> set[str]:
        dump: dict[bytes, Any] = self._world.redis.model.dump()
        return {name.decode() for name in dump.get(keys.intents(routes.MESSAGE_NEW).encode(), ())}

    def _requests(self) -> set[str]:
        """Return the connections that are requested to be ended."""
        requests: Any = self._world.redis.model.dump().get(keys.terminations().encode(), ())
        return {fields[0].decode() for _, fields in requests}

    def _lost_entry(self, topic: str, entry_id: bytes, fields: tuple[bytes, ...]) -> None:
        given = dict(zip(fields[::2], fields[1::2], strict=True))
        if topic == keys.audit_stream():
            self.records |= {event.connection_id for event in audit_events.parse(entry_id.decode(), given)}
        elif topic == routes.MESSAGE_NEW and entry_id in self._world.poison:
            self._world.poison.remove(entry_id)
        elif topic == routes.MESSAGE_NEW:
            self.messages.add(self._world.message_of(fields))

    # Feeds that went back

    def _receiving(self) -> Iterator[LocalFeed]:
        for gateway in self._world.live_gateways:
            yield from (feed for feed in gateway.node.hub._feeds.values() if feed.epoch and feed.closing is None)

    def _look(self) -> None:
        """Note what each gateway received before Redis goes back."""
        for feed in self._receiving():
            offsets = self._received.setdefault(feed, {})
            offsets[feed.epoch] = max(feed.offset, offsets.get(feed.epoch, 0))

    def _witnesses(self, name: str, end: Position) -> list[LocalFeed]:
        """Return the feed as each gateway knows it that received more of this epoch than is left."""
        of_name = [feed for feed in self._received if feed.name == name]
        return [feed for feed in of_name if self._received[feed].get(end.epoch, 0) > end.offset]

    def _watch(self, name: str, back: Position, witnesses: Collection[LocalFeed]) -> None:
        """Look until the feed has another epoch: then whoever received the lost publications is told of it.

        That takes a gateway that received them, and the feed ever since. If none is left, nobody can know that what is
        published behind ``back`` from now on is not what was there before.
        """
        end = checks.positions(self._world).get(name)
        if end is None or end.epoch != back.epoch:
            return
        left = [feed for feed in self._receiving() if feed in witnesses]
        if left:
            self._world.scheduler.after(LOOK_SECONDS, self._watch, name, back, left)
        else:
            self._world.ledger.unnoticed(name, (back.epoch, back.offset))
