"""How soon what is promised happens. Each of these measures seconds or a rate, so it proves something only on a machine
that does nothing else: no part of `make test`, whose tests assert the same outcomes without a clock.
"""

import asyncio
import os
import signal
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from chatws.conf import ChatConf
from chatws.rpc.gateway import ChatServiceError
from chatws.rpc.grpc_gateway import GrpcChatGateway
from realtime.conf import RealtimeConf
from realtime.overview import Away, ClosesByCode, Online, look
from tests.config.test_run import Run
from tests.contract.test_revocation import closed_as_revoked, revoke, welcomed
from tests.support.chat import Chat, new_user
from tests.support.client import Client, connect, make_token
from tests.support.redis import free_port
from tests.support.stack import Stack


@contextmanager
def within(seconds: float, *, at_least: float = 0.0) -> Iterator[None]:
    """Fail if what is done in it takes longer, or less than ``at_least``."""
    began = time.monotonic()
    yield
    took = time.monotonic() - began
    assert at_least <= took < seconds, f"{took:.2f} s; promised: {at_least:g} to {seconds:g} s"


async def a_revoked_user_is_closed_on_every_gateway_within_a_second(stack: Stack) -> None:
    """From the end of the command that revokes. ``stack``: started."""
    gateways = [stack.gateway, stack.start_gateway()]
    user = new_user()
    devices = [await welcomed(gateway, make_token(user)) for gateway in gateways]
    await revoke(stack, "--user", str(user))
    with within(1):
        await asyncio.gather(*(closed_as_revoked(device) for device in devices))


async def connections_leave_at_the_rate_that_is_set(stack: Stack) -> None:
    """30 connections at 20 a second take longer than a second. ``stack``: started."""
    gateway = stack.start_gateway(CHATWS_DRAIN_PER_SECOND="20")
    clients = [await welcomed(gateway, make_token(new_user())) for _ in range(30)]
    ending = asyncio.create_task(asyncio.to_thread(gateway.stop))
    ends: list[float] = []

    async def end(client: Client) -> None:
        await client.closed()
        ends.append(time.monotonic())

    await asyncio.gather(*(end(client) for client in clients))
    assert 1 < max(ends) - min(ends) < 3
    assert await ending == 0


async def nobody_waits_for_a_chat_service_that_hangs(stack: Stack) -> None:
    """The first calls wait for their deadline of 5 s; then they fail at once. ``stack``: started; sends unlimited."""
    rpc = next(process for process in stack.processes if process.name.startswith("rpc"))
    chat = Chat(stack.rpc_target)
    users = [new_user() for _ in range(6)]
    group = await chat.group(*users)
    clients = [await welcomed(stack.gateway, make_token(user)) for user in users]

    async def send(client: Client) -> None:
        answer = await client.ask("send_message", {"group_id": group, "msg_type": 1, "content": "into the void"})
        assert answer["data"]["code"] == 503

    rpc.pause()
    try:
        with within(7, at_least=3):
            await asyncio.gather(*(send(client) for client in clients))
        with within(1):
            await send(clients[0])
    finally:
        rpc.go_on()
        await chat.close()


async def a_chat_service_that_is_away_costs_no_more_than_the_deadline() -> None:
    """Retries included: 1 s is set."""
    gateway = GrpcChatGateway(ChatConf(rpc_target=f"127.0.0.1:{free_port()}", rpc_seconds=1.0))
    with within(3), pytest.raises(ChatServiceError):
        await gateway.save_message(
            message_id="m", group_id="g", sender_id=1, msg_type=1, content="x", image_url=""
        )  # fmt: skip
    await gateway.close()


async def the_overview_waits_for_no_source_that_hangs(conf: RealtimeConf) -> None:
    """1.5 s at most for each, all at once. ``conf``: of a Redis that answers."""
    freed = threading.Event()

    def count() -> Mapping[int, int]:
        freed.wait(60)
        return {}

    async def say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    closes = ClosesByCode(count)
    with within(2):
        seen = await asyncio.gather(*(look(conf, closes) for _ in range(5)))
    assert all(isinstance(one.online, Online) and isinstance(one.closes, Away) for one in seen)
    freed.set()
    async with await asyncio.start_server(say_nothing, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        hanging = replace(conf, redis_url=f"redis://127.0.0.1:{port}/0")
        with within(2):
            assert isinstance((await look(hanging, ClosesByCode(dict))).online, Away)


async def a_collector_of_spans_that_is_away_holds_nothing_up(stack: Stack) -> None:
    """Neither frames nor the end of the process. ``stack``: started, of processes that trace."""
    away = stack.start_gateway(CHATWS_TRACING="1", OTEL_EXPORTER_OTLP_ENDPOINT=f"http://127.0.0.1:{free_port()}")
    client = await connect(away.ws)
    await client.ask("auth", {"token": make_token(new_user())})
    with within(5):
        for _ in range(20):
            assert (await client.ask("ping"))["type"] == "pong"
    await client.close()
    with within(8):
        await asyncio.to_thread(away.stop)


async def ctrl_c_ends_make_run_within_ten_seconds(folder: Path) -> None:
    """``folder``: empty; for its data."""
    run = Run(folder)
    with run.started():
        await asyncio.to_thread(run.until, "The chat is ready")
        with within(10):
            os.killpg(run.process.pid, signal.SIGINT)
            assert await asyncio.to_thread(run.process.wait) == 0
