"""Scrape `/metrics`, `/health` and `/ready` of the three kinds of process; each metric must change with its events."""

import asyncio
import json
import os
import signal
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest
import redis as redis_py

from realtime.observability.log_limit import MAX_PER_MINUTE
from tests.contract.test_workers import workers
from tests.support.announced import announced
from tests.support.chat import Chat, new_user
from tests.support.client import Client, connect, make_token
from tests.support.key_set import KeySet, jwk, new_key
from tests.support.raw import raw_socket
from tests.support.redis import free_port
from tests.support.scrape import OURS, Scraped, get, get_json, scraped
from tests.support.stack import Gateway, Process, Stack
from tests.support.waiting import LIMIT, until_answer

TOKEN = "scrapes-and-nothing-else"


@pytest.fixture
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    stack = Stack(
        tmp_path_factory.mktemp("metrics"), CHATWS_METRICS_TOKEN=TOKEN, CHATWS_PUBLIC_STATUS="0",
        CHATWS_CONNECTIONS_PER_USER="3", CHATWS_OUTBOX_BYTES="65536",
        CHATWS_AUDIT_UNAUTHENTICATED_PER_MINUTE="1", CHATWS_DEAD_LETTER_BYTES="8192",
    )  # fmt: skip
    try:
        yield stack
    finally:
        stack.stop()


@dataclass
class Watch:
    """Two users of a chat group at a gateway, and the metrics that changed."""

    stack: Stack
    rpc: Process
    gateway: Gateway
    at_rpc: str
    at_relay: str
    chat: Chat
    user: int
    other: int
    group: str
    one: Client
    two: Client
    moved: set[str] = field(default_factory=set)

    async def see(self, url: str, until: Callable[[Scraped], bool]) -> Scraped:
        seen = await scraped(url, until, TOKEN)
        self.moved.update(sample.name for sample in seen.samples if sample.value)
        return seen

    async def gateway_until(self, until: Callable[[Scraped], bool]) -> Scraped:
        return await self.see(f"{self.gateway.http}/metrics", until)

    async def relay_until(self, until: Callable[[Scraped], bool]) -> Scraped:
        return await self.see(f"{self.at_relay}/metrics", until)

    async def send(self, content: str) -> dict[str, Any]:
        """Send a message of the first user and return the answer."""
        return await self.one.ask("send_message", {"group_id": self.group, "msg_type": 1, "content": content})

    def event(self, message_id: str) -> dict[str, object]:
        """Return a message as another program publishes it."""
        return {
            "message_id": message_id, "group_id": self.group, "sender_id": self.user, "msg_type": 1, "created_at": 1,
        }  # fmt: skip


@pytest.fixture
async def watch(watched: Stack) -> AsyncIterator[Watch]:
    at_rpc, at_relay = (f"127.0.0.1:{free_port()}" for _ in range(2))
    watched.redis.start()
    watched.manage("migrate", "--noinput")
    rpc = watched.start_rpc("--probes", at_rpc)
    watched.start_relay("--probes", at_relay)
    gateway = watched.start_gateway()
    watched.wait_until_relaying()
    chat = Chat(watched.rpc_target)
    user, other = new_user(), new_user()
    group = await announced(watched, await chat.group(user, other), 2)
    one, two = [await connect(gateway.ws) for _ in range(2)]
    yield Watch(
        watched, rpc, gateway, f"http://{at_rpc}", f"http://{at_relay}", chat, user, other, group, one, two
    )  # fmt: skip
    for client in (one, two):
        await client.close()
    await chat.close()


@pytest.mark.ours_only  # only our server limits slow requests and unread sockets
async def test_every_metric_changes_with_its_events(watch: Watch) -> None:
    await messages_are_counted(watch)
    await refusals_are_counted(watch)
    await logins_are_counted(watch)
    await resumes_and_gaps_are_counted(watch)
    await relaying_is_counted(watch)
    await a_slow_reader_is_counted(watch)
    await the_chat_service_is_counted(watch)
    await key_sets_are_counted(watch)
    await an_error_reply_is_counted(watch)
    await a_redis_that_is_away_is_counted(watch)
    endings = {"counter": "_total", "histogram": "_count", "gauge": ""}
    still = {name for name, kind in OURS if name + endings[kind] not in watch.moved}
    assert still == {"chatws_messages_finished"}, "which moves where gateways publish: platform/test_messages.py"


async def messages_are_counted(watch: Watch) -> None:
    began = time.monotonic()
    for client, who in ((watch.one, watch.user), (watch.two, watch.other)):
        assert (await client.ask("auth", {"token": make_token(who)}))["type"] == "auth_success"
    await watch.gateway_until(lambda seen: seen.total("chatws_connections") == 2 and seen.total("chatws_users") == 2)
    for number in range(3):
        await watch.send(f"number {number}")
        await watch.two.expect("new_message")
    seen = await watch.gateway_until(lambda seen: seen.total("chatws_frames_sent_total", type="new_message") >= 6)
    assert seen.total("chatws_deliveries_total") >= 6
    assert seen.total("chatws_feeds") == 3
    assert seen.total("chatws_loop_lag_seconds_count") > 0
    assert seen.total("chatws_frames_received_total", type="send_message") == 3
    assert seen.total("chatws_frames_received_total", type="auth") == 2
    await watch.send("")
    seen = await watch.gateway_until(lambda seen: seen.total("chatws_frames_received_total", type="bad") == 1)
    assert seen.total("chatws_frames_received_total", type="send_message") == 3
    assert seen.total("chatws_received_bytes_total", type="send_message") > 3 * len("number 0")
    assert seen.total("chatws_frames_sent_total", type="new_message") == 6
    assert seen.total("chatws_frames_sent_total", type="ack") == 3
    assert seen.total("chatws_sent_bytes_total", type="new_message") > 6 * len("number 0")
    assert seen.total("chatws_fanout_seconds_count") >= 3
    assert seen.total("chatws_event_age_seconds_count") >= 3
    ages, count = (seen.total(f"chatws_event_age_seconds_{what}") for what in ("sum", "count"))
    assert 0 < ages < count * (time.monotonic() - began), "in seconds: no event is older than this test"
    assert seen.total("chatws_rpc_seconds_count", method="SaveMessage", outcome="OK") == 3
    assert seen.total("chatws_authentications_total", way="frame", outcome="ok") == 2


async def key_sets_are_counted(watch: Watch) -> None:
    with KeySet(jwk(new_key("ES256"), "ES256", kid="one")) as endpoint:
        gateway = await asyncio.to_thread(watch.stack.start_gateway, CHATWS_JWT_JWKS_URL=endpoint.url)
        seen = await watch.see(
            f"{gateway.http}/metrics", lambda seen: seen.total("chatws_key_set_fetches_total", outcome="ok") == 1
        )
        assert 0 <= time.time() - seen.total("chatws_key_set_fetched_seconds") < LIMIT
    await asyncio.to_thread(gateway.stop, seconds=LIMIT)
    gateway = await asyncio.to_thread(watch.stack.start_gateway, probe="health", CHATWS_JWT_JWKS_URL=endpoint.url)
    seen = await watch.see(
        f"{gateway.http}/metrics", lambda seen: seen.total("chatws_key_set_fetches_total", outcome="failed") > 0
    )
    assert seen.total("chatws_key_set_fetched_seconds") == 0
    await asyncio.to_thread(gateway.stop, seconds=LIMIT)


async def an_error_reply_is_counted(watch: Watch) -> None:
    """Cause a permanent Redis error: presence finds a key of another type. It interrupts the work only briefly."""
    with redis_py.Redis(port=watch.stack.redis.port) as client:
        client.rename("chatws:nodes", "aside")
        client.set("chatws:nodes", "of another type")
        await watch.gateway_until(lambda seen: seen.total("chatws_task_failures_total", task="presence") > 1)
        client.rename("aside", "chatws:nodes")
    late = await connect(f"{watch.gateway.ws}?token={make_token(new_user())}")
    admin = make_token(1, role="admin")

    async def online() -> int:
        return int(json.loads((await asyncio.to_thread(get, f"{watch.gateway.http}/stats", admin))[1])["online_users"])

    await until_answer(online, lambda users: users == 3, "three users are online")
    await late.close()


async def refusals_are_counted(watch: Watch) -> None:
    bad = await connect(f"{watch.gateway.ws}?token=bad")
    assert await bad.closed() == 4401
    invalid = {"way": "query", "outcome": "invalid"}
    await watch.gateway_until(lambda seen: seen.total("chatws_authentications_total", **invalid) == 1)
    await watch.gateway_until(lambda seen: seen.total("chatws_audit_dropped_total", reason="unauthenticated") == 1)
    async with httpx.AsyncClient(base_url=watch.gateway.http, headers={"Host": "evil.example"}) as strange:
        for _ in range(2 * MAX_PER_MINUTE + 1):  # Django logs each, in this minute or the next
            assert (await strange.get("/")).status_code == 400
    await watch.gateway_until(lambda seen: seen.total("chatws_log_records_dropped_total") > 0)
    hasty = await connect(watch.gateway.ws)
    sending = asyncio.create_task(send_for_ever(hasty, '{"type": "ping"}'))
    await hasty.expect("error", lambda frame: frame["data"]["code"] == 429)
    sending.cancel()
    await asyncio.wait([sending])
    await hasty.close()
    await watch.gateway_until(lambda seen: seen.total("chatws_refusals_total", limit="frames") > 0)


async def logins_are_counted(watch: Watch) -> None:
    await asyncio.to_thread(
        httpx.post, f"{watch.gateway.http}/api/token/", json={"username": "nobody", "password": "wrong"}
    )
    await watch.gateway_until(lambda seen: seen.total("chatws_logins_total", outcome="failed") == 1)


async def send_for_ever(client: Client, text: str) -> None:
    """Send a frame faster than every limit, until cancelled or closed."""
    while True:
        await client.socket.send(text)
        await asyncio.sleep(0)


async def resumes_and_gaps_are_counted(watch: Watch) -> None:
    places = watch.one.seen[0]["data"]["feeds"]
    points = {place["feed"]: {"epoch": place["epoch"], "offset": place["offset"]} for place in places}
    back = await connect(watch.gateway.ws)
    await back.ask("auth", {"token": make_token(watch.user), "resume": points})
    await watch.gateway_until(lambda seen: seen.total("chatws_resumes_total", outcome="recovered") == 2)

    before = await watch.gateway_until(lambda seen: True)
    watch.gateway.pause()  # the notification of the next message goes to a dead connection, so only a check finds it
    watch.stack.break_subscriptions()
    watch.stack.add_entry("chat.message.new", watch.event("untold"))
    await watch.relay_until(lambda seen: seen.total("chatws_relayed_total", topic="chat.message.new") == 4)
    watch.gateway.go_on()
    await watch.one.expect("new_message", lambda frame: frame["message_id"] == "untold")
    healed = before.total("chatws_gaps_total", outcome="healed")
    seen = await watch.gateway_until(lambda seen: seen.total("chatws_gaps_total", outcome="healed") > healed)
    assert seen.total("chatws_gaps_total", outcome="healed") == healed + 1
    assert seen.total("chatws_gaps_total", outcome="lost") == 0
    assert seen.total("chatws_gaps_total", outcome="found") > before.total("chatws_gaps_total", outcome="found")

    watch.stack.lose_log(f"group:{watch.group}")
    await watch.one.expect("feed_reset")
    seen = await watch.gateway_until(lambda seen: seen.total("chatws_gaps_total", outcome="lost") > 0)
    assert seen.total("chatws_position_checks_total") > 0
    closed = seen.total("chatws_closes_total", code="1000")
    await back.close()
    await watch.gateway_until(lambda seen: seen.total("chatws_closes_total", code="1000") == closed + 1)


async def relaying_is_counted(watch: Watch) -> None:
    message_new = {"topic": "chat.message.new"}
    with redis_py.Redis.from_url(watch.stack.redis.url) as client:
        for number in range(2):
            client.xadd("chat.message.new", {"payload": "not JSON" + number * 10_000 * " "})
    await watch.relay_until(lambda seen: seen.total("chatws_relayed_total", **message_new) == 6)
    seen = await watch.relay_until(lambda seen: seen.total("chatws_relay_lease", **message_new) == 1)
    assert seen.total("chatws_dead_letters_total", **message_new) == 2
    assert seen.total("chatws_dead_letters_dropped_total", **message_new) == 1
    assert seen.total("chatws_loop_lag_seconds_count") > 0
    assert (await asyncio.to_thread(get_json, f"{watch.at_relay}/ready")) == (200, {"redis": "ok"})
    with redis_py.Redis.from_url(watch.stack.redis.url) as client, client.pipeline(transaction=True) as full:
        for number in range(50):
            full.xadd("chat.message.new", {"payload": json.dumps(watch.event(f"m-{number}"))})
        full.config_set("maxmemory", "1mb").execute()
        await watch.relay_until(lambda seen: seen.total("chatws_relay_lag_entries", **message_new) == 50)
        await watch.relay_until(lambda seen: seen.total("chatws_relay_refused", **message_new) == 1)
        await watch.chat.say(watch.group, watch.user, "waits in the outbox", "m-outbox")
        await watch.see(f"{watch.at_rpc}/metrics", lambda seen: seen.total("chatws_reference_waiting_events") == 1)
        client.config_set("maxmemory", 0)
        await watch.relay_until(lambda seen: seen.total("chatws_relay_lag_entries") == 0)
        await watch.relay_until(lambda seen: seen.total("chatws_relay_refused") == 0)
        await watch.see(f"{watch.at_rpc}/metrics", lambda seen: seen.total("chatws_reference_waiting_events") == 0)
    await watch.one.expect("new_message", lambda frame: frame["message_id"] == "m-49")


async def a_slow_reader_is_counted(watch: Watch) -> None:
    stalled = new_user()
    crowded = await watch.chat.group(stalled)
    async with raw_socket(watch.gateway.port, stalled, receive_buffer=4096):
        for number in range(150):
            await watch.chat.say(crowded, stalled, "x" * 4_000, f"{crowded}-{number}")
        await watch.gateway_until(lambda seen: seen.total("chatws_outbox_dropped_total") > 0)
        await watch.gateway_until(lambda seen: seen.total("chatws_closes_total", code="4502") == 1)


async def the_chat_service_is_counted(watch: Watch) -> None:
    seen = await watch.see(f"{watch.at_rpc}/metrics", lambda seen: seen.total("chatws_loop_lag_seconds_count") > 0)
    assert seen.total("chatws_reference_seconds_count", method="SaveMessage", outcome="OK") == 154
    expected = (200, {"redis": "ok", "database": "ok"})
    assert (await asyncio.to_thread(get_json, f"{watch.at_rpc}/ready")) == expected
    assert (await asyncio.to_thread(get, f"{watch.at_rpc}/health")) == (200, "OK")

    await asyncio.to_thread(watch.rpc.kill)
    for number in range(6):
        assert (await watch.send(f"away {number}"))["data"]["code"] == 503
    await watch.gateway_until(lambda seen: seen.total("chatws_circuit_open") == 1)
    await asyncio.to_thread(watch.stack.start_rpc)
    await until_answer(lambda: watch.send("back"), lambda answer: answer["type"] == "ack")
    await watch.gateway_until(lambda seen: seen.total("chatws_circuit_open") == 0)


async def a_redis_that_is_away_is_counted(watch: Watch) -> None:
    await asyncio.to_thread(watch.stack.redis.kill)
    status, states = await asyncio.to_thread(get_json, f"{watch.at_relay}/ready")
    assert status == 503
    assert str(watch.stack.redis.port) in states["redis"]
    await watch.relay_until(lambda seen: seen.total("chatws_relay_retries_total") > 0)


async def test_metrics_need_the_token(watched: Stack) -> None:
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
async def test_every_worker_reports_metrics_of_all_workers(watched: Stack) -> None:
    watched.start()
    gateway = watched.start_gateway("--workers", "2")
    clients = [await connect(gateway.ws) for _ in range(20)]
    for client in clients:
        await client.ask("auth", {"token": make_token(new_user())})
    for _ in range(5):
        seen = await each(gateway, 20)
        assert seen.total("chatws_authentications_total", outcome="ok") == 20
    # The quicker worker accepts: on a busy machine one of the two may have all connections.
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
