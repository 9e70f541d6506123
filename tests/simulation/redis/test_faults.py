"""The server refuses what a real one refuses, with the same words."""

import random
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import hiredis
import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from tests.simulation.redis import Model
from tests.simulation.redis.server import Server
from tests.support.processes import Handle
from tests.support.redis import free_port, run
from tests.support.resp import Values

KNOWN = "return 1"
DIGEST = "e0e1f9fabfc9d4800c877a703b823ac0578ff8db"
COMMANDS: list[list[str]] = [
    *[line.split() for line in (
        "GET a", "SET a 1", "DEL a", "PING", "PUBLISH c m", "XADD s 1-1 a b", "XREAD STREAMS s 0",
        f"EVALSHA {DIGEST} 0", f"EVALSHA {DIGEST} 1 a", f"EVALSHA {'f' * 40} 0",
        "SCRIPT LOAD return(1)", "SUBSCRIBE c", "UNSUBSCRIBE c",
        "AUTH default x", "CLIENT SETNAME x", "CLIENT SETINFO LIB-NAME x", "SELECT 0", "MULTI", "GET a", "SET a 1",
        "EXEC",
        "MULTI", "GET none", "EXEC", "MULTI", "PUBLISH c m", "EXEC", "DISCARD", "EXPIRE a 5", "XTRIM s MAXLEN 0",
        "LTRIM l 0 1", "HDEL h f", "XGROUP SETID s g 0", "XGROUP CREATE s g 0", "RENAME no b", "FOO", "GET", "SCAN 0",
        "TTL none", "XINFO STREAM s", "XPENDING s g", "TYPE none", "EXISTS none", "SCRIPT EXISTS x", "XDEL s 1",
        "MEMORY USAGE none", "XRANGE s - +", "FLUSHALL",
    )],
    ["EVAL", "#!lua\nreturn 1", "0"], ["EVAL", "#!lua flags=no-writes\nreturn redis.call('GET', 'none')", "0"],
    ["EVAL", "#!lua flags=allow-stale\nreturn 1", "0"], ["EVAL", "#!lua flags=allow-oom\nreturn 1", "0"],
    ["EVAL", "return redis.call('SET', 'a', '1')", "0"], ["EVAL", "return redis.call('DEL', 'none')", "0"],
    ["EVAL", "return redis.call('GET', 'none')", "0"], ["EVAL", "return redis.call('PUBLISH', 'c', 'm')", "0"],
    ["EVAL", "return redis.pcall('SET', 'a', '1')", "0"], ["SCRIPT", "FLUSH"],
]  # fmt: skip
"""Commands of every kind. Those that succeed leave the same behind on both sides."""


class Sides:
    """A real server and the modelled one, with a connection to each."""

    def __init__(self, port: int) -> None:
        self.admin: Any = redis.Redis(port=port, decode_responses=True, retry=Retry(NoBackoff(), 0))
        self.server = Server(Model(random.Random(1)), time.time)
        self._modelled: list[bytes] = []
        self._conn = self.server.connect(self._modelled.append, lambda: None)
        self._real = socket.create_connection(("127.0.0.1", port))
        self._real.settimeout(20)

    def close(self) -> None:
        self.admin.close()
        self._real.close()

    def ask(self, words: list[str]) -> tuple[bytes, bytes]:
        """Return the replies of the model and of the real server."""
        request: bytes = hiredis.pack_command(tuple(words))  # type: ignore[arg-type]  # its type allows one word only
        self._conn.received(request)
        modelled = b"".join(self._modelled)
        self._modelled.clear()
        self._real.sendall(request)
        values, real = Values(), b""
        while not list(values.feed(data := self._real.recv(65_536))):
            real += data
        return modelled, real + data

    def compare(self, *without: str) -> list[bytes]:
        """Run all commands, ``without`` some, on both sides and return the replies; fail where they differ."""
        replies = []
        for words in COMMANDS:
            if words[0] in without:
                continue
            modelled, real = self.ask(words)
            assert modelled == real, words
            replies.append(real)
        return replies


def set_up(**options: str) -> Callable[[Sides], None]:
    """Return a function that sets options of the real server."""

    def apply(sides: Sides) -> None:
        for name, value in options.items():
            sides.admin.config_set(name.replace("_", "-"), value)

    return apply


def fail_to_save(sides: Sides) -> None:
    """Make the real server unable to write its data: a folder has the name of its file."""
    Path(sides.admin.config_get("dir")["dir"], "dump.rdb").mkdir()
    sides.admin.config_set("save", "3600 1")
    sides.admin.bgsave()
    while sides.admin.info("persistence")["rdb_last_bgsave_status"] == "ok":
        time.sleep(0.01)


def forbid(*rules: str) -> Callable[[Sides], None]:
    def apply(sides: Sides) -> None:
        sides.admin.execute_command("ACL", "SETUSER", "default", *rules)

    return apply


def follow_nobody(sides: Sides) -> None:
    sides.admin.execute_command("REPLICAOF", "127.0.0.1", "1")


def follow_nobody_and_say_so(sides: Sides) -> None:
    sides.admin.config_set("replica-serve-stale-data", "no")
    follow_nobody(sides)


def run_for_ever(sides: Sides) -> None:
    """Run a script without end on the real server, and return once it answers so."""
    sides.admin.config_set("busy-reply-threshold", "10")
    connection = sides.admin.connection_pool.get_connection()
    connection.send_command("EVAL", "while true do end", "0")
    wait_for_refusal(sides, "busy running a script")


def load_slowly(sides: Sides) -> None:
    """Let the real server read its data again, and return once it answers so.

    It takes 10 ms for each key, and answers between two keys, because each is larger than its interval.
    """
    sides.admin.mset({f"key:{number}": "v" * 1_100 for number in range(5_000)})
    sides.admin.config_set("rdbcompression", "no")
    sides.admin.config_set("key-load-delay", "10000")
    connection = sides.admin.connection_pool.get_connection()
    connection.send_command("DEBUG", "RELOAD")
    wait_for_refusal(sides, "loading the dataset")


def wait_for_refusal(sides: Sides, text: str) -> None:
    """Return once the real server refuses a command with a text."""
    refusal = ""
    while text not in refusal:
        try:
            sides.admin.ping()
        except redis.RedisError as error:
            refusal = str(error)


def cover_all_slots_but_one(sides: Sides) -> None:
    sides.admin.execute_command("CLUSTER", "ADDSLOTSRANGE", "0", "16382")


CAUSES: dict[str, Callable[[Sides], None]] = {
    "OOM": set_up(maxmemory="1"),
    "NOREPLICAS": set_up(min_replicas_to_write="1"),
    "MISCONF": fail_to_save,
    "LOADING": load_slowly,
    "NOPERM": forbid("-@all"),
    "BUSY": run_for_ever,
    "CLUSTERDOWN": cover_all_slots_but_one,
    "READONLY": follow_nobody,
    "MASTERDOWN": follow_nobody_and_say_so,
}
"""How the real server comes to answer each error."""


@pytest.fixture
def sides(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Sides]:
    port = free_port()
    options = ["--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(tmp_path)]
    options += ["--enable-debug-command", "yes", "--loading-process-events-interval-bytes", "1024"]
    if "CLUSTERDOWN" in request.node.name:
        options += ["--cluster-enabled", "yes", "--cluster-port", str(free_port())]
    process: Handle = run(options, port, tmp_path)
    made = Sides(port)
    yield made
    made.close()
    process.kill()
    process.wait()


@pytest.mark.parametrize("code", sorted(CAUSES))
def test_refusals_are_those_of_the_server(sides: Sides, code: str) -> None:
    sides.ask(["SCRIPT", "LOAD", KNOWN])
    CAUSES[code](sides)
    sides.server.errors(code)
    # A cluster has reasons of its own: keys in several slots, and keys that a script doesn't name in KEYS.
    replies = sides.compare("RENAME", "EVAL") if code == "CLUSTERDOWN" else sides.compare()
    assert sum(code.encode() in reply for reply in replies) > 3


def test_nothing_is_refused_without_a_fault(sides: Sides) -> None:
    sides.ask(["SCRIPT", "LOAD", KNOWN])
    sides.compare()
