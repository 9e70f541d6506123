"""A model of one Redis server: commands in, replies out, without sockets, clock or threads."""

import random
from collections.abc import Callable, Sequence

from tests.simulation.redis import (  # noqa: F401  # they fill the table of commands
    groups,
    hashes,
    lists,
    server_commands,
    sets,
    sorted_sets,
    streams,
    strings,
)
from tests.simulation.redis.keyspace import Keyspace, Snapshot
from tests.simulation.redis.pubsub import Channels
from tests.simulation.redis.replies import NULL_ARRAY, Blocked, Failure, Refusal, Reply, Simple
from tests.simulation.redis.scripting import Scripts
from tests.simulation.redis.session import HANDLERS, Session
from tests.simulation.redis.sets import Set
from tests.simulation.redis.sorted_sets import SortedSet
from tests.simulation.redis.stream import Stream
from tests.simulation.redis.table import COMMANDS, Command, find

QUEUED = Simple("QUEUED")
AT_ONCE = frozenset({"exec", "discard", "multi"})
"""Commands that a transaction runs instead of queueing them; MULTI is refused."""
WHILE_SUBSCRIBED = frozenset({"ping", "subscribe", "unsubscribe"})
"""Commands that a subscribed connection of RESP2 may use."""


class Model:
    """A Redis server. Whoever drives it sets `now` before each call.

    ``random``: where HRANDFIELD's choice comes from.
    """

    def __init__(self, random: random.Random) -> None:
        self.keys = Keyspace(random)
        self.scripts = self.keys.scripts = Scripts(self.keys)
        self.channels = Channels()
        self.keys.publish = self.channels.publish
        self.refusal: Callable[[Session, Command, Sequence[bytes]], str] | None = None
        """Returns why the server refuses a command, or an empty text. None: it refuses none."""
        self.last_session = 0

    @property
    def now(self) -> float:
        """The server's time, in Unix seconds."""
        return self.keys.us / 1e6

    @now.setter
    def now(self, seconds: float) -> None:
        self.keys.us = us = round(seconds * 1e6)
        self.keys.ms = us // 1000

    @property
    def touched(self) -> set[bytes]:
        """The keys of streams that were written since it was last cleared."""
        return self.keys.touched

    def session(self, push: Callable[[Reply], None]) -> Session:
        """Return a new connection; ``push`` is called with each message of the channels that it subscribes to."""
        self.last_session += 1
        return Session(self, self.last_session, push)

    def call(self, session: Session, command: Sequence[bytes]) -> Reply | Blocked:
        """Run one command of a connection and return its reply, an error included."""
        try:
            found = COMMANDS.get(command[0])
            if found is None or not found.least <= len(command) <= found.most:
                found = find(command)
            if self.refusal is not None and (problem := self.refusal(session, found, command)):
                raise self._refused(session, found, problem)
            if session.queued is None:
                if session.channels and session.protocol == 2 and found.name not in WHILE_SUBSCRIBED:
                    return Failure(
                        f"ERR Can't execute '{found.name}': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / "
                        "RESET are allowed in this context"
                    )
                if found.of_connection:
                    return HANDLERS[found.name](self, session, command)
                return found.run(self.keys, command)
            return self._in_transaction(session, found, command)
        except Refusal as refusal:
            if session.queued is not None:
                session.is_aborted = True
            return refusal.failure

    def _in_transaction(self, session: Session, found: Command, command: Sequence[bytes]) -> Reply | Blocked:
        if found.name == "multi":
            raise Refusal("ERR Command 'multi' not allowed inside a transaction")
        if found.name in AT_ONCE:
            return HANDLERS[found.name](self, session, command)
        assert session.queued is not None
        session.queued.append((found, command))
        return QUEUED

    def _refused(self, session: Session, found: Command, problem: str) -> Refusal:
        if found.name != "exec":
            return Refusal(problem)
        session.queued = None
        return Refusal(f"EXECABORT Transaction discarded because of: {problem}")

    def run(self, session: Session, found: Command, command: Sequence[bytes]) -> Reply:
        """Run a command of a transaction. XREAD does not wait there."""
        try:
            if found.of_connection:
                return HANDLERS[found.name](self, session, command)
            reply = found.run(self.keys, command)
            return NULL_ARRAY if isinstance(reply, Blocked) else reply
        except Refusal as refusal:
            return refusal.failure

    def snapshot(self) -> Snapshot:
        """Return all data as it is now, without connections and scripts."""
        return self.keys.snapshot()

    def restore(self, snapshot: Snapshot) -> None:
        """Set all data back to a snapshot, which may be restored again."""
        self.keys.restore(snapshot)

    def clear_scripts(self) -> None:
        """Forget all scripts, as a restart does."""
        self.scripts.clear()

    def expire_all(self) -> None:
        """Remove every expired key."""
        self.keys.expire_all()

    def ttl(self, key: bytes) -> float | None:
        """Return the seconds that a key still lives; None if it is missing or does not expire."""
        expires = self.keys.expires.get(key) if self.keys.find_any(key) is not None else None
        return None if expires is None else (expires - self.keys.ms) / 1000

    def dump(self) -> dict[bytes, object]:
        """Return plain values by key: bytes, dict (hash), list, frozenset, tuples for what has an order of its own.

        A sorted set is a tuple of ``(member, score)``, a stream a tuple of ``(id, names and values in turn)``.
        """
        self.expire_all()
        return {key: _plain(value) for key, value in self.keys.data.items()}


def _plain(value: object) -> object:
    match value:
        case Set():
            return frozenset(value)
        case dict() | list():
            return value.copy()
        case SortedSet():
            return tuple((member, score) for score, member in value.order)
        case Stream():
            return tuple(
                (b"%d-%d" % entry_id, tuple(entry)) for entry_id, entry in zip(value.ids, value.entries, strict=True)
            )
    return value
