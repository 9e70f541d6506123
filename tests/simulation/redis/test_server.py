"""The server parses, answers, blocks, pauses, crashes and refuses as a real one does."""

import random
from collections.abc import Sequence

import hiredis
import pytest

from tests.simulation.redis import Model
from tests.simulation.redis.server import Conn, Server

START = 1_800_000_000.0


class Client:
    """One client of a server, with what it has received."""

    def __init__(self, server: Server) -> None:
        self.received: list[bytes] = []
        self.is_closed = False
        self.conn: Conn = server.connect(self.received.append, self._close)

    def _close(self) -> None:
        self.is_closed = True

    def send(self, *lines: str) -> None:
        """Send commands, each a line of words, in one piece."""
        self.conn.received(b"".join([packed(line.split()) for line in lines]))

    def taken(self) -> bytes:
        """Return all that was received since the last time."""
        data = b"".join(self.received)
        self.received.clear()
        return data

    def ask(self, line: str) -> bytes:
        """Send a command and return what is received."""
        self.send(line)
        return self.taken()


def packed(words: Sequence[str]) -> bytes:
    """Return a request in RESP."""
    data: bytes = hiredis.pack_command(tuple(words))  # type: ignore[arg-type]  # its type allows one word only
    return data


class World:
    """A server and its clock."""

    def __init__(self) -> None:
        self.now = START
        self.model = Model(random.Random(1))
        self.server = Server(self.model, lambda: self.now)

    def client(self) -> Client:
        return Client(self.server)

    def pass_until(self, now: float) -> None:
        """Move the clock, and let the server end what is due."""
        self.now = now
        self.server.tick(now)


@pytest.fixture
def world() -> World:
    return World()


def test_requests_may_be_split_anywhere(world: World) -> None:
    client = world.client()
    for byte in packed(["SET", "a", "1"]) + packed(["GET", "a"]):
        client.conn.received(bytes([byte]))
    assert client.taken() == b"+OK\r\n$1\r\n1\r\n"


def test_pipeline_is_answered_in_one_piece(world: World) -> None:
    client = world.client()
    client.send("SET a 1", "GET a", "NOPE")
    assert len(client.received) == 1


def test_garbage_closes_the_connection(world: World) -> None:
    client = world.client()
    client.conn.received(b"GET / HTTP/1.1\r\n\r\n")
    assert client.taken().startswith(b"-ERR Protocol error")
    assert client.is_closed
    assert world.server.connections == 0


def test_blocked_reads_wake_in_order(world: World) -> None:
    order: list[str] = []
    for name in ("first", "second"):
        client = world.client()
        client.conn._write = lambda data, name=name: order.append(name)  # type: ignore[misc]  # a default argument
        client.send("XREAD BLOCK 0 STREAMS s $")
    world.client().send("XADD s 5-1 a b")
    assert order == ["first", "second"]


def test_blocked_read_takes_the_entry(world: World) -> None:
    reader, writer = world.client(), world.client()
    reader.send("XREAD BLOCK 1000 STREAMS s $", "PING")
    assert reader.taken() == b""
    assert writer.ask("XADD s 5-1 a b") == b"$3\r\n5-1\r\n"
    assert reader.taken() == (
        b"*1\r\n*2\r\n$1\r\ns\r\n*1\r\n*2\r\n$3\r\n5-1\r\n*2\r\n$1\r\na\r\n$1\r\nb\r\n+PONG\r\n"
    )  # fmt: skip


def test_blocked_read_ignores_other_streams(world: World) -> None:
    reader = world.client()
    reader.send("XREAD BLOCK 1000 STREAMS s $")
    world.client().send("XADD other 5-1 a b")
    assert reader.taken() == b""


def test_blocked_read_ends_at_its_deadline(world: World) -> None:
    reader = world.client()
    reader.send("XREAD BLOCK 250 STREAMS s $", "GET a")
    assert world.server.next_deadline() == START + 0.25
    world.pass_until(START + 0.2)
    assert reader.taken() == b""
    world.pass_until(START + 0.25)
    assert reader.taken() == b"*-1\r\n$-1\r\n"
    assert world.server.next_deadline() is None


def test_woken_client_may_wake_another(world: World) -> None:
    first, second = world.client(), world.client()
    first.send("XREAD BLOCK 0 STREAMS a $", "XADD b 1-1 x y")
    second.send("XREAD BLOCK 0 STREAMS a b $ $", "PING")
    world.client().send("XADD a 1-1 x y")
    assert second.taken().count(b"+PONG") == 1
    assert first.taken().endswith(b"$3\r\n1-1\r\n")


def test_lost_client_is_not_woken(world: World) -> None:
    reader = world.client()
    reader.send("XREAD BLOCK 100 STREAMS s $")
    reader.conn.lost()
    world.client().send("XADD s 5-1 a b")
    assert reader.taken() == b""
    assert world.server.next_deadline() is None


def test_paused_server_runs_later_what_it_received(world: World) -> None:
    client, leaver = world.client(), world.client()
    world.server.pause()
    client.send("INCRBY a 1", "SET a 1")
    leaver.send("SET b 2")
    leaver.conn.lost()
    assert client.taken() == b""
    world.server.resume()
    assert client.taken().endswith(b"+OK\r\n")
    assert client.ask("GET b") == b"$1\r\n2\r\n"
    assert world.server.connections == 1


def test_deadline_passes_during_a_pause(world: World) -> None:
    reader = world.client()
    reader.send("XREAD BLOCK 100 STREAMS s $")
    world.server.pause()
    assert world.server.next_deadline() is None
    world.pass_until(START + 1)
    assert reader.taken() == b""
    world.server.resume()
    assert reader.taken() == b"*-1\r\n"


@pytest.mark.parametrize(
    ("kind", "closed"), [("all", [True, True]), ("pubsub", [True, False]), ("normal", [False, True])]
)
def test_clients_are_killed_by_kind(world: World, kind: str, closed: list[bool]) -> None:
    subscriber, other = world.client(), world.client()
    subscriber.send("SUBSCRIBE c")
    world.server.kill_clients(kind)  # type: ignore[arg-type]  # one of its literals
    assert [subscriber.is_closed, other.is_closed] == closed
    assert world.client().ask("PUBLISH c m") == (b":0\r\n" if closed[0] else b":1\r\n")


def test_crash_loses_what_came_after_the_snapshot(world: World) -> None:
    client = world.client()
    client.send("SET a 1", "RPUSH l x")
    snapshot = world.model.snapshot()
    client.send("SET a 2", "RPUSH l y", "XADD s 1-1 f v")
    digest = client.ask("SCRIPT LOAD return(1)")[5:45].decode()
    world.server.crash(loses=snapshot)
    assert client.is_closed
    client = world.client()
    assert client.ask("GET a") == b"$1\r\n1\r\n"
    assert client.ask("LRANGE l 0 -1") == b"*1\r\n$1\r\nx\r\n"
    assert client.ask("XLEN s") == b":0\r\n"
    assert client.ask(f"EVALSHA {digest} 0").startswith(b"-NOSCRIPT")


def test_crash_without_a_snapshot_loses_no_data(world: World) -> None:
    world.client().send("SET a 1")
    world.server.crash()
    assert world.client().ask("GET a") == b"$1\r\n1\r\n"


def test_refused_connections_raise(world: World) -> None:
    world.server.refuses_connections = True
    with pytest.raises(ConnectionRefusedError):
        world.client()


def test_client_over_the_limit_is_turned_away(world: World) -> None:
    world.server.maxclients = 1
    world.client()
    other = world.client()
    assert other.taken() == b"-ERR max number of clients reached\r\n"
    assert other.is_closed


def test_becoming_a_replica_ends_waiting_reads(world: World) -> None:
    reader = world.client()
    reader.send("XREAD BLOCK 0 STREAMS s $")
    world.server.errors("READONLY")
    assert reader.taken().startswith(b"-UNBLOCKED")
    assert reader.is_closed


def test_errors_end_by_themselves(world: World) -> None:
    client = world.client()
    world.server.errors("OOM", seconds=5.0)
    assert client.ask("SET a 1").startswith(b"-OOM")
    world.pass_until(START + 5)
    assert client.ask("SET a 1") == b"+OK\r\n"


def test_errors_are_cleared_by_code(world: World) -> None:
    client = world.client()
    world.server.errors("OOM")
    world.server.errors("LOADING")
    world.server.clear_errors("LOADING")
    assert client.ask("GET a") == b"$-1\r\n"
    assert client.ask("SET a 1").startswith(b"-OOM")
    world.server.clear_errors()
    assert client.ask("SET a 1") == b"+OK\r\n"


def test_errors_may_concern_some_commands_only(world: World) -> None:
    client = world.client()
    world.server.errors("NOPERM", which=frozenset({"publish"}))
    assert client.ask("PUBLISH c m") == b"-NOPERM User default has no permissions to run the 'publish' command\r\n"
    assert client.ask("SET a 1") == b"+OK\r\n"


def test_operator_is_not_refused_and_wakes_readers(world: World) -> None:
    reader, subscriber = world.client(), world.client()
    reader.send("XREAD BLOCK 0 STREAMS s $")
    subscriber.ask("SUBSCRIBE c")
    world.server.errors("LOADING")
    assert world.server.run([b"XADD", b"s", b"5-1", b"a", b"b"]) == b"5-1"
    assert world.server.run([b"PUBLISH", b"c", b"m"]) == 1
    assert b"5-1" in reader.taken()
    assert b"message" in subscriber.taken()
    assert reader.ask("GET a").startswith(b"-LOADING")


def test_transaction_is_refused_at_its_end(world: World) -> None:
    client = world.client()
    client.send("MULTI", "SET a 1")
    client.taken()
    world.server.errors("MISCONF")
    assert client.ask("EXEC").startswith(b"-EXECABORT Transaction discarded because of: MISCONF Valkey is")
    world.server.clear_errors()
    assert client.ask("GET a") == b"$-1\r\n"


def test_same_bytes_give_the_same_digest() -> None:
    digests = []
    for value in ("1", "1", "2"):
        world = World()
        world.client().send(f"SET a {value}")
        digests.append(world.server.digest)
    assert digests[0] == digests[1] != digests[2]
