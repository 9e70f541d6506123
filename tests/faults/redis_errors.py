"""Let Redis answer each kind of error for some seconds, under load, and judge what users, presence and audit noticed.

python -m tests.faults.redis_errors --seconds 10 --seed 7
"""

import argparse
import asyncio
import itertools
import json
import os
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings.test")

import django

django.setup()

import websockets  # noqa: E402
from django.conf import settings  # noqa: E402

from realtime.presence.presence import Presence, Stats  # noqa: E402
from realtime.redis import keys  # noqa: E402
from tests.faults.kinds import REDIS_ERRORS  # noqa: E402
from tests.faults.redis_report import TRUE_SECONDS, Outcome, Row, problems, table  # noqa: E402
from tests.faults.redis_users import Member, Round  # noqa: E402
from tests.proofs.figures import Figure, all_of, at_most, none_of  # noqa: E402
from tests.support.client import bearer  # noqa: E402
from tests.support.redis import connect as connect_redis  # noqa: E402
from tests.support.redis import free_port  # noqa: E402
from tests.support.redis_errors import ELEVEN, KINDS, WRITES, ErrorProxy, is_write  # noqa: E402
from tests.support.scrape import Scraped  # noqa: E402
from tests.support.stack import Stack  # noqa: E402
from tests.support.waiting import LIMIT, until, until_answer  # noqa: E402

MIXED = "at random"
"""The last part: every half second another kind, for half of the commands."""
WRITERS, READERS = 4, 6
TOKEN = "scrapes-and-nothing-else"


class Run(Round):
    """Real gateways, relays and a chat service, whose Redis answers errors; and their users."""

    def __init__(self, folder: Path, seconds: float, seed: int, kinds: Sequence[str] = (*ELEVEN, MIXED)) -> None:
        self.folder = folder
        self.seconds = seconds
        self.rng = random.Random(seed)
        self.kinds = [*self.rng.sample(kinds, len(kinds))]
        self.outcome = Outcome()
        super().__init__(self.outcome.ledger)
        self.members: list[Member] = []
        self.closed: list[str] = []
        """Connections that newcomers opened and closed."""

    async def __call__(self) -> Outcome:
        self.stack = Stack(
            self.folder, CHATWS_PRESENCE_LEASE="5", CHATWS_SENDS_PER_SECOND="1000", CHATWS_METRICS_TOKEN=TOKEN
        )
        await asyncio.to_thread(self.stack.redis.start)
        try:
            async with ErrorProxy(self.stack.redis.port) as self.proxy:
                self.redis = connect_redis(self.stack.redis.url)
                self.stack.env["REDIS_URL"] = self.proxy.url
                await self._boot()
                await self._all_kinds()
                await self._still_working()
                await self.redis.aclose()
                await asyncio.to_thread(self.stack.stop)
        finally:
            await asyncio.to_thread(self.stack.stop)
        return self.outcome

    async def _boot(self) -> None:
        stack, thread = self.stack, asyncio.to_thread
        await thread(stack.migrate)
        await thread(stack.start_rpc)
        self.probes = [f"127.0.0.1:{free_port()}" for _ in range(2)]
        for address in self.probes:
            stack.start_relay("--probes", address)
        self.gateways = [await thread(stack.start_gateway) for _ in range(2)]
        await thread(stack.wait_until_relaying)
        chat = stack.chat()
        users = list(range(1_001, 1_001 + WRITERS + READERS))
        self.groups = [await chat.group(*users) for _ in range(2)]
        await chat.close()
        self.members = [Member(self, user, self.gateways[number % 2]) for number, user in enumerate(users)]
        for member in self.members:
            await member.enter()

    async def _all_kinds(self) -> None:
        writing = [
            asyncio.create_task(member.write(self.groups[number % 2]))
            for number, member in enumerate(self.members[:WRITERS])
        ]
        for kind in self.kinds:
            await self._one_kind(kind)
        self.over.set()
        await asyncio.wait(writing)
        await until(lambda: not self._missing(), what="every acked message is delivered")
        chat = self.stack.chat()
        stored = {group_id: list(await chat.all_messages(group_id))[::-1] for group_id in self.groups}
        await chat.close()
        self.ledger.judge(stored, {reader.name: self.groups for reader in self.ledger.readers})

    async def _one_kind(self, kind: str) -> None:
        self.row = Row(kind)
        self.outcome.rows.append(self.row)
        failures, answered = await self._task_failures(), self.proxy.refused.total()
        coming = asyncio.create_task(self._come_and_go())
        ends = time.monotonic() + self.seconds
        with self.ledger.fault(REDIS_ERRORS):
            if kind != MIXED:
                self.proxy.answer_kind(kind)
                await asyncio.sleep(self.seconds)
            while time.monotonic() < ends:
                self._answer_half(self.rng.choice(ELEVEN))
                await asyncio.sleep(0.5)
            self.proxy.restore()
        began = time.monotonic()
        self.row.answered = self.proxy.refused.total() - answered
        coming.cancel()
        await asyncio.wait([coming])
        acked = set(self.ledger.sent)

        async def after(holds: Callable[[], Awaitable[Any]], what: str) -> float:
            await until_answer(holds, what=f"{what} after {kind}")
            return time.monotonic() - began

        async def delivered() -> bool:
            return not acked & self._missing()

        self.row.delivered_after, self.row.presence_after, self.row.audit_after = await asyncio.gather(
            after(delivered, "every acked message is delivered"), after(self._presence_is_true, "presence is true"),
            after(self._audit_is_true, "the audit is true"),
        )  # fmt: skip
        self.row.task_failures = int(await self._task_failures() - failures)

    def _answer_half(self, kind: str) -> None:
        which, text = KINDS[kind]

        def picks(words: list[bytes]) -> bool:
            return self.rng.random() < 0.5 and (which != WRITES or is_write(words))

        self.proxy.answer(text, picks)

    async def _come_and_go(self) -> None:
        """Connect, and close again if the connection was not refused; refusals have to say when to come back."""
        for number in itertools.count():
            gateway, user = self.gateways[number % 2], 5_000 + number
            socket = await websockets.connect(gateway.ws, additional_headers=bearer(user), open_timeout=LIMIT)
            with suppress(websockets.ConnectionClosed):
                try:
                    frame = json.loads(await socket.recv())
                    self.row.newcomers += 1
                    if frame["type"] == "auth_success":
                        self.closed.append(frame["data"]["connection_id"])
                    else:
                        self.row.turned_away += 1
                        if frame["data"]["code"] != 503 or not frame["data"].get("retry_after"):
                            self.ledger.problem(f"{self.row.kind}: a newcomer was answered {frame}")
                finally:
                    await socket.close()
            await asyncio.sleep(0.2)

    def _missing(self) -> set[str]:
        readers = [reader for reader, one in zip(self.ledger.readers, self.members, strict=True) if not one.close_code]
        return {message_id for reader in readers for message_id in self.ledger.missing(reader, self.groups)}

    async def _presence_is_true(self) -> bool:
        presence, users = (
            Presence(self.redis, "", settings.REALTIME),
            [one for one in self.members if not one.close_code],
        )
        counts = [one.connections for one in await presence.of_users([one.user_id for one in users])]
        return counts == [1] * len(users) and await presence.stats() == Stats(len(users), len(users), 2)

    async def _audit_is_true(self) -> bool:
        rows = await asyncio.to_thread(
            self.stack.query, "SELECT connection_id, closed_at IS NULL, user_id FROM realtime_connectionrecord"
        )
        is_open = {str(connection_id): bool(open_) for connection_id, open_, user in rows if user}
        living = {one.connection_id for one in self.members if not one.close_code}
        return {name for name, open_ in is_open.items() if open_} == living and set(self.closed) <= is_open.keys()

    async def _task_failures(self) -> float:
        urls = [f"{gateway.http}/metrics" for gateway in self.gateways] + [f"http://{at}/metrics" for at in self.probes]
        seen = [await asyncio.to_thread(Scraped, url, TOKEN) for url in urls]
        return sum(one.total("chatws_task_failures_total") for one in seen)

    async def _still_working(self) -> None:
        """Check the tasks that a quiet chat doesn't show: terminations, revocations, position checks, the reaper."""
        self.row = Row("afterwards")
        ended, revoked, *_, last = self.members
        for member in self.members:
            member.is_over = True
        url = f"{self.gateways[0].http}/metrics"
        checks = (await asyncio.to_thread(Scraped, url, TOKEN)).total("chatws_position_checks_total")
        await self.redis.xadd(keys.terminations(), {ended.connection_id: 4403})
        await until(lambda: ended.close_code, lambda code: code == 4403, "a connection is ended")
        await asyncio.to_thread(self.stack.manage, "revoke", "--user", str(revoked.user_id))
        await until(lambda: revoked.close_code, lambda code: code == 4401, "a token is revoked")
        await until_answer(
            lambda: asyncio.to_thread(Scraped, url, TOKEN),
            lambda seen: seen.total("chatws_position_checks_total") > checks,
            "positions are checked",
        )
        self.gateways[1].kill()
        await until(lambda: last.close_code, what="its connections end")
        sql = "SELECT count(*) FROM realtime_connectionrecord WHERE close_code = 1006 AND connection_id = %s"
        await until_answer(
            lambda: asyncio.to_thread(self.stack.query, sql, last.connection_id), lambda rows: rows == [(1,)], "reaped"
        )
        for member in self.members:
            await member.socket.close()
            await member.reading


async def measured(folder: Path, seconds: float = 10.0, seed: int = 1) -> list[Figure]:
    """Run it and return its figures, for a proof."""
    outcome = await Run(folder, seconds, seed)()
    sys.stdout.write(table(outcome) + "\n")
    acked, answered = sum(row.acked for row in outcome.rows), sum(row.answered for row in outcome.rows)
    return [
        none_of(f"broken promises, {len(outcome.rows)} kinds of error, {answered:,} errors", problems(outcome)),
        all_of(
            "connections that stayed open",
            WRITERS + READERS - sum(row.disconnected for row in outcome.rows),
            WRITERS + READERS,
        ),
        at_most("slowest until presence, audit and delivery are true again", outcome.slowest, TRUE_SECONDS),
        Figure("messages acked", f"{acked:,}", "1 or more", acked > 0),
    ]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults.redis_errors", description=__doc__)
    parser.add_argument("--seconds", type=float, default=10.0, help="how long each kind of error is answered")
    parser.add_argument("--seed", type=int, default=None, help="repeat the order of an earlier run")
    parser.add_argument("--only", choices=KINDS, action="append", help="answer only this kind; may be repeated")
    given = parser.parse_args(arguments)
    seed = given.seed if given.seed is not None else random.SystemRandom().randrange(10**6)
    folder = Path(tempfile.mkdtemp(prefix="chatws-redis-errors-"))
    outcome = asyncio.run(Run(folder, given.seconds, seed, given.only or (*ELEVEN, MIXED))())
    found = problems(outcome)
    sys.stdout.write(f"seed {seed}\n{table(outcome)}\n")
    for problem in found[:40]:
        sys.stdout.write(f"PROBLEM {problem}\n")
    if found:
        sys.stdout.write(f"the logs of all processes are in {folder}\n")
        return 1
    shutil.rmtree(folder, ignore_errors=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
