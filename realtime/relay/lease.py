"""Who works on a topic now. For thrift, not for safety: two that both believe they do append the same sequence."""

import secrets

from realtime.redis import Redis, Script

_lease = Script("lease")
_unlease = Script("unlease")


class Lease:
    """One worker's claim on one topic. The token of a later holder is greater."""

    def __init__(self, redis: Redis, topic: str, seconds: float) -> None:
        self._redis = redis
        self._keys = [f"chatws:{{{topic}}}:lease", f"chatws:{{{topic}}}:token"]
        self._holder = secrets.token_urlsafe(12)
        self._milliseconds = int(seconds * 1000)

    async def take(self) -> int:
        """Take or keep the lease: its token, or 0 while another worker has it."""
        return int(await _lease.run(self._redis, self._keys, [self._holder, self._milliseconds]))

    async def give_back(self) -> None:
        """Let the next worker take it at once."""
        await _unlease.run(self._redis, self._keys[:1], [self._holder])
