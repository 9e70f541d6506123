"""Check SIGTERM: readiness fails, newcomers are rejected, clients are notified and closed, the exit status is 0."""

import asyncio
import http.client
import json
import threading
import urllib.error
import urllib.request
from contextlib import suppress

import pytest

from tests.contract.test_server import audited_code
from tests.support.chat import Chat, new_user
from tests.support.client import Client, connect, make_token
from tests.support.raw import raw_socket
from tests.support.stack import Gateway, Stack
from tests.support.waiting import LIMIT, until_answer

pytestmark = pytest.mark.ours_only

DELAY = "8"
"""Seconds for which a draining gateway still serves, so that a test can observe it."""


def ready(gateway: Gateway) -> tuple[int, dict[str, str]]:
    try:
        with urllib.request.urlopen(f"{gateway.http}/ready", timeout=LIMIT) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


async def welcomed(gateway: Gateway, user: int) -> Client:
    client = await connect(gateway.ws, additional_headers={"Authorization": f"Bearer {make_token(user)}"})
    await client.expect("auth_success")
    return client


async def test_drain_notifies_closes_and_audits_clients(stack: Stack) -> None:
    gateway = stack.start_gateway(CHATWS_DRAIN_RETRY_SECONDS="7")
    users = [new_user() for _ in range(20)]
    clients = [await welcomed(gateway, user) for user in users]
    ending = asyncio.create_task(asyncio.to_thread(gateway.stop, seconds=LIMIT))
    waits = []
    for client in clients:
        waits.append((await client.expect("shutdown"))["data"]["retry_after"])
        assert await client.closed() == 4501
    assert set(waits) <= set(range(1, 8))
    assert len(set(waits)) > 1
    assert await ending == 0
    for user in users:
        assert await audited_code(stack, user) == 4501


@pytest.mark.reference_only
async def test_readiness_fails_first_and_newcomers_are_rejected(stack: Stack) -> None:
    gateway = stack.start_gateway(CHATWS_DRAIN_DELAY=DELAY)
    client = await welcomed(gateway, new_user())
    ending = asyncio.create_task(asyncio.to_thread(gateway.stop, seconds=LIMIT))
    state = await until_answer(lambda: asyncio.to_thread(ready, gateway), lambda state: state[0] != 200, "it drains")
    assert state == (503, {"gateway": "draining", "redis": "ok", "chat_rpc": "ok"})
    late = await connect(gateway.ws)
    assert (await late.expect("shutdown"))["data"]["retry_after"] > 0
    assert await late.closed() == 4501
    assert (await client.ask("ping"))["type"] == "pong", "who is connected is served until its turn"
    assert await client.closed() == 4501
    assert await ending == 0


@pytest.mark.reference_only
async def test_readiness_fails_first_without_clients(stack: Stack) -> None:
    gateway = stack.start_gateway(CHATWS_DRAIN_DELAY=DELAY)
    ending = asyncio.create_task(asyncio.to_thread(gateway.stop, seconds=LIMIT))
    state = await until_answer(lambda: asyncio.to_thread(ready, gateway), lambda state: state[0] != 200, "it drains")
    assert state == (503, {"gateway": "draining", "redis": "ok", "chat_rpc": "ok"})
    assert await ending == 0


async def test_running_probes_do_not_delay_the_exit(stack: Stack) -> None:
    gateway = stack.start_gateway()
    over = threading.Event()

    def probe() -> None:
        while not over.is_set():
            with suppress(OSError, http.client.HTTPException, ValueError):  # cut off anywhere
                ready(gateway)

    probing = [asyncio.create_task(asyncio.to_thread(probe)) for _ in range(4)]
    client = await welcomed(gateway, new_user())
    try:
        assert await asyncio.to_thread(gateway.stop, seconds=LIMIT) == 0
    finally:
        over.set()
        await asyncio.gather(*probing)
    assert await client.closed() == 4501
    assert "Traceback" not in gateway.log.read_text()


async def test_silent_client_delays_exit_until_the_deadline_only(stack: Stack, chat: Chat) -> None:
    gateway = stack.start_gateway(CHATWS_DRAIN_SECONDS="5")
    user, stalled = new_user(), new_user()
    group, crowded = await chat.group(user), await chat.group(stalled)
    client = await welcomed(gateway, user)
    async with raw_socket(gateway.port, stalled, receive_buffer=4096):
        for number in range(120):  # more than the kernel buffers, so that the close waits behind it
            await chat.say(crowded, stalled, "x" * 4_000, f"{crowded}-{number}")
        await chat.say(group, user, "the last", f"{group}-last")
        await client.expect("new_message")  # all others were written before it
        ending = asyncio.create_task(asyncio.to_thread(gateway.stop, seconds=LIMIT))
        assert await client.closed() == 4501
        assert await ending == 0
    assert "draining: 1 connections did not close in time" in gateway.log.read_text()
