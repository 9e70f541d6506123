"""`make soak MINUTES=` opens, uses and closes connections by the hundred thousand; none may leave anything behind.

The limits are those of production. Processes first warm up for a fifth of the time. At the end their memory and the
gateway's feeds must be the same as after the warm-up. Every key in Redis is counted on the way and at the end: none may
be unknown, and none more than what lives allows. python -m tests.faults.soak --minutes 10
"""

import argparse
import asyncio
import json
import math
import os
import random
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings.test")

import django

django.setup()

from realtime.redis.client import connect as connect_redis  # noqa: E402
from tests.faults.census import Census, Living, take  # noqa: E402
from tests.support.chat import Chat, new_user  # noqa: E402
from tests.support.raw import CLOSE, TEXT, RawSocket, raw_socket  # noqa: E402
from tests.support.scrape import Scraped  # noqa: E402
from tests.support.stack import Gateway, Process, Stack  # noqa: E402

SETTINGS = {"CHATWS_PUBLIC_STATUS": "1", "CHATWS_TRUSTED_PROXIES": "127.0.0.1", "CHATWS_OWN_TOPICS": "1"}
"""No limit is lifted: each user has an address of its own, as behind a proxy."""
CENSUS_SECONDS = 5.0
TOPICS = 6
"""Those of the events, and the audit's."""
REST_SECONDS = 300.0
"""Seconds until a gateway must hold nothing: it unsubscribes from a feed 30 s after the last member left."""
CONNECTIONS_PER_USER = 20
"""The limit by default."""
GROWTH_MB = 20
"""Megabytes that a process may grow."""


@dataclass
class Sample:
    """The resources at rest: bytes of memory by process, subscribed feeds, keys in Redis."""

    memory: dict[str, int]
    feeds: int
    census: Census


@dataclass
class Soak:
    """Connections of ``users`` in ``groups``, ``at_once`` at a time."""

    folder: Path
    users: int = 300
    groups: int = 60
    at_once: int = 30
    settings: str = "config.settings.test"
    """The settings module of all processes."""
    connections: int = 0
    acked: int = 0
    seconds: float = 0.0
    along: list[int] = field(default_factory=list)
    """The gateway's memory at intervals."""
    taken: list[Census] = field(default_factory=list)
    """The keys in Redis at these intervals."""

    async def run(self, *, minutes: float = math.inf, most: int = 0) -> tuple[Sample, Sample]:
        """Run for so many minutes or connections; return the resources before and after.

        The warm-up takes a quarter as many minutes or connections.
        """
        stack = Stack(self.folder, DJANGO_SETTINGS_MODULE=self.settings, **SETTINGS)
        began = time.monotonic()
        self._is_over = asyncio.Event()
        try:
            self._gateway = await asyncio.to_thread(stack.start)
            self._processes = [process for process in stack.processes if not process.name.startswith("rpc")]
            self._redis: Any = connect_redis(stack.redis.url)
            await self._people(stack)
            watching = asyncio.create_task(self._watch())
            await asyncio.gather(*(self._lives(self._users[number :: self.at_once]) for number in range(self.at_once)))
            await self._go_on(minutes * 12, most // 4)
            before = await self._rest()
            self.connections = 0
            await self._go_on(minutes * 48, most)
            after = await self._rest()
            self._is_over.set()
            await watching
            await self._redis.aclose()
            log = self._gateway.log.read_text()
            assert "Traceback" not in log, log[-4_000:]
            self.seconds = time.monotonic() - began
            return before, after
        finally:
            await asyncio.to_thread(stack.stop)

    async def _people(self, stack: Stack) -> None:
        chat = Chat(stack.rpc_target)
        self._users = [new_user() for _ in range(self.users)]
        self._of: dict[int, list[str]] = {user: [] for user in self._users}
        self._address_of = {user: f"198.51.{n // 250}.{n % 250 + 1}" for n, user in enumerate(self._users)}
        for number in range(self.groups):
            members = self._users[number :: self.groups] + self._users[(number + 1) % self.groups :: self.groups]
            group = await chat.group(*dict.fromkeys(members))
            for user in set(members):
                self._of[user].append(group)
        await chat.close()

    async def _lives(self, users: list[int]) -> None:
        for user in users:
            await self._life(user)

    async def _go_on(self, seconds: float, most: int) -> None:
        deadline = time.monotonic() + seconds

        async def come_and_go() -> None:
            while time.monotonic() < deadline and not 0 < most <= self.connections:
                await self._life(random.choice(self._users))

        await asyncio.gather(*(come_and_go() for _ in range(self.at_once)))

    async def _life(self, user: int) -> None:
        """Run one connection: leave a chat group, join it again, send a message, then close or break the socket."""
        self.connections += 1
        group = random.choice(self._of[user])
        async with raw_socket(self._gateway.port, user, address=self._address_of[user]) as raw:
            await self._ask(raw, "leave_group", {"group_id": group}, "group_left")
            await self._ask(raw, "join_group", {"group_id": group}, "group_joined")
            if self.connections % 10 == 0:
                data = {"group_id": group, "msg_type": 1, "content": f"{self.connections} {time.time()}"}
                is_acked = await self._ask(raw, "send_message", data, "ack")
                self.acked += is_acked  # not in one statement: counts of other tasks during the wait would be lost
            if self.connections % 2:
                raw.send(CLOSE, (1000).to_bytes(2))
                while (await raw.frame())[0] != CLOSE:
                    pass

    async def _ask(self, raw: RawSocket, kind: str, data: dict[str, object], answer: str) -> bool:
        """Return whether the answer is the expected one; on a busy machine the chat service may be too slow (503)."""
        raw.send(TEXT, json.dumps({"type": kind, "message_id": "m", "data": data}).encode())
        while True:
            opcode, payload = await raw.frame()
            frame = json.loads(payload) if opcode == TEXT else {}
            if frame.get("type") == answer:
                return True
            if frame.get("type") == "error":
                assert frame["data"]["code"] == 503, frame
                return False

    async def _watch(self) -> None:
        while not self._is_over.is_set():
            self.along.append(memory_of(self._gateway))
            self.taken.append(await take(self._redis, self._living(self.users * CONNECTIONS_PER_USER)))
            with suppress(TimeoutError):
                async with asyncio.timeout(CENSUS_SECONDS):
                    await self._is_over.wait()

    def _living(self, connections: int) -> Living:
        """Return what lives now; ``connections``: how many there may be."""
        return Living(self.users, self.groups, TOPICS, connections, processes=1)

    async def _rest(self) -> Sample:
        """Return the resources once everything temporary is released."""
        url = f"{self._gateway.http}/metrics"
        async with asyncio.timeout(REST_SECONDS):
            while True:
                seen = await asyncio.to_thread(Scraped, url)
                waiting = await self._redis.exists("chatws:audit") and await self._lag()
                if not (seen.total("chatws_connections") or seen.total("chatws_feeds") or waiting):
                    break
                await asyncio.sleep(0.5)
        census = await take(self._redis, self._living(0))
        memory = {process.name: memory_of(process) for process in self._processes}
        return Sample(memory, int(seen.total("chatws_feeds")), census)

    async def _lag(self) -> int:
        return sum(group["lag"] or 0 for group in await self._redis.xinfo_groups("chatws:audit"))


def memory_of(process: Process | Gateway) -> int:
    """Return a process's memory in bytes."""
    return int(Path(f"/proc/{process.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument(
        "--growth", type=int, default=GROWTH_MB, help="most MB that a process may grow (default: %(default)s)"
    )
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        soak = Soak(Path(folder))
        before, after = asyncio.run(soak.run(minutes=options.minutes))
    sys.stdout.write(table(soak, before, after))
    problems = left_behind(soak, before, after) + grown(before, after, options.growth)
    sys.exit("\n".join(problems) if problems else 0)


def left_behind(soak: Soak, before: Sample, after: Sample) -> list[str]:
    """Return the problems of every census, each once, and the feeds that are still subscribed."""
    found = dict.fromkeys(one for census in (*soak.taken, before.census, after.census) for one in census.problems)
    if after.feeds > before.feeds:
        found[f"{before.feeds} feeds became {after.feeds}"] = None
    return list(found)


def grown(before: Sample, after: Sample, megabytes: int = GROWTH_MB) -> list[str]:
    """Return the processes with so much more memory than before."""
    return [
        f"{name} grew by {(after.memory[name] - size) / 1e6:.0f} MB"
        for name, size in before.memory.items() if after.memory[name] - size > megabytes * 1_000_000
    ]  # fmt: skip


def table(soak: Soak, before: Sample, after: Sample) -> str:
    """Return the run in Markdown."""
    rows = [
        ("seconds", f"{soak.seconds:.0f}"), ("connections", f"{soak.connections:,}"),
        ("messages acked", f"{soak.acked:,}"), ("subscribed feeds, before and after", f"{before.feeds}, {after.feeds}"),
        ("keys in Redis, before and after", f"{before.census.count.total():,}, {after.census.count.total():,}"),
        ("looks at every key", f"{len(soak.taken) + 2}"),
        *((f"memory of {name}, before and after", f"{size / 1e6:.0f} MB, {after.memory[name] / 1e6:.0f} MB")
          for name, size in before.memory.items()),
        ("memory of the gateway along the way", ", ".join(f"{size / 1e6:.0f}" for size in thinned(soak.along)) + " MB"),
    ]  # fmt: skip
    return "".join(f"| {name} | {value} |\n" for name, value in rows)


def thinned(values: list[int], most: int = 10) -> list[int]:
    """Return so many of them at equal distances."""
    return values[:: max(len(values) // most, 1)]


if __name__ == "__main__":
    main()
