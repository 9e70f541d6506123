"""The value of a stream: its entries, the nodes in which Redis keeps them, and its consumer groups."""

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from typing import NamedTuple, TypeAlias

Id: TypeAlias = tuple[int, int]
"""Milliseconds and sequence number."""
ZERO: Id = (0, 0)
LARGEST_PART = 2**64 - 1
LARGEST_ID: Id = (LARGEST_PART, LARGEST_PART)

NODE_ENTRIES = 100
"""Redis's stream-node-max-entries."""
NODE_BYTES = 4096
"""Redis's stream-node-max-bytes."""
MOST_TRIMMED = 100 * NODE_ENTRIES
"""How many entries an approximate trim drops at most."""

UNKNOWN_READ = -1
"""A group doesn't know how many entries it has read."""


class Group(NamedTuple):
    """A consumer group. The project has no consumers in it: it only shows the lag."""

    last_id: Id
    entries_read: int


class Node:
    """Some neighbouring entries that Redis keeps in one listpack. An approximate trim drops whole nodes."""

    __slots__ = ("fields", "first_id", "size", "total", "valid")

    def __init__(self, first_id: Id, fields: Sequence[bytes]) -> None:
        self.first_id = first_id
        self.fields = fields
        self.valid = 0
        self.total = 0
        """The entries, those included that were deleted since."""
        self.size = 13 + _int_size(len(fields)) + sum(map(_size, fields))
        """The bytes of the listpack."""

    def copy(self) -> "Node":
        made = Node.__new__(Node)
        made.first_id, made.fields, made.valid, made.total = self.first_id, self.fields, self.valid, self.total
        made.size = self.size
        return made

    def add(self, entry_id: Id, fields: Sequence[bytes], values: Sequence[bytes]) -> None:
        """Count one more entry."""
        self.valid += 1
        self.total += 1
        if fields != self.fields:
            self.size += _int_size(len(fields)) + sum(map(_size, fields)) + _int_size(2 * len(fields) + 4)
        else:
            self.size += _int_size(len(fields) + 3)
        milliseconds = _int_size(entry_id[0] - self.first_id[0])
        self.size += 2 + milliseconds + _int_size(entry_id[1] - self.first_id[1]) + sum(map(_size, values))


class Stream:
    """Entries in the order of their ids; ``entries[i]`` has the names and values, in turn, of ``ids[i]``."""

    __slots__ = ("added", "entries", "groups", "ids", "last_id", "max_deleted", "nodes")

    def __init__(self) -> None:
        self.ids: list[Id] = []
        self.entries: list[Sequence[bytes]] = []
        self.nodes: list[Node] = []
        self.last_id = ZERO
        self.added = 0
        """How many entries were ever added."""
        self.max_deleted = ZERO
        """The largest id that XDEL has deleted."""
        self.groups: dict[bytes, Group] = {}

    def copy(self) -> "Stream":
        made = Stream()
        made.ids, made.entries = self.ids.copy(), self.entries.copy()
        made.nodes = [node.copy() for node in self.nodes]
        made.last_id, made.added, made.max_deleted = self.last_id, self.added, self.max_deleted
        made.groups = self.groups.copy()
        return made

    def add(self, entry_id: Id, entry: Sequence[bytes]) -> None:
        """Append an entry. Its id must be larger than `last_id`."""
        fields, values = entry[::2], entry[1::2]
        node = self.nodes[-1] if self.nodes else None
        if node is None or node.size + sum(map(len, entry)) >= NODE_BYTES or node.total >= NODE_ENTRIES:
            node = Node(entry_id, fields)
            self.nodes.append(node)
        node.add(entry_id, fields, values)
        self.ids.append(entry_id)
        self.entries.append(entry)
        self.last_id = entry_id
        self.added += 1

    def delete(self, entry_id: Id) -> bool:
        """Delete one entry; return whether it was there."""
        at = bisect_left(self.ids, entry_id)
        if at == len(self.ids) or self.ids[at] != entry_id:
            return False
        del self.ids[at], self.entries[at]
        self.max_deleted = max(self.max_deleted, entry_id)
        for number, node in enumerate(self.nodes):
            if at < node.valid:
                node.valid -= 1
                if not node.valid:
                    del self.nodes[number]
                break
            at -= node.valid
        return True

    def trim(self, *, maxlen: int | None, minid: Id, is_exact: bool, limit: int) -> int:
        """Drop the oldest entries over ``maxlen`` or before ``minid``; return how many.

        If it is not exact, only whole nodes are dropped, and ``limit`` entries at most (0: any number).
        """
        excess = bisect_left(self.ids, minid) if maxlen is None else max(0, len(self.ids) - maxlen)
        dropped = nodes = 0
        for node in self.nodes:
            if node.valid > excess - dropped or (limit and dropped + node.valid > limit):
                break
            dropped += node.valid
            nodes += 1
        del self.nodes[:nodes]
        if is_exact and dropped < excess:
            self.nodes[0].valid -= excess - dropped
            dropped = excess
        del self.ids[:dropped], self.entries[:dropped]
        return dropped

    def between(self, first: Id, last: Id) -> tuple[int, int]:
        """Return where the entries from one id to another, both included, begin and end."""
        start = bisect_left(self.ids, first)
        return start, max(start, bisect_right(self.ids, last))

    def read_count(self, entry_id: Id) -> int:
        """Return how many entries were added up to an id, or `UNKNOWN_READ` if that can't be told."""
        if not self.added:
            return 0
        if not self.ids and entry_id <= self.last_id:
            return self.added
        if entry_id != ZERO and entry_id < self.max_deleted:
            return UNKNOWN_READ
        if entry_id >= self.last_id:
            return self.added if entry_id == self.last_id else UNKNOWN_READ
        first = self.ids[0] if self.ids else ZERO
        if self.max_deleted == ZERO or self.max_deleted < first:
            if entry_id < first:
                return self.added - len(self.ids)
            if entry_id == first:
                return self.added - len(self.ids) + 1
        return UNKNOWN_READ

    def lag(self, group: Group) -> int | None:
        """Return how many entries a group has not read, or None if that can't be told."""
        if not self.added:
            return 0
        has_gaps = bool(self.ids) and self.max_deleted != ZERO and group.last_id <= self.max_deleted
        if group.entries_read != UNKNOWN_READ and not has_gaps:
            return self.added - group.entries_read
        read = self.read_count(group.last_id)
        return None if read == UNKNOWN_READ else self.added - read


def next_id(entry_id: Id) -> Id | None:
    """Return the id after another; None after the largest."""
    milliseconds, sequence = entry_id
    if sequence < LARGEST_PART:
        return milliseconds, sequence + 1
    return (milliseconds + 1, 0) if milliseconds < LARGEST_PART else None


def previous_id(entry_id: Id) -> Id | None:
    """Return the id before another; None before the smallest."""
    milliseconds, sequence = entry_id
    if sequence:
        return milliseconds, sequence - 1
    return (milliseconds - 1, LARGEST_PART) if milliseconds else None


def _size(value: bytes) -> int:
    """Return the bytes that a string takes in a listpack."""
    length = len(value)
    if length <= 20 and (value.isdigit() or value[:1] == b"-"):
        try:
            number = int(value)
        except ValueError:
            number = 2**63
        if -(2**63) <= number < 2**63 and b"%d" % number == value:
            return _int_size(number)
    encoded = length + (1 if length < 64 else 2 if length < 4096 else 5)
    return encoded + (1 if encoded <= 127 else 2 if encoded < 16_383 else 3 if encoded < 2_097_151 else 4)


def _int_size(number: int) -> int:
    """Return the bytes that a number takes in a listpack."""
    if 0 <= number < 128:
        return 2
    if -4096 <= number < 4096:
        return 3
    for size in (2, 3, 4):
        if -(1 << 8 * size - 1) <= number < 1 << 8 * size - 1:
            return size + 2
    return 10
