"""Limit failed logins with a password, by name and address and by address, over all processes.

An attempt is counted before its password is checked, so many at once can't pass together; a login that succeeds takes
its count back. No limit is by name alone: with one, a stranger could lock a user out from elsewhere.
"""

import hashlib

from realtime.exceptions import RealtimeError
from realtime.redis import keys
from realtime.redis.client import Redis
from realtime.redis.scripts import Script

WINDOW_SECONDS = 300.0
"""The time in which a limit's attempts become available again, one by one."""

_limit_take, _limit_give = Script("limit_take"), Script("limit_give")


class TooManyLogins(RealtimeError):
    """A limit refuses this attempt; ``retry_after`` is in seconds."""

    def __init__(self, retry_after: int) -> None:
        super().__init__(f"too many failed logins; try again in {retry_after} s")
        self.retry_after = retry_after


class Logins:
    """The limits, over all processes; 0 is no limit. Without Redis they don't apply: the admin has to be reachable."""

    def __init__(self, redis: Redis, per_name: int, per_address: int) -> None:
        self._redis = redis
        self._per_name = per_name
        self._per_address = per_address

    async def begin(self, name: str, address: str) -> None:
        """Count an attempt.

        Raises:
            TooManyLogins: this address has failed too often, with this name or with others.
        """
        for key, most, _ in self._limits(name, address):
            wait = int(await _limit_take.run(self._redis, [key], [most / WINDOW_SECONDS, most]))
            if wait:
                raise TooManyLogins(-(-wait // 1000))

    async def succeeded(self, name: str, address: str) -> None:
        """Take an attempt back; the earlier ones with this name are forgotten as well."""
        for key, most, taken in self._limits(name, address):
            await _limit_give.run(self._redis, [key], [most / WINDOW_SECONDS, taken])

    def _limits(self, name: str, address: str) -> list[tuple[str, int, int]]:
        """Return each limit's key, its attempts, and how many of them a login that succeeds takes back."""
        digest = hashlib.sha256(f"{address} {name}".encode(errors="replace")).hexdigest()
        limits = [(digest, self._per_name, self._per_name), (address, self._per_address, 1)]
        return [(keys.login_limit(of), most, taken) for of, most, taken in limits if most]
