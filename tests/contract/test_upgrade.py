"""Run the previous release and this one on the same Redis and database, as during an upgrade and a rollback."""

import asyncio
import subprocess
import tarfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from config.env import BASE_DIR
from tests.contract.test_gateways import get, until
from tests.support.announced import announced
from tests.support.chat import Chat, new_user
from tests.support.client import Client, connect, make_token
from tests.support.collector import Collector
from tests.support.stack import Gateway, Process, Stack
from tests.support.waiting import LIMIT

pytestmark = pytest.mark.ours_only

RELEASED = "d395a1c31f0b2a1f242f9b91497ae5dad8df0dfc"
"""The revision of the previous release; update it with each release."""


def unpack_released(folder: Path) -> Path:
    """Unpack the released code; fail without the full repository, since a skip would hide an untested promise."""
    archive = folder / "released.tar"
    command = ["git", "archive", "--output", str(archive), RELEASED]
    done = subprocess.run(command, cwd=BASE_DIR, capture_output=True, text=True)
    missing = f"revision {RELEASED} isn't here; in a shallow clone run `git fetch --unshallow`"
    assert done.returncode == 0, f"{missing}: {done.stderr}"
    with tarfile.open(archive) as tar:
        tar.extractall(folder / "released", filter="data")
    return folder / "released"


class Upgrade:
    """Both releases side by side. New processes trace, so that the fields they add reach the old ones."""

    def __init__(self, stack: Stack, released: Path, collector: Collector) -> None:
        self.stack = stack
        self._released = released
        self._collector = collector
        self.clients: list[Client] = []

    def old(self) -> Stack:
        """Return the stack set to start processes of the previous release."""
        self.stack.code = self._released
        self.stack.env["CHATWS_TRACING"] = "0"
        return self.stack

    def new(self) -> Stack:
        """Return the stack set to start processes of this release."""
        self.stack.code = BASE_DIR
        self.stack.env |= self._collector.environment
        return self.stack

    async def log_in(self, gateway: Gateway, user: int, **data: Any) -> Client:
        client = await connect(gateway.ws)
        answer = await client.ask("auth", {"token": make_token(user), **data})
        assert answer["type"] == "auth_success"
        self.clients.append(client)
        return client


@pytest.fixture
async def upgrade(tmp_path: Path) -> AsyncIterator[Upgrade]:
    released, collector = unpack_released(tmp_path), Collector()
    stack = Stack(tmp_path)
    upgrade = Upgrade(stack, released, collector)
    try:
        yield upgrade
        for client in upgrade.clients:
            await client.close()
    finally:
        stack.stop()
        collector.stop()


async def send(speaker: Client, group: str, text: str) -> None:
    """Send a message; repeat it unchanged while the chat service is replaced, as clients do."""
    data = {"group_id": group, "msg_type": 1, "content": text}
    envelope: dict[str, object] = {"message_id": text, "timestamp": 1_700_000_000}
    async with asyncio.timeout(LIMIT):
        while (answer := await speaker.ask("send_message", data, **envelope))["type"] != "ack":
            assert answer["data"]["code"] == 503, answer
            await asyncio.sleep(answer["data"]["retry_after"])


async def say(speakers: list[Client], listeners: list[Client], group: str, first: int) -> None:
    """Send ten messages from each speaker in turn; every listener must receive each once and in order."""
    texts = [f"number {number}" for number in range(first, first + 10)]
    for number, text in enumerate(texts):
        speaker = speakers[number % len(speakers)]
        await send(speaker, group, text)
    for listener in listeners:
        heard = [await listener.expect("new_message") for _ in texts]
        assert [frame["data"]["content"] for frame in heard] == texts
        offsets = [frame["offset"] for frame in heard]
        assert offsets == list(range(offsets[0], offsets[0] + len(texts)))
        assert not [frame for frame in await listener.settled() if frame["type"] in ("new_message", "feed_reset")]


def place(client: Client, feed: str) -> dict[str, Any]:
    """Return the last offset of a feed that a client received."""
    last = [frame for frame in client.seen if frame.get("feed") == feed][-1]
    return {feed: {"epoch": last["epoch"], "offset": last["offset"]}}


def active(stack: Stack) -> list[Process]:
    return [process for process in stack.processes if process.name.startswith("relay") and process.running]


async def test_both_releases_serve_side_by_side(upgrade: Upgrade) -> None:
    stack = upgrade.stack
    before = await asyncio.to_thread(upgrade.old().start)
    chat = Chat(stack.rpc_target)
    alice, bob = new_user(), new_user()
    group = await announced(stack, await chat.group(alice, bob), 2)
    clients = [await upgrade.log_in(before, alice)]
    [old_relay] = active(stack)

    # The database is upgraded while the old release runs, then a gateway joins: an old relay, both gateways.
    await asyncio.to_thread(upgrade.new().manage, "migrate", "--verbosity", "0")
    after = await asyncio.to_thread(stack.start_gateway)
    clients.append(await upgrade.log_in(after, bob))
    await until(f"{after.http}/stats", lambda seen: seen == {"online_users": 2, "connections": 2, "nodes": 2})
    assert get(f"{before.http}/stats") == get(f"{after.http}/stats")  # nothing changes, and no lease expires meanwhile
    await say(clients, clients, group, 0)

    # The new chat service and relay take over from the old ones; both gateways read their output.
    rpc = next(process for process in stack.processes if process.name.startswith("rpc"))
    assert await asyncio.to_thread(rpc.stop, seconds=LIMIT) == 0
    await asyncio.to_thread(stack.start_rpc)
    await asyncio.to_thread(old_relay.kill)
    new_relay = stack.start_relay()
    await say(clients, clients, group, 10)

    # A client that reconnects to the other release resumes at its offset.
    there, back = place(clients[0], f"group:{group}"), place(clients[1], f"group:{group}")
    for client in clients:
        await client.close()
    reader = await upgrade.log_in(before, bob)
    await say([reader], [reader], group, 20)
    for gateway, user, resume in ((after, alice, there), (before, bob, back)):
        returned = await upgrade.log_in(gateway, user, resume=resume)
        missed = [(await returned.expect("new_message"))["data"]["content"] for _ in range(10)]
        assert missed == [f"number {number}" for number in range(20, 30)]
        clients.append(returned)
    clients = clients[2:]

    # Revocations and removals by the new release reach sockets of the old one; after a rollback its relay serves both.
    await asyncio.to_thread(new_relay.kill)
    upgrade.old().start_relay()
    await say(clients, clients, group, 30)
    await chat.remove(group, bob, alice)
    assert (await clients[1].expect("group_left"))["data"]["group_id"] == group
    await asyncio.to_thread(upgrade.new().manage, "revoke", "--user", str(bob))
    assert (await clients[1].expect("auth_failed"))["data"]["reason"] == "revoked"
    assert await clients[1].closed() == 4401
    for gateway in (before, after):
        assert await asyncio.to_thread(gateway.stop, seconds=LIMIT) == 0
        assert "Traceback" not in gateway.log.read_text()
    await chat.close()
