"""Scripts that stop in the middle. Redis does not undo what a script wrote before it failed."""

import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pytest
from redis.exceptions import ResponseError

from realtime.conf import RealtimeConf
from realtime.exceptions import RealtimeError, RedisUnavailable
from realtime.feeds import log
from realtime.feeds.log import FeedLog
from realtime.presence import presence as presence_module
from realtime.presence.presence import Presence
from realtime.publishing import intents
from realtime.publishing.intents import Intents, Noted
from realtime.redis.scripts import Script
from realtime.redis.token_bucket import UserLimit
from realtime.relay.dead_letters import DeadLetters
from realtime.relay.lease import Lease
from realtime.relay.topic import Topic
from tests.support.redis import Redis

FEED = "group:g"
META, LOG, IDS, OLD_IDS = (f"chatws:{{group:g}}:{part}" for part in ("meta", "log", "ids", "ids:old"))
TOPIC = "chat.t"
FIELDS = {b"_watermill_message_uuid": b"u", b"metadata": b"\x80", b"payload": b"p"}
WRITES = """
local redis = setmetatable({call = function(command, ...)
    local writes = 'DEL EXPIRE HDEL HINCRBY HSET HSETNX LPOP LTRIM PEXPIRE RENAME RPUSH SADD SET XADD XDEL XTRIM ZADD '
        .. 'ZREM ZREMRANGEBYSCORE '
    if writes:find(command .. ' ', 1, true) then
        WRITES_LEFT = WRITES_LEFT - 1
        if WRITES_LEFT < 0 then error({err = 'ERR refused: ' .. command .. ' ' .. (...)}) end
    end
    return redis.call(command, ...)
end}, {__index = redis})
"""

Act = Callable[[], Awaitable[Any]]


@dataclass
class Case:
    """A call of a script: what is there before, the call, and the marks that come right after what they mark.

    A refused mark repeats its write, so it has to be one that Redis cannot refuse: its key was read before.
    """

    prepare: Callable[[Any, RealtimeConf], Awaitable[Act]]
    marks: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()
    """Keys that may lack something afterwards."""


async def append(redis: Any, conf: RealtimeConf) -> Act:
    feeds = FeedLog(redis, conf)
    await feeds.append(FEED, TOPIC, [("1-0", "p1", b"\x01")])
    return lambda: feeds.append(FEED, TOPIC, [("2-0", "p2", b"\x02"), ("3-0", "p3", b"\x03")])


async def append_to_a_new_feed(redis: Any, conf: RealtimeConf) -> Act:
    return lambda: FeedLog(redis, conf).append(FEED, TOPIC, [("1-0", "p1", b"\x01")])


async def append_at_the_turn_of_ids(redis: Any, conf: RealtimeConf) -> Act:
    act = await append(redis, conf)
    await redis.hset(META, "ids_since", 1)
    await redis.hset(OLD_IDS, "p0", "e:0")
    return act


async def append_over_the_limit(redis: Any, conf: RealtimeConf) -> Act:
    act = await append(redis, conf)
    await redis.lpush(LOG, *[b"\x00"] * conf.feed_publications)
    await redis.hset(META, "offset", conf.feed_publications + 1)
    return act


async def open_feed(redis: Any, conf: RealtimeConf) -> Act:
    await redis.rpush(LOG, b"of an epoch that was lost")
    return lambda: FeedLog(redis, conf).ensure(FEED)


async def read(redis: Any, conf: RealtimeConf) -> Act:
    await redis.rpush(LOG, b"of an epoch that was lost")
    return lambda: FeedLog(redis, conf).read(FEED, 0, 10)


async def renew(redis: Any, conf: RealtimeConf) -> Act:
    feeds = FeedLog(redis, conf)
    await feeds.append(FEED, TOPIC, [("1-0", "p1", b"\x01")])
    await redis.hset(META, "epoch", "before")
    return lambda: feeds.reset_epoch(FEED, "before")


async def note(redis: Any, conf: RealtimeConf) -> Act:
    return lambda: Intents(redis, TOPIC, 60).note("i", b"content")


async def fulfil(redis: Any, conf: RealtimeConf) -> Act:
    some = Intents(redis, TOPIC, 60)
    await some.note("i", b"content")
    return lambda: some.fulfil("i", FIELDS)


async def claim(redis: Any, conf: RealtimeConf) -> Act:
    some = Intents(redis, TOPIC, 60)
    for intent_id in ("gone", "i", "j"):
        await some.note(intent_id, b"content")
        await redis.zadd(some._due, {intent_id: 1})
    await redis.hdel(some._intents, "gone")
    return lambda: some.claim(10)


async def postpone(redis: Any, conf: RealtimeConf) -> Act:
    some = Intents(redis, TOPIC, 60)
    await some.note("i", b"content")
    return lambda: some.postpone(["i"])


async def acquire(redis: Any, conf: RealtimeConf) -> Act:
    assert await Lease(redis, TOPIC, 600, "one").take() == 1
    await Lease(redis, TOPIC, 600, "one").give_back()
    return Lease(redis, TOPIC, 600, "two").take


async def announce(redis: Any, conf: RealtimeConf) -> Act:
    return Lease(redis, TOPIC, 600, "one").announce


async def publish(redis: Any, conf: RealtimeConf) -> Act:
    lease = Lease(redis, TOPIC, 600, "one")
    await lease.take()
    return lambda: lease.publish([("chat.a", FIELDS), ("chat.b", FIELDS), ("chat.a", FIELDS)])


async def commit(redis: Any, conf: RealtimeConf) -> Act:
    topic = Topic(redis, TOPIC, conf)
    await topic.start()
    entries = [(await redis.xadd(TOPIC, FIELDS)).decode() for _ in range(3)]
    await topic.commit(1, "0-0", entries[0], 1)
    return lambda: topic.commit(1, "0-0", entries[2], 3)


async def dead_letter(redis: Any, conf: RealtimeConf) -> Act:
    topic = Topic(redis, TOPIC, conf)
    await topic.dead_letter(("5-0", FIELDS), "before")
    await redis.delete("chatws:dlq:topics", f"{TOPIC}.dlq")
    return lambda: topic.dead_letter(("6-0", FIELDS), "bad")


async def replay(redis: Any, conf: RealtimeConf) -> Act:
    await Topic(redis, TOPIC, conf).dead_letter(("5-0", FIELDS), "bad")
    letters = DeadLetters(redis)
    [letter] = await letters.latest(TOPIC, 1)
    return lambda: letters.replay(letter)


async def opened(redis: Any, conf: RealtimeConf) -> Act:
    presence = Presence(redis, "node", conf)
    presence.opened(7, "phone")
    await presence._flush()
    presence.opened(7, "laptop")
    presence.opened(8, "tablet")
    return presence._flush


async def closed(redis: Any, conf: RealtimeConf) -> Act:
    presence = Presence(redis, "node", conf)
    for user, connection in ((7, "phone"), (7, "laptop"), (8, "tablet")):
        presence.opened(user, connection)
    await presence._flush()
    presence.closed(7, "phone")
    presence.closed(8, "tablet")
    return presence._flush


async def stopped(redis: Any, conf: RealtimeConf) -> Act:
    presence = Presence(redis, "node", conf)
    for user, connection in ((7, "phone"), (8, "tablet")):
        presence.opened(user, connection)
    await presence._flush()
    return lambda: presence._take_off("node", even_alive=True)


async def take(redis: Any, conf: RealtimeConf) -> Act:
    return lambda: UserLimit(redis, "sends", 1, 10).take(7)


CASES = {
    "append": Case(append, (f"HSET {META}",), (IDS,)),
    "append to a new feed": Case(append_to_a_new_feed, (f"HSET {META}",), (IDS,)),
    "append at the turn of ids": Case(append_at_the_turn_of_ids, (f"HSET {META}",), (IDS, OLD_IDS)),
    "append over the limit": Case(append_over_the_limit, (f"LPOP {LOG}", f"HSET {META}"), (IDS,)),
    "open": Case(open_feed), "read": Case(read), "renew": Case(renew),
    "note": Case(note), "fulfil": Case(fulfil, ("SET chatws:{chat.t}:added:i",)), "claim": Case(claim),
    "postpone": Case(postpone),
    "acquire": Case(acquire, left_out=("chatws:{chat.t}:token",)), "announce": Case(announce),
    "publish": Case(publish, ("XADD chat.a", "XADD chat.b")),
    "commit": Case(commit), "dead letter": Case(dead_letter, ("HSET chatws:{chat.t}:pos",)),
    "replay": Case(replay, ("XDEL chat.t.dlq",)),
    "opened": Case(opened, ("HSET chatws:node:node",)), "closed": Case(closed, ("HDEL chatws:node:node",)),
    "stopped": Case(stopped, ("HDEL chatws:node:node",)), "take": Case(take),
}  # fmt: skip


@pytest.fixture(params=CASES)
def case(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Case:
    monkeypatch.setattr(log, "new_epoch", lambda: "e")
    monkeypatch.setattr(presence_module, "new_epoch", lambda: "e")
    monkeypatch.setattr(intents, "LEASE_MS", 600_000)
    return CASES[request.param]


async def contents(redis: Any, left_out: Sequence[str] = ()) -> dict[str, Any]:
    """Return what Redis holds, without times, scores and ids that are made of times."""
    found: dict[str, Any] = {}
    for key in sorted(await redis.keys()):
        match await redis.type(key):
            case b"string":
                value = await redis.get(key)
            case b"list":
                value = await redis.lrange(key, 0, -1)
            case b"hash":
                value = sorted((await redis.hgetall(key)).items())
            case b"set":
                value = await redis.smembers(key)
            case b"zset":
                value = await redis.zrange(key, 0, -1)
            case _:
                value = [fields for _, fields in await redis.xrange(key)]
        text = re.sub(r"\d\d\d\d-\d\d-\d\dT[\d:.]+", "time", repr(value))
        if key.decode() not in left_out:
            found[key.decode()] = re.sub(r"\d{10,}(\.\d+)?(-\d+)?", "time", text)
    return found


async def test_key_of_another_type_costs_nothing_once_mended(case: Case, redis: Any, conf: RealtimeConf) -> None:
    act = await case.prepare(redis, conf)
    before = await redis.keys()
    await act()
    wanted = await contents(redis)
    for key in sorted({*before, *await redis.keys()}):
        await redis.flushall()
        act = await case.prepare(redis, conf)
        own = await redis.dump(key)
        is_string = await redis.type(key) == b"string"
        await redis.delete(key)
        await redis.execute_command("RPUSH" if is_string else "SET", key, "of another type")
        try:
            await act()
        except RealtimeError:
            await redis.delete(key)
            if own:
                await redis.restore(key, 0, own)
            await act()
            assert await contents(redis) == wanted, f"after {key.decode()} was mended"


async def test_stop_before_any_write_costs_nothing(
    case: Case, redis: Any, conf: RealtimeConf, monkeypatch: pytest.MonkeyPatch
) -> None:
    await (await case.prepare(redis, conf))()
    wanted = await contents(redis, case.left_out)
    for writes in range(1_000):
        await redis.flushall()
        act = await case.prepare(redis, conf)
        with monkeypatch.context() as patch:
            patch.setattr(Script, "run_all", stopping_after(writes))
            try:
                await act()
            except Exception as error:
                [refused] = re.findall(r"refused: (\w+ [^ ,]+)", str(error))
            else:
                return
        await act()
        if refused not in case.marks:
            assert await contents(redis, case.left_out) == wanted, f"after {writes} writes, at {refused}"


async def test_intent_that_was_not_noted_is_new_again(redis: Any) -> None:
    some = Intents(redis, TOPIC, 60)
    await redis.set(some._due, "of another type")
    with pytest.raises(RealtimeError):
        await some.note("i", b"content")
    assert await redis.hlen(some._intents) == 0
    await redis.delete(some._due)
    assert await some.note("i", b"content") is Noted.NEW


async def test_lease_that_was_taken_half_has_a_new_token(redis: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    one, two = (Lease(redis, TOPIC, 600, name) for name in ("one", "two"))
    token = await one.take()
    await one.give_back()
    with monkeypatch.context() as patch:
        patch.setattr(Script, "run_all", stopping_after(1))
        with pytest.raises((ResponseError, RealtimeError), match="refused"):
            await two.take()
    assert await two.take() > token


async def test_excess_connection_is_ended_though_the_first_reply_was_lost(redis: Any, conf: RealtimeConf) -> None:
    ended: list[str] = []

    async def end(connection_ids: list[str]) -> None:
        if not ended:
            ended.append("nothing")
            raise RedisUnavailable("the request was not stored")
        ended.extend(connection_ids)

    presence = Presence(redis, "node", replace(conf, connections_per_user=1), on_excess=end)
    presence.opened(7, "phone")
    presence.opened(7, "laptop")
    with pytest.raises(RedisUnavailable):
        await presence._flush()
    await presence._flush()
    assert "phone" in ended


def stopping_after(writes: int) -> Any:
    """Return a `Script.run_all` that stops each script after so many writes."""

    async def run_all(self: Script, client: Redis, calls: Sequence[Any]) -> list[Any]:
        head, _, body = self._source.partition("\n")
        source = f"{head}\nlocal WRITES_LEFT = {writes}\n{WRITES}{body}"
        answers = []
        for keys, args in calls:
            answer: Any = client.eval(source, len(keys), *keys, *args)
            answers.append(await answer)
        return answers

    return run_all
