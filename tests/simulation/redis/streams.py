"""Commands of streams, without those of groups."""

from collections.abc import Sequence
from typing import NamedTuple

from tests.simulation.redis.keyspace import Keyspace
from tests.simulation.redis.numbers import integer
from tests.simulation.redis.replies import NULL_ARRAY, SYNTAX_ERROR, Blocked, MapOfPairs, Refusal, Reply
from tests.simulation.redis.stream import (
    LARGEST_ID,
    LARGEST_PART,
    MOST_TRIMMED,
    ZERO,
    Id,
    Stream,
    next_id,
    previous_id,
)
from tests.simulation.redis.table import add, wrong_count

INVALID_ID = "ERR Invalid stream ID specified as stream command argument"
TOO_SMALL = "ERR The ID specified in XADD is equal or smaller than the target stream top item"


class Trim(NamedTuple):
    """How a stream is trimmed; ``maxlen`` is None for a trim by ``minid``."""

    maxlen: int | None
    minid: Id
    is_exact: bool
    limit: int

    def __call__(self, stream: Stream) -> int:
        return stream.trim(maxlen=self.maxlen, minid=self.minid, is_exact=self.is_exact, limit=self.limit)


def id_text(entry_id: Id) -> bytes:
    """Return an id as Redis writes it."""
    return b"%d-%d" % entry_id


def parse_id(text: bytes, missing_sequence: int = 0) -> Id:
    """Return an id; raise `Refusal` if it is none. ``missing_sequence`` completes one without a sequence number."""
    first, dash, second = text.partition(b"-")
    if not first.isdigit() or (dash and not second.isdigit()) or len(text) > 127:
        raise Refusal(INVALID_ID)
    found = int(first), int(second) if dash else missing_sequence
    if found > LARGEST_ID or found[1] > LARGEST_PART:
        raise Refusal(INVALID_ID)
    return found


def parse_bound(text: bytes, *, is_start: bool) -> Id:
    """Return one end of a range, which is included in it."""
    is_excluded = text[:1] == b"("
    if is_excluded:
        text = text[1:]
    elif text in (b"-", b"+"):
        return ZERO if text == b"-" else LARGEST_ID
    found = parse_id(text, 0 if is_start else LARGEST_PART)
    if is_excluded:
        beside = next_id(found) if is_start else previous_id(found)
        if beside is None:
            raise Refusal(f"ERR invalid {'start' if is_start else 'end'} ID for the interval")
        return beside
    return found


@add("xadd", -5, writes=True, needs_memory=True)
def xadd(keys: Keyspace, words: Sequence[bytes]) -> Reply:
    trim, at, may_create = None, 2, True
    while words[at] != b"*":
        option = words[at].upper()
        if option in (b"MAXLEN", b"MINID") and at + 1 < len(words):
            trim, at = _parse_trim(words, at)
        elif option == b"NOMKSTREAM":
            may_create = False
        else:
            break
        at += 1
        if at >= len(words):
            raise wrong_count("xadd")
    wanted = _parse_new_id(words[at])
    entry = tuple(words[at + 1 :])
    if not entry or len(entry) % 2:
        raise wrong_count("xadd")
    if wanted == ZERO:
        raise Refusal("ERR The ID specified in XADD must be greater than 0-0")
    key = words[1]
    stream = keys.find_to_write(key, Stream)
    if stream is None:
        if not may_create:
            return None
        stream = keys.find_or_create(key, Stream)
    entry_id = _new_id(stream, wanted, keys.ms)
    stream.add(entry_id, entry)
    if trim is not None:
        trim(stream)
    keys.touched.add(key)
    return b"%d-%d" % entry_id


def _parse_new_id(text: bytes) -> tuple[int, int | None] | None:
    """Return the id that XADD asks for: None for ``*``, no sequence number for ``5-*``."""
    if text == b"*":
        return None
    if text.endswith(b"-*"):
        return parse_id(text[:-2] + b"-0")[0], None
    return parse_id(text)


def _new_id(stream: Stream, wanted: tuple[int, int | None] | None, now_ms: int) -> Id:
    last = stream.last_id
    if wanted is None:
        found = (now_ms, 0) if now_ms > last[0] else next_id(last)
    elif wanted[1] is None:
        milliseconds = wanted[0]
        found = next_id(last) if milliseconds == last[0] else (milliseconds, 0)
        if found is not None and found[0] != milliseconds:
            found = None
        if found == ZERO:
            found = (0, 1)
    else:
        found = wanted[0], wanted[1]
    if found is None or found <= last:
        raise Refusal(TOO_SMALL)
    return found


def _parse_trim(words: Sequence[bytes], at: int) -> tuple[Trim, int]:
    """Return the trim that begins at a word, and the number of its last word."""
    strategy = words[at].upper()
    at += 1
    sign = words[at]
    if sign in (b"~", b"=") and at + 1 < len(words):
        at += 1
    else:
        sign = b"="
    maxlen, minid = None, ZERO
    if strategy == b"MAXLEN":
        maxlen = integer(words[at])
        if maxlen < 0:
            raise Refusal("ERR The MAXLEN argument must be >= 0.")
    else:
        minid = parse_id(words[at])
    limit = 0 if sign == b"=" else MOST_TRIMMED
    if at + 2 < len(words) and words[at + 1].upper() == b"LIMIT":
        if sign == b"=":
            raise Refusal("ERR syntax error, LIMIT cannot be used without the special ~ option")
        at += 2
        limit = integer(words[at])
        if limit < 0:
            raise Refusal("ERR The LIMIT argument must be >= 0.")
    return Trim(maxlen, minid, sign == b"=", limit), at


@add("xtrim", -4, writes=True)
def xtrim(keys: Keyspace, words: Sequence[bytes]) -> Reply:
    if words[2].upper() not in (b"MAXLEN", b"MINID"):
        raise Refusal(SYNTAX_ERROR)
    trim, at = _parse_trim(words, 2)
    if at + 1 != len(words):
        raise Refusal(SYNTAX_ERROR)
    stream = keys.find_to_write(words[1], Stream)
    return 0 if stream is None else trim(stream)


@add("xlen", 2)
def xlen(keys: Keyspace, words: Sequence[bytes]) -> Reply:
    stream = keys.find(words[1], Stream)
    return 0 if stream is None else len(stream.ids)


@add("xdel", -3, writes=True)
def xdel(keys: Keyspace, words: Sequence[bytes]) -> Reply:
    stream = keys.find_to_write(words[1], Stream)
    if stream is None:
        return 0
    ids = [parse_id(text) for text in words[2:]]
    return sum([stream.delete(entry_id) for entry_id in ids])


@add("xrange", -4)
def xrange(keys: Keyspace, words: Sequence[bytes]) -> Reply:
    first, last = parse_bound(words[2], is_start=True), parse_bound(words[3], is_start=False)
    return _range(keys, words, first, last, step=1)


@add("xrevrange", -4)
def xrevrange(keys: Keyspace, words: Sequence[bytes]) -> Reply:
    first, last = parse_bound(words[3], is_start=True), parse_bound(words[2], is_start=False)
    return _range(keys, words, first, last, step=-1)


def _range(keys: Keyspace, words: Sequence[bytes], first: Id, last: Id, step: int) -> Reply:
    count = None
    for at in range(4, len(words), 2):
        if words[at].upper() != b"COUNT" or at + 1 == len(words):
            raise Refusal(SYNTAX_ERROR)
        count = max(0, integer(words[at + 1]))
    stream = keys.find(words[1], Stream)
    if stream is None:
        return []
    if count == 0:
        return NULL_ARRAY
    start, end = stream.between(first, last)
    if count is not None:
        start, end = (start, min(end, start + count)) if step > 0 else (max(start, end - count), end)
    return shown(stream, start, end)[::step]


def shown(stream: Stream, start: int, end: int) -> list[Reply]:
    """Return the entries from one place to another as they are sent."""
    ids, entries = stream.ids, stream.entries
    return [[b"%d-%d" % ids[at], list(entries[at])] for at in range(start, end)]


class Read(NamedTuple):
    """The arguments of an XREAD."""

    limit: int
    """The most entries of each stream; 0: any number."""
    block_ms: int | None
    keys: Sequence[bytes]
    after: Sequence[bytes]


@add("xread", -4)
def xread(keys: Keyspace, words: Sequence[bytes]) -> Reply | Blocked:
    """XREAD; the result is `Blocked` if it is to wait. It does not wait in scripts and transactions."""
    read = _parse_read(words)
    after = [_resolved(keys, key, text) for key, text in zip(read.keys, read.after, strict=True)]

    def attempt() -> Reply | None:
        found = MapOfPairs()
        for key, entry_id in zip(read.keys, after, strict=True):
            stream = keys.find(key, Stream)
            if stream is None:
                continue
            start, end = stream.between(next_id(entry_id) or LARGEST_ID, LARGEST_ID)
            if start < end:
                found.append([key, shown(stream, start, min(end, start + read.limit) if read.limit else end)])
        return found or None

    def retry() -> Reply | None:
        try:
            return attempt()
        except Refusal:  # the key is of another type now, so it waits on
            return None

    reply = attempt()
    if reply is not None:
        return reply
    if read.block_ms is None:
        return NULL_ARRAY
    return Blocked(list(read.keys), (keys.us + read.block_ms * 1000) / 1e6 if read.block_ms else None, retry)


def _parse_read(words: Sequence[bytes]) -> Read:
    count, block_ms, at = 0, None, 1
    while at < len(words):
        option, has_value = words[at].upper(), at + 1 < len(words)
        if option == b"BLOCK" and has_value:
            block_ms = integer(words[at + 1], "ERR timeout is not an integer or out of range")
            if block_ms < 0:
                raise Refusal("ERR timeout is negative")
        elif option == b"COUNT" and has_value:
            count = max(0, integer(words[at + 1]))
        elif option == b"STREAMS" and has_value:
            named = words[at + 1 :]
            if len(named) % 2:
                raise Refusal(
                    "ERR Unbalanced 'xread' list of streams: for each stream key an ID or '$' must be specified."
                )
            return Read(count, block_ms, named[: len(named) // 2], named[len(named) // 2 :])
        else:
            raise Refusal(SYNTAX_ERROR)
        at += 2
    raise Refusal(SYNTAX_ERROR)


def _resolved(keys: Keyspace, key: bytes, text: bytes) -> Id:
    if text == b">":
        raise Refusal(
            "ERR The > ID can be specified only when calling XREADGROUP using the GROUP <group> <consumer> option."
        )
    stream = keys.find(key, Stream)
    if text == b"$":
        return ZERO if stream is None else stream.last_id
    if text == b"+":
        return previous_id(stream.ids[-1]) or ZERO if stream is not None and stream.ids else ZERO
    return parse_id(text)
