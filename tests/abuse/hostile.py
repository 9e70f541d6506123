"""Serve honest clients beside thousands of hostile requests and sockets.

`python -m tests.abuse.hostile --minutes 10` compares with a quiet time before: how long a message takes, the gateway's
memory, how long `/health` takes; and counts what honest clients missed. `make proofs` runs a shorter one.
"""

import argparse
import asyncio
import json
import os
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings.test")

import django

if __name__ == "__main__":
    django.setup()

import websockets

from config.env import BASE_DIR
from tests.abuse.beside import rss
from tests.support.chat import Chat, new_user
from tests.support.client import make_token
from tests.support.stack import Gateway, Stack

MEMBERS = 10
"""Members of a chat group."""
HEALTH_EVERY = 0.5
SETTLE_SECONDS = 20.0
"""How long deliveries may take at the end before they count as missed; it only ends the wait."""
PROBE_SECONDS = 120.0
"""Seconds after which a `/health` counts as unanswered."""
MOST_GROWTH_MB, MOST_SLOWER, HEALTH_SECONDS = 100, 3.0, 1.0
ATTACKERS = 50
"""Users of the hostile sockets that have a token."""


@dataclass(frozen=True)
class Plan:
    """The size of a run."""

    clients: int = 200
    count: int = 24_000
    seconds: float = 600.0
    quiet_seconds: float = 60.0
    messages_per_second: float = 10.0
    patience: float = 15.0
    """How long a hostile request or socket goes on at most."""
    seed: int = 1


@dataclass
class Outcome:
    """What was measured; times in seconds."""

    quiet: list[float] = field(default_factory=list)
    beside: list[float] = field(default_factory=list)
    health: list[float] = field(default_factory=list)
    growth: int = 0
    refused: list[str] = field(default_factory=list)
    """What honest clients got but should not have: errors, closes, failed probes."""
    missed: int = 0
    unacked: int = 0
    """Messages of honest clients without an `ack`."""
    unanswered: int = 0
    """Whole requests of hostile clients that had no answer within their patience."""
    sent: int = 0
    delivered: int = 0
    made: Counter[str] = field(default_factory=Counter)
    outcomes: Counter[str] = field(default_factory=Counter)

    @property
    def slower(self) -> float:
        """How many times longer the 99th percentile of a delivery is beside the hostile requests."""
        return p99(self.beside) / p99(self.quiet)


class Honest:
    """One well-behaved client; it notes when each message of its group arrives."""

    def __init__(self, run: "Hostile", user: int, group: str) -> None:
        self.run, self.user, self.group = run, user, group

    async def connect(self, gateway: Gateway, number: int) -> None:
        """Authenticate, from an address of its own."""
        headers = {
            "Authorization": f"Bearer {make_token(self.user, 86_400)}",
            "X-Forwarded-For": f"198.51.100.{number % 250 + 1}",
        }
        self.socket = await websockets.connect(gateway.ws, additional_headers=headers, ping_timeout=None)
        while json.loads(await self.socket.recv())["type"] != "auth_success":
            pass

    async def read(self) -> None:
        """Read until cancelled."""
        try:
            async for text in self.socket:
                frame: dict[str, Any] = json.loads(text)
                if frame["type"] == "new_message":
                    self.run.arrived(frame["data"]["content"])
                elif frame["type"] == "ack":
                    self.run.acked(frame["message_id"])
                elif frame["type"] in ("error", "auth_failed", "shutdown"):
                    self.run.outcome.refused.append(f"user {self.user}: {text!r}"[:300])
        except websockets.ConnectionClosed as error:
            self.run.outcome.refused.append(f"user {self.user}: {error}")
            return
        self.run.outcome.refused.append(f"user {self.user}: closed with {self.socket.close_code}")

    async def say(self, content: str) -> None:
        """Send a message."""
        data = {"group_id": self.group, "msg_type": 1, "content": content}
        frame = {"type": "send_message", "message_id": content, "timestamp": int(time.time()), "data": data}
        await self.socket.send(json.dumps(frame))


class Hostile:
    """One run."""

    def __init__(self, plan: Plan, folder: Path) -> None:
        self.plan = plan
        self.folder = folder
        self.outcome = Outcome()
        self._sent_at: dict[str, float] = {}
        self._waiting: Counter[str] = Counter()
        """By message, how many members have not received it yet."""
        self._unacked: set[str] = set()
        self._all_arrived = asyncio.Event()
        self._is_over = asyncio.Event()
        self._delays = self.outcome.quiet

    async def __call__(self) -> Outcome:
        """Run: connect, a quiet time, then the hostile ones."""
        stack = Stack(self.folder, CHATWS_TRUSTED_PROXIES="127.0.0.1", CHATWS_FRAMES_PER_SECOND="50")
        try:
            gateway = await asyncio.to_thread(stack.start)
            await self._run(stack, gateway)
        finally:
            await asyncio.to_thread(stack.stop)
        return self.outcome

    async def _run(self, stack: Stack, gateway: Gateway) -> None:
        chat, honest = Chat(stack.rpc_target), []
        for _ in range(self.plan.clients // MEMBERS):
            users = [new_user() for _ in range(MEMBERS)]
            group = await chat.group(*users)
            honest += [Honest(self, user, group) for user in users]
        await chat.close()
        for number, client in enumerate(honest):
            await client.connect(gateway, number)
        reading = [asyncio.create_task(client.read()) for client in honest]
        probing = asyncio.create_task(self._probe(gateway))
        await self._talk(honest, self.plan.quiet_seconds)
        self._delays = self.outcome.beside
        self.outcome.health.clear()
        before = rss(gateway)
        watching = asyncio.create_task(self._watch(gateway, before))
        attacking = await self._attack(gateway)
        await self._talk(honest, self.plan.seconds)
        printed, _ = await attacking.communicate()
        found = json.loads(printed)
        self.outcome.made, self.outcome.outcomes = Counter(found["made"]), Counter(found["outcomes"])
        self.outcome.unanswered = found["unanswered"]
        with suppress(TimeoutError):
            async with asyncio.timeout(SETTLE_SECONDS):
                await self._all_arrived.wait()
        self.outcome.missed, self.outcome.unacked = self._waiting.total(), len(self._unacked)
        self._is_over.set()
        await asyncio.wait_for(probing, PROBE_SECONDS)
        for task in (watching, *reading):
            task.cancel()
        await asyncio.gather(watching, *reading, return_exceptions=True)
        if "Traceback" in gateway.log.read_text():
            self.outcome.refused.append(f"the gateway logged a traceback: {gateway.log}")
        if not gateway.running:
            self.outcome.refused.append("the gateway ended")

    async def _talk(self, honest: Sequence[Honest], seconds: float) -> None:
        began = time.monotonic()
        for number in range(int(seconds * self.plan.messages_per_second)):
            await asyncio.sleep(max(0.0, began + number / self.plan.messages_per_second - time.monotonic()))
            client = honest[number * 7 % len(honest)]
            content = f"m{self.outcome.sent}"
            self.outcome.sent += 1
            self._sent_at[content] = time.monotonic()
            self._waiting[content] = MEMBERS
            self._unacked.add(content)
            self._all_arrived.clear()
            try:
                await client.say(content)
            except websockets.ConnectionClosed as error:
                self.outcome.refused.append(f"user {client.user} can't send: {error}")

    def arrived(self, content: str) -> None:
        """Note that one member received a message."""
        self.outcome.delivered += 1
        self._delays.append(time.monotonic() - self._sent_at[content])
        self._waiting[content] -= 1
        if not self._waiting[content]:
            del self._waiting[content]
        self._look()

    def acked(self, content: str) -> None:
        """Note that the sender of a message received its `ack`."""
        self._unacked.discard(content)
        self._look()

    def _look(self) -> None:
        if not self._waiting and not self._unacked:
            self._all_arrived.set()

    async def _probe(self, gateway: Gateway) -> None:
        """Ask for `/health` until the run is over; a request without an answer counts, also the last one."""
        while not self._is_over.is_set():
            began = time.monotonic()
            try:
                async with asyncio.timeout(PROBE_SECONDS):
                    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
                    writer.write(b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
                    if b" 200 " not in await reader.readline():
                        self.outcome.refused.append("/health is not 200")
                    writer.close()
            except (OSError, TimeoutError) as error:
                self.outcome.refused.append(f"/health: {error!r}")
            self.outcome.health.append(time.monotonic() - began)
            with suppress(TimeoutError):
                async with asyncio.timeout(HEALTH_EVERY):
                    await self._is_over.wait()

    async def _watch(self, gateway: Gateway, before: int) -> None:
        while True:
            self.outcome.growth = max(self.outcome.growth, rss(gateway) - before)
            await asyncio.sleep(HEALTH_EVERY)

    async def _attack(self, gateway: Gateway) -> asyncio.subprocess.Process:
        tokens = ",".join(make_token(new_user(), 86_400) for _ in range(ATTACKERS))
        plan = self.plan
        command = [sys.executable, "-m", "tests.abuse.hostile_requests", str(gateway.port), "--tokens", tokens]
        command += ["--count", str(plan.count), "--seconds", str(plan.seconds), "--seed", str(plan.seed)]
        command += ["--patience", str(plan.patience)]
        return await asyncio.create_subprocess_exec(*command, cwd=BASE_DIR, stdout=asyncio.subprocess.PIPE)


def p99(delays: Sequence[float]) -> float:
    """Return the 99th percentile."""
    return statistics.quantiles(delays, n=100)[98] if len(delays) > 1 else 0.0


def table(plan: Plan, outcome: Outcome) -> str:
    """Return the outcome as text."""
    made = ", ".join(f"{name} {count:,}" for name, count in sorted(outcome.made.items()))
    ended = ", ".join(f"{name}: {count:,}" for name, count in sorted(outcome.outcomes.items()))
    lines = [
        f"hostile requests and sockets: {outcome.made.total():,} in {plan.seconds:,.0f} s ({made})",
        f"how they ended: {ended}",
        f"honest clients: {plan.clients}; messages {outcome.sent:,}, deliveries {outcome.delivered:,}",
        f"deliveries missed: {outcome.missed}; refused or disconnected: {len(outcome.refused)}",
        f"messages without an ack: {outcome.unacked}; hostile requests without an answer: {outcome.unanswered}",
        f"p99 of a delivery: quiet {p99(outcome.quiet) * 1000:.1f} ms, beside {p99(outcome.beside) * 1000:.1f} ms",
        f"slowest /health: {max(outcome.health) * 1000:.0f} ms; memory of the gateway: +{outcome.growth / 1e6:.0f} MB",
    ]
    return "\n".join([*lines, *(f"PROBLEM {one}" for one in outcome.refused[:20])]) + "\n"


def main() -> int:
    """Run the command; return 1 if a limit is exceeded."""
    parser = argparse.ArgumentParser(prog="python -m tests.abuse.hostile", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--per-second", type=float, default=40.0, help="hostile requests and sockets a second")
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    seconds = given.minutes * 60
    plan = Plan(count=int(seconds * given.per_second), seconds=seconds, seed=given.seed)
    with tempfile.TemporaryDirectory(prefix="chatws-hostile-") as folder:
        outcome = asyncio.run(Hostile(plan, Path(folder))())
        sys.stdout.write(table(plan, outcome))
    is_whole = not (outcome.refused or outcome.missed or outcome.unacked or outcome.unanswered)
    is_good = is_whole and outcome.slower <= MOST_SLOWER
    return 0 if is_good and outcome.growth <= MOST_GROWTH_MB * 1e6 and max(outcome.health) <= HEALTH_SECONDS else 1


if __name__ == "__main__":
    sys.exit(main())
