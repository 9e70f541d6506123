"""Check what still works while the chat service hangs, Redis is unavailable or full, or the database is unavailable."""

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
import redis as redis_py

from tests.contract.test_revocation import welcomed
from tests.contract.test_server import audited_code
from tests.support.chat import Chat, new_user
from tests.support.client import Client, connect, make_token
from tests.support.redis import free_port
from tests.support.scrape import Scraped, get_json
from tests.support.stack import Gateway, Stack
from tests.support.waiting import until_answer, until_logged


async def sent(client: Client, group: str, text: str) -> int:
    """Send a message; return 0 for an ack, else the error's code."""
    answer = await client.ask("send_message", {"group_id": group, "msg_type": 1, "content": text})
    if answer["type"] == "error":
        assert answer["data"]["retry_after"] > 0
        return int(answer["data"]["code"])
    return 0


async def until_sent(client: Client, group: str, text: str) -> None:
    """Send a message until it is stored."""
    await until_answer(lambda: sent(client, group, text), lambda code: code == 0, "an ack")


async def until_ready(gateway: Gateway) -> None:
    """Return once the gateway and its services are ready."""
    await until_answer(
        lambda: asyncio.to_thread(get_json, f"{gateway.http}/ready"), lambda answer: answer[0] == 200, "it is ready"
    )


async def until_seen(gateway: Gateway, is_wanted: Callable[[dict[str, str]], bool]) -> tuple[int, dict[str, str]]:
    """Read `/ready` until its states are as wanted, and return its status and them."""
    return await until_answer(
        lambda: asyncio.to_thread(get_json, f"{gateway.http}/ready"), lambda answer: is_wanted(answer[1]), "a state"
    )


async def saved(gateway: Gateway, outcome: str) -> float:
    """Return how many calls that save a message ended with this status."""
    seen = await asyncio.to_thread(Scraped, f"{gateway.http}/metrics")
    return seen.total("chatws_rpc_seconds_count", method="SaveMessage", outcome=outcome)


def said(group: str, user: int, text: str) -> dict[str, object]:
    """Return a message as another program publishes it."""
    return {
        "message_id": f"{group}-{text}", "group_id": group, "sender_id": user, "msg_type": 1, "content": text,
        "created_at": int(time.time()),
    }  # fmt: skip


async def test_hanging_chat_service_fails_fast_then_recovers(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    stack = Stack(tmp_path_factory.mktemp("hangs"), CHATWS_SENDS_PER_SECOND="0")
    try:
        gateway = stack.start()
        rpc = next(process for process in stack.processes if process.name.startswith("rpc"))
        chat = Chat(stack.rpc_target)
        users = [new_user() for _ in range(6)]
        group = await chat.group(*users)
        clients = [await welcomed(gateway, make_token(user)) for user in users]
        os.kill(rpc.pid, signal.SIGSTOP)
        try:
            slow = await clients[0].send("send_message", said(group, 0, "slow"))
            assert (await clients[0].ask("ping"))["type"] == "pong"
            assert slow not in [frame["message_id"] for frame in clients[0].seen], "which waits still"
            assert (await clients[0].answer(slow))["data"]["code"] == 503
            assert set(await asyncio.gather(*(sent(client, group, "into the void") for client in clients))) == {503}
            assert await saved(gateway, "DEADLINE_EXCEEDED") > 0, "these waited for their deadline"
            status, states = await until_seen(gateway, lambda states: states["chat_rpc"] != "ok")
            why = states["chat_rpc"].removesuffix(f" ({stack.rpc_target})")
            assert (status, why) in [(200, "doesn't answer"), (200, "transient_failure")], (
                "the latter: a ping went unanswered"
            )
            while not await saved(gateway, "CIRCUIT_OPEN"):  # from time to time one call is tried
                assert await sent(clients[0], group, "at once") == 503
            assert (await clients[0].ask("ping"))["type"] == "pong"
            stack.add_entry("chat.message.new", said(group, users[0], "live"))
            for client in clients:
                assert (await client.expect("new_message"))["data"]["content"] == "live"
        finally:
            os.kill(rpc.pid, signal.SIGCONT)
        await until_sent(clients[0], group, "back")
        await clients[1].expect("new_message", lambda frame: frame["data"]["content"] == "back")
        log = gateway.log.read_text()
        assert log.count("calls fail at once for now") == log.count("answers again") == 1
        for client in clients:
            await client.close()
        await chat.close()
    finally:
        stack.stop()


async def test_sockets_need_no_database(stack: Stack, chat: Chat) -> None:
    one, two = new_user(), new_user()
    group = await chat.group(one, two)
    gateway = stack.start_gateway(DATABASE_URL=f"postgres://nobody@127.0.0.1:{free_port()}/nothing")
    speaker, listener = await welcomed(gateway, make_token(one)), await welcomed(gateway, make_token(two))
    assert await sent(speaker, group, "without a database") == 0
    assert (await listener.expect("new_message"))["data"]["content"] == "without a database"
    for client in (speaker, listener):
        await client.close()


@pytest.mark.database
async def test_unknown_revocations_reject_every_newcomer(tmp_path_factory: pytest.TempPathFactory) -> None:
    stack = Stack(tmp_path_factory.mktemp("unknown"))
    try:
        first = stack.start()
        await asyncio.to_thread(first.stop)
        with redis_py.Redis.from_url(stack.redis.url) as redis:
            redis.delete("chatws:revoked:version")
        away = f"postgres://nobody@127.0.0.1:{free_port()}/nothing"
        gateway = stack.start_gateway(probe="health", DATABASE_URL=away)
        status, states = await asyncio.to_thread(get_json, f"{gateway.http}/ready")
        assert (status, "revoked tokens" in states["gateway"]) == (503, True)
        client = await connect(gateway.ws)
        answer = await client.ask("auth", {"token": make_token(new_user())})
        assert (answer["data"]["code"], answer["data"]["retry_after"] > 0) == (503, True)
        assert await client.closed() == 4501
        await (await welcomed(stack.start_gateway(), make_token(new_user()))).close()
        await until_ready(gateway)
        await (await welcomed(gateway, make_token(new_user()))).close()
    finally:
        stack.stop()


@dataclass
class Talk:
    """Two users of a chat group at one gateway, on their own stack, which a test may break."""

    stack: Stack
    gateway: Gateway
    chat: Chat
    one: int
    group: str
    speaker: Client
    listener: Client


@pytest.fixture
async def talk(tmp_path: Path) -> AsyncIterator[Talk]:
    stack = Stack(tmp_path)
    try:
        gateway = await asyncio.to_thread(stack.start)
        chat = Chat(stack.rpc_target)
        one, two = new_user(), new_user()
        group = await chat.group(one, two)
        speaker, listener = await welcomed(gateway, make_token(one)), await welcomed(gateway, make_token(two))
        yield Talk(stack, gateway, chat, one, group, speaker, listener)
        for client in (speaker, listener):
            await client.close()
        await chat.close()
    finally:
        stack.stop()


@pytest.mark.database
async def test_relay_delivers_without_database_and_audit_catches_up(talk: Talk) -> None:
    stack = talk.stack
    relay = next(process for process in stack.processes if process.name.startswith("relay"))
    assert await asyncio.to_thread(relay.stop) == 0
    relay = stack.start_relay(DATABASE_URL=f"postgres://nobody@127.0.0.1:{free_port()}/nothing")
    user = new_user()
    await (await welcomed(talk.gateway, make_token(user))).close()
    await until_logged(relay.log, "database is unavailable")
    for number in range(3):
        stack.add_entry("chat.message.new", said(talk.group, talk.one, f"number {number}"))
        frame = await talk.listener.expect("new_message")
        assert frame["data"]["content"] == f"number {number}"
    assert stack.query("SELECT user_id FROM realtime_connectionrecord WHERE user_id = %s", user) == []
    assert relay.running
    assert await asyncio.to_thread(relay.stop) == 0
    stack.start_relay()
    assert await audited_code(stack, user) == 1000


async def test_unavailable_redis_keeps_sockets_and_fails_sends_with_503(talk: Talk) -> None:
    stack = talk.stack
    await asyncio.to_thread(stack.redis.kill)
    assert await sent(talk.speaker, talk.group, "into the void") == 503
    status, states = await until_seen(talk.gateway, lambda states: states["redis"] != "ok")
    assert (status, states["gateway"], states["chat_rpc"]) == (200, "ok", "ok")
    assert str(stack.redis.port) in states["redis"]
    for client in (talk.speaker, talk.listener):
        assert (await client.ask("ping"))["type"] == "pong"
    await asyncio.to_thread(stack.redis.start)
    await until_sent(talk.speaker, talk.group, "back")
    await talk.listener.expect("new_message", lambda frame: frame["data"]["content"] == "back")
    await until_seen(talk.gateway, lambda states: states["redis"] == "ok")
    assert set(await talk.chat.history(talk.group)) == {"back"}


async def test_killed_connections_cost_no_frame(talk: Talk) -> None:
    with redis_py.Redis.from_url(talk.stack.redis.url) as redis:
        for number in range(5):
            redis.client_kill_filter(_type="normal", skipme=True)
            answers = await asyncio.gather(*(
                talk.speaker.send("send_message", {"group_id": talk.group, "msg_type": 1, "content": f"{number} {one}"})
                for one in range(8)
            ))  # fmt: skip
            for message_id in answers:
                assert (await talk.speaker.answer(message_id))["type"] == "ack"
    await talk.listener.expect("new_message", lambda frame: frame["data"]["content"] == "4 7")


@pytest.mark.parametrize(("option", "refusing", "well", "words"), [
    pytest.param("maxmemory", "1mb", "0", "OOM", id="OOM"),
    pytest.param("min-replicas-to-write", "1", "0", "NOREPLICAS", id="NOREPLICAS"),
])  # fmt: skip
async def test_full_redis_loses_nothing_and_recovers(
    talk: Talk, option: str, refusing: str, well: str, words: str
) -> None:
    assert await sent(talk.speaker, talk.group, "before") == 0
    await talk.listener.expect("new_message")
    with redis_py.Redis.from_url(talk.stack.redis.url) as redis:
        redis.config_set(option, refusing)
        assert await sent(talk.speaker, talk.group, "refused") == 503
        for number in range(5):  # a message that reaches the chat service directly is stored and waits in its outbox
            await talk.chat.say(talk.group, talk.one, f"stored {number}", f"{talk.group}-{number}")
        late = await connect(talk.gateway.ws)
        answer = await late.ask("auth", {"token": make_token(new_user())})
        assert (answer["data"]["code"], answer["data"]["retry_after"] > 0) == (503, True)
        assert words in answer["data"]["message"]
        assert await late.closed() == 4501
        assert not [frame for frame in await talk.listener.settled() if frame["type"] == "new_message"]
        redis.config_set(option, well)
    heard = [(await talk.listener.expect("new_message"))["data"]["content"] for _ in range(5)]
    assert heard == [f"stored {number}" for number in range(5)]
    assert await sent(talk.speaker, talk.group, "after") == 0
    assert (await talk.listener.expect("new_message"))["data"]["content"] == "after"
    assert "Traceback" not in "".join(process.log.read_text() for process in talk.stack.processes)
