"""A Redis server over byte streams, with faults: it parses requests, runs them on a model and writes replies."""

import hashlib
import math
from collections import deque
from collections.abc import Callable, Sequence
from typing import Literal, TypeAlias

import hiredis

from tests.simulation.redis.faults import OF_REPLICAS, Faults, Older, Which
from tests.simulation.redis.keyspace import Snapshot
from tests.simulation.redis.model import Model
from tests.simulation.redis.replies import NULL_ARRAY, Blocked, Reply, encode

TOO_MANY_CLIENTS = b"-ERR max number of clients reached\r\n"
UNBLOCKED = b"-UNBLOCKED force unblock from blocking operation, instance state changed (master -> replica?)\r\n"

Kind: TypeAlias = Literal["all", "pubsub", "normal"]


class Conn:
    """One connection of a client. Whoever carries its bytes calls `received` and `lost`."""

    def __init__(
        self, server: "Server", number: int, write: Callable[[bytes], None], close: Callable[[], None]
    ) -> None:
        self.number = number
        self.session = server.model.session(self._push)
        self.blocked: Blocked | None = None
        self.is_open = True
        self.reader = hiredis.Reader()
        self._server = server
        self._write = write
        self._close = close
        self._out: list[bytes] = []

    def received(self, data: bytes) -> None:
        """Take bytes of the client, split anywhere."""
        self._server.received(self, data)

    def lost(self) -> None:
        """The client has closed the connection, or it broke. Nothing more is written to it."""
        self._server.lost(self)

    def reply(self, data: bytes) -> None:
        """Collect bytes to be written at the end of the server's turn."""
        if self.is_open:
            self._out.append(data)
            self._server.has_output(self)

    def flush(self) -> None:
        """Write what was collected, in one piece."""
        if self._out and self.is_open:
            data = b"".join(self._out)
            self._out.clear()
            self._server.count(b">", self.number, data)
            self._write(data)

    def end(self, *, by_server: bool) -> None:
        """Forget the connection; ``by_server``: also close it."""
        self.is_open = False
        self.blocked = None
        self.session.close()
        if by_server:
            self._close()

    def _push(self, message: Reply) -> None:
        self.reply(encode(message, self.session.protocol))


class Server:
    """A server of one model. ``clock`` returns its time in Unix seconds.

    It never waits: whoever drives it calls `tick` at `next_deadline`. The model must be used by this server only.
    """

    def __init__(self, model: Model, clock: Callable[[], float]) -> None:
        self.model = model
        self.maxclients = 10_000
        self.refuses_connections = False
        """`connect` raises ConnectionRefusedError."""
        self.is_paused = False
        self._operator = model.session(lambda message: None)
        self._clock = clock
        self._faults = Faults(model, clock)
        self._connections: dict[int, Conn] = {}
        self._last_number = 0
        self._blocked: dict[int, Conn] = {}
        """The connections whose XREAD waits, in the order in which they began to."""
        self._unflushed: dict[int, Conn] = {}
        self._waiting: deque[tuple[Conn, bytes | None]] = deque()
        """What happened during a pause: bytes, or None for a lost connection."""
        self._hash = hashlib.blake2b(digest_size=16)

    @property
    def digest(self) -> str:
        """The hash of all bytes in and out so far: two runs of one seed must have the same."""
        return self._hash.hexdigest()

    @property
    def connections(self) -> int:
        """How many clients are connected."""
        return len(self._connections)

    def connect(self, write: Callable[[bytes], None], close: Callable[[], None]) -> Conn:
        """Accept a client. ``write`` sends it bytes; ``close`` closes the connection after what was written.

        Neither is called before this returns, except to turn away a client over `maxclients`.

        Raises:
            ConnectionRefusedError: the server refuses connections.
        """
        if self.refuses_connections:
            raise ConnectionRefusedError("the server refuses connections")
        self._last_number += 1
        connection = Conn(self, self._last_number, write, close)
        if len(self._connections) >= self.maxclients:
            connection.reply(TOO_MANY_CLIENTS)
            self._flush()
            connection.end(by_server=True)
        else:
            self._connections[connection.number] = connection
        return connection

    def received(self, connection: Conn, data: bytes) -> None:
        """Take bytes of a client; `Conn.received` calls it."""
        if not connection.is_open:
            return
        if self.is_paused:
            self._waiting.append((connection, data))
            return
        self.model.now = self._clock()
        self.count(b"<", connection.number, data)
        connection.reader.feed(data)
        self._run_requests(connection)
        self._flush()

    def lost(self, connection: Conn) -> None:
        """Forget a client; `Conn.lost` calls it. A paused server first runs what it had received from it."""
        if self.is_paused:
            self._waiting.append((connection, None))
        else:
            self._drop(connection, by_server=False)

    def next_deadline(self) -> float | None:
        """Return when `tick` is to be called next, in Unix seconds; None: not before something else happens."""
        if self.is_paused:
            return None
        first = min(map(_deadline, self._blocked.values()), default=math.inf)
        return None if first == math.inf else first

    def tick(self, now: float) -> None:
        """End each XREAD whose time is over."""
        if self.is_paused:
            return
        self.model.now = now
        over = [connection for connection in self._blocked.values() if _deadline(connection) <= now]
        for connection in sorted(over, key=_deadline):
            self._unblock(connection, NULL_ARRAY)
        for connection in over:
            self._run_requests(connection)
        self._flush()

    def run(self, words: Sequence[bytes]) -> Reply:
        """Run a command as an operator does on the server's machine: no fault refuses it, nothing of it is counted.

        It wakes the XREADs that wait, and delivers messages, as any other command. An XREAD does not wait.
        """
        self.model.now = self._clock()
        with self._faults.lifted():
            reply = self.model.call(self._operator, words)
        self._wake()
        self._flush()
        return NULL_ARRAY if isinstance(reply, Blocked) else reply

    def errors(self, code: str, seconds: float | None = None, which: Which = None) -> None:
        """Answer an error from now on, for ``seconds`` or until `clear_errors`.

        ``code``: one of `faults.TEXTS`. ``which``: the commands, if not those to which Redis answers it: ``all``,
        ``writes``, or a set of names such as ``xadd``. A server that becomes a replica ends every waiting XREAD.
        """
        self._faults.begin(code, seconds, which)
        if code in OF_REPLICAS:
            for connection in list(self._blocked.values()):
                connection.reply(UNBLOCKED)
                connection.flush()
                self._drop(connection, by_server=True)

    def fail_over(self, seconds: float | None = None) -> None:
        """Let another server take over the address: the old connections stay, and lead to a replica from now on."""
        self.errors("READONLY", seconds, which=Older(self.model.last_session))

    def clear_errors(self, code: str | None = None) -> None:
        """End one error, or all."""
        self._faults.end(code)

    def pause(self) -> None:
        """Stop reading: bytes wait, deadlines pass unnoticed. New connections are accepted, as by a kernel."""
        self.is_paused = True

    def resume(self) -> None:
        """Go on, with all that has waited, in order."""
        self.is_paused = False
        waiting, self._waiting = self._waiting, deque()
        for connection, data in waiting:
            if data is None:
                self.lost(connection)
            else:
                self.received(connection, data)
        self.tick(self._clock())

    def kill_clients(self, kind: Kind = "all") -> None:
        """Close the connections of a kind: those with subscriptions (``pubsub``), the others (``normal``), or all."""
        for connection in list(self._connections.values()):
            if kind == "all" or bool(connection.session.channels) == (kind == "pubsub"):
                self._drop(connection, by_server=True)

    def crash(self, loses: Snapshot | None = None) -> None:
        """Close all connections and forget all scripts, as a crash and a restart do.

        ``loses``: the data as the restarted server has it, without what it lost; None: nothing was lost.
        """
        self._waiting.clear()
        self.kill_clients()
        self.model.clear_scripts()
        if loses is not None:
            self.model.restore(loses)

    def has_output(self, connection: Conn) -> None:
        """Note that a connection has something to write."""
        self._unflushed[connection.number] = connection

    def count(self, direction: bytes, number: int, data: bytes) -> None:
        """Add bytes to the hash."""
        self._hash.update(b"%b%d:" % (direction, number) + data)

    def _run_requests(self, connection: Conn) -> None:
        while connection.is_open and connection.blocked is None:
            try:
                request = connection.reader.gets()
            except hiredis.ProtocolError as error:
                self._fail(connection, str(error))
                return
            if request is False:
                return
            if not isinstance(request, list):
                self._fail(connection, "expected a list of words")
                return
            if not request:
                continue
            reply = self.model.call(connection.session, request)
            if isinstance(reply, Blocked):
                connection.blocked = reply
                self._blocked[connection.number] = connection
            else:
                connection.reply(encode(reply, connection.session.protocol))
            if self.model.touched:
                self._wake()

    def _fail(self, connection: Conn, problem: str) -> None:
        connection.reply(b"-ERR Protocol error: %b\r\n" % problem.encode())
        connection.flush()
        self._drop(connection, by_server=True)

    def _wake(self) -> None:
        """Answer the XREADs that wait for a stream that was written, in the order in which they began to wait."""
        touched = self.model.touched.copy()
        self.model.touched.clear()
        woken = []
        for connection in list(self._blocked.values()):
            blocked = connection.blocked
            if blocked is not None and not touched.isdisjoint(blocked.keys):
                reply = blocked.retry()
                if reply is not None:
                    self._unblock(connection, reply)
                    woken.append(connection)
        for connection in woken:
            self._run_requests(connection)

    def _unblock(self, connection: Conn, reply: Reply) -> None:
        del self._blocked[connection.number]
        connection.blocked = None
        connection.reply(encode(reply, connection.session.protocol))

    def _drop(self, connection: Conn, *, by_server: bool) -> None:
        if self._connections.pop(connection.number, None) is not None:
            self._blocked.pop(connection.number, None)
            self._unflushed.pop(connection.number, None)
            connection.end(by_server=by_server)

    def _flush(self) -> None:
        while self._unflushed:
            connections, self._unflushed = self._unflushed, {}
            for connection in connections.values():
                connection.flush()


def _deadline(connection: Conn) -> float:
    """Return when a connection's XREAD ends; infinity if it never does."""
    blocked = connection.blocked
    return math.inf if blocked is None or blocked.deadline is None else blocked.deadline
