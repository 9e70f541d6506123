"""`/metrics`, `/health` and `/ready` of the three kinds of process, scraped: each metric moves with what it counts."""

import asyncio
import json
import os
import signal
from collections.abc import Callable, Iterator

import pytest
import redis as redis_py

from tests.contract.test_workers import workers
from tests.support.chat import Chat, new_user
from tests.support.client import connect, make_token
from tests.support.raw import raw_socket
from tests.support.redis import free_port
from tests.support.scrape import OURS, Scraped, get, get_json
from tests.support.stack import Gateway, Stack

TOKEN = "scrapes-and-nothing-else"


@pytest.fixture
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    stack = Stack(
        tmp_path_factory.mktemp("metrics"), CHATWS_METRICS_TOKEN=TOKEN, CHATWS_PUBLIC_STATUS="0",
        CHATWS_CONNECTIONS_PER_USER="3", CHATWS_OUTBOX_BYTES="65536",
    )  # fmt: skip
    try:
        yield stack
    finally:
        stack.stop()


async def scraped(url: str, until: Callable[[Scraped], bool], token: str = "") -> Scraped:
    """What is scraped once it satisfies; gauges lag by half a second, the relay's by a third of its lease."""
    async with asyncio.timeout(20):
        while not until(seen := await asyncio.to_thread(Scraped, url, token)):
            await asyncio.sleep(0.1)
    return seen


@pytest.mark.ours_only  # requests that drip and sockets that aren't read are our server's
async def test_every_metric_moves_with_what_it_counts(watched: Stack) -> None:
    at_rpc, at_relay = (f"127.0.0.1:{free_port()}" for _ in range(2))
    watched.redis.start()
    watched.manage("migrate", "--noinput")
    rpc = watched.start_rpc("--probes", at_rpc)
    watched.start_relay("--probes", at_relay)
    gateway = watched.start_gateway()
    watched.wait_until_relaying()
    moved: set[str] = set()

    async def see(url: str, until: Callable[[Scraped], bool]) -> Scraped:
        seen = await scraped(url, until, TOKEN)
        moved.update(sample.name for sample in seen.samples if sample.value)
        return seen

    async def at_gateway(until: Callable[[Scraped], bool]) -> Scraped:
        return await see(f"{gateway.http}/metrics", until)

    chat = Chat(watched.rpc_target)
    user, other = new_user(), new_user()
    group = await chat.group(user, other)
    one, two = [await connect(gateway.ws) for _ in range(2)]
    for client, who in ((one, user), (two, other)):
        assert (await client.ask("auth", {"token": make_token(who)}))["type"] == "auth_success"
    await at_gateway(lambda seen: seen.total("chatws_connections") == 2 and seen.total("chatws_users") == 2)
    for number in range(3):
        await one.ask("send_message", {"group_id": group, "msg_type": 1, "content": f"number {number}"})
        await two.expect("new_message")
    seen = await at_gateway(lambda seen: seen.total("chatws_deliveries_total") >= 6)
    assert seen.total("chatws_feeds") == 3
    assert seen.total("chatws_frames_received_total", type="send_message") == 3
    assert seen.total("chatws_frames_received_total", type="auth") == 2
    await one.ask("send_message", {"group_id": group, "msg_type": 1, "content": ""})
    seen = await at_gateway(lambda seen: seen.total("chatws_frames_received_total", type="bad") == 1)
    assert seen.total("chatws_frames_received_total", type="send_message") == 3
    assert seen.total("chatws_received_bytes_total", type="send_message") > 3 * len("number 0")
    assert seen.total("chatws_frames_sent_total", type="new_message") == 6
    assert seen.total("chatws_frames_sent_total", type="ack") == 3
    assert seen.total("chatws_sent_bytes_total", type="new_message") > 6 * len("number 0")
    assert seen.total("chatws_fanout_seconds_count") >= 3
    assert seen.total("chatws_event_age_seconds_count") >= 3
    assert 0 < seen.total("chatws_event_age_seconds_sum") < 30
    assert seen.total("chatws_rpc_seconds_count", method="SaveMessage", outcome="OK") == 3
    assert seen.total("chatws_authentications_total", way="frame", outcome="ok") == 2

    bad = await connect(f"{gateway.ws}?token=bad")
    assert await bad.closed() == 4401
    await at_gateway(lambda seen: seen.total("chatws_authentications_total", way="query", outcome="invalid") == 1)
    for _ in range(400):
        await two.send("ping")
    await two.expect("error", lambda frame: frame["data"]["code"] == 429)
    await at_gateway(lambda seen: seen.total("chatws_refusals_total", limit="frames") > 0)
    places = one.seen[0]["data"]["feeds"]
    points = {place["feed"]: {"epoch": place["epoch"], "offset": place["offset"]} for place in places}
    back = await connect(gateway.ws)
    await back.ask("auth", {"token": make_token(user), "resume": points})
    await at_gateway(lambda seen: seen.total("chatws_resumes_total", outcome="recovered") == 2)
    watched.lose_log(f"group:{group}")
    await one.expect("feed_reset")
    seen = await at_gateway(lambda seen: seen.total("chatws_gaps_total", outcome="lost") > 0)
    assert seen.total("chatws_gaps_total", outcome="found") > 0
    assert seen.total("chatws_position_checks_total") > 0
    await back.close()
    await at_gateway(lambda seen: seen.total("chatws_closes_total", code="1000") == 1)

    with redis_py.Redis.from_url(watched.redis.url) as client:
        client.xadd("chat.message.new", {"payload": "not JSON"})
    seen = await see(
        f"http://{at_relay}/metrics",
        lambda seen: seen.total("chatws_dead_letters_total", topic="chat.message.new") == 1,
    )
    assert seen.total("chatws_relayed_total", topic="chat.message.new") == 4
    assert seen.total("chatws_relay_lease", topic="chat.message.new") == 1
    assert (await asyncio.to_thread(get_json, f"http://{at_relay}/ready")) == (200, {"redis": "ok"})
    event = {"message_id": "m", "group_id": group, "sender_id": user, "msg_type": 1, "created_at": 1}
    with redis_py.Redis.from_url(watched.redis.url) as client, client.pipeline(transaction=True) as full:
        for number in range(50):
            full.xadd("chat.message.new", {"payload": json.dumps({**event, "message_id": f"m-{number}"})})
        full.config_set("maxmemory", "1mb").execute()
        lag = "chatws_relay_lag_entries"
        await see(f"http://{at_relay}/metrics", lambda seen: seen.total(lag, topic="chat.message.new") == 50)
        client.config_set("maxmemory", 0)
        await see(f"http://{at_relay}/metrics", lambda seen: seen.total(lag) == 0)
    await one.expect("new_message", lambda frame: frame["message_id"] == "m-49")
    stalled = new_user()
    crowded = await chat.group(stalled)
    async with raw_socket(gateway.port, stalled, receive_buffer=4096):
        for number in range(150):
            await chat.say(crowded, stalled, "x" * 4_000, f"{crowded}-{number}")
        await at_gateway(lambda seen: seen.total("chatws_outbox_dropped_total") > 0)
        await at_gateway(lambda seen: seen.total("chatws_closes_total", code="4502") == 1)
    seen = await see(f"http://{at_rpc}/metrics", lambda seen: True)
    assert seen.total("chatws_reference_seconds_count", method="SaveMessage", outcome="OK") == 153
    expected = (200, {"redis": "ok", "database": "ok"})
    assert (await asyncio.to_thread(get_json, f"http://{at_rpc}/ready")) == expected
    assert (await asyncio.to_thread(get, f"http://{at_rpc}/health")) == (200, "OK")

    await asyncio.to_thread(rpc.kill)
    for number in range(6):
        frame = await one.ask("send_message", {"group_id": group, "msg_type": 1, "content": f"away {number}"})
        assert frame["data"]["code"] == 503
    await at_gateway(lambda seen: seen.total("chatws_circuit_open") == 1)
    await asyncio.to_thread(watched.redis.kill)
    state = await asyncio.to_thread(get_json, f"http://{at_relay}/ready")
    assert state[0] == 503
    assert str(watched.redis.port) in state[1]["redis"]
    await see(f"http://{at_relay}/metrics", lambda seen: seen.total("chatws_relay_retries_total") > 0)
    for client in (one, two, bad, back):
        await client.close()
    await chat.close()

    endings = {"counter": "_total", "histogram": "_count", "gauge": ""}
    still = {name for name, kind in OURS if name + endings[kind] not in moved}
    assert still == set()


async def test_metrics_are_for_those_who_bring_the_token(watched: Stack) -> None:
    gateway = watched.start()
    for given, status in (("", 401), ("wrong", 401), (make_token(1, role="admin"), 401), (TOKEN, 200)):
        assert (await asyncio.to_thread(get, f"{gateway.http}/metrics", given))[0] == status
    closed, open_ = (
        watched.start_gateway(CHATWS_METRICS_TOKEN="", CHATWS_PUBLIC_STATUS=public) for public in ("0", "1")
    )
    assert (await asyncio.to_thread(get, f"{closed.http}/metrics"))[0] == 404
    assert (await asyncio.to_thread(get, f"{open_.http}/metrics"))[0] == 200


async def each(gateway: Gateway, count: int) -> Scraped:
    return await scraped(f"{gateway.http}/metrics", lambda seen: seen.total("chatws_connections") == count, TOKEN)


@pytest.mark.ours_only
async def test_with_several_workers_whoever_is_asked_answers_for_all(watched: Stack) -> None:
    watched.start()
    gateway = watched.start_gateway("--workers", "2")
    clients = [await connect(gateway.ws) for _ in range(20)]
    for client in clients:
        await client.ask("auth", {"token": make_token(new_user())})
    for _ in range(5):
        seen = await each(gateway, 20)
        assert seen.total("chatws_authentications_total", outcome="ok") == 20
    # Whoever is quicker accepts: on a busy machine one of the two may have all.
    busiest = max(workers(gateway), key=lambda pid: len(os.listdir(f"/proc/{pid}/fd")))
    os.kill(busiest, signal.SIGKILL)
    left = 0
    for client in clients:
        try:
            await client.ask("ping")
            left += 1
        except Exception:
            continue
    assert left < 20
    await each(gateway, left)
    for client in clients:
        await client.close()
