"""A snapshot keeps the data as it was, whatever happens afterwards, and can be restored more than once."""

import pickle
import random
from collections.abc import Sequence
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.simulation.redis import Model, table
from tests.simulation.redis.comparison import Side
from tests.simulation.redis.histories import COMMANDS, commands

GET = table.COMMANDS[b"GET"]
WRITES = [name for name in sorted(COMMANDS) if table.COMMANDS.get(name.encode(), GET).writes] + ["XGROUP"]
HISTORY = st.lists(commands(WRITES), min_size=5, max_size=25)
BEGINNING: list[list[bytes]] = [
    line.split() for line in (
        b"SET string:1 a", b"HSET hash:1 a 1", b"RPUSH list:1 a b c", b"SADD set:1 a b", b"ZADD zset:1 1 a 2 b",
        b"XADD stream:1 1-1 a b", b"XADD stream:1 1-2 a b", b"XADD stream:1 2-1 a b", b"XGROUP CREATE stream:1 g1 1-1",
    )
]  # fmt: skip
"""One value of each type."""


def run(model: Model, history: Sequence[Sequence[Any]]) -> None:
    session = model.session(lambda message: None)
    for words in history:
        model.call(session, Side().resolve(words))


def everything(model: Model) -> bytes:
    """Return all data with all that the values keep besides, such as the nodes of streams."""
    return b"".join([key + pickle.dumps(_parts(value)) for key, value in sorted(model.keys.data.items())])


def _parts(value: Any) -> Any:
    """Return the parts of a value, so that two equal ones are pickled alike."""
    if isinstance(value, list | tuple):
        return [_parts(part) for part in value]
    if isinstance(value, dict):
        return [(_parts(name), _parts(part)) for name, part in value.items()]
    slots = getattr(type(value), "__slots__", None)
    return repr(value) if slots is None else [_parts(getattr(value, name)) for name in slots]


@settings(max_examples=100, deadline=None, derandomize=True, database=None)
@given(before=HISTORY, after=HISTORY, later=HISTORY)
def test_snapshot_is_not_changed_by_later_writes(
    before: Sequence[Sequence[Any]], after: Sequence[Sequence[Any]], later: Sequence[Sequence[Any]]
) -> None:
    model = Model(random.Random(1))
    model.now = 1_800_000_000.0
    run(model, [*BEGINNING, *before])
    expected, expires = everything(model), dict(model.keys.expires)
    snapshot = model.snapshot()
    for history in (after, later):
        run(model, history)
        model.restore(snapshot)
        assert everything(model) == expected
        assert model.keys.expires == expires


def test_renamed_value_is_not_shared_with_a_snapshot() -> None:
    model = Model(random.Random(1))
    run(model, [[b"HSET", b"a", b"f", b"1"]])
    snapshot = model.snapshot()
    run(model, [[b"SET", b"b", b"x"], [b"RENAME", b"a", b"b"], [b"HSET", b"b", b"f", b"2"]])
    model.restore(snapshot)
    assert model.dump() == {b"a": {b"f": b"1"}}


def test_older_snapshot_survives_a_newer_one() -> None:
    model = Model(random.Random(1))
    run(model, [[b"RPUSH", b"l", b"1"]])
    older = model.snapshot()
    run(model, [[b"RPUSH", b"l", b"2"]])
    newer = model.snapshot()
    run(model, [[b"RPUSH", b"l", b"3"]])
    model.restore(newer)
    assert model.dump() == {b"l": [b"1", b"2"]}
    model.restore(older)
    assert model.dump() == {b"l": [b"1"]}
