"""XINFO, XGROUP and XPENDING: what the project uses of consumer groups, which have no consumers."""

from collections.abc import Sequence

from tests.simulation.redis.keyspace import Keyspace
from tests.simulation.redis.numbers import integer
from tests.simulation.redis.replies import NULL_ARRAY, OK, SYNTAX_ERROR, Map, Refusal, Reply, text_of
from tests.simulation.redis.stream import UNKNOWN_READ, ZERO, Group, Stream
from tests.simulation.redis.streams import id_text, parse_id, shown
from tests.simulation.redis.table import add

NEEDS_KEY = (
    "ERR The XGROUP subcommand requires the key to exist. Note that for CREATE you may want to use the MKSTREAM "
    "option to create an empty stream automatically."
)


@add("xinfo|stream", -3)
def xinfo_stream(keys: Keyspace, words: Sequence[bytes]) -> Reply:
    stream = _existing(keys, words[2])
    if len(words) != 3:
        raise Refusal(SYNTAX_ERROR)
    entries = shown(stream, 0, 1) + shown(stream, len(stream.ids) - 1, len(stream.ids)) if stream.ids else [None, None]
    return Map([
        b"length", len(stream.ids), b"radix-tree-keys", len(stream.nodes), b"radix-tree-nodes", len(stream.nodes) + 1,
        b"last-generated-id", id_text(stream.last_id), b"max-deleted-entry-id", id_text(stream.max_deleted),
        b"entries-added", stream.added, b"recorded-first-entry-id", id_text(stream.ids[0] if stream.ids else ZERO),
        b"groups", len(stream.groups), b"first-entry", entries[0], b"last-entry", entries[1],
    ])  # fmt: skip


@add("xinfo|groups", 3)
def xinfo_groups(keys: Keyspace, words: Sequence[bytes]) -> Reply:
    stream = _existing(keys, words[2])
    return [
        Map([
            b"name", name, b"consumers", 0, b"pending", 0, b"last-delivered-id", id_text(group.last_id),
            b"entries-read", None if group.entries_read == UNKNOWN_READ else group.entries_read,
            b"lag", stream.lag(group),
        ])
        for name, group in sorted(stream.groups.items())
    ]  # fmt: skip


def _existing(keys: Keyspace, key: bytes) -> Stream:
    stream = keys.find(key, Stream)
    if stream is None:
        raise Refusal("ERR no such key")
    return stream


@add("xgroup|create", -5, writes=True, needs_memory=True)
def xgroup_create(keys: Keyspace, words: Sequence[bytes]) -> Reply:
    _, _, key, name, text, *options = words
    may_create, entries_read = _parse_options(words[1], options, may_have_mkstream=True)
    stream = keys.find_to_write(key, Stream)
    if stream is None and not may_create:
        raise Refusal(NEEDS_KEY)
    last_id = None if text == b"$" else parse_id(text)
    if stream is None:
        stream = keys.find_or_create(key, Stream)
    if name in stream.groups:
        raise Refusal("BUSYGROUP Consumer Group name already exists")
    stream.groups[name] = Group(stream.last_id if last_id is None else last_id, entries_read)
    return OK


@add("xgroup|setid", -5, writes=True)
def xgroup_setid(keys: Keyspace, words: Sequence[bytes]) -> Reply:
    _, _, key, name, text, *options = words
    _, entries_read = _parse_options(words[1], options, may_have_mkstream=False)
    stream = keys.find_to_write(key, Stream)
    if stream is None:
        raise Refusal(NEEDS_KEY)
    if name not in stream.groups:
        raise Refusal(f"NOGROUP No such consumer group '{text_of(name)}' for key name '{text_of(key)}'")
    stream.groups[name] = Group(stream.last_id if text == b"$" else parse_id(text), entries_read)
    return OK


@add("xgroup|destroy", 4, writes=True)
def xgroup_destroy(keys: Keyspace, words: Sequence[bytes]) -> Reply:
    stream = keys.find_to_write(words[2], Stream)
    if stream is None:
        raise Refusal(NEEDS_KEY)
    return int(stream.groups.pop(words[3], None) is not None)


def _parse_options(subcommand: bytes, options: Sequence[bytes], *, may_have_mkstream: bool) -> tuple[bool, int]:
    may_create, entries_read, at = False, UNKNOWN_READ, 0
    while at < len(options):
        option = options[at].upper()
        if option == b"MKSTREAM" and may_have_mkstream:
            may_create, at = True, at + 1
        elif option == b"ENTRIESREAD" and at + 1 < len(options):
            entries_read, at = integer(options[at + 1]), at + 2
            if entries_read < UNKNOWN_READ:
                raise Refusal("ERR value for ENTRIESREAD must be positive or -1")
        else:
            raise Refusal(
                f"ERR unknown subcommand or wrong number of arguments for '{text_of(subcommand)}'. Try XGROUP HELP."
            )
    return may_create, entries_read


@add("xpending", -3)
def xpending(keys: Keyspace, words: Sequence[bytes]) -> Reply:
    """Return the summary: nothing is pending, because there are no consumers."""
    if len(words) != 3:
        raise Refusal(SYNTAX_ERROR)
    _, key, name = words
    stream = keys.find(key, Stream)
    if stream is None or name not in stream.groups:
        raise Refusal(f"NOGROUP No such key '{text_of(key)}' or consumer group '{text_of(name)}'")
    return [0, None, None, NULL_ARRAY]
