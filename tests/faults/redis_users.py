"""A user whose connection has to stay open while Redis answers errors."""

import asyncio
import itertools
import json
import time
from contextlib import suppress
from typing import Any

import websockets

from tests.faults.redis_report import Row
from tests.support.client import bearer
from tests.support.ledger import Ledger
from tests.support.stack import Gateway
from tests.support.waiting import LIMIT

PAUSE_SECONDS = 0.05
Frame = dict[str, Any]
_numbers = itertools.count(1)


class Round:
    """What the users of a run share: the ledger, the row that counts now, and whether the run is over."""

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger
        self.row = Row("nothing")
        self.over = asyncio.Event()


class Member:
    """A user with one connection, which has to stay open. It reads everything, and may write."""

    def __init__(self, run: Round, user_id: int, gateway: Gateway) -> None:
        self.user_id = user_id
        self.gateway = gateway
        self.connection_id = ""
        self.close_code = 0
        self.is_over = False
        self._run = run
        self._reader = run.ledger.reader(f"user {user_id}")
        self._answers: dict[str, asyncio.Future[Frame]] = {}

    async def enter(self) -> None:
        """Connect and start reading."""
        self.socket = await websockets.connect(
            self.gateway.ws, additional_headers=bearer(self.user_id), open_timeout=LIMIT, ping_timeout=None
        )
        welcome = json.loads(await self.socket.recv())
        assert welcome["type"] == "auth_success", welcome
        self.connection_id = welcome["data"]["connection_id"]
        self._reader.observe(welcome)
        self.reading = asyncio.create_task(self._read())

    async def write(self, group_id: str) -> None:
        """Send messages until the run is over; send a refused one again, unchanged."""
        while not self._run.over.is_set() and not self.close_code:
            began = time.monotonic()
            text = json.dumps({
                "type": "send_message", "message_id": f"m-{next(_numbers)}", "timestamp": int(time.time()),
                "data": {"group_id": group_id, "msg_type": 1, "content": "x"},
            })  # fmt: skip
            with suppress(websockets.ConnectionClosed):
                while (answer := await self._ask(text))["type"] != "ack":
                    await self._refused(answer["data"])
                self._run.ledger.acked(answer["data"]["message_id"], group_id, began, self._reader.name)
                self._run.row.acked += 1
            await asyncio.sleep(PAUSE_SECONDS)

    async def _refused(self, error: Frame) -> None:
        self._run.row.refused += 1
        if error["code"] != 503 or not error.get("retry_after"):
            self._run.ledger.problem(f"{self._run.row.kind}: a send was answered {error}")
        await asyncio.sleep(min(error.get("retry_after") or 1, 0.5))

    async def _ask(self, text: str) -> Frame:
        message_id = json.loads(text)["message_id"]
        answer: asyncio.Future[Frame] = asyncio.get_running_loop().create_future()
        self._answers[message_id] = answer
        await self.socket.send(text)
        return await answer

    async def _read(self) -> None:
        try:
            while True:
                frame = json.loads(await self.socket.recv())
                self._reader.observe(frame)
                if "offset" not in frame and (answer := self._answers.pop(frame["message_id"], None)):
                    answer.set_result(frame)
        except websockets.ConnectionClosed as closed:
            self.close_code = self.socket.close_code or 1006
            self._reader.disconnected(for_good=self.is_over)
            if not self.is_over:
                self._run.row.disconnected += 1
                self._run.ledger.problem(f"{self._run.row.kind}: {self._reader.name} was closed by {self.close_code}")
            for answer in self._answers.values():
                answer.set_exception(closed)
                answer.exception()
