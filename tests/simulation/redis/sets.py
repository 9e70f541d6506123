"""Commands of sets."""

from collections.abc import Sequence

from tests.simulation.redis.keyspace import Keyspace
from tests.simulation.redis.replies import Members, Reply
from tests.simulation.redis.table import add


class Set(dict[bytes, None]):
    """The members of a set, in the order in which they were added: Python's own sets have one of each process."""

    def copy(self) -> "Set":
        return Set(self)


@add("sadd", -3, writes=True, needs_memory=True)
def sadd(keys: Keyspace, words: Sequence[bytes]) -> Reply:
    found = keys.find_or_create(words[1], Set)
    before = len(found)
    found.update(dict.fromkeys(words[2:]))
    return len(found) - before


@add("smembers", 2)
def smembers(keys: Keyspace, words: Sequence[bytes]) -> Reply:
    return Members(keys.find(words[1], Set) or ())
