"""Commands of strings, and of keys of any type with their expiry."""

import pickle
import re
from collections.abc import Sequence
from typing import Any

from tests.simulation.redis.keyspace import Keyspace
from tests.simulation.redis.numbers import SMALLEST, integer
from tests.simulation.redis.replies import OK, SYNTAX_ERROR, Refusal, Reply, Simple
from tests.simulation.redis.sets import Set
from tests.simulation.redis.sorted_sets import SortedSet
from tests.simulation.redis.stream import Stream
from tests.simulation.redis.table import add

TYPES: dict[type, str] = {
    bytes: "string", dict: "hash", list: "list", Set: "set", SortedSet: "zset", Stream: "stream",
}  # fmt: skip
LONGEST_MS = 2**63 - 1
PATTERN = re.compile(rb"\\(.)|\[(\^?)([^\]]+)\]|(.)", re.DOTALL)
MS_OF = {b"EX": 1000, b"PX": 1}


@add("get", 2)
def get(keys: Keyspace, words: Sequence[bytes]) -> Reply:
    return keys.find(words[1], bytes)


@add("set", -3, writes=True, needs_memory=True)
def set_(keys: Keyspace, words: Sequence[bytes]) -> Reply:
    """SET with EX, PX, NX and XX; any other option is a syntax error."""
    if len(words) == 3:
        keys.set(words[1], words[2])
        return OK
    life, condition, options = None, b"", iter(words[3:])
    for option in map(bytes.upper, options):
        unit, amount = MS_OF.get(option), next(options, None) if option in MS_OF else None
        if unit and amount is not None and life is None:
            life = amount, unit
        elif option in (b"NX", b"XX") and condition in (b"", option):
            condition = option
        else:
            raise Refusal(SYNTAX_ERROR)
    expires = _expiry(keys, *life, keys.ms, "set", least=1) if life else None
    if condition and (keys.find_any(words[1]) is not None) is not (condition == b"XX"):
        return None
    keys.set(words[1], words[2], expires)
    return OK


@add("del", -2, writes=True)
def delete(keys: Keyspace, words: Sequence[bytes]) -> Reply:
    return sum([keys.find_any(key) is not None and keys.delete(key) for key in words[1:]])


@add("exists", -2)
def exists(keys: Keyspace, words: Sequence[bytes]) -> Reply:
    return sum([keys.find_any(key) is not None for key in words[1:]])


@add("type", 2)
def type_(keys: Keyspace, words: Sequence[bytes]) -> Reply:
    value = keys.find_any(words[1])
    return Simple("none" if value is None else TYPES[type(value)])


@add("rename", 3, writes=True)
def rename(keys: Keyspace, words: Sequence[bytes]) -> Reply:
    _, old, new = words
    value = keys.find_any(old)
    if value is None:
        raise Refusal("ERR no such key")
    if old != new:
        keys.rename(old, new)
        if type(value) is Stream:
            keys.touched.add(new)
    return OK


def _expiry(keys: Keyspace, amount: bytes, unit: int, since: int, command: str, least: int = SMALLEST) -> int:
    """Return Unix milliseconds: ``amount`` of ``unit`` milliseconds after ``since``."""
    number = integer(amount)
    if number < least or abs(number) > LONGEST_MS // unit or number * unit > LONGEST_MS - since:
        raise Refusal(f"ERR invalid expire time in '{command}' command")
    return number * unit + since


def _expire(keys: Keyspace, words: Sequence[bytes], unit: int, is_absolute: bool) -> Reply:
    if len(words) > 3:
        raise Refusal(f"ERR Unsupported option {words[3].decode()}")
    key = words[1]
    expires = _expiry(keys, words[2], unit, 0 if is_absolute else keys.ms, words[0].decode().lower())
    if keys.find_any(key) is None:
        return 0
    if expires <= keys.ms:
        keys.delete(key)
    else:
        keys.expires[key] = expires
    return 1


@add("expire", -3, writes=True)
def expire(keys: Keyspace, words: Sequence[bytes]) -> Reply:
    return _expire(keys, words, 1000, is_absolute=False)


@add("pexpire", -3, writes=True)
def pexpire(keys: Keyspace, words: Sequence[bytes]) -> Reply:
    return _expire(keys, words, 1, is_absolute=False)


@add("pexpireat", -3, writes=True)
def pexpireat(keys: Keyspace, words: Sequence[bytes]) -> Reply:
    return _expire(keys, words, 1, is_absolute=True)


def _left(keys: Keyspace, key: bytes) -> int:
    """Return how many milliseconds a key still lives: -2 without the key, -1 without expiry."""
    if keys.find_any(key) is None:
        return -2
    expires = keys.expires.get(key)
    return -1 if expires is None else expires - keys.ms


@add("pttl", 2)
def pttl(keys: Keyspace, words: Sequence[bytes]) -> Reply:
    return _left(keys, words[1])


@add("ttl", 2)
def ttl(keys: Keyspace, words: Sequence[bytes]) -> Reply:
    left = _left(keys, words[1])
    return left if left < 0 else (left + 500) // 1000


def _matching(keys: Keyspace, pattern: bytes) -> list[bytes]:
    keys.expire_all()
    fits = re.compile(_regex(pattern), re.DOTALL).fullmatch
    return [key for key in keys.data if fits(key)]


def _regex(pattern: bytes) -> bytes:
    """Return the regular expression of a pattern with ``*``, ``?``, ``[a-z]``, ``[^a]`` and backslashes."""
    parts: list[bytes] = []
    for found in PATTERN.finditer(pattern):
        escaped, negated, members, other = found.groups()
        if members is not None:
            parts.append(b"[%b%b]" % (negated, re.escape(members).replace(rb"\-", b"-")))
        else:
            parts.append({b"*": b".*", b"?": b"."}.get(other) or re.escape(escaped or other))
    return b"".join(parts)


@add("keys", 2)
def keys_(keys: Keyspace, words: Sequence[bytes]) -> Reply:
    return _matching(keys, words[1])


@add("scan", -2)
def scan(keys: Keyspace, words: Sequence[bytes]) -> Reply:
    """SCAN answers with all keys at once, whatever the cursor and the count."""
    integer(words[1], "ERR invalid cursor")
    options = {name.upper(): value for name, value in zip(words[2::2], words[3::2], strict=False)}
    if len(words) % 2 or options.keys() - {b"MATCH", b"COUNT"}:
        raise Refusal(SYNTAX_ERROR)
    if integer(options.get(b"COUNT", b"10")) < 1:
        raise Refusal(SYNTAX_ERROR)
    return [b"0", _matching(keys, options.get(b"MATCH", b"*"))]


@add("dump", 2)
def dump(keys: Keyspace, words: Sequence[bytes]) -> Reply:
    """DUMP answers with bytes that only RESTORE of this model reads."""
    value = keys.find_any(words[1])
    return None if value is None else pickle.dumps(value)


@add("restore", -4, writes=True, needs_memory=True)
def restore(keys: Keyspace, words: Sequence[bytes]) -> Reply:
    _, key, ttl, payload, *options = words
    if [option.upper() for option in options] not in ([], [b"REPLACE"]):
        raise Refusal(SYNTAX_ERROR)
    if not options and keys.find_any(key) is not None:
        raise Refusal("BUSYKEY Target key name already exists.")
    left = integer(ttl)
    if left < 0:
        raise Refusal("ERR Invalid TTL value, must be >= 0")
    value: Any
    try:
        value = pickle.loads(payload)
    except Exception as error:  # a boundary: these are any bytes
        raise Refusal("ERR DUMP payload version or checksum are wrong") from error
    keys.set(key, value, keys.ms + left if left else None)
    if type(value) is Stream:
        keys.touched.add(key)
    return OK


@add("flushall", -1, writes=True)
def flushall(keys: Keyspace, words: Sequence[bytes]) -> Reply:
    if [option.upper() for option in words[1:]] not in ([], [b"ASYNC"], [b"SYNC"]):
        raise Refusal(SYNTAX_ERROR)
    keys.clear()
    return OK
