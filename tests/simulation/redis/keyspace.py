"""The keys with their values and expiry. Commands read and write through it."""

import random
from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

from tests.simulation.redis.replies import WRONG_TYPE, Refusal

Value = TypeVar("Value")


class Snapshot(NamedTuple):
    """All keys at one moment. Its values are shared with the keyspace, which copies one before it writes to it."""

    data: dict[bytes, Any]
    expires: dict[bytes, int]


class Keyspace:
    """Keys and values: bytes (string), dict (hash), list, `sets.Set`, `sorted_sets.SortedSet`, `streams.Stream`.

    An expired key is removed when it is looked up.
    """

    def __init__(self, choice: random.Random) -> None:
        self.data: dict[bytes, Any] = {}
        self.expires: dict[bytes, int] = {}
        """The keys that expire: Unix milliseconds."""
        self.us = 0
        """Now, in Unix microseconds; `ms` is the same in milliseconds."""
        self.ms = 0
        self.random = choice
        self.touched: set[bytes] = set()
        """The keys of streams that were written since it was last cleared."""
        self.publish: Callable[[bytes, bytes], int] = lambda channel, message: 0
        self.scripts: Any = None
        self._owned: set[bytes] | None = None
        """The keys whose values no snapshot shares; None if there is no snapshot."""

    def find(self, key: bytes, kind: type[Value]) -> Value | None:
        """Return a value to read, or None; raise `Refusal` if it is of another type."""
        value = self.data.get(key)
        if value is None:
            return None
        if key in self.expires and self.expires[key] < self.ms:
            self.delete(key)
            return None
        if type(value) is not kind:
            raise Refusal(WRONG_TYPE)
        return value

    def find_to_write(self, key: bytes, kind: type[Value]) -> Value | None:
        """Return a value to change, or None; raise `Refusal` if it is of another type."""
        value: Any = self.find(key, kind)
        if value is not None and self._owned is not None and key not in self._owned:
            value = self.data[key] = value.copy()
            self._owned.add(key)
        return value  # type: ignore[no-any-return]  # `find` has checked it

    def find_or_create(self, key: bytes, kind: type[Value]) -> Value:
        """Return a value to change, which is created if it is missing."""
        value = self.find_to_write(key, kind)
        if value is None:
            value = self.data[key] = kind()
            if self._owned is not None:
                self._owned.add(key)
        return value

    def find_any(self, key: bytes) -> Any:
        """Return a value of any type to read, or None."""
        if key in self.expires and self.expires[key] < self.ms:
            self.delete(key)
            return None
        return self.data.get(key)

    def set(self, key: bytes, value: Any, expires: int | None = None) -> None:
        """Store a new value in place of the old one; ``expires``: Unix milliseconds."""
        self.data[key] = value
        if expires is not None:
            self.expires[key] = expires
        elif key in self.expires:
            del self.expires[key]
        if self._owned is not None:
            self._owned.add(key)

    def delete(self, key: bytes) -> bool:
        """Remove a key; return whether it was there. Its expiry must have been checked."""
        if self.data.pop(key, None) is None:
            return False
        self.expires.pop(key, None)
        return True

    def rename(self, old: bytes, new: bytes) -> None:
        """Move an existing value with its expiry to another key."""
        value, expires = self.data.pop(old), self.expires.pop(old, None)
        is_shared = self._owned is not None and old not in self._owned
        self.set(new, value, expires)
        if is_shared and self._owned is not None:
            self._owned.discard(new)

    def expire_all(self) -> None:
        """Remove every expired key."""
        for key in [key for key, expires in self.expires.items() if expires < self.ms]:
            self.delete(key)

    def clear(self) -> None:
        """Remove every key."""
        self.data, self.expires = {}, {}

    def snapshot(self) -> Snapshot:
        """Return all keys as they are now."""
        self._owned = set()
        return Snapshot(dict(self.data), dict(self.expires))

    def restore(self, snapshot: Snapshot) -> None:
        """Set all keys back to a snapshot, which may be restored again."""
        self._owned = set()
        self.data, self.expires = dict(snapshot.data), dict(snapshot.expires)
