"""Run a plan: boot the chat, let users write and read during the faults, and judge what they received."""

import asyncio
import random
import time
from contextlib import suppress
from pathlib import Path

import grpc
from redis.exceptions import RedisError

from chatws.client import ChatClient, Disconnected, Refused
from tests.faults.kinds import flushed
from tests.faults.plan import GROUPS, WRITERS, Outcome, Plan
from tests.faults.stage import PARTS, Fault, Stage
from tests.faults.system import RealSystem, System, TwinSystem
from tests.support.client import make_token
from tests.support.ledger import CALM_SECONDS, Ledger, Reader
from tests.support.proxy import Proxy

OWNER, FIRST_USER, LEAVER, COMER = 1, 100, 200, 300
AT_ONCE = 3
"""Faults that run at the same time."""
CATCH_UP_SECONDS = 300.0
"""Seconds to wait for messages after the last fault; a missing message is then lost. The ledger judges lateness."""
CALM_EVERY = 16
"""Faults between two stretches without any, in which deliveries are due soon after their ack."""


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
        async for event in self.client:
            if isinstance(event, Disconnected):
                self.reader.disconnected(event.code)


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
        self.ledger = Ledger()
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
            stage = self._stage()
            async with asyncio.TaskGroup() as tasks:
                listening = [tasks.create_task(user.listen()) for user in self.users]
                for user in self.users:
                    await user.client.__aenter__()
                    await user.client.ready()
                over = asyncio.Event()
                writing = [tasks.create_task(self._write(user, stage, over)) for user in self.users[:WRITERS]]
                moving = tasks.create_task(self._move(stage, over))
                await self._break(stage)
                over.set()
                await asyncio.wait([*writing, moving])
                await self._settle()
                for user in self.users:
                    user.reader.disconnected(for_good=True)
                    await user.client.close()
                await asyncio.wait(listening)
            await self._judge()
            await self.chat.close()
        finally:
            for user in self.users:
                await user.network.__aexit__()
            system.stop()
        self._judge_logs()
        self.outcome.takeovers = system.takeovers
        self.outcome.seconds = time.monotonic() - began
        return self.outcome

    def _stage(self) -> Stage:
        speaker = self.users[0]
        return Stage(
            self.system,
            self.ledger,
            {user.reader.name: user.network for user in self.users},
            self.groups,
            self.rng,
            self.plan.pause_seconds,
            lambda group_id, text: self._say(speaker, group_id, f"{text} {time.monotonic()}"),
            flushed(self.plan.check_seconds, forgets=self.plan.platform),
            frozenset(user.reader.name for user in self.users[:WRITERS]),
        )

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
            number += 1
            async with stage.traffic():
                await self._say(user, self.rng.choice(self.groups), f"{user.user_id}-{number}")

    async def _say(self, user: User, group_id: str, text: str) -> str:
        began = time.monotonic()
        message_id = await user.client.send_message(group_id, text)
        self.ledger.acked(message_id, group_id, began, user.reader.name)
        return message_id

    async def _move(self, stage: Stage, over: asyncio.Event) -> None:
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
            async with stage.traffic():
                with self.ledger.removing(group_id, LEAVER):
                    await self._until_done(self.chat.remove, group_id, LEAVER, OWNER)
                with self.ledger.adding(group_id, COMER):
                    await self._until_done(self.chat.add, group_id, COMER)

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
                is_followed_by_calm = begun % CALM_EVERY == 0
                async with stage.holding(fault.parts):
                    await fault.work(stage)
                self.outcome.injected[fault.name] += 1
                await stage.moment(0, 0.5)
                if is_followed_by_calm:
                    async with stage.holding(PARTS):
                        await asyncio.sleep(2 * CALM_SECONDS)

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
        """Wait until every reader has everything; then send one more message in each chat group.

        The removals and additions come first: they and the messages have separate topics without a common order. What
        arrives only once another message follows was lost until then, which the ledger would not see.
        """
        comer, moved = self.users[-1].reader, self.left[f"user {LEAVER}"]
        with suppress(TimeoutError):
            async with asyncio.timeout(CATCH_UP_SECONDS):
                for group_id in moved:
                    await self._until_out(group_id)
                while not comer.places.keys() >= {f"group:{group_id}" for group_id in moved}:
                    await asyncio.sleep(0.1)
        deadline = time.monotonic() + CATCH_UP_SECONDS
        while (behind := self._behind()) and time.monotonic() < deadline:
            await asyncio.sleep(0.2)
        if behind:
            self.ledger.problem(f"did not arrive without another message: {behind}")
        speaker = self.users[0]
        self.last = {group_id: await self._say(speaker, group_id, "the last") for group_id in self.groups}
        came = {self.last[group_id] for group_id in moved}
        deadline = time.monotonic() + CATCH_UP_SECONDS
        while time.monotonic() < deadline:
            if comer.seen.keys() >= came and not self._behind():
                return
            await asyncio.sleep(0.2)

    def _behind(self) -> str:
        """Return a message that a reader did not receive yet; empty if there is none."""
        for user in self.users:
            for message_id in self.ledger.missing(user.reader, self._groups_of(user.reader)):
                return f"{message_id} to {user.reader.name}"
        return ""

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

    def _judge_logs(self) -> None:
        """Check that no process logged an error that nobody expected."""
        for log in sorted(self.system.folder.glob("*.log")):
            _, found, trace = log.read_text(errors="replace").partition("Traceback")
            if found:
                self.ledger.found("traceback", f"{log.name}: {trace[:2_000]}")

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
