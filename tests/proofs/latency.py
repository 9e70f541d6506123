"""Measure the delays of promised effects. The figures are seconds or rates and need an otherwise idle machine; the
tests of `make test` assert the same outcomes without a clock.
"""

import asyncio
import os
import signal
import threading
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from chatws.chat_service.grpc import GrpcChatGateway
from chatws.chat_service.port import ChatServiceError
from chatws.conf import ChatConf
from realtime.admin.overview import ClosesByCode, Online, SourceUnavailable, collect
from realtime.conf import RealtimeConf
from tests.contract.test_revocation import closed_as_revoked, revoke, welcomed
from tests.proofs.figures import Figure, at_most, between
from tests.support.chat import Chat, new_user
from tests.support.client import Client, connect, make_token
from tests.support.redis import free_port
from tests.support.stack import Stack
from tests.tools.test_run import Run


async def measure(folder: Path) -> list[Figure]:
    """Return all figures. ``folder``: an empty folder for the data of all processes."""
    stack = Stack(folder, CHATWS_SENDS_PER_SECOND="0")
    try:
        await asyncio.to_thread(stack.start)
        conf = RealtimeConf(redis_url=stack.redis.url, jwt_secret="")
        return [
            await revoked_everywhere(stack),
            await drain(stack),
            *await overview(conf),
            *await collector_unavailable(stack),
            *await chat_service_hangs(stack),
            await chat_service_unavailable(),
            await end_of_run(folder),
        ]
    finally:
        await asyncio.to_thread(stack.stop)


async def revoked_everywhere(stack: Stack) -> Figure:
    """Measure from the end of the revoking command until every socket is closed."""
    gateways = [stack.gateway, stack.start_gateway()]
    user = new_user()
    devices = [await welcomed(gateway, make_token(user)) for gateway in gateways]
    await revoke(stack, "--user", str(user))
    began = time.monotonic()
    await asyncio.gather(*(closed_as_revoked(device) for device in devices))
    return at_most("close of a revoked user's sockets on every gateway", time.monotonic() - began, 1)


async def drain(stack: Stack) -> Figure:
    """Drain 30 connections at 20 per second: the last closes about 1.5 s after the first."""
    gateway = stack.start_gateway(CHATWS_DRAIN_PER_SECOND="20")
    clients = [await welcomed(gateway, make_token(new_user())) for _ in range(30)]
    ending = asyncio.create_task(asyncio.to_thread(gateway.stop))
    ends: list[float] = []

    async def end(client: Client) -> None:
        await client.closed()
        ends.append(time.monotonic())

    await asyncio.gather(*(end(client) for client in clients))
    assert await ending == 0
    return between("a gateway with 30 connections drains them at 20 a second", max(ends) - min(ends), 1, 3)


async def overview(conf: RealtimeConf) -> list[Figure]:
    """Request the admin's overview five times at once; a source has `realtime.admin.overview.SOURCE_TIMEOUT`."""
    freed = threading.Event()

    def count() -> Mapping[int, int]:
        freed.wait(60)
        return {}

    async def say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    closes = ClosesByCode(count)
    began = time.monotonic()
    seen = await asyncio.gather(*(collect(conf, closes) for _ in range(5)))
    without_database = time.monotonic() - began
    freed.set()
    assert all(isinstance(one.online, Online) and isinstance(one.closes, SourceUnavailable) for one in seen)
    async with await asyncio.start_server(say_nothing, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        hanging = replace(conf, redis_url=f"redis://127.0.0.1:{port}/0")
        began = time.monotonic()
        assert isinstance((await collect(hanging, ClosesByCode(dict))).online, SourceUnavailable)
        without_redis = time.monotonic() - began
    return [
        at_most("the overview while the database hangs", without_database, 2),
        at_most("the overview while Redis hangs", without_redis, 2),
    ]


async def collector_unavailable(stack: Stack) -> list[Figure]:
    """Check that an unavailable collector of spans delays neither frames nor the end of the process."""
    gateway = stack.start_gateway(CHATWS_TRACING="1", OTEL_EXPORTER_OTLP_ENDPOINT=f"http://127.0.0.1:{free_port()}")
    client = await connect(gateway.ws)
    await client.ask("auth", {"token": make_token(new_user())})
    began = time.monotonic()
    for _ in range(20):
        assert (await client.ask("ping"))["type"] == "pong"
    frames = time.monotonic() - began
    await client.close()
    began = time.monotonic()
    await asyncio.to_thread(gateway.stop)
    return [
        at_most("20 frames while the collector of spans is unavailable", frames, 5),
        at_most("the end of a gateway while the collector of spans is unavailable", time.monotonic() - began, 8),
    ]


async def chat_service_hangs(stack: Stack) -> list[Figure]:
    """Measure sends to a hanging chat service: the first wait for their deadline of 5 s, the next fail at once."""
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
        began = time.monotonic()
        await asyncio.gather(*(send(client) for client in clients))
        first = time.monotonic() - began
        began = time.monotonic()
        await send(clients[0])
        return [
            # 5 s for the call, then up to 3 s to find the message in the history; clients wait for 10 s.
            between("the first six sends while the chat service hangs", first, 3, 9),
            at_most("the next send while the chat service hangs", time.monotonic() - began, 1),
        ]
    finally:
        rpc.go_on()
        await chat.close()


async def chat_service_unavailable() -> Figure:
    """Measure sends without a chat service, with a deadline of 1 s, retries included."""
    gateway = GrpcChatGateway(ChatConf(rpc_target=f"127.0.0.1:{free_port()}", rpc_seconds=1.0))
    began = time.monotonic()
    with pytest.raises(ChatServiceError):
        await gateway.save_message(
            message_id="m", group_id="g", sender_id=1, msg_type=1, content="x", image_url=""
        )  # fmt: skip
    took = time.monotonic() - began
    await gateway.close()
    return at_most("a call with a deadline of 1 s while no chat service runs", took, 3)


async def end_of_run(folder: Path) -> Figure:
    """Measure the end of `make run` after Ctrl-C in its terminal."""
    run = Run(folder)
    with run.started():
        await asyncio.to_thread(run.until, "The chat is ready")
        began = time.monotonic()
        os.killpg(run.process.pid, signal.SIGINT)
        assert await asyncio.to_thread(run.process.wait) == 0
        return at_most("the end of `make run` after Ctrl-C", time.monotonic() - began, 10)
