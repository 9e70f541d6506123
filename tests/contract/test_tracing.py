"""Check the spans from a frame to its receiving sockets, through three processes, as a collector receives them."""

import asyncio
import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import pytest
import redis as redis_py

from realtime.relay.watermill import encode
from tests.support.chat import Chat, new_user
from tests.support.client import Client, connect, make_token
from tests.support.collector import Collector
from tests.support.redis import free_port
from tests.support.stack import Gateway, Stack
from tests.support.waiting import LIMIT, until_logged

CLIENT, SERVER = 3, 2
"""Kinds of spans."""


@pytest.fixture(scope="module")
def collector() -> Iterator[Collector]:
    collector = Collector()
    yield collector
    collector.stop()


@pytest.fixture(scope="module")
def traced(collector: Collector, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Stack, Gateway]]:
    stack = Stack(tmp_path_factory.mktemp("traced"), CHATWS_LOG_FORMAT="json", **collector.environment)
    try:
        yield stack, stack.start()
    finally:
        stack.stop()


async def log_in(gateway: Gateway, user: int) -> Client:
    client = await connect(gateway.ws)
    await client.ask("auth", {"token": make_token(user)})
    return client


async def test_message_is_one_trace_from_frame_to_delivery(traced: tuple[Stack, Gateway], collector: Collector) -> None:
    stack, gateway = traced
    chat = Chat(stack.rpc_target)
    sender, other = new_user(), new_user()
    group = await chat.group(sender, other)
    speaker, listener = await log_in(gateway, sender), await log_in(gateway, other)
    connection_id = speaker.seen[0]["data"]["connection_id"]
    await speaker.ask("send_message", {"group_id": group, "msg_type": 1, "content": "a secret"})
    await listener.expect("new_message")
    [(who, frame)] = await asyncio.to_thread(collector.wait_for, "frame send_message", user=sender)
    trace = frame.trace_id
    assert (who, frame.kind, frame.parent_span_id) == ("chatws-gateway", SERVER, b"")
    attributes = {a.key: a.value.string_value for a in frame.attributes}
    assert attributes == {"chatws.connection_id": connection_id, "user.id": str(sender)}
    calls = await asyncio.to_thread(collector.wait_for, "chat.ChatService/SaveMessage", trace, 2)
    called, served = sorted((span for _, span in calls), key=lambda span: span.kind == SERVER)
    assert {(who, span.kind) for who, span in calls} == {("chatws-gateway", CLIENT), ("chatws-rpc", SERVER)}
    assert (called.parent_span_id, served.parent_span_id) == (frame.span_id, called.span_id)
    [(who, relayed)] = await asyncio.to_thread(collector.wait_for, "relay chat.message.new", trace)
    assert (who, relayed.parent_span_id) == ("chatws-relay", served.span_id)
    [(who, delivered)] = await asyncio.to_thread(collector.wait_for, "deliver", trace)
    assert (who, delivered.parent_span_id) == ("chatws-gateway", relayed.span_id)
    assert {a.key: a.value.string_value for a in delivered.attributes} == {"chatws.feed": f"group:{group}"}
    assert frame.start_time_unix_nano < delivered.end_time_unix_nano
    assert "a secret" not in str(collector.spans)
    for client in (speaker, listener):
        await client.close()
    await chat.close()


@pytest.mark.parametrize("span_id", ["00f067aa0ba902b7", ""])
async def test_trace_of_another_service_is_continued(
    span_id: str, traced: tuple[Stack, Gateway], collector: Collector
) -> None:
    stack, gateway = traced
    user = new_user()
    client = await log_in(gateway, user)
    trace = f"{user:032x}"
    metadata = {"trace_id": trace, "span_id": span_id, "source_service": "elsewhere"}
    event = {
        "user_id": user, "notification_id": f"n-{user}", "type": "t", "title": "", "content": "",
        "timestamp": int(time.time()),
    }  # fmt: skip
    fields: Any = encode(json.dumps(event).encode(), metadata)
    with redis_py.Redis.from_url(stack.redis.url) as redis:
        redis.xadd("notification:push", fields)
    await client.expect("notification")
    [(_, relayed)] = await asyncio.to_thread(collector.wait_for, "relay notification:push", bytes.fromhex(trace))
    assert relayed.parent_span_id.hex() == (span_id or trace[16:])
    await asyncio.to_thread(collector.wait_for, "deliver", bytes.fromhex(trace))
    await client.close()


@pytest.mark.parametrize("metadata", [{}, {"trace_id": "1234"}, {"trace_id": "0" * 32}, {"trace_id": "x" * 32}])
async def test_entry_with_an_unreadable_trace_is_relayed(
    metadata: dict[str, str], traced: tuple[Stack, Gateway]
) -> None:
    stack, gateway = traced
    user = new_user()
    client = await log_in(gateway, user)
    event = {"user_id": user, "verify_id": 1, "status": 1, "refresh": False, "timestamp": 0}
    fields: Any = encode(json.dumps(event).encode(), metadata)
    with redis_py.Redis.from_url(stack.redis.url) as redis:
        redis.xadd("verify:progress", fields)
    await client.expect("verify_progress")
    await client.close()


async def test_frame_logs_name_trace_and_error_code(
    collector: Collector, tmp_path_factory: pytest.TempPathFactory
) -> None:
    stack = Stack(tmp_path_factory.mktemp("failing"), CHATWS_LOG_FORMAT="json", **collector.environment)
    try:
        gateway = stack.start()
        chat = Chat(stack.rpc_target)
        user = new_user()
        client = await log_in(gateway, user)
        group = await chat.group(user)
        await client.expect("membership")
        await client.expect("group_joined")  # so that no lookup of the gateway is the fifth failure
        next(process for process in stack.processes if process.name.startswith("rpc")).kill()
        for number in range(5):  # then the circuit opens, which is logged
            await client.ask("send_message", {"group_id": group, "msg_type": 1, "content": f"secret {number}"})
        [line] = map(json.loads, await until_logged(gateway.log, "calls fail at once for now"))
        trace = bytes.fromhex(line["trace_id"])
        assert line["user_id"] == str(user)
        [(_, frame)] = await asyncio.to_thread(collector.wait_for, "frame send_message", trace)
        assert {a.key: a.value.int_value for a in frame.attributes}["chatws.code"] == 503
        assert frame.status.code == 2
        assert "secret" not in gateway.log.read_text()
        await client.close()
        await chat.close()
    finally:
        stack.stop()


async def test_unavailable_collector_delays_nothing(traced: tuple[Stack, Gateway]) -> None:
    stack, _ = traced
    away = stack.start_gateway(OTEL_EXPORTER_OTLP_ENDPOINT=f"http://127.0.0.1:{free_port()}")
    client = await log_in(away, new_user())
    for _ in range(20):
        assert (await client.ask("ping"))["type"] == "pong"
    await client.close()
    status = await asyncio.to_thread(away.stop, seconds=LIMIT)
    assert status in (0, -signal.SIGTERM)  # the signal itself ends uvicorn


@pytest.mark.ours_only  # plain daphne does not report its end to the application; the signal itself ends uvicorn
async def test_last_spans_are_exported_before_exit(traced: tuple[Stack, Gateway], collector: Collector) -> None:
    stack, _ = traced
    gateway = stack.start_gateway(OTEL_BSP_SCHEDULE_DELAY="60000", OTEL_SERVICE_NAME="the last")
    client = await log_in(gateway, new_user())
    await client.close()
    assert await asyncio.to_thread(gateway.stop, seconds=LIMIT) == 0
    [_] = await asyncio.to_thread(collector.wait_for, "frame auth", service="the last")


def test_missing_extra_error_says_what_to_install(stack: Stack) -> None:
    code = "import sys; sys.modules['opentelemetry'] = None; import config.asgi"
    env = {**stack.env, "CHATWS_TRACING": "1"}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True)
    assert done.returncode != 0
    assert "CHATWS_TRACING" in done.stderr
    assert "requirements-tracing.txt" in done.stderr
    without = {**stack.env, "CHATWS_TRACING": "0"}
    subprocess.run([sys.executable, "-c", code], env=without, check=True, capture_output=True)
