"""An administrator of a world: ends connections and revokes tokens, from a process of its own."""

from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any

from realtime import conf
from realtime.aio.backoff import Backoff
from realtime.auth import revocations
from realtime.exceptions import RealtimeError
from realtime.layers.redis_pubsub import RedisPubSubLayer
from realtime.presence.terminations import Terminations
from realtime.redis.client import connect
from tests.simulation.gateway import LAYER_PREFIX
from tests.simulation.scheduler import START

if TYPE_CHECKING:
    from tests.simulation.world import World

FIRST_WAIT, LONGEST_WAIT = 0.5, 2.0


class Administrator:
    """Repeats each of its works until it succeeds. ``ended``: connections that have to end, each with its close code.

    ``revoked``: for each user the time, in Unix seconds, up to which tokens were issued that count no more.
    """

    def __init__(self, world: "World") -> None:
        self.ended: dict[str, int] = {}
        self.revoked: dict[int, int] = {}
        self._world = world
        self._works = 0

    def end(self, connection_ids: Sequence[str], code: int) -> None:
        """End connections with a close code, on whichever gateway they are."""

        async def work(layer: Any) -> None:
            async with connect(conf.get().redis_url) as redis:
                await Terminations(redis, layer).ask(connection_ids, code)
            self.ended.update(dict.fromkeys(connection_ids, code))

        self._start(work)

    def revoke(self, user_id: int) -> None:
        """Revoke all tokens of a user that were issued up to now."""
        until = int(START + self._world.scheduler.now)

        async def work(layer: Any) -> None:
            async with revocations.connected(conf.get(), layer) as known:
                await known.revoke(user_id=user_id, issued_until=until)
            self.revoked[user_id] = max(until, self.revoked.get(user_id, 0))

        self._start(work)

    def _start(self, work: Callable[[Any], Awaitable[None]]) -> None:
        self._works += 1
        process = self._world.process(f"administrator.{self._works}")
        layer = process.layers["default"] = RedisPubSubLayer(hosts=[conf.get().redis_url], prefix=LAYER_PREFIX)

        async def until_done() -> None:
            backoff = Backoff(FIRST_WAIT, LONGEST_WAIT)
            while True:
                try:
                    await work(layer)
                    return
                except RealtimeError as error:
                    self._world.log.note(f"an administrator tries again: {error}")
                await backoff.sleep()

        task = process.start(until_done(), "an administrator")
        task.add_done_callback(lambda done: self._ended(done, process))

    def _ended(self, done: Any, process: Any) -> None:
        if not done.cancelled() and done.exception() is not None:
            self._world.problems.append(f"an administrator failed: {done.exception()!r}")
        process.scheduler.after(0.0, process.kill)
