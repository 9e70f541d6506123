"""Measure sending: from the send to the ack, and to the receipt by the other members."""

import asyncio
import statistics
import sys
import time
from functools import partial

from benchmarks.figures import Figure, Outcome
from benchmarks.load import Load, Report
from benchmarks.machine import Bench
from benchmarks.servers import Ours, production
from benchmarks.setup import opened
from chatws.events.routes import ROUTES
from tests.support.chat import Chat
from tests.support.client import make_token
from tests.support.redis import free_port

AUTH = '{"type":"auth","message_id":"a","data":{"token":"%s"}}'

SEND = '{"type":"send_message","message_id":"m-%n","data":{"group_id":"g0","msg_type":1,"content":"bench t=%t"}}'


async def sending(seconds: float, rounds: int) -> Outcome:
    """Measure from a client's send to its ack, with a chat service that only counts.

    Then the gateway is the publisher: it stores an intent before, and adds the entry to the topic after.
    """
    outcome = Outcome([])
    for name, publishes in (("ours", False), ("ours as the publisher", True)):
        rates = Figure("send to ack, 100 clients as fast as answered", name, "sends/s")
        async with opened(partial(Ours, publishes=publishes), 100, send=SEND) as (_, load, _):
            for _ in range(rounds):
                rates.values.append(await as_fast_as_answered(load, 10_000))
            reports = [await sent_at(load, 500, seconds) for _ in range(rounds)]
        p99 = Figure("send to ack at 500/s, p99", name, "ms", [one.ack["p99"] for one in reports])
        acked, failed = sum(one.acked for one in reports), sum(one.failed for one in reports)
        p50 = statistics.median(one.ack["p50"] for one in reports)
        p99.note = f"p50 {p50:.1f} ms, {acked:,} acked, {failed} failed"
        if not publishes:
            rates.goal, rates.met = "2,500/s", rates.median >= 2_500
            p99.goal, p99.met = "10 or less", p99.median <= 10
        outcome.figures += [rates, p99]
    return outcome


async def chain(seconds: float, rounds: int) -> Outcome:
    """Measure from a client's send to the receipt: gateway, reference chat service on SQLite, relay, gateway.

    All processes share all cores.
    """
    with Bench() as bench:
        rpc, port = free_port(), free_port()
        env = {**production(bench, f"127.0.0.1:{rpc}", "INFO"), "CHATWS_RPC_PORT": str(rpc)}
        python = [sys.executable, "manage.py"]
        bench.start("migrate", [*python, "migrate", "--verbosity", "0"], env=env).wait()
        bench.start("rpc", [*python, "serve_chat_rpc"], env=env, anywhere=True)
        relay_stream = bench.start("relay", [*python, "relay_stream"], env=env, anywhere=True)
        command = [sys.executable, *Ours.commands["ours"], str(port), "config.asgi:application"]
        gateway = bench.start("gateway", command, env=env, anywhere=True)
        gateway.wait_for(f"http://127.0.0.1:{port}/ready")
        while relay_stream.log.read_text().count("relaying from") < len(ROUTES):
            await asyncio.sleep(0.1)
        chat = Chat(f"127.0.0.1:{rpc}")
        group = await chat.group(*range(1, 11))
        load = Load(port, "/ws", 10, ready="auth_success", send=SEND.replace("g0", group))
        users = range(1, 11)
        await load.open([AUTH % make_token(user, 7_200) for user in users])
        own = [await as_fast_as_answered(load, 1_000) for _ in range(rounds)]
        await asyncio.sleep(3)
        reports = [await sent_at(load, 200, seconds) for _ in range(rounds)]
        await load.close()
        await chat.close()
    figure = Figure(
        "send to receipt through the whole chain, 200/s to 10 members, p99", "ours", "ms",
        [one.delivery["p99"] for one in reports], "20 or less",
    )  # fmt: skip
    received, expected = sum(one.received for one in reports), 10 * rounds * int(200 * seconds)
    p50 = statistics.median(one.delivery["p50"] for one in reports)
    ack, failed = statistics.median(one.ack["p99"] for one in reports), sum(one.failed for one in reports)
    figure.note = f"p50 {p50:.1f} ms, {received:,} of {expected:,} receipts, ack p99 {ack:.1f} ms, {failed} failed"
    figure.met = figure.median <= 20 and received == expected
    return Outcome([Figure("send to ack, the reference chat service's own figure", "ours", "sends/s", own), figure])


async def sent_at(load: Load, rate: int, seconds: float) -> Report:
    """Send ``rate`` frames per second and return the report."""
    load.reset()
    load.send(rate, int(rate * seconds))
    await asyncio.sleep(seconds + 2)
    return await load.report()


async def as_fast_as_answered(load: Load, count: int) -> float:
    """Return the acks per second when each client sends the next frame after the ack of the last."""
    load.reset()
    began = time.perf_counter()
    load.send(0, count)
    while (report := await load.report()).acked + report.failed < count:
        await asyncio.sleep(0.05)
    return report.acked / (time.perf_counter() - began)
