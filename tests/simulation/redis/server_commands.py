"""Commands about the server: TIME, INFO, MEMORY USAGE."""

from collections.abc import Iterable, Sequence
from itertools import islice
from typing import Any

from tests.simulation.redis.keyspace import Keyspace
from tests.simulation.redis.numbers import integer
from tests.simulation.redis.replies import SYNTAX_ERROR, Refusal, Reply, Text
from tests.simulation.redis.sets import Set
from tests.simulation.redis.sorted_sets import SortedSet
from tests.simulation.redis.stream import Stream
from tests.simulation.redis.table import add

REDIS_VERSION, VERSION = b"7.2.4", b"9.1.2"
KEY_BYTES, ELEMENT_BYTES, NODE_BYTES = 56, 24, 64
"""A plausible overhead of a key, of each element in it and of each node of a stream."""

SECTIONS: dict[bytes, dict[bytes, bytes]] = {
    b"Server": {
        b"redis_version": REDIS_VERSION, b"server_name": b"valkey", b"valkey_version": VERSION,
        b"redis_mode": b"standalone", b"tcp_port": b"6379",
    },
    b"Memory": {b"used_memory": b"1000000", b"maxmemory": b"0", b"maxmemory_policy": b"noeviction"},
    b"Persistence": {b"loading": b"0", b"aof_enabled": b"1", b"aof_last_write_status": b"ok"},
    b"Replication": {b"role": b"master", b"connected_slaves": b"0"},
}  # fmt: skip
"""What INFO tells, by section. It is fixed."""


@add("time", 1, while_loading=True, while_stale=True)
def time(keys: Keyspace, words: Sequence[bytes]) -> Reply:
    seconds, microseconds = divmod(keys.us, 1_000_000)
    return [b"%d" % seconds, b"%d" % microseconds]


@add("info", -1, while_loading=True, while_stale=True)
def info(keys: Keyspace, words: Sequence[bytes]) -> Reply:
    wanted = {word.lower() for word in words[1:]}
    if wanted & {b"all", b"default", b"everything"}:
        wanted = set()
    shown = [
        b"# %b\r\n" % name + b"".join([b"%b:%b\r\n" % pair for pair in lines.items()])
        for name, lines in SECTIONS.items()
        if not wanted or name.lower() in wanted
    ]
    return Text(b"\r\n".join(shown))


@add("memory|usage", -3)
def memory_usage(keys: Keyspace, words: Sequence[bytes]) -> Reply:
    samples = 5
    for at in range(3, len(words), 2):
        if words[at].upper() != b"SAMPLES" or at + 1 == len(words):
            raise Refusal(SYNTAX_ERROR)
        samples = integer(words[at + 1])
        if samples < 0:
            raise Refusal(SYNTAX_ERROR)
    value = keys.find_any(words[2])
    return None if value is None else KEY_BYTES + len(words[2]) + _size(value, samples)


def _size(value: Any, samples: int) -> int:
    """Return the bytes of a value, estimated from its first elements; ``samples`` 0: from all."""
    match value:
        case bytes():
            return len(value)
        case Set():
            return _sampled(((member,) for member in value), len(value), samples)
        case dict():
            return _sampled(value.items(), len(value), samples)
        case list():
            return _sampled(((element,) for element in value), len(value), samples)
        case SortedSet():
            return _sampled(((member,) for member in value.scores), len(value.scores), samples)
        case Stream():
            return sum([NODE_BYTES + node.size for node in value.nodes])
    raise AssertionError(type(value))


def _sampled(elements: Iterable[Iterable[bytes]], count: int, samples: int) -> int:
    seen = list(islice(elements, samples or None))
    return sum([ELEMENT_BYTES + sum(map(len, element)) for element in seen]) * count // len(seen) if seen else 0
