"""`make rolling` restarts gateway after gateway under load, as a deployment does, and counts the effects on clients.

A balancer sends new connections to the ready gateways. Nothing may be lost, repeated or swapped, every gateway must
exit with status 0, every client must reconnect, and only so many clients may be disconnected at a time. The last limit
depends on the machine, so `problems` judges it only if asked.

python -m tests.faults.rolling --clients 3000
"""

import argparse
import asyncio
import os
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings.test")

import django

django.setup()

from chatws.chat_service.pb import chat_pb2 as pb  # noqa: E402
from chatws.client import ChatClient, Connected, Disconnected  # noqa: E402
from tests.support.chat import Chat  # noqa: E402
from tests.support.client import make_token  # noqa: E402
from tests.support.ledger import Kind, Ledger, Reader  # noqa: E402
from tests.support.ledger.causes import CONNECT_SECONDS  # noqa: E402
from tests.support.proxy import Proxy  # noqa: E402
from tests.support.scrape import get  # noqa: E402
from tests.support.stack import Gateway, Stack  # noqa: E402

GATEWAYS, GROUP = 3, 30
OWNER, FIRST_USER = 1, 1_000
CATCH_UP_SECONDS = 120.0
"""Seconds to wait for expected events; a missing one is then a problem."""
STOP_SECONDS = 120.0
"""Seconds to wait for a gateway's end after its drain; it only catches a hang."""
OPENED_AT_ONCE = 50
FAILURES = "lost", "repeated", "swapped", "gap", "unrecoverable without cause"
"""Counts of the ledger that must be 0."""
SHARE = 15
"""Percent of the clients that may be disconnected at a time."""


@dataclass(frozen=True)
class Plan:
    """The parameters of a run.

    ``leaving``: connections that a gateway drains a second; ``rate``: messages a second in all; ``least``: messages
    that must be acked between two restarts; ``slack_seconds``: how much longer than planned a drain may take.
    """

    clients: int
    leaving: int
    rate: float = 20.0
    retry_seconds: int = 3
    least: int = 10
    slack_seconds: float = 5.0

    @property
    def drain_seconds(self) -> float:
        """Return enough seconds for a gateway that has all clients except those of one other."""
        return self.clients / self.leaving + self.slack_seconds


@dataclass
class Outcome:
    """The result. ``disconnected``: most clients without a connection at a time; ``returned``: clients that lost their
    connection and got another; ``reconnected``: how often that happened."""

    ledger: Ledger
    disconnected: int = 0
    reconnected: int = 0
    returned: int = 0
    statuses: tuple[int, ...] = ()
    seconds: float = 0.0

    def problems(self, clients: int, share: int | None = None) -> list[str]:
        """Return the problems: failed gateway exits, clients that did not reconnect, broken promises of the ledger.

        ``share``: percent of the clients that may be disconnected at a time; None: any, and nothing is late, as the
        machine may be slow.
        """
        found = [
            f"gateway {number} ended with exit status {status}"
            for number, status in enumerate(self.statuses, 1)
            if status
        ]
        if self.returned != clients:
            found.append(f"{self.returned:,} of {clients:,} clients reconnected")
        if share is not None and self.disconnected * 100 > clients * share:
            part = f"{self.disconnected:,} of {clients:,} clients"
            found.append(f"{part} were disconnected at a time: more than {share}% (--share)")
        if share is not None:
            found += map(str, self.ledger.late)
        return found + self.ledger.problems


class Balancer(Proxy):
    """Send new connections to the ready gateways in turn."""

    def __init__(self) -> None:
        self.healthy: list[int] = []
        self._turn = 0
        super().__init__()

    @property
    def targets(self) -> tuple[int, ...]:
        """Return the gateways, the next one first."""
        self._turn += 1
        turn = self._turn % max(len(self.healthy), 1)
        return (*self.healthy[turn:], *self.healthy[:turn])

    @targets.setter
    def targets(self, given: tuple[int, ...]) -> None:
        """Ignore assignments: the targets are the ready gateways."""

    async def watch(self, gateways: list[Gateway]) -> None:
        """Probe the readiness of each gateway five times per second."""
        while True:
            for gateway in list(gateways):
                try:
                    is_ready = (await asyncio.to_thread(get, f"{gateway.http}/ready"))[0] == 200
                except OSError:
                    is_ready = False
                if is_ready != (gateway.port in self.healthy):
                    (self.healthy.append if is_ready else self.healthy.remove)(gateway.port)
            await asyncio.sleep(0.2)


class Rolling:
    """One run."""

    def __init__(self, plan: Plan, folder: Path) -> None:
        self.plan = plan
        self.stack = Stack(
            folder, CHATWS_DRAIN_DELAY="1", CHATWS_DRAIN_PER_SECOND=str(plan.leaving),
            CHATWS_DRAIN_SECONDS=str(plan.drain_seconds), CHATWS_DRAIN_RETRY_SECONDS=str(plan.retry_seconds),
            CHATWS_CONNECTIONS_PER_ADDRESS="0", CHATWS_ACCEPTS_PER_ADDRESS="0", CHATWS_SENDS_PER_SECOND="0",
        )  # fmt: skip
        self.outcome = Outcome(Ledger())
        self.groups: list[str] = []
        self.clients: list[ChatClient] = []
        self._restarted = Kind("a gateway was restarted", connect=plan.retry_seconds + CONNECT_SECONDS)
        self._disconnected: set[ChatClient] = set()
        self._returned: set[ChatClient] = set()

    async def __call__(self) -> Outcome:
        began = time.monotonic()
        stack, balancer = self.stack, Balancer()
        try:
            gateways = [await asyncio.to_thread(stack.start)]
            gateways += [await asyncio.to_thread(stack.start_gateway) for _ in range(GATEWAYS - 1)]
            chat = Chat(stack.rpc_target)
            async with balancer, asyncio.TaskGroup() as tasks:
                watching = tasks.create_task(balancer.watch(gateways))
                await self._until(lambda: len(balancer.healthy) == GATEWAYS)
                await self._people(chat, balancer.port)
                listening = await self._open(tasks)
                over = asyncio.Event()
                writing = tasks.create_task(self._write(over))
                for number in range(GATEWAYS):
                    await self._restart(number, gateways, balancer)
                await self._until(lambda: len(self._returned) == self.plan.clients)
                over.set()
                await writing
                await self._until(lambda: not any(map(self._missing, self.outcome.ledger.readers, self.groups)))
                self.outcome.returned = len(self._returned)
                for client, reader in zip(self.clients, self.outcome.ledger.readers, strict=True):
                    reader.disconnected(for_good=True)
                    await client.close()
                await asyncio.wait(listening)
                watching.cancel()
            await self._judge(chat)
            await chat.close()
        finally:
            await asyncio.to_thread(stack.stop)
        self.outcome.seconds = time.monotonic() - began
        return self.outcome

    async def _restart(self, number: int, gateways: list[Gateway], balancer: Balancer) -> None:
        """Stop a gateway and start another; wait until it is used, all clients are back and enough is acked."""
        sent = self.outcome.ledger.sent
        enough = len(sent) + self.plan.least
        with self.outcome.ledger.fault(self._restarted):
            status = await asyncio.to_thread(gateways[number].stop, seconds=self.plan.drain_seconds + STOP_SECONDS)
        self.outcome.statuses += (status,)
        gateways[number] = await asyncio.to_thread(self.stack.start_gateway)
        await self._until(
            lambda: gateways[number].port in balancer.healthy and not self._disconnected and len(sent) >= enough
        )

    async def _until(self, condition: Callable[[], bool]) -> None:
        """Return once a condition holds or the wait times out; the outcome then shows what is missing."""
        with suppress(TimeoutError):
            async with asyncio.timeout(CATCH_UP_SECONDS):
                while not condition():
                    await asyncio.sleep(0.1)

    async def _people(self, chat: Chat, port: int) -> None:
        for first in range(0, self.plan.clients, GROUP):
            users = [FIRST_USER + number for number in range(first, min(first + GROUP, self.plan.clients))]
            group_id = await chat.group(OWNER, *users)
            for user in users:
                reader = self.outcome.ledger.reader(f"user {user}")
                self.groups.append(group_id)
                url, token = f"ws://127.0.0.1:{port}/ws", make_token(user, 86_400)
                self.clients.append(ChatClient(url, token, first_wait=0.2, longest_wait=2.0, observer=reader.observe))

    async def _open(self, tasks: asyncio.TaskGroup) -> list[asyncio.Task[None]]:
        both = zip(self.clients, self.outcome.ledger.readers, strict=True)
        listening = [tasks.create_task(self._listen(client, reader)) for client, reader in both]
        for first in range(0, len(self.clients), OPENED_AT_ONCE):
            some = self.clients[first : first + OPENED_AT_ONCE]
            await asyncio.gather(*(client.__aenter__() for client in some))
            await asyncio.gather(*(client.ready() for client in some))
        return listening

    async def _listen(self, client: ChatClient, reader: Reader) -> None:
        async for event in client:
            if isinstance(event, Disconnected):
                reader.disconnected(event.code)
                self._disconnected.add(client)
                self.outcome.disconnected = max(self.outcome.disconnected, len(self._disconnected))
            elif isinstance(event, Connected) and client in self._disconnected:
                self._disconnected.discard(client)
                self._returned.add(client)
                self.outcome.reconnected += 1

    async def _write(self, over: asyncio.Event) -> None:
        """Send messages at the plan's rate, each from another client to its group, and wait for all of them."""
        async with asyncio.TaskGroup() as sending:
            number = 0
            while not over.is_set():
                sending.create_task(self._say(number * 7 % len(self.clients), f"message {number}"))
                number += 1
                with suppress(TimeoutError):
                    async with asyncio.timeout(1 / self.plan.rate):
                        await over.wait()

    async def _say(self, number: int, text: str) -> None:
        began = time.monotonic()
        group_id = self.groups[number]
        self.outcome.ledger.acked(await self.clients[number].send_message(group_id, text), group_id, began)

    def _missing(self, reader: Reader, group_id: str) -> list[str]:
        return self.outcome.ledger.missing(reader, [group_id])

    async def _judge(self, chat: Chat) -> None:
        stored: dict[str, list[str]] = {}
        for group_id in dict.fromkeys(self.groups):
            ids: list[str] = []
            has_more, before = True, ""
            while has_more:
                page = await chat.stub.GetMessageHistory(
                    pb.GetMessageHistoryReq(group_id=group_id, before_id=before, limit=100)
                )
                ids += [message.message_id for message in page.messages]
                has_more, before = page.has_more, ids[-1] if ids else ""
            stored[group_id] = ids[::-1]
        ledger = self.outcome.ledger
        ledger.judge(stored, {r.name: [group_id] for r, group_id in zip(ledger.readers, self.groups, strict=True)})


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults.rolling", description=__doc__)
    parser.add_argument("--clients", type=int, default=3_000)
    parser.add_argument("--leaving", type=int, default=50, help="connections that a gateway closes per second")
    parser.add_argument(
        "--share",
        type=int,
        default=SHARE,
        metavar="PERCENT",
        help=f"clients that may be disconnected at a time ({SHARE})",
    )
    options = parser.parse_args()
    plan = Plan(options.clients, options.leaving)
    with tempfile.TemporaryDirectory() as folder:
        outcome = asyncio.run(Rolling(plan, Path(folder))())
    sys.stdout.write(table(plan, outcome))
    problems = outcome.problems(options.clients, options.share)
    sys.stdout.write("".join(f"{problem}\n" for problem in problems[:20]))
    sys.exit(1 if problems else 0)


def table(plan: Plan, outcome: Outcome) -> str:
    """Return the run in Markdown."""
    ledger, most = outcome.ledger, outcome.disconnected
    rows = [
        ("clients, gateways", f"{plan.clients:,}, {GATEWAYS}"), ("seconds", f"{outcome.seconds:.0f}"),
        ("reconnections", f"{outcome.reconnected:,}"),
        ("most clients disconnected at a time", f"{most:,} ({most / plan.clients:.0%})"),
        ("exit statuses of the gateways", ", ".join(map(str, outcome.statuses))),
        ("messages acked", f"{len(ledger.sent):,}"),
        ("deliveries checked", f"{sum(len(ids) for r in ledger.readers for ids in r.messages.values()):,}"),
        *((name, f"{ledger.count[name]:,}") for name in FAILURES), ("late", f"{len(ledger.late):,}"),
    ]  # fmt: skip
    return "".join(f"| {name} | {value} |\n" for name, value in rows)


if __name__ == "__main__":
    main()
