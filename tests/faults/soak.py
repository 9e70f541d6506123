"""`make soak MINUTES=` opens, uses and closes connections by the hundred thousand; none may leave anything behind.

Processes first warm up for a fifth of the time. At the end their memory, the gateway's feeds and the keys in Redis must
be the same as after the warm-up. python -m tests.faults.soak --minutes 10
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
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings.test")

import django

django.setup()

from realtime.redis.client import connect as connect_redis  # noqa: E402
from tests.support.chat import Chat, new_user  # noqa: E402
from tests.support.raw import CLOSE, TEXT, RawSocket, raw_socket  # noqa: E402
from tests.support.scrape import Scraped  # noqa: E402
from tests.support.stack import Gateway, Process, Stack  # noqa: E402

SETTINGS = {
    "CHATWS_ACCEPTS_PER_SECOND": "0",
    "CHATWS_ACCEPTS_PER_ADDRESS": "0", "CHATWS_CONNECTIONS_PER_USER": "0", "CHATWS_PUBLIC_STATUS": "1",
    "CHATWS_SENDS_PER_SECOND": "0",
}  # fmt: skip
REST_SECONDS = 300.0
"""Seconds until a gateway must hold nothing: it unsubscribes from a feed 30 s after the last member left."""
GROWTH_MB = 20
"""Megabytes that a process may grow."""
PASSING = ("chatws:limit:", "chatws:terminations")
"""Keys that exist only for seconds."""
OLDER_HALF = b":ids:old"
"""The second key of a feed's publication ids, which exists once its ids are ten minutes old."""


@dataclass
class Sample:
    """The resources at one moment: bytes of memory by process, subscribed feeds, keys in Redis by kind."""

    memory: dict[str, int]
    feeds: int
    keys: Counter[str]


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

    async def run(self, *, minutes: float = math.inf, most: int = 0) -> tuple[Sample, Sample]:
        """Run for so many minutes or connections; return the resources before and after.

        The warm-up takes a quarter as many minutes or connections.
        """
        stack = Stack(self.folder, DJANGO_SETTINGS_MODULE=self.settings, **SETTINGS)
        began = time.monotonic()
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
            watching.cancel()
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
        async with raw_socket(self._gateway.port, user) as raw:
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
        while True:
            self.along.append(memory_of(self._gateway))
            await asyncio.sleep(5)

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
        keys: Counter[str] = Counter()
        async for key in self._redis.scan_iter(count=1_000):
            if not key.decode().startswith(PASSING) and not key.endswith(OLDER_HALF):
                keys[kind_of(key.decode())] += 1
        memory = {process.name: memory_of(process) for process in self._processes}
        return Sample(memory, int(seen.total("chatws_feeds")), keys)

    async def _lag(self) -> int:
        return sum(group["lag"] or 0 for group in await self._redis.xinfo_groups("chatws:audit"))


def kind_of(key: str) -> str:
    """Return a key without the names in it."""
    head, brace, rest = key.partition("{")
    if brace:
        return f"{head}{{{rest.partition(':')[0]}}}{rest.partition('}')[2]}"
    return ":".join("…" if part.isdigit() or len(part) > 20 else part for part in key.split(":"))


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
    problems = left_behind(before, after) + grown(before, after, options.growth)
    sys.exit("\n".join(problems) if problems else 0)


def left_behind(before: Sample, after: Sample) -> list[str]:
    """Return the kinds of keys, and the feeds, of which there are more than before."""
    found = [f"{key}: {before.keys[key]} keys became {after.keys[key]}" for key in after.keys - before.keys]
    if after.feeds > before.feeds:
        found.append(f"{before.feeds} feeds became {after.feeds}")
    return found


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
        ("keys in Redis, before and after", f"{before.keys.total():,}, {after.keys.total():,}"),
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
