"""Check that the twin answers every recorded call of the platform (`recordings/grpc.jsonl`), one after the other.

With `CHATWS_TEST_PLATFORM` (`real.py`) a fresh real chat service is called instead. Then times and the order within a
second are not compared, and the users are those of its user service.
"""

import asyncio
import json
import os
import re
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.json_format import MessageToDict

from chatws.chat_service.pb import chat_pb2 as pb
from tests.support.processes import start
from tests.support.real import REAL, real
from tests.support.redis import free_port
from tests.support.twin.control import Twin
from tests.support.twin.platform import METHODS

RECORDED = [json.loads(line) for line in (Path(__file__).parent / "recordings/grpc.jsonl").read_text().splitlines()]
PEOPLE = [[11, "Ada", "https://img.example/ada.png"], [12, "Bo", ""], [13, "Cy", ""]]
TIMES = ("created_at", "joined_at", "last_message_at")
LONG = re.compile(r"(.) \* (\d+)")


@pytest.fixture
async def target(tmp_path: Path) -> AsyncIterator[str]:
    """Start the service and return its address; it needs no Redis, since no call publishes."""
    if REAL:
        yield real().chat_service()
        return
    port = free_port()
    command = [
        sys.executable, "-m", "tests.support.twin", "--port", str(port), "--user-port", str(free_port()),
        "--database", str(tmp_path / "twin.sqlite3"), "--redis", f"redis://127.0.0.1:{free_port()}/0",
    ]  # fmt: skip
    process = start(command, tmp_path / "twin.log", os.environ)
    twin = Twin(f"127.0.0.1:{port}")
    await twin.tell(people=PEOPLE)
    yield f"127.0.0.1:{port}"
    await twin.close()
    process.kill()
    process.wait()


def times_of(recorded: list[dict[str, Any]]) -> dict[str, int]:
    """Return when each recorded message and group was created and each member joined, from later answers."""
    found: dict[str, int] = {}

    def look(value: Any) -> None:
        if isinstance(value, list):
            for one in value:
                look(one)
        elif isinstance(value, dict):
            for one in value.values():
                look(one)
            if "msg_type" in value:
                found[value.get("message_id", "")] = int(value["created_at"])
            elif "user_id" in value and "joined_at" in value:
                found[f"{value['group_id']} {value['user_id']}"] = int(value["joined_at"])
            elif "group_id" in value and "created_at" in value:
                found[value["group_id"]] = int(value["created_at"])

    for call in recorded:
        look(call.get("answer"))
    following = 0
    for call in reversed(recorded):  # one that no answer shows was saved with the next one
        if call["call"] == "SaveMessage" and "answer" in call:
            following = found.setdefault(call["request"]["message_id"], following)
    return found


def without_times(value: Any) -> Any:
    """Return an answer without its times, and with lists of messages in the order of their ids."""
    if isinstance(value, dict):
        return {name: without_times(one) for name, one in value.items() if name not in TIMES}
    if isinstance(value, list):
        return sorted((without_times(one) for one in value), key=lambda one: json.dumps(one, sort_keys=True))
    return value


async def test_twin_reproduces_every_recorded_call(target: str) -> None:
    times = times_of(RECORDED)
    names: dict[str, str] = {}
    now = min(times.values())
    twin = Twin(target)
    async with grpc.aio.insecure_channel(target) as channel:
        for number, recorded in enumerate(RECORDED, 1):
            request = dict(recorded["request"])
            made = {
                "SaveMessage": request.get("message_id"), "CreateGroup": recorded.get("answer", {}).get("group_id"),
                "AddGroupMember": f"{request.get('group_id')} {request.get('user_id')}", "CreateNotification": "GROUP2",
            }.get(recorded["call"])  # fmt: skip
            then = times.get(made, now) if made is not None else now
            if REAL and then > now:
                await asyncio.sleep(1.05 - time.time() % 1)  # a real clock cannot be set: wait for the next second
            elif not REAL:
                await twin.tell(now=then)
            now = then
            if long := LONG.fullmatch(request.get("content", "")):
                request["content"] = long[1] * int(long[2])
            if REAL and request.get("after_time", 0) > now:
                request["after_time"] += int(time.time()) - now
            if "group_id" in request:
                request["group_id"] = names.get(request["group_id"], request["group_id"])
            if "notification_ids" in request:
                request["notification_ids"] = [names.get(one, one) for one in request["notification_ids"]]
            kind, _ = METHODS[recorded["call"]]
            reply = getattr(pb, kind.__name__.removesuffix("Req") + "Resp")
            call = channel.unary_unary(
                f"/chat.ChatService/{recorded['call']}", kind.SerializeToString, reply.FromString
            )
            if "status" in recorded:
                with pytest.raises(grpc.aio.AioRpcError) as failed:
                    await call(kind(**request), wait_for_ready=True)
                assert (failed.value.code().name, failed.value.details()) == (recorded["status"], recorded["details"])
                continue
            answer = MessageToDict(await call(kind(**request), wait_for_ready=True), preserving_proto_field_name=True)
            if recorded["call"].startswith("Create"):
                [(name, placeholder)] = recorded["answer"].items()
                names[placeholder] = answer[name]
            expected = json.loads(json.dumps(recorded["answer"]))
            text = json.dumps(expected)
            for placeholder in sorted(names, key=len, reverse=True):
                text = text.replace(json.dumps(placeholder), json.dumps(names[placeholder]))
            expected = json.loads(text)
            if REAL:
                assert without_times(answer) == without_times(expected), (number, recorded)
            else:
                assert answer == expected, (number, recorded)
    await twin.close()
