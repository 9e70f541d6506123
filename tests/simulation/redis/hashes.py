"""Commands of hashes. A hash is a dict; an empty one is removed."""

from collections.abc import Sequence

from tests.simulation.redis.keyspace import Keyspace
from tests.simulation.redis.numbers import LARGEST, SMALLEST, integer
from tests.simulation.redis.replies import SYNTAX_ERROR, Map, Pairs, Refusal, Reply
from tests.simulation.redis.table import add, wrong_count


@add("hget", 3)
def hget(keys: Keyspace, words: Sequence[bytes]) -> Reply:
    found = keys.find(words[1], dict)
    return None if found is None else found.get(words[2])


@add("hmget", -3)
def hmget(keys: Keyspace, words: Sequence[bytes]) -> Reply:
    found = keys.find(words[1], dict)
    if found is None:
        return [None] * (len(words) - 2)
    return [found.get(field) for field in words[2:]]


@add("hgetall", 2)
def hgetall(keys: Keyspace, words: Sequence[bytes]) -> Reply:
    return _flat(keys.find(words[1], dict) or {}, Map())


@add("hlen", 2)
def hlen(keys: Keyspace, words: Sequence[bytes]) -> Reply:
    return len(keys.find(words[1], dict) or ())


@add("hexists", 3)
def hexists(keys: Keyspace, words: Sequence[bytes]) -> Reply:
    return int(words[2] in (keys.find(words[1], dict) or ()))


@add("hset", -4, writes=True, needs_memory=True)
def hset(keys: Keyspace, words: Sequence[bytes]) -> Reply:
    if len(words) % 2:
        raise wrong_count("hset")
    found = keys.find_or_create(words[1], dict)
    before = len(found)
    found.update(zip(words[2::2], words[3::2], strict=True))
    return len(found) - before


@add("hsetnx", 4, writes=True, needs_memory=True)
def hsetnx(keys: Keyspace, words: Sequence[bytes]) -> Reply:
    found = keys.find_or_create(words[1], dict)
    if words[2] in found:
        return 0
    found[words[2]] = words[3]
    return 1


@add("hdel", -3, writes=True)
def hdel(keys: Keyspace, words: Sequence[bytes]) -> Reply:
    found = keys.find_to_write(words[1], dict)
    if found is None:
        return 0
    before = len(found)
    for field in words[2:]:
        found.pop(field, None)
    removed = before - len(found)
    if not found:
        keys.delete(words[1])
    return removed


@add("hincrby", 4, writes=True, needs_memory=True)
def hincrby(keys: Keyspace, words: Sequence[bytes]) -> Reply:
    _, key, field, by = words
    change = integer(by)
    found = keys.find(key, dict) or {}
    changed = integer(found.get(field, b"0"), "ERR hash value is not an integer") + change
    if not SMALLEST <= changed <= LARGEST:
        raise Refusal("ERR increment or decrement would overflow")
    keys.find_or_create(key, dict)[field] = b"%d" % changed
    return changed


@add("hrandfield", -2)
def hrandfield(keys: Keyspace, words: Sequence[bytes]) -> Reply:
    count = integer(words[2]) if len(words) > 2 else None
    if len(words) > 4 or (len(words) == 4 and words[3].upper() != b"WITHVALUES"):
        raise Refusal(SYNTAX_ERROR)
    found = keys.find(words[1], dict)
    if count is None:
        return keys.random.choice(list(found)) if found else None
    if not found or not count:
        return []
    fields = list(found)
    if count < 0:
        fields = keys.random.choices(fields, k=-count)
    elif count < len(fields):
        fields = keys.random.sample(fields, count)
    if len(words) == 3:
        return fields
    pairs = Pairs()
    for field in fields:
        pairs += (field, found[field])
    return pairs


def _flat(found: dict[bytes, bytes], into: Map) -> Map:
    for pair in found.items():
        into += pair
    return into
