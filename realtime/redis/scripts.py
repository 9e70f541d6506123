"""Load Lua scripts and run them by their digest."""

import hashlib
import re
from collections.abc import Sequence
from importlib.resources import files
from typing import Any

from realtime.redis.commands import Redis
from realtime.redis.errors import UnknownScript
from realtime.redis.pipeline import pipelined

INCLUDE = re.compile(r"^--@include (\w+)\n", re.MULTILINE)


class Script:
    """A Lua script of `realtime/redis/lua`, run by its digest and loaded again if Redis has lost it."""

    def __init__(self, name: str) -> None:
        self._source = INCLUDE.sub(lambda match: _lua(match[1]), _lua(name))
        self._digest = hashlib.sha1(self._source.encode(), usedforsecurity=False).hexdigest()

    async def run_all(
        self, client: Redis, calls: Sequence[tuple[Sequence[str | bytes], Sequence[str | bytes | int | float]]]
    ) -> list[Any]:
        """Run the script once for each of ``(keys, args)`` in one round trip; return the answers in order.

        Raise what `pipelined` raises. After a lost connection the calls run again at once on another connection, so
        the script must be safe to repeat.
        """
        commands = [("EVALSHA", self._digest, len(keys), *keys, *args) for keys, args in calls]
        try:
            return await pipelined(client, commands)
        except UnknownScript:
            # On one connection: another one may lead to a server that was just started as well.
            _, *answers = await pipelined(client, [("SCRIPT", "LOAD", self._source), *commands])
            return answers

    async def run(self, client: Redis, keys: Sequence[str | bytes], args: Sequence[str | bytes | int | float]) -> Any:
        """Run the script once; return its answer, with bytes for strings."""
        [answer] = await self.run_all(client, [(keys, args)])
        return answer


def _lua(name: str) -> str:
    return files("realtime.redis").joinpath("lua", f"{name}.lua").read_text()
