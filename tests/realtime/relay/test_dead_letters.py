"""Check dead letters on a real Redis: in code, by the command, in the admin."""

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from io import StringIO
from typing import Any

import msgspec
import pytest
import redis as redis_py
from django.conf import settings
from django.contrib.admin.models import CHANGE, DELETION, LogEntry
from django.contrib.auth.models import Permission, User
from django.core.management import CommandError, call_command
from django.test import Client, override_settings

from realtime.conf import RealtimeConf
from realtime.relay.dead_letters import DeadLetters
from realtime.relay.topic import Topic
from tests.support.redis import Redis, RedisServer, connect, free_port

TOPIC = "chat.message.new"
PAGE = "/admin/realtime/deadletterentry/"
METADATA = msgspec.msgpack.encode({"trace_id": "t-1"})
FIELDS = {b"_watermill_message_uuid": b"u-1", b"metadata": METADATA, b"payload": b'{"broken": '}


@pytest.fixture
def letters(redis: Redis) -> DeadLetters:
    return DeadLetters(redis)


async def write(
    redis: Redis, conf: RealtimeConf, entry_id: str, fields: dict[bytes, bytes], topic: str = TOPIC
) -> None:
    await Topic(redis, topic, conf).dead_letter((entry_id, fields), "payload: broken")


async def test_dead_letter_shows_its_entry_and_reason(letters: DeadLetters, redis: Redis, conf: RealtimeConf) -> None:
    await write(redis, conf, "5-0", FIELDS)
    assert await letters.topics() == [TOPIC]
    assert await letters.count(TOPIC) == 1
    [letter] = await letters.latest(TOPIC, 10)
    assert (letter.reason, letter.entry_id, letter.replays) == ("payload: broken", "5-0", 0)
    assert (letter.payload, letter.metadata["trace_id"]) == ('{"broken": ', "t-1")
    assert letter.time is not None
    assert await letters.get(TOPIC, letter.id) == letter
    assert await letters.get(TOPIC, "1-1") is None


async def test_dead_letters_are_bounded_in_bytes(letters: DeadLetters, redis: Any, conf: RealtimeConf) -> None:
    limit = 1_000_000
    topic = Topic(redis, TOPIC, replace(conf, dead_letter_bytes=limit))
    for number in range(1, 101):  # the later, the longer
        await topic.dead_letter((f"{number}-0", FIELDS | {b"payload": b"x" * (number * 1_000)}), "too long")
        if number % 25 == 0:
            await topic.bound_dead_letters()
    assert limit / 2 < await redis.memory_usage(f"{TOPIC}.dlq", samples=0) <= limit
    [newest, *_] = await letters.latest(TOPIC, 100)
    assert newest.entry_id == "100-0"


async def test_newest_dead_letter_is_kept_whatever_its_size(redis: Any, conf: RealtimeConf) -> None:
    topic = Topic(redis, TOPIC, replace(conf, dead_letter_bytes=1))
    for number in range(1, 4):
        await topic.dead_letter((f"{number}-0", FIELDS), "broken")
    await topic.bound_dead_letters()
    assert await redis.xlen(f"{TOPIC}.dlq") == 1


async def test_replay_restores_the_entry_and_counts(letters: DeadLetters, redis: Any, conf: RealtimeConf) -> None:
    await write(redis, conf, "5-0", FIELDS)
    [letter] = await letters.latest(TOPIC, 10)
    entry_id = await letters.replay(letter)
    [(found, fields)] = await redis.xrange(TOPIC)
    assert found.decode() == entry_id
    assert fields[b"payload"] == FIELDS[b"payload"]
    assert fields[b"_watermill_message_uuid"] == b"u-1"
    assert msgspec.msgpack.decode(fields[b"metadata"]) == {"trace_id": "t-1", "dlq_replays": "1"}
    assert await letters.count(TOPIC) == 0
    await write(redis, conf, str(entry_id), fields)
    [again] = await letters.latest(TOPIC, 10)
    assert again.replays == 1


async def test_concurrent_replays_restore_the_entry_once(
    letters: DeadLetters, redis: Redis, conf: RealtimeConf
) -> None:
    await write(redis, conf, "5-0", FIELDS)
    [letter] = await letters.latest(TOPIC, 10)
    answers = await asyncio.gather(*(letters.replay(letter) for _ in range(5)))
    assert len([answer for answer in answers if answer]) == 1
    assert await redis.xlen(TOPIC) == 1
    assert not await letters.drop(letter)


async def test_replay_keeps_unreadable_metadata_and_other_fields(
    letters: DeadLetters, redis: Any, conf: RealtimeConf
) -> None:
    await write(redis, conf, "5-0", {b"metadata": b"\xc1", b"payload": b"1"})
    await write(redis, conf, "6-0", {b"event": b"\x01\x02"}, topic="chatws:audit")
    [letter] = await letters.latest(TOPIC, 10)
    assert letter.entry()[b"metadata"] == b"\xc1"
    [event] = await letters.latest("chatws:audit", 10)
    assert event.entry()[b"event"] == b"\x01\x02"
    assert "event" in event.payload


async def test_all_reads_every_page(letters: DeadLetters, redis: Redis, conf: RealtimeConf) -> None:
    for number in range(250):
        await write(redis, conf, f"{number + 1}-0", FIELDS)
    assert len({letter.id async for letter in letters.all(TOPIC)}) == 250
    newest = await letters.latest(TOPIC, 2)
    older = await letters.latest(TOPIC, 2, before=newest[-1].id)
    assert [letter.entry_id for letter in newest + older] == ["250-0", "249-0", "248-0", "247-0"]


@pytest.fixture
def on_redis(redis_server: RedisServer) -> Iterator[Any]:
    """Point the settings at the tests' Redis with two dead letters, used without a loop."""
    with redis_py.Redis.from_url(redis_server.url) as client:
        client.flushall()
        with override_settings(REALTIME=replace(settings.REALTIME, redis_url=redis_server.url)):

            async def fill() -> None:
                redis = connect(redis_server.url)
                for number in (5, 6):
                    await write(redis, settings.REALTIME, f"{number}-0", FIELDS)
                await redis.aclose()

            asyncio.run(fill())
            yield client


def run(*arguments: str) -> str:
    output = StringIO()
    call_command("dead_letters", *arguments, stdout=output)
    return output.getvalue()


def test_command_lists_shows_replays_and_drops(on_redis: Any) -> None:
    lines = run("list").splitlines()
    assert len(lines) == 2
    assert all(line.startswith(f"{TOPIC} ") and line.endswith("payload: broken") for line in lines)
    assert run("list", TOPIC, "--limit", "1").splitlines()[-1] == f"{TOPIC}: 1 older (--limit)"
    newest, oldest = (line.split()[1] for line in lines)
    shown = run("show", TOPIC, newest)
    assert "entry: 6-0" in shown
    assert "metadata trace_id: t-1" in shown
    assert 'payload: {"broken": ' in shown
    assert f"replayed to {TOPIC} as " in run("replay", TOPIC, newest)
    assert on_redis.xlen(TOPIC) == 1
    assert "dropped" in run("drop", TOPIC, "--all")
    assert run("list") == ""
    with pytest.raises(CommandError, match=f"no dead letter {oldest}"):
        run("show", TOPIC, oldest)
    with pytest.raises(CommandError, match="or --all"):
        run("drop", TOPIC)
    with pytest.raises(CommandError, match="or --all"):
        run("drop", TOPIC, oldest, "--all")


def test_command_names_an_unavailable_redis() -> None:
    port = free_port()
    url = f"redis://127.0.0.1:{port}/0"
    with (
        override_settings(REALTIME=replace(settings.REALTIME, redis_url=url)),
        pytest.raises(CommandError, match=f"127.0.0.1:{port}"),
    ):
        run("list")


@pytest.mark.django_db
def test_admin_shows_replays_drops_and_records_the_author(
    on_redis: Any, admin_client: Client, admin_user: User
) -> None:
    page = admin_client.get(PAGE)
    assert page.status_code == 200
    newest, oldest = (f"{letter.topic} {letter.id}" for letter in page.context["letters"])
    text = page.content.decode()
    assert "payload: broken" in text
    assert "{&quot;broken&quot;: " in text
    answer = admin_client.post(PAGE, {"action": "replay", "letter": [newest, newest]}, follow=True)
    assert "Replayed: 1 dead letter(s). 1 no longer existed." in answer.content.decode()
    [(_, fields)] = on_redis.xrange(TOPIC)
    assert fields[b"payload"] == FIELDS[b"payload"]
    answer = admin_client.post(f"{PAGE}?topic={TOPIC}", {"action": "drop", "letter": [oldest]}, follow=True)
    assert "Dropped: 1 dead letter(s)." in answer.content.decode()
    assert "There are no dead letters." in answer.content.decode()
    assert admin_client.post(PAGE, {"action": "shred", "letter": [oldest]}).status_code == 403
    assert admin_client.get(f"{PAGE}1/change/").status_code == 404
    kept = LogEntry.objects.order_by("id").values_list("user", "action_flag", "object_repr", "change_message")
    assert list(kept) == [
        (admin_user.pk, CHANGE, f"{TOPIC} 6-0", "Replayed to its topic."),
        (admin_user.pk, DELETION, f"{TOPIC} 5-0", "Dropped: payload: broken"),
    ]


@pytest.mark.django_db
def test_admin_allows_only_granted_actions(on_redis: Any, client: Client) -> None:
    user = User.objects.create_user("staff", password="staff", is_staff=True)
    client.force_login(user)
    assert client.get(PAGE).status_code == 403
    user.user_permissions.add(Permission.objects.get(codename="view_deadletterentry"))
    text = client.get(PAGE).content.decode()
    assert "payload: broken" in text
    assert "Replay selected" not in text
    assert "Drop selected" not in text
    assert client.post(PAGE, {"action": "replay", "letter": ["x 1-1"]}).status_code == 403
    user.user_permissions.add(Permission.objects.get(codename="change_deadletterentry"))
    assert "Replay selected" in client.get(PAGE).content.decode()
    assert client.post(PAGE, {"action": "drop", "letter": ["x 1-1"]}).status_code == 403


@pytest.mark.django_db
def test_admin_reports_an_unavailable_redis(admin_client: Client) -> None:
    port = free_port()
    with override_settings(REALTIME=replace(settings.REALTIME, redis_url=f"redis://127.0.0.1:{port}/0")):
        text = admin_client.get(PAGE).content.decode()
    assert f"127.0.0.1:{port} is unavailable" in text
