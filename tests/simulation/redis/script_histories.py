"""Random histories of the project's Lua scripts, for the comparison of the model with a real server."""

from collections.abc import Sequence
from importlib.resources import files
from typing import Any, TypeAlias

from hypothesis import strategies as st

from tests.simulation.redis.comparison import Earlier, Words
from tests.simulation.redis.histories import flat

Call: TypeAlias = tuple[str, Sequence[Any], Sequence[Any]]
"""A script's name, its keys and its arguments."""

NAMES = sorted(
    entry.name.removesuffix(".lua")
    for entry in files("realtime.redis").joinpath("lua").iterdir()
    if entry.read_bytes().startswith(b"#!lua")
)
"""Every script that is called; the other files are included in them."""

META, LOG, IDS, OLD_IDS = b"feed:meta", b"feed:log", b"feed:ids", b"feed:ids:old"
INTENTS, DUE, MARK = b"intents", b"intents:due", b"added"
STREAM, LETTERS, TOPICS = b"topic", b"topic.dlq", b"dlq:topics"
LEASE, TOKEN, CURSOR, RELAYS = b"lease", b"token", b"pos", b"relays"
NODES, CONNECTIONS, ONLINE, NODE_MARK, BUCKET = b"nodes", b"node:n1", b"online", b"node:n1:mark", b"bucket"
REVOKED, VERSION, NEWS = b"revoked", b"revoked:version", b"revoked:news"
SECONDS, DAYS = b"86400", b"7"


def some(*values: bytes) -> st.SearchStrategy[bytes]:
    return st.sampled_from(values)


EPOCH = some(b"e1", b"e2")
SMALL = some(b"0", b"1", b"2", b"3", b"5")
ENTRY_ID = st.one_of(
    st.builds(lambda ms, seq: b"%d-%d" % (ms, seq), st.integers(1, 5), st.integers(0, 3)),
    some(b"10-0", b"18446744073709551615-1"),
)
PUBLICATION = some(b"p1", b"p2", b"p3", b"p4")
PAYLOAD = some(b"", b"x", b"y" * 40, b"z" * 200, b"\xff\x00\r\n")
MANY_ENTRIES = [word for n in range(1_100) for word in (b"20-%d" % n, b"many%d" % n, b"payload")]
RELAY = some(b"r1", b"r2")
FIELDS = st.lists(st.tuples(some(b"payload", b"meta", b"dlq_more_fields"), PAYLOAD), min_size=1, max_size=3)
TOO_MANY_FIELDS = [b"f"] * 7_004
INTENT = some(b"a", b"b", b"c")
LIFE_OF_INTENT = {b"a": b"-3000000", b"b": b"-2000000", b"c": b"100000000"}
"""How long each is not due: far from each other, so that both sides see them in one order."""
USER = some(b"1", b"2")
CHANGE = st.tuples(some(b"+", b"-"), some(b"c1", b"c2", b"c3"), USER)
HELD = st.tuples(some(b"c1", b"c2", b"c3"), USER)


def users(changes: Sequence[Sequence[bytes]]) -> list[bytes]:
    """Return the keys of the users of some changes, whose last word is the user."""
    return [key for change in changes for key in (b"user:" + change[-1], b"status:" + change[-1])]


SCRIPTS: dict[str, st.SearchStrategy[tuple[Sequence[Any], Sequence[Any]]]] = {
    "auth_revoke": st.tuples(
        st.just([REVOKED, VERSION, NEWS]),
        st.tuples(
            some(b"3:x", b"2:y", b""), some(b"3", b"2", b""),
            st.lists(st.tuples(USER, some(b"100", b"200"), some(b"300", b"150")), max_size=3),
        ),
    ),
    "feed_append": st.tuples(
        st.just([META, LOG, IDS, OLD_IDS]),
        st.tuples(
            some(b"t1", b"t2"), EPOCH, some(b"1", b"3", b"2000"), some(b"10", b"100", b"1000000"), some(SECONDS),
            some(b"600"), some(SECONDS),
            st.one_of(
                st.lists(st.tuples(ENTRY_ID, PUBLICATION, PAYLOAD), min_size=1, max_size=4), st.just(MANY_ENTRIES)
            ),
        ),
    ),
    "feed_open": st.tuples(st.just([META, LOG]), st.tuples(EPOCH, some(SECONDS))),
    "feed_range": st.tuples(
        st.just([META, LOG]), st.tuples(EPOCH, SMALL, SMALL, some(b"1", b"100"), some(b"50", b"100000"))
    ),
    "feed_read": st.tuples(st.just([META, LOG]), st.tuples(EPOCH, some(SECONDS), SMALL, some(b"1", b"100"))),
    "feed_reset_epoch": st.tuples(st.just([META, LOG]), st.tuples(EPOCH, EPOCH, some(SECONDS))),
    "intent_claim": st.tuples(st.just([INTENTS, DUE]), st.tuples(some(b"1", b"5"), some(b"100000000"))),
    "intent_fulfil": st.tuples(st.just([STREAM, INTENTS, DUE, MARK]), st.tuples(INTENT, some(b"3600"), FIELDS)),
    "intent_note": st.tuples(
        st.just([INTENTS, DUE, MARK]),
        INTENT.flatmap(
            lambda intent: st.tuples(
                st.just(intent), PAYLOAD, st.just(LIFE_OF_INTENT[intent]), some(b"1", b"5"), some(b"1", b"1000000000")
            )
        ),
    ),
    "intent_postpone": st.tuples(
        st.just([DUE]), st.tuples(some(b"100000000"), st.lists(INTENT, min_size=1, max_size=3))
    ),
    "layer_publish": st.tuples(
        st.just([]), st.lists(st.tuples(some(b"one", b"two"), PAYLOAD), min_size=1, max_size=4)
    ),
    "limit_give": st.tuples(st.just([BUCKET]), st.just([b"0.001", b"1"])),
    "limit_take": st.tuples(st.just([BUCKET]), st.just([b"0.001", b"2"])),
    "presence_remove_node": st.lists(HELD, max_size=3).flatmap(
        lambda held: st.tuples(
            st.just([NODES, CONNECTIONS, ONLINE, *users(held)]),
            st.tuples(some(b"n1"), some(DAYS), some(b"0", b"1"), st.just(held)),
        )
    ),
    "presence_update": st.lists(CHANGE, max_size=4).flatmap(
        lambda changes: st.tuples(
            st.just([NODES, CONNECTIONS, ONLINE, NODE_MARK, *users(changes)]),
            st.tuples(
                some(b"n1"), some(b"1000", b"-1000"), some(DAYS), some(b"0", b"1", b"2"), some(b"m1", b"m2"),
                st.just(changes),
            ),
        )
    ),
    "relay_acquire": st.tuples(st.just([LEASE, TOKEN, CURSOR]), st.tuples(RELAY, some(b"100000"))),
    "relay_announce": st.tuples(st.just([RELAYS]), st.tuples(RELAY, some(b"100", b"-100"))),
    "relay_commit": st.tuples(
        st.just([CURSOR, STREAM]), st.tuples(some(b"1", b"2", b"9"), ENTRY_ID, SMALL, some(b"relay"), ENTRY_ID)
    ),
    "relay_dead_letter": st.tuples(
        st.just([CURSOR, LETTERS, TOPICS]),
        st.tuples(ENTRY_ID, SMALL, some(b"topic"), st.one_of(FIELDS, st.just(TOO_MANY_FIELDS))),
    ),
    "relay_release": st.tuples(st.just([LEASE]), st.tuples(RELAY)),
    "relay_replay": st.tuples(
        st.just([LETTERS, STREAM]), st.tuples(st.builds(Earlier, st.just("XADD"), st.integers(0, 2)), FIELDS)
    ),
    "topic_publish": st.tuples(
        st.just([LEASE, STREAM, b"other"]),
        st.tuples(
            RELAY,
            st.lists(
                st.tuples(some(b"2", b"3"), st.sampled_from([[b"2", b"f", b"v"], [b"4", b"f", b"v", b"g", b"w"]])),
                max_size=3,
            ),
        ),
    ),
}  # fmt: skip
"""Realistic keys and arguments of each script."""

WRONG = (b"SET", b"RPUSH")
DISTURBANCES: list[Words] = [
    [b"SCRIPT", b"FLUSH"], [b"HSET", META, b"ids_since", b"1"], [b"EXPIRE", LOG, b"0"], [b"LTRIM", LOG, b"0", b"0"],
    [b"XADD", STREAM, b"*", b"f", b"v"], [b"HSET", CURSOR, b"id", b"3-0", b"token", b"2"],
    [b"XTRIM", STREAM, b"MAXLEN", b"1"], [b"SET", LEASE, b"r1"],
]  # fmt: skip
"""What else happens to the keys. They are also lost, or of another type."""


@st.composite
def script_histories(draw: st.DrawFn) -> list[Call | Words]:
    """Draw calls of one script, or of those that share its keys, with a disturbance now and then."""
    first = draw(st.sampled_from(NAMES))
    related = [name for name in NAMES if name.partition("_")[0] == first.partition("_")[0]]
    steps: list[Call | Words] = []
    for _ in range(draw(st.integers(1, 12))):
        match draw(st.integers(0, 9)):
            case 0:
                keys, _ = draw(SCRIPTS[first])
                of_a_key = [[b"DEL", key] for key in keys] + [[kind, key, b"x"] for key in keys for kind in WRONG]
                steps.append(draw(st.sampled_from([*DISTURBANCES, *of_a_key])))
            case 1:
                steps.append([b"XADD", LETTERS, b"*", b"f", b"v"])
            case dice:
                name = draw(st.sampled_from(related if dice > 2 else NAMES))
                keys, arguments = draw(SCRIPTS[name])
                steps.append((name, keys, flat(list(arguments))))
    return steps
