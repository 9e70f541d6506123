"""The whole chat on a master that sentinels name: it follows them when another server becomes the master."""

import asyncio
from collections.abc import Iterator

import pytest

from tests.contract.test_revocation import welcomed
from tests.support.chat import new_user
from tests.support.client import Client, Frame, make_token
from tests.support.redis import connect as connect_redis
from tests.support.sentinels import MASTER, Watched
from tests.support.stack import Stack

pytestmark = pytest.mark.ours_only


@pytest.fixture
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    servers = Watched(tmp_path_factory.mktemp("servers"))
    try:
        servers.start()
        yield servers
    finally:
        servers.stop()


@pytest.fixture
def stack_there(watched: Watched, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Return a stack whose Redis is the master."""
    stack = Stack(tmp_path_factory.mktemp("chat"), REDIS_URL=watched.url)
    try:
        stack.migrate()
        stack.start_rpc()
        stack.start_relay()
        stack.start_gateway()
        stack.wait_until_relaying()
        yield stack
    finally:
        stack.stop()


async def say(speaker: Client, group_id: str, text: str) -> None:
    """Send a message until it is acked, as clients do; nothing of a refused try is stored."""
    answer: Frame = {"type": "error", "data": {"code": 503}}
    while answer["type"] == "error" and answer["data"]["code"] == 503:
        answer = await speaker.ask("send_message", {"group_id": group_id, "msg_type": 1, "content": text})
    assert answer["type"] == "ack", answer


async def test_chat_follows_the_sentinels_to_another_master(watched: Watched, stack_there: Stack) -> None:
    chat, user, other = stack_there.chat(), new_user(), new_user()
    group = await chat.group(user, other)
    speaker = await welcomed(stack_there.gateway, make_token(user))
    listener = await welcomed(stack_there.gateway, make_token(other))
    heard: list[str] = []

    async def hear(text: str) -> None:
        heard.append((await listener.expect("new_message"))["data"]["content"])
        assert heard[-1] == text

    await say(speaker, group, "before")
    await hear("before")
    await asyncio.to_thread(watched.wait_for_replicas)
    former = await asyncio.to_thread(watched.kill_master)
    await say(speaker, group, "the master died")
    await hear("the master died")
    await asyncio.to_thread(former.start)
    await asyncio.to_thread(watched.until_replica, former)
    await asyncio.to_thread(watched.wait_for_replicas)
    await asyncio.to_thread(watched.switch)
    await say(speaker, group, "the master was changed")
    await hear("the master was changed")
    assert heard == ["before", "the master died", "the master was changed"]
    await speaker.close()
    await listener.close()
    await chat.close()
    assert "Traceback" not in stack_there.gateway.log.read_text()


async def test_error_names_the_master_and_its_sentinels(watched: Watched) -> None:
    unknown = watched.url.replace(f"/{MASTER}/", "/another/")
    async with connect_redis(unknown) as redis:
        with pytest.raises(Exception, match="No master found for 'another'"):
            await redis.ping()
