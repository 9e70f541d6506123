"""Commands of sorted sets. An empty one is removed."""

from bisect import bisect_left, bisect_right, insort
from collections.abc import Sequence
from typing import NamedTuple

from tests.simulation.redis.keyspace import Keyspace
from tests.simulation.redis.lists import bounds
from tests.simulation.redis.numbers import double, integer, number_text
from tests.simulation.redis.replies import SYNTAX_ERROR, Double, Pairs, Refusal, Reply
from tests.simulation.redis.table import add

NOT_A_BOUND = "ERR min or max is not a float"


class SortedSet:
    """Members with their scores, ordered by score and then by their bytes."""

    __slots__ = ("order", "scores")

    def __init__(self) -> None:
        self.scores: dict[bytes, float] = {}
        self.order: list[tuple[float, bytes]] = []

    def copy(self) -> "SortedSet":
        made = SortedSet()
        made.scores, made.order = self.scores.copy(), self.order.copy()
        return made

    def put(self, member: bytes, score: float) -> None:
        """Add a member, or change its score."""
        before = self.scores.get(member)
        if before == score:
            return
        if before is not None:
            del self.order[bisect_left(self.order, (before, member))]
        self.scores[member] = score
        insort(self.order, (score, member))

    def remove(self, member: bytes) -> bool:
        """Remove a member; return whether it was there."""
        score = self.scores.pop(member, None)
        if score is None:
            return False
        del self.order[bisect_left(self.order, (score, member))]
        return True

    def between(self, low: "Bound", high: "Bound") -> tuple[int, int]:
        """Return where the members from ``low`` to ``high`` begin and end."""
        side = bisect_right if low.is_excluded else bisect_left
        first = side(self.order, low.score, key=_score)
        side = bisect_left if high.is_excluded else bisect_right
        return first, max(first, side(self.order, high.score, key=_score))


class Bound(NamedTuple):
    """One end of a range of scores."""

    score: float
    is_excluded: bool


def _score(entry: tuple[float, bytes]) -> float:
    return entry[0]


def _bound(text: bytes) -> Bound:
    is_excluded = text[:1] == b"("
    return Bound(double(text[1:] if is_excluded else text, NOT_A_BOUND), is_excluded)


@add("zadd", -4, writes=True, needs_memory=True)
def zadd(keys: Keyspace, words: Sequence[bytes]) -> Reply:
    """ZADD with NX or XX; the other options are a syntax error."""
    first = 2
    condition = b""
    while first < len(words) and words[first].upper() in (b"NX", b"XX"):
        option = words[first].upper()
        if condition and condition != option:
            raise Refusal("ERR XX and NX options at the same time are not compatible")
        condition, first = option, first + 1
    pairs = words[first:]
    if not pairs or len(pairs) % 2:
        raise Refusal(SYNTAX_ERROR)
    scores = [double(score) for score in pairs[::2]]
    found = keys.find_to_write(words[1], SortedSet)
    if found is None:
        if condition == b"XX":
            return 0
        found = keys.find_or_create(words[1], SortedSet)
    before = len(found.scores)
    for score, member in zip(scores, pairs[1::2], strict=True):
        if not condition or (member in found.scores) is (condition == b"XX"):
            found.put(member, score)
    return len(found.scores) - before


@add("zrem", -3, writes=True)
def zrem(keys: Keyspace, words: Sequence[bytes]) -> Reply:
    found = keys.find_to_write(words[1], SortedSet)
    if found is None:
        return 0
    removed = sum([found.remove(member) for member in words[2:]])
    if not found.scores:
        keys.delete(words[1])
    return removed


@add("zcard", 2)
def zcard(keys: Keyspace, words: Sequence[bytes]) -> Reply:
    found = keys.find(words[1], SortedSet)
    return 0 if found is None else len(found.scores)


@add("zscore", 3)
def zscore(keys: Keyspace, words: Sequence[bytes]) -> Reply:
    found = keys.find(words[1], SortedSet)
    score = None if found is None else found.scores.get(words[2])
    return None if score is None else Double(number_text(score))


@add("zrange", -4)
def zrange(keys: Keyspace, words: Sequence[bytes]) -> Reply:
    """ZRANGE by index, with REV and WITHSCORES; the other options are a syntax error."""
    options = {option.upper() for option in words[4:]}
    if options - {b"REV", b"WITHSCORES"}:
        raise Refusal(SYNTAX_ERROR)
    start, stop = integer(words[2]), integer(words[3])
    found = keys.find(words[1], SortedSet)
    order = [] if found is None else found.order
    if b"REV" in options:
        order = order[::-1]
    return _shown(order[bounds(start, stop, len(order))], with_scores=b"WITHSCORES" in options)


@add("zrangebyscore", -4)
def zrangebyscore(keys: Keyspace, words: Sequence[bytes]) -> Reply:
    with_scores, skipped, count = False, 0, -1
    at = 4
    while at < len(words):
        option = words[at].upper()
        if option == b"WITHSCORES":
            with_scores = True
        elif option == b"LIMIT" and at + 2 < len(words):
            skipped, count = integer(words[at + 1]), integer(words[at + 2])
            at += 2
        else:
            raise Refusal(SYNTAX_ERROR)
        at += 1
    low, high = _bound(words[2]), _bound(words[3])
    found = keys.find(words[1], SortedSet)
    if found is None or skipped < 0:
        return []
    first, end = found.between(low, high)
    first += skipped
    return _shown(found.order[first : end if count < 0 else min(end, first + count)], with_scores=with_scores)


@add("zremrangebyscore", 4, writes=True)
def zremrangebyscore(keys: Keyspace, words: Sequence[bytes]) -> Reply:
    low, high = _bound(words[2]), _bound(words[3])
    found = keys.find_to_write(words[1], SortedSet)
    if found is None:
        return 0
    first, end = found.between(low, high)
    for _, member in found.order[first:end]:
        del found.scores[member]
    del found.order[first:end]
    if not found.scores:
        keys.delete(words[1])
    return end - first


def _shown(entries: Sequence[tuple[float, bytes]], *, with_scores: bool) -> Reply:
    if not with_scores:
        return [member for _, member in entries]
    pairs = Pairs()
    for score, member in entries:
        pairs += (member, Double(number_text(score)))
    return pairs
