"""Random histories of commands, for the comparison of the model with a real server."""

from collections.abc import Sequence
from typing import Any, TypeAlias

from hypothesis import strategies as st

from tests.simulation.redis.comparison import Earlier, Words

Step: TypeAlias = tuple[int, Words] | float
"""A command with the number of its connection, or seconds that pass."""

KINDS = ("string", "hash", "list", "set", "zset", "stream")
ANY_KEY = st.sampled_from([f"{kind}:{number}".encode() for kind in KINDS for number in (1, 2)])


def key(kind: str) -> st.SearchStrategy[bytes]:
    """Return the keys of one type; one in ten is of any type."""
    usual = [f"{kind}:{number}".encode() for number in (1, 2)]
    return st.integers(0, 9).flatmap(lambda dice: st.sampled_from(usual) if dice else ANY_KEY)


FIELD = st.sampled_from([b"a", b"b", b"c", b"d", b""])
VALUE = st.sampled_from([b"", b"0", b"1", b"-5", b"007", b"text", b"x" * 70, b"\xff\r\n\x00", b"9223372036854775807"])
NUMBER = st.sampled_from([b"0", b"1", b"2", b"-1", b"-2", b"5", b"x", b"01", b"9223372036854775808"])
SCORE = st.sampled_from([b"0", b"1", b"1.5", b"-2", b"1e3", b"inf", b"-inf", b"nan", b"x", b"0.1"])
BOUND = st.sampled_from([b"-inf", b"+inf", b"0", b"1", b"(1", b"(1.5", b"x", b"2"])
LIFE = st.sampled_from([b"2000", b"7200", b"100000", b"0", b"-5", b"x"])
STREAM_ID = st.one_of(
    st.builds(lambda ms, seq: b"%d-%d" % (ms, seq), st.integers(0, 6), st.integers(0, 2)),
    st.sampled_from([b"0", b"3", b"5-*", b"x", b"$", b"-", b"1-x"]),
    st.builds(Earlier, st.just("XADD"), st.integers(0, 3)),
)
ENDS = st.one_of(STREAM_ID, st.sampled_from([b"-", b"+", b"(1-1", b"(3", b"(0-0"]))
TRIM = st.tuples(
    st.sampled_from([b"MAXLEN", b"MINID", b"maxlen"]), st.sampled_from([(), (b"~",), (b"=",)]),
    st.sampled_from([b"0", b"1", b"2", b"3", b"5", b"-1", b"x"]),
)  # fmt: skip
GROUP = st.sampled_from([b"g1", b"g2"])
READ_COUNT = st.sampled_from([(), (b"ENTRIESREAD", b"2"), (b"ENTRIESREAD", b"-1"), (b"ENTRIESREAD", b"x")])
CHANNEL = st.sampled_from([b"one", b"two"])


def pairs(*of: st.SearchStrategy[bytes]) -> st.SearchStrategy[Any]:
    return st.lists(st.tuples(*of), min_size=1, max_size=3)


def maybe(*words: bytes | st.SearchStrategy[bytes]) -> st.SearchStrategy[Any]:
    return st.just(()) | st.tuples(*[word if isinstance(word, st.SearchStrategy) else st.just(word) for word in words])


def flat(parts: Any) -> list[Any]:
    """Return the words of a command: nested lists and tuples are opened."""
    if isinstance(parts, bytes | Earlier):
        return [parts]
    return [word for part in parts for word in flat(part)]


COMMANDS: dict[str, Sequence[Any]] = {
    "GET": [key("string")],
    "SET": [key("string"), VALUE, maybe(st.sampled_from([b"EX", b"PX"]), LIFE), maybe(st.sampled_from([b"NX", b"XX"]))],
    "DEL": [st.lists(ANY_KEY, min_size=1, max_size=2)],
    "EXISTS": [st.lists(ANY_KEY, min_size=1, max_size=2)],
    "TYPE": [ANY_KEY],
    "RENAME": [ANY_KEY, ANY_KEY],
    "EXPIRE": [ANY_KEY, LIFE],
    "PEXPIRE": [ANY_KEY, st.sampled_from([b"900000", b"0", b"x"])],
    "PEXPIREAT": [ANY_KEY, st.sampled_from([b"1", b"-1", b"x"])],
    "TTL": [ANY_KEY],
    "PTTL": [ANY_KEY],
    "KEYS": [st.sampled_from([b"*", b"*:1", b"h?sh:*", b"[hl]*", b"[^h]*", b"\\*", b"none"])],
    "SCAN": [b"0", maybe(b"MATCH", b"*:1"), maybe(b"COUNT", b"1000")],
    "DUMP": [ANY_KEY],
    "RESTORE": [
        ANY_KEY, st.sampled_from([b"0", b"900000", b"-1"]), st.builds(Earlier, st.just("DUMP"), st.integers(0, 2)),
        maybe(b"REPLACE"),
    ],
    "HGET": [key("hash"), FIELD],
    "HMGET": [key("hash"), st.lists(FIELD, min_size=1, max_size=3)],
    "HGETALL": [key("hash")],
    "HLEN": [key("hash")],
    "HEXISTS": [key("hash"), FIELD],
    "HSET": [key("hash"), pairs(FIELD, VALUE)],
    "HSETNX": [key("hash"), FIELD, VALUE],
    "HDEL": [key("hash"), st.lists(FIELD, min_size=1, max_size=3)],
    "HINCRBY": [key("hash"), FIELD, NUMBER],
    "HRANDFIELD": [key("hash"), st.sampled_from([(), b"9", b"-3", b"0", b"x"])],
    "RPUSH": [key("list"), st.lists(VALUE, min_size=1, max_size=3)],
    "LPUSH": [key("list"), st.lists(VALUE, min_size=1, max_size=3)],
    "LPOP": [key("list"), maybe(NUMBER)],
    "LLEN": [key("list")],
    "LINDEX": [key("list"), NUMBER],
    "LRANGE": [key("list"), NUMBER, NUMBER],
    "LTRIM": [key("list"), NUMBER, NUMBER],
    "SADD": [key("set"), st.lists(VALUE, min_size=1, max_size=3)],
    "SMEMBERS": [key("set")],
    "ZADD": [key("zset"), maybe(st.sampled_from([b"NX", b"XX"])), pairs(SCORE, FIELD)],
    "ZREM": [key("zset"), st.lists(FIELD, min_size=1, max_size=3)],
    "ZCARD": [key("zset")],
    "ZSCORE": [key("zset"), FIELD],
    "ZRANGE": [key("zset"), NUMBER, NUMBER, maybe(b"REV"), maybe(b"WITHSCORES")],
    "ZRANGEBYSCORE": [key("zset"), BOUND, BOUND, maybe(b"WITHSCORES"), maybe(b"LIMIT", NUMBER, NUMBER)],
    "ZREMRANGEBYSCORE": [key("zset"), BOUND, BOUND],
    "XADD": [
        key("stream"), maybe(b"NOMKSTREAM"), st.just(()) | TRIM, st.one_of(st.just(b"*"), STREAM_ID),
        pairs(FIELD, VALUE),
    ],
    "XLEN": [key("stream")],
    "XRANGE": [key("stream"), ENDS, ENDS, maybe(b"COUNT", NUMBER)],
    "XREVRANGE": [key("stream"), ENDS, ENDS, maybe(b"COUNT", NUMBER)],
    "XREAD": [
        maybe(b"COUNT", NUMBER), maybe(b"BLOCK", b"1"), b"STREAMS",
        st.one_of(st.tuples(key("stream"), STREAM_ID), st.tuples(ANY_KEY, ANY_KEY, STREAM_ID, STREAM_ID)),
    ],
    "XDEL": [key("stream"), st.lists(STREAM_ID, min_size=1, max_size=3)],
    "XTRIM": [key("stream"), TRIM],
    "XINFO": [st.sampled_from([b"STREAM", b"GROUPS", b"groups"]), key("stream")],
    "XGROUP": [st.sampled_from([b"CREATE", b"SETID"]), key("stream"), GROUP, STREAM_ID, maybe(b"MKSTREAM"), READ_COUNT],
    "XPENDING": [key("stream"), GROUP],
    "PUBLISH": [CHANNEL, VALUE],
    "MEMORY": [b"USAGE", ANY_KEY, maybe(b"SAMPLES", st.sampled_from([b"0", b"50", b"x"]))],
    "PING": [maybe(VALUE)],
    "SELECT": [st.sampled_from([b"0", b"x"])],
    "TIME": [],
    "INFO": [maybe(b"server")],
    "AUTH": [st.sampled_from([(b"pw",), (b"nobody", b"pw"), (b"default", b"pw")])],
    "CLIENT": [st.sampled_from([(b"ID",), (b"SETNAME", b"n"), (b"SETINFO", b"LIB-VER", b"1"), (b"SETNAME", b"a b")])],
    "SCRIPT": [st.sampled_from([(b"LOAD", b"return {1, 'a', false}"), (b"EXISTS", b"x"), (b"LOAD", b"retur")])],
    "EVAL": [
        st.sampled_from([
            b"return redis.call('GET', KEYS[1])",
            b"return redis.call(unpack(ARGV))",
            b"return redis.pcall(unpack(ARGV))",
            b"redis.call('SET', KEYS[1], 'kept') return redis.call('HSET', KEYS[1], 'a', 'b')",
        ]),
        b"1", ANY_KEY,
        st.sampled_from([(b"HLEN", b"hash:1"), (b"LRANGE", b"list:1", b"0", b"-1"), (b"NOPE",), (b"GET",)]),
    ],
    "EVALSHA": [st.sampled_from([b"0" * 40, b"short"]), b"0"],
    "NOSUCH": [st.lists(VALUE, max_size=2)],
}  # fmt: skip
"""The words of each command after its name."""


FAMILIES = [sorted(COMMANDS), *([name for name in sorted(COMMANDS) if name[0] == letter] for letter in "HLXXZ")]
"""All commands; those of hashes; of lists; of streams, which have the most; of sorted sets."""


@st.composite
def commands(draw: st.DrawFn, names: Sequence[str] = FAMILIES[0]) -> list[Any]:
    """Draw a command; one in ten lacks its last word or has one too many, and some are in lower case."""
    name = draw(st.sampled_from(names))
    parts = [part if isinstance(part, bytes) else draw(part) for part in COMMANDS[name]]
    words = [name.encode(), *flat(parts)]
    match draw(st.integers(0, 29)):
        case 0:
            words[0] = name.lower().encode()
        case 1 | 2 if len(words) > 1:
            del words[-1]
        case 3:
            words.append(b"?")
    return words


UNLIKE = frozenset({b"CLIENT", b"DUMP", b"HRANDFIELD", b"INFO", b"KEYS", b"MEMORY", b"SCAN", b"SMEMBERS", b"TIME"})
"""Commands whose replies differ by themselves; within the reply of an EXEC they are not told apart."""
SAFE_IN_TRANSACTIONS = commands().filter(lambda words: words[0].upper() not in UNLIKE)


@st.composite
def transactions(draw: st.DrawFn) -> list[list[Any]]:
    """Draw the commands from MULTI to EXEC or DISCARD."""
    inner = draw(st.lists(SAFE_IN_TRANSACTIONS, max_size=4))
    return [[b"MULTI"], *inner, [draw(st.sampled_from([b"EXEC", b"EXEC", b"DISCARD"]))]]


PLAIN, RESP3, SUBSCRIBER = range(3)
"""The connections of a history: one of RESP2, one of RESP3, and one of RESP2 that subscribes."""


@st.composite
def histories(draw: st.DrawFn) -> list[Step]:
    """Draw a history on three connections, mostly of one family of commands; time passes now and then."""
    steps: list[Step] = []
    usual = commands(draw(st.sampled_from(FAMILIES)))
    for _ in range(draw(st.integers(1, 40))):
        match draw(st.integers(0, 19)):
            case 0:
                steps.append(draw(st.sampled_from([10.0, 3_000.0, 50_000.0])))
            case 1:
                steps += [(PLAIN, words) for words in draw(transactions())]
            case 2 | 3:
                command = draw(st.sampled_from([b"SUBSCRIBE", b"UNSUBSCRIBE"]))
                steps.append((draw(st.sampled_from([RESP3, SUBSCRIBER])), [command, draw(CHANNEL)]))
            case 4:
                steps.append((SUBSCRIBER, draw(commands())))
            case 5 | 6 | 7:
                steps.append((PLAIN, draw(commands())))
            case 8 | 9 | 10 | 11:
                steps.append((RESP3, draw(usual)))
            case _:
                steps.append((PLAIN, draw(usual)))
    return steps
