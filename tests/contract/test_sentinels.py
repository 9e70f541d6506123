"""The whole chat on a master that sentinels name: it follows them when another server becomes the master."""

import asyncio
import time
from collections.abc import Iterator

import pytest

from chatws.events.routes import MESSAGE_NEW
from tests.contract.test_revocation import welcomed
from tests.support.chat import new_user
from tests.support.client import Client, Frame, make_token
from tests.support.redis import Redis
from tests.support.redis import connect as connect_redis
from tests.support.sentinels import MASTER, Watched
from tests.support.stack import Stack
from tests.support.waiting import until_answer

pytestmark = pytest.mark.ours_only


@pytest.fixture
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    servers = Watched(tmp_path_factory.mktemp("servers"))
    try:
        servers.start()
        yield servers
    finally:
        servers.stop()


@pytest.fixture(params=["rpc", "gateway"])
def stack_there(
    request: pytest.FixtureRequest, watched: Watched, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Stack]:
    """Return a stack whose Redis is the master; a replica has to have what counts as written."""
    stack = Stack(
        tmp_path_factory.mktemp("chat"), REDIS_URL=watched.url, CHATWS_REDIS_REPLICAS="1",
        CHATWS_MESSAGE_PUBLISHER=request.param, CHATWS_SENDS_PER_SECOND="1000",
    )  # fmt: skip
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
    """Send a message until it is acked, unchanged and not before the gateway says, as clients do."""
    frame = {"message_id": f"m-{text}", "timestamp": int(time.time())}
    answer: Frame = {"type": "", "data": {}}
    while answer["type"] != "ack":
        answer = await speaker.ask("send_message", {"group_id": group_id, "msg_type": 1, "content": text}, **frame)
        if answer["type"] == "error":
            assert answer["data"]["code"] in (429, 503), answer
            await asyncio.sleep(answer["data"].get("retry_after", 1))


async def test_no_acked_message_is_lost_with_the_master(watched: Watched, stack_there: Stack) -> None:
    """The master dies with what no replica has; later another server is made the master, while nothing is sent.

    The relay is held while the replicas are cut off, as a gateway may read a log that no replica has.
    """
    chat, user, other = stack_there.chat(), new_user(), new_user()
    group = await chat.group(user, other)
    speaker = await welcomed(stack_there.gateway, make_token(user))
    listener = await welcomed(stack_there.gateway, make_token(other))

    async def hear(count: int) -> list[str]:
        return [(await listener.expect("new_message"))["data"]["content"] for _ in range(count)]

    async def say_all(texts: list[str]) -> None:
        for text in texts:
            await say(speaker, group, text)

    relay = next(process for process in stack_there.processes if process.kind == "relay")
    texts = [str(number) for number in range(60)]
    await say_all(texts[:10])
    async with connect_redis(watched.master.url) as master:
        before = await master.xlen(MESSAGE_NEW)
        relay.pause()
        watched.cut_replicas_off()
        saying = asyncio.create_task(say_all(texts[10:40]))
        await until_answer(lambda: _grew(master, before), what="a message is in the stream of the master alone")
    former = await asyncio.to_thread(watched.kill_master)
    relay.go_on()
    await saying
    await asyncio.to_thread(former.start)
    await asyncio.to_thread(watched.until_replica, former)
    heard = await hear(40)
    await asyncio.to_thread(watched.wait_for_replicas)
    former = await asyncio.to_thread(watched.switch)
    await asyncio.to_thread(watched.until_replica, former)
    await say_all(texts[40:])
    assert heard + await hear(20) == texts
    assert [frame for frame in listener.seen if frame["type"] == "feed_reset"] == []
    await speaker.close()
    await listener.close()
    await chat.close()
    assert "Traceback" not in stack_there.gateway.log.read_text()


async def _grew(master: Redis, before: int) -> bool:
    return bool(await master.xlen(MESSAGE_NEW) > before)


async def test_error_names_the_master_and_its_sentinels(watched: Watched) -> None:
    unknown = watched.url.replace(f"/{MASTER}/", "/another/")
    async with connect_redis(unknown) as redis:
        with pytest.raises(Exception, match="No master found for 'another'"):
            await redis.ping()
