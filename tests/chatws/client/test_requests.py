"""Check unanswered requests: when they are written and what completes them."""

import asyncio
import json
from typing import Any

import pytest

from chatws.client import requests as module
from chatws.client.events import Frame, Refused
from chatws.client.positions import Position, Positions
from chatws.client.requests import Requests
from tests.support.clock import LoopClock


class Wire:
    """The written frames; ``online``: whether there is a connection."""

    def __init__(self) -> None:
        self.online = True
        self.positions = Positions({"group:g": Position("e", 6)})
        self.texts: list[bytes] = []
        self.requests = Requests(self._write, lambda failures: 0.0, self.positions)

    @property
    def frames(self) -> list[Frame]:
        return [json.loads(text) for text in self.texts]

    @property
    def written(self) -> list[str]:
        return [frame["message_id"] for frame in self.frames]

    def reconnect(self) -> None:
        self.requests.rewind()
        self.requests.pump()

    def _write(self, text: bytes) -> bool:
        if self.online:
            self.texts.append(text)
        return self.online

    def ask(self, message_id: str, group: str = "g", kind: str = "send_message") -> asyncio.Task[Any]:
        frame = {"type": kind, "message_id": message_id, "data": {"group_id": group}}
        return asyncio.create_task(self.requests.ask(frame))

    def say(self, kind: str, message_id: str, **data: Any) -> bool:
        return self.requests.answer({"type": kind, "message_id": message_id, "data": data})


async def turn() -> None:
    for _ in range(3):
        await asyncio.sleep(0)


async def test_messages_wait_only_for_their_own_group() -> None:
    wire = Wire()
    tasks = [wire.ask("a1", "a"), wire.ask("a2", "a"), wire.ask("b1", "b"), wire.ask("h", "a", "history")]
    await turn()
    assert wire.written == ["a1", "b1", "h"]
    wire.say("ack", "a1", success=True)
    assert wire.written == ["a1", "b1", "h", "a2"]
    for message_id in ("a2", "b1", "h"):
        wire.say("ack", message_id)
    await asyncio.gather(*tasks)
    assert wire.requests.frames == []


async def test_cancelled_message_releases_the_next() -> None:
    wire = Wire()
    first, second = wire.ask("1"), wire.ask("2")
    await turn()
    first.cancel()
    await turn()
    assert wire.written == ["1", "2"]
    wire.say("ack", "2")
    await second


async def test_unanswered_requests_move_to_the_next_connection() -> None:
    wire = Wire()
    asking = wire.ask("1")
    await turn()
    wire.online = False
    wire.requests.rewind()
    wire.requests.pump()
    wire.online = True
    wire.requests.pump()
    assert wire.written == ["1", "1"]
    wire.say("ack", "1", success=True)
    assert (await asking)["message_id"] == "1"


async def test_repeated_message_keeps_its_bytes() -> None:
    wire = Wire()
    asking = wire.ask("1")
    await turn()
    wire.positions.step("group:g", "e", 7, "")
    wire.reconnect()
    assert wire.texts[0] == wire.texts[1]
    wire.say("ack", "1")
    await asking


async def test_repeated_join_has_the_present_position() -> None:
    wire = Wire()
    asking = wire.ask("1", kind="join_group")
    await turn()
    wire.positions.step("group:g", "e", 7, "")
    wire.reconnect()
    wire.positions.report("group:g", "new", 2, False)
    wire.say("error", "1", code=503, message="away")
    wire.requests.pump()
    resumed = [frame["data"].get("resume") for frame in wire.frames]
    assert resumed == [{"epoch": "e", "offset": 6}, {"epoch": "e", "offset": 7}, {"epoch": "new", "offset": 2}]
    assert wire.requests.frames == [{"type": "join_group", "message_id": "1", "data": {"group_id": "g"}}]
    wire.say("group_joined", "1")
    await asking


async def test_join_saved_by_another_client_resumes_nothing_unknown() -> None:
    wire = Wire()
    data = {"group_id": "other", "resume": {"epoch": "e", "offset": 3}}
    asking = asyncio.create_task(wire.requests.ask({"type": "join_group", "message_id": "1", "data": data}))
    await turn()
    assert wire.frames[0]["data"] == {"group_id": "other"}
    wire.say("group_joined", "1")
    await asking


async def test_joins_and_leaves_take_effect_in_order() -> None:
    wire = Wire()
    tasks = [
        wire.ask("leave", kind="leave_group"), wire.ask("join", kind="join_group"),
        wire.ask("message"), wire.ask("leave other", "other", "leave_group"),
    ]  # fmt: skip
    await turn()
    assert wire.written == ["leave", "message", "leave other"]
    wire.say("error", "leave", code=429, message="too fast", retry_after=60)
    wire.reconnect()
    assert wire.written == ["leave", "message", "leave other", "message", "leave other"]
    wire.say("group_left", "leave other")
    wire.say("ack", "message")
    wire.requests.end(1000, "over", "")
    await asyncio.gather(*tasks, return_exceptions=True)


async def test_join_waits_for_all_that_was_sent_before_the_leave() -> None:
    wire = Wire()
    tasks = [wire.ask("leave", kind="leave_group"), wire.ask("join", kind="join_group")]
    await turn()
    wire.reconnect()
    for offset in (7, 8):
        wire.positions.step("group:g", "e", offset, "")
    wire.say("group_left", "leave")
    assert wire.written == ["leave", "leave", "join"]
    assert wire.frames[-1]["data"]["resume"] == {"epoch": "e", "offset": 8}
    wire.say("group_joined", "join")
    await asyncio.gather(*tasks)


async def test_500_is_tried_three_times_and_503_forever() -> None:
    wire = Wire()
    first, second = wire.ask("1", "a"), wire.ask("2", "b")
    await turn()
    for _ in range(module.MAX_FAILURES):
        wire.say("error", "1", code=500, message="oops")
    for _ in range(10):
        wire.say("error", "2", code=503, message="away")
        wire.requests.pump()
    with pytest.raises(Refused, match="500 oops"):
        await first
    assert (wire.written.count("1"), wire.written.count("2")) == (3, 11)
    wire.say("ack", "2")
    await second


async def test_client_waits_for_retry_after(monkeypatch: pytest.MonkeyPatch) -> None:
    wire, clock = Wire(), LoopClock(monkeypatch)
    asking = wire.ask("1")
    await turn()
    wire.say("error", "1", code=429, message="too fast", retry_after=60)
    wire.requests.pump()
    await clock.advance(59)
    assert wire.written == ["1"]
    await clock.advance(1)
    assert wire.written == ["1", "1"]
    wire.say("error", "1", code=403, message="no", reason="why")
    with pytest.raises(Refused, match="403 no") as caught:
        await asking
    assert caught.value.reason == "why"


async def test_unstored_message_is_rejected() -> None:
    wire = Wire()
    asking = wire.ask("1")
    await turn()
    wire.say("ack", "1", success=False)
    with pytest.raises(Refused, match="not stored"):
        await asking


async def test_number_of_waiting_requests_is_bounded() -> None:
    wire = Wire()
    wire.online = False
    tasks = [wire.ask(str(number)) for number in range(module.MAX_PENDING)]
    await turn()
    with pytest.raises(Refused, match="429"):
        await wire.ask("more")
    wire.requests.end(1000, "over", "")
    assert all(isinstance(end, Exception) for end in await asyncio.gather(*tasks, return_exceptions=True))
