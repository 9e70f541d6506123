"""Who works on a topic now. For thrift, not for safety: two that both believe they do append the same sequence."""

from collections.abc import Mapping, Sequence

from realtime.redis import keys
from realtime.redis.client import Redis
from realtime.redis.scripts import Script

_lease = Script("lease")
_unlease = Script("unlease")
_roster = Script("roster")
_publish = Script("publish")


class Lease:
    """One worker's claim on one topic. The token of a later holder is greater."""

    def __init__(self, redis: Redis, topic: str, seconds: float, holder: str) -> None:
        self._redis = redis
        self._keys = [keys.lease(topic), keys.lease_token(topic), keys.cursor(topic)]
        self._roster_key = keys.relays(topic)
        self._holder = holder
        self._seconds = seconds

    async def take(self) -> int:
        """Take or keep the lease: its token, or 0 while another worker has it."""
        return int(await _lease.run(self._redis, self._keys, [self._holder, int(self._seconds * 1000)]))

    async def publish(self, entries: Sequence[tuple[str, Mapping[bytes, bytes]]]) -> bool:
        """Write entries, each with its stream's name, in order and all or none; False if the lease is gone."""
        streams = list(dict.fromkeys(stream for stream, _ in entries))
        args: list[str | bytes | int] = [self._holder]
        for stream, fields in entries:
            args += [streams.index(stream) + 2, 2 * len(fields)]
            args += [part for field in fields.items() for part in field]
        return bool(await _publish.run(self._redis, [self._keys[0], *streams], args))

    async def give_back(self) -> None:
        """Let the next worker take it at once."""
        await _unlease.run(self._redis, self._keys[:1], [self._holder])

    async def announce(self) -> list[str]:
        """Say that this worker serves the topic, for the length of a lease; the names of all who do, in order."""
        return sorted(
            name.decode() for name in await _roster.run(self._redis, [self._roster_key], [self._holder, self._seconds])
        )

    async def sign_out(self) -> None:
        """Say that this worker no longer serves the topic."""
        await self._redis.zrem(self._roster_key, self._holder)
