"""`make faults` injects random faults into the whole chat for some minutes and reports broken promises.

python -m tests.faults.run --minutes 20 --seed 7 [--database postgres://…]
"""

import argparse
import asyncio
import logging
import os
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings.test")

import django

django.setup()

import grpc  # noqa: E402
from redis.exceptions import RedisError  # noqa: E402

from chatws.client import ChatClient, Refused  # noqa: E402
from tests.faults.faults import FAULTS, PLATFORM_FAULTS, Fault, Stage  # noqa: E402
from tests.faults.ledger import Ledger, Reader  # noqa: E402
from tests.faults.system import RealSystem, System, TwinSystem  # noqa: E402
from tests.support.client import make_token  # noqa: E402
from tests.support.proxy import Proxy  # noqa: E402
from tests.support.stack import SERVERS  # noqa: E402

GROUPS, WRITERS = 40, 8
OWNER, FIRST_USER, LEAVER, COMER = 1, 100, 200, 300
AT_ONCE = 3
"""Faults that run at the same time."""
CATCH_UP_SECONDS = 300.0
"""Seconds to wait for messages after the last fault; a missing message is then lost."""
TAKEOVER_SECONDS = 5.0


@dataclass
class Plan:
    """What to run: faults for so many minutes, or so many faults if ``most`` is given."""

    minutes: float
    seed: int
    rate: float = 125.0
    """Messages a second, all writers together."""
    pause_seconds: float = 30.0
    database: str = ""
    keep: bool = False
    only: str = ""
    """Faults whose name begins with this; empty: all."""
    kinds: Sequence[Fault] = ()
    """Faults to choose from; empty: all that fit the system."""
    most: int = 0
    """Faults in all, each kind once before any comes again; 0: as many as the minutes allow."""
    least: int = 0
    """Messages that must be acked before the run may end."""
    settings: str = "config.settings.test"
    """The settings module of all processes."""
    platform: bool = False
    """Whether the chat service is the platform's twin; the gateways publish then."""
    real: bool = False
    """Whether it is the platform's own, which `RealSystem` finds."""

    @property
    def faults(self) -> list[Fault]:
        """Return the kinds of fault that this plan injects."""
        every: Sequence[Fault] = FAULTS + PLATFORM_FAULTS if self.platform else FAULTS
        if self.real:  # we cannot break its services, and it reads no event without its consumer groups
            every = tuple(fault for fault in FAULTS if "rpc" not in fault.parts)
        return [fault for fault in self.kinds or every if fault.name.startswith(self.only)]


@dataclass
class Outcome:
    """The result of a run."""

    ledger: Ledger
    injected: Counter[str] = field(default_factory=Counter)
    takeovers: list[float] = field(default_factory=list)
    seconds: float = 0.0

    def problems(self, takeover_seconds: float | None = None) -> list[str]:
        """Return every broken promise. ``takeover_seconds``: the limit for a standby relay; None: no limit."""
        late = [
            f"the standby relay took over after {took:.1f} s"
            for took in self.takeovers if takeover_seconds is not None and took > takeover_seconds
        ]  # fmt: skip
        return self.ledger.problems + late


class User:
    """A client that reads and may write, through a proxy that can be broken."""

    def __init__(self, user_id: int, network: Proxy, reader: Reader) -> None:
        self.user_id = user_id
        self.network = network
        self.reader = reader
        self.client = ChatClient(
            f"ws://127.0.0.1:{network.port}/ws", make_token(user_id, 86_400), heartbeat_seconds=1.5, first_wait=0.1,
            longest_wait=2.0, observer=reader.observe,
        )  # fmt: skip

    async def listen(self) -> None:
        async for _ in self.client:
            pass


class Run:
    """One run, from boot to verdict."""

    def __init__(self, plan: Plan, folder: Path) -> None:
        self.plan = plan
        self.rng = random.Random(plan.seed)
        environment = {"DJANGO_SETTINGS_MODULE": plan.settings}
        if plan.database:
            environment["DATABASE_URL"] = plan.database
        kind = RealSystem if plan.real else TwinSystem if plan.platform else System
        self.system = kind(folder, **environment)
        self.ledger = Ledger(forgets=plan.platform)
        self.outcome = Outcome(self.ledger)
        self.groups: list[str] = []
        self.users: list[User] = []
        self.left: dict[str, set[str]] = {}
        """By reader, the groups of which it was not a member during the whole run."""
        self.last: dict[str, str] = {}
        """The last message of each chat group."""
        self._next_message = 0.0

    async def __call__(self) -> Outcome:
        system = self.system
        began = time.monotonic()
        try:
            await system.boot()
            self.chat = system.chat()
            await self._people()
            stage = Stage(
                system,
                self.ledger,
                [user.network for user in self.users],
                self.groups,
                self.rng,
                self.plan.pause_seconds,
                frozenset(user.reader.name for user in self.users[:WRITERS]),
            )
            async with asyncio.TaskGroup() as tasks:
                listening = [tasks.create_task(user.listen()) for user in self.users]
                for user in self.users:
                    await user.client.__aenter__()
                    await user.client.ready()
                over = asyncio.Event()
                writing = [tasks.create_task(self._write(user, stage, over)) for user in self.users[:WRITERS]]
                moving = tasks.create_task(self._move(over))
                await self._break(stage)
                over.set()
                await asyncio.wait([*writing, moving])
                await self._settle()
                for user in self.users:
                    await user.client.close()
                await asyncio.wait(listening)
            await self._judge()
            await self.chat.close()
        finally:
            for user in self.users:
                await user.network.__aexit__()
            system.stop()
        self.outcome.takeovers = system.takeovers
        self.outcome.seconds = time.monotonic() - began
        return self.outcome

    async def _people(self) -> None:
        """Create groups and their members: writers in all; one user removed from each in turn; one user added."""
        writers = [FIRST_USER + number for number in range(WRITERS)]
        for number in range(GROUPS):
            self.groups.append(await self.chat.group(OWNER, *writers, LEAVER, name=f"group {number}"))
        for user_id in (*writers, LEAVER, COMER):
            reader = self.ledger.reader(f"user {user_id}")
            self.users.append(User(user_id, await self.system.network(self.rng), reader))
            self.left[reader.name] = set(self.groups) if user_id == COMER else set()

    async def _write(self, user: User, stage: Stage, over: asyncio.Event) -> None:
        number = 0
        while not over.is_set():
            now = time.monotonic()
            self._next_message = max(self._next_message, now - 1.0) + 1.0 / self.plan.rate
            if self._next_message > now:
                await asyncio.sleep(self._next_message - now)
            while stage.quiet.is_set():
                await asyncio.sleep(0.05)
            number += 1
            await self._say(user, self.rng.choice(self.groups), f"{user.user_id}-{number}")

    async def _say(self, user: User, group_id: str, text: str) -> str:
        began = time.monotonic()
        message_id = await user.client.send_message(group_id, text)
        self.ledger.acked(message_id, group_id, began, user.reader.name)
        return message_id

    async def _move(self, over: asyncio.Event) -> None:
        """From time to time remove one user from a chat group for good, and add another."""
        waiting = list(self.groups)
        self.rng.shuffle(waiting)
        every = max(1.0, self.plan.minutes * 60 / (len(waiting) - 4))
        while len(waiting) > 4:
            with suppress(TimeoutError):
                async with asyncio.timeout(every):
                    await over.wait()
                    return
            group_id = waiting.pop()
            self.left[f"user {LEAVER}"].add(group_id)
            await self._until_done(self.chat.remove, group_id, LEAVER, OWNER)
            await self._until_done(self.chat.add, group_id, COMER)
            self.left[f"user {COMER}"].add(group_id)

    async def _until_done(self, work: object, *arguments: object) -> None:
        while True:
            try:
                await work(*arguments)  # type: ignore[operator]
            except grpc.aio.AioRpcError as error:
                if error.code() in (grpc.StatusCode.NOT_FOUND, grpc.StatusCode.ALREADY_EXISTS):
                    return  # the previous attempt had an effect after all
                await asyncio.sleep(0.2)
            except (RedisError, OSError, TimeoutError):
                await asyncio.sleep(0.2)
            else:
                return

    async def _break(self, stage: Stage) -> None:
        """Inject shuffled rounds of faults, several at a time, until the minutes are over or all were injected."""
        until = time.monotonic() + self.plan.minutes * 60
        deck: list[Fault] = []
        begun = 0

        def is_over() -> bool:
            return begun >= self.plan.most if self.plan.most else time.monotonic() >= until

        async def work() -> None:
            nonlocal begun
            while not is_over():
                if not deck:
                    deck.extend(self._round())
                fault = deck.pop()
                begun += 1
                async with stage.holding(fault.parts):
                    await fault.work(stage)
                self.outcome.injected[fault.name] += 1
                await stage.moment(0, 0.5)

        async with asyncio.TaskGroup() as tasks:
            for _ in range(AT_ONCE):
                tasks.create_task(work())
        while len(self.ledger.sent) < self.plan.least:
            await asyncio.sleep(0.05)

    def _round(self) -> list[Fault]:
        """Return a round: each kind of fault as often as it occurs, or once if the number of faults is given."""
        faults = [fault for fault in self.plan.faults for _ in range(1 if self.plan.most else fault.times)]
        self.rng.shuffle(faults)
        return faults

    async def _settle(self) -> None:
        """Send one more message in each chat group; then every reader has everything, or never will.

        First wait for the removals and additions: they and the messages have separate topics without a common order.
        """
        comer, moved = self.users[-1].reader, self.left[f"user {LEAVER}"]
        with suppress(TimeoutError):
            async with asyncio.timeout(CATCH_UP_SECONDS):
                for group_id in moved:
                    await self._until_out(group_id)
                while not comer.places.keys() >= {f"group:{group_id}" for group_id in moved}:
                    await asyncio.sleep(0.1)
        speaker = self.users[0]
        self.last = {group_id: await self._say(speaker, group_id, "the last") for group_id in self.groups}
        came = {self.last[group_id] for group_id in moved}
        deadline = time.monotonic() + CATCH_UP_SECONDS
        while time.monotonic() < deadline:
            missing = any(self.ledger.missing(user.reader, self._groups_of(user.reader)) for user in self.users)
            if not missing and comer.seen.keys() >= came:
                return
            await asyncio.sleep(0.2)

    async def _until_out(self, group_id: str) -> None:
        """Wait until the leaver's gateway rejects reading in a chat group."""
        leaver = next(user for user in self.users if user.user_id == LEAVER)
        while True:
            try:
                await leaver.client.history(group_id, limit=1)
            except Refused as refused:
                if refused.code == 403:
                    return
            await asyncio.sleep(0.1)

    def _groups_of(self, reader: Reader) -> list[str]:
        return [group_id for group_id in self.groups if group_id not in self.left[reader.name]]

    async def _judge(self) -> None:
        stored: dict[str, list[str]] = {}
        stored_at: dict[str, int] = {}
        for group_id in self.groups:
            messages = await self.chat.all_messages(group_id)
            stored[group_id] = list(messages)[::-1]
            stored_at |= messages
        groups_of = {user.reader.name: self._groups_of(user.reader) for user in self.users}
        self.ledger.judge(stored, groups_of, by_feed=self.plan.platform)
        if self.plan.platform:
            self.ledger.judge_errors(stored_at)
        comer = self.users[-1].reader
        for group_id in self.left[f"user {LEAVER}"]:
            if self.last[group_id] not in comer.seen:
                self.ledger.problem(f"{comer.name} was added to {group_id} and did not receive the last message")
        for group_id in self.left[f"user {LEAVER}"]:
            if self.last[group_id] in self.users[-2].reader.seen:
                self.ledger.count["leaked"] += 1
                self.ledger.problem(f"user {LEAVER} was removed from {group_id} and received the last message")


def table(plan: Plan, outcome: Outcome) -> str:
    """Return the run in Markdown."""
    ledger, count = outcome.ledger, outcome.ledger.count
    without_cause = count["unrecoverable without cause"]
    database = plan.database.partition(":")[0] or "sqlite"
    beside = [
        f"| stored and unpublished | {count['unpublished']} |",
        f"| errors to senders of stored messages | {count['error though stored']} |",
        f"| delivered again after FLUSHALL, because the client sent it again | {count['forgotten']} |",
    ] if plan.platform else []  # fmt: skip
    lines = [
        f"seed {plan.seed}, {plan.minutes:g} minutes, {database}, {WRITERS + 2} readers, {GROUPS} chat groups",
        "",
        "| fault | injected |",
        "| --- | --- |",
        *(f"| {fault.name} | {outcome.injected[fault.name]} |" for fault in plan.faults),
        f"| **all** | **{outcome.injected.total()}** |",
        "",
        "| outcome | |",
        "| --- | --- |",
        f"| messages acked | {len(ledger.sent)} |",
        f"| deliveries checked | {sum(len(places) for r in ledger.readers for places in r.received.values())} |",
        f"| lost | {count['lost']} |",
        f"| repeated | {count['repeated']} |",
        f"| swapped | {count['swapped']} |",
        *beside,
        f"| gaps inside a connection | {count['gap']} |",
        f"| received after a removal | {count['leaked']} |",
        f"| feeds resumed without a loss (recovered) | {sum(reader.recovered for reader in ledger.readers)} |",
        f"| unrecoverable feeds after FLUSHALL or a trim | {count['unrecoverable'] - without_cause} |",
        f"| unrecoverable feeds without such a cause | {without_cause} |",
        f"| errors by code (403: a request of the removed user) | {dict(sorted(ledger.errors.items()))} |",
        f"| slowest takeover by a standby relay | {max(outcome.takeovers, default=0):.1f} s |",
    ]
    return "\n".join(lines)


async def run(plan: Plan) -> Outcome:
    """Run a plan in its own folder, which remains if a promise was broken."""
    folder = Path(tempfile.mkdtemp(prefix="chatws-faults-"))
    outcome = None
    try:
        outcome = await Run(plan, folder)()
        return outcome
    finally:
        if outcome is not None and not outcome.problems(TAKEOVER_SECONDS) and not plan.keep:
            shutil.rmtree(folder, ignore_errors=True)
        else:
            sys.stderr.write(f"the logs of all processes are in {folder}\n")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status."""
    parser = argparse.ArgumentParser(prog="make faults", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--minutes", type=float, default=2.0, help="how long faults are injected (default: 2)")
    parser.add_argument("--seed", type=int, default=None, help="repeat the choice of faults of an earlier run")
    parser.add_argument("--rate", type=float, default=Plan.rate, help="messages a second (default: %(default)s)")
    parser.add_argument("--pause", type=float, default=Plan.pause_seconds, help="seconds for which Redis is paused")
    parser.add_argument("--database", default="", help="URL of the chat service's database (default: SQLite)")
    parser.add_argument("--only", default="", help="inject only faults whose name begins with this")
    parser.add_argument(
        "--server", choices=sorted(SERVERS), default="ours", help="ASGI server of the gateways (default: %(default)s)"
    )
    parser.add_argument("--platform", action="store_true", help="run beside the twin of the Go platform")
    parser.add_argument("--real", action="store_true", help="run beside the platform itself, at CHATWS_TEST_PLATFORM")
    parser.add_argument("--keep", action="store_true", help="keep the processes' logs")
    given = parser.parse_args(arguments)
    System.server = given.server
    seed = given.seed if given.seed is not None else random.SystemRandom().randrange(10**6)
    plan = Plan(given.minutes, seed, given.rate, given.pause, given.database, given.keep, given.only)
    plan.platform, plan.real = given.platform or given.real, given.real
    if not plan.faults:
        parser.error(f"--only {given.only}: none of: {', '.join(fault.name for fault in FAULTS)}")
    logging.getLogger("chatws.client").setLevel(logging.ERROR)
    outcome = asyncio.run(run(plan))
    sys.stdout.write(table(plan, outcome) + "\n")
    problems = outcome.problems(TAKEOVER_SECONDS)
    for problem in problems[:40]:
        sys.stdout.write(f"PROBLEM {problem}\n")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
