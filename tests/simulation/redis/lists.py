"""Commands of lists. An empty list is removed."""

from collections.abc import Sequence

from tests.simulation.redis.keyspace import Keyspace
from tests.simulation.redis.numbers import integer
from tests.simulation.redis.replies import NULL_ARRAY, OK, Refusal, Reply
from tests.simulation.redis.table import add, wrong_count


@add("rpush", -3, writes=True, needs_memory=True)
def rpush(keys: Keyspace, words: Sequence[bytes]) -> Reply:
    found = keys.find_or_create(words[1], list)
    found.extend(words[2:])
    return len(found)


@add("lpush", -3, writes=True, needs_memory=True)
def lpush(keys: Keyspace, words: Sequence[bytes]) -> Reply:
    found = keys.find_or_create(words[1], list)
    found[:0] = words[:1:-1]
    return len(found)


@add("lpop", -2, writes=True)
def lpop(keys: Keyspace, words: Sequence[bytes]) -> Reply:
    if len(words) > 3:
        raise wrong_count("lpop")
    count = integer(words[2], "ERR value is out of range, must be positive") if len(words) == 3 else None
    if count is not None and count < 0:
        raise Refusal("ERR value is out of range, must be positive")
    found = keys.find_to_write(words[1], list)
    if found is None:
        return None if count is None else NULL_ARRAY
    popped = found[:1] if count is None else found[:count]
    del found[: len(popped)]
    if not found:
        keys.delete(words[1])
    return popped[0] if count is None else popped


@add("llen", 2)
def llen(keys: Keyspace, words: Sequence[bytes]) -> Reply:
    return len(keys.find(words[1], list) or ())


@add("lindex", 3)
def lindex(keys: Keyspace, words: Sequence[bytes]) -> Reply:
    found = keys.find(words[1], list)
    if found is None:
        return None
    index = integer(words[2])
    element: bytes | None = found[index] if -len(found) <= index < len(found) else None
    return element


@add("lrange", 4)
def lrange(keys: Keyspace, words: Sequence[bytes]) -> Reply:
    start, stop = integer(words[2]), integer(words[3])
    found = keys.find(words[1], list)
    return [] if found is None else found[bounds(start, stop, len(found))]


@add("ltrim", 4, writes=True)
def ltrim(keys: Keyspace, words: Sequence[bytes]) -> Reply:
    start, stop = integer(words[2]), integer(words[3])
    found = keys.find_to_write(words[1], list)
    if found is None:
        return OK
    found[:] = found[bounds(start, stop, len(found))]
    if not found:
        keys.delete(words[1])
    return OK


def bounds(start: int, stop: int, length: int) -> slice:
    """Return the slice from one index to another, both included; negative ones count from the end."""
    first = max(0, start + length if start < 0 else start)
    last = stop + length if stop < 0 else stop
    return slice(first, max(last + 1, first))
