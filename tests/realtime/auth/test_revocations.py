"""Check what a process knows of revoked tokens, by Redis's copy."""

import asyncio
import threading
from typing import Any

import pytest
from django.db import OperationalError

from realtime.aio import tasks
from realtime.auth import revocation_rows
from realtime.auth import revocations as revocations_module
from realtime.auth.principal import Principal
from realtime.auth.revocation_rows import FOREVER, Row
from realtime.auth.revocations import COPIED_AT_ONCE, Revocations, _number_of
from realtime.redis import keys
from tests.support.redis import Redis
from tests.support.waiting import LIMIT, until, until_answer

NO_LAYER: Any = None


def user_of(row: Row) -> Principal:
    return Principal(user_id=int(row.whose.partition(":")[2]), expires_at=FOREVER, issued_at=row.issued_until)


async def test_older_copy_takes_no_revocation_back(redis: Any) -> None:
    row = Row("user:7", 1_000, FOREVER)
    told: list[str] = []
    revocations = Revocations(redis, NO_LAYER, on_new=lambda: told.append("new"))
    await revocations._copy(1, [row])
    await revocations.refresh()
    assert (revocations.is_revoked(user_of(row)), told) == (True, ["new"])
    await redis.delete(keys.revoked())
    await redis.hset(keys.revoked(), mapping={"user:7": f"500 {FOREVER}"})
    await redis.set(keys.revoked_version(), "0:older")
    await revocations.refresh()
    assert (revocations.is_revoked(user_of(row)), told) == (True, ["new"])


async def test_copy_that_broke_off_has_no_number(redis: Redis) -> None:
    rows = [Row(f"user:{number}", 1_000, FOREVER) for number in range(1, 2 * COPIED_AT_ONCE)]
    revocations = Revocations(redis, NO_LAYER)
    await revocations._copy(4, [])

    with pytest.raises(TypeError):
        await revocations._copy(5, [*rows[:COPIED_AT_ONCE], None])  # type: ignore[list-item]  # it breaks off here
    assert _number_of(await redis.get(keys.revoked_version())) == 4
    await revocations._copy(5, rows)
    assert _number_of(await redis.get(keys.revoked_version())) == 5
    await revocations.refresh()
    assert all(revocations.is_revoked(user_of(row)) for row in rows)


async def test_next_revocation_is_read_without_the_others(redis: Any) -> None:
    rows = [Row(f"user:{number}", 1_000, FOREVER) for number in range(1, 5)]
    revocations = Revocations(redis, NO_LAYER)
    await revocations._copy(1, rows[:1])
    await revocations.refresh()
    for number, row in enumerate(rows[1:3], 2):
        assert await revocations._run_copy(f"{number}:v", str(number - 1), [row])
    await redis.hset(keys.revoked(), mapping={"user:9": f"1000 {FOREVER}"})  # only who reads all of them finds it
    await revocations.refresh()
    assert [revocations.is_revoked(user_of(row)) for row in rows] == [True, True, True, False]
    assert not revocations.is_revoked(Principal(user_id=9, expires_at=FOREVER, issued_at=1))
    await redis.lpop(keys.revoked_news())
    assert await revocations._run_copy("4:v", "3", rows[3:])
    assert not await revocations._run_copy("6:v", "5", rows[:1]), "one is missing"
    await redis.delete(keys.revoked_news())
    await revocations.refresh()
    assert revocations.is_revoked(user_of(rows[3]))
    assert revocations.is_revoked(Principal(user_id=9, expires_at=FOREVER, issued_at=1))


async def test_hanging_database_delays_the_start_by_seconds_only(redis: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    answered = threading.Event()
    monkeypatch.setattr(revocation_rows, "number", lambda: answered.wait(LIMIT) and 1)
    monkeypatch.setattr(revocations_module, "DATABASE_SECONDS", 0.2)
    revocations = Revocations(redis, NO_LAYER)
    await revocations._copy(1, [Row("user:7", 1_000, FOREVER)])
    running = tasks.spawn(revocations.run(), "comparing")
    await revocations.refresh()
    assert not revocations.are_known, "Redis's copy may be an old one"

    async def known() -> bool:
        await revocations.refresh()
        return revocations.are_known

    await until_answer(known, bool, "Redis's copy is enough")
    answered.set()
    await tasks.end([running])


async def test_comparing_goes_on_after_a_failure(redis: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    """It ended its thread with the first failure of another kind, and failed for ever."""
    answers: list[Any] = [RuntimeError("not the database's"), 7]

    def number() -> int:
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        if isinstance(answer, Exception):
            raise answer
        return int(answer)

    monkeypatch.setattr(revocation_rows, "number", number)
    monkeypatch.setattr(revocation_rows, "read", lambda: (7, []))
    monkeypatch.setattr(tasks, "FIRST_WAIT", 0.01)
    revocations = Revocations(redis, NO_LAYER)
    compared = asyncio.Event()
    compare = revocations.compare

    async def watched() -> None:
        await compare()
        compared.set()

    monkeypatch.setattr(revocations, "compare", watched)
    comparing = tasks.supervise(revocations.run, "comparing revocations")
    await asyncio.wait_for(compared.wait(), LIMIT)
    await tasks.end([comparing])
    revocations.close()


async def test_unavailable_database_is_logged_once(redis: Redis, monkeypatch: pytest.MonkeyPatch, caplog: Any) -> None:
    asked: list[int] = []

    def number() -> int:
        asked.append(1)
        raise OperationalError("no route")

    monkeypatch.setattr(revocation_rows, "number", number)
    monkeypatch.setattr(revocations_module, "COMPARE_SECONDS", 0.01)
    revocations = Revocations(redis, NO_LAYER)
    await revocations._copy(1, [])
    running = tasks.spawn(revocations.run(), "comparing")
    await until(lambda: len(asked) > 3, what="the database is asked again")
    await revocations.refresh()
    assert revocations.are_known
    assert caplog.text.count("can't be compared with the database now") == 1
    await tasks.end([running])


async def test_later_times_stay_in_the_copy(redis: Any) -> None:
    revocations = Revocations(redis, NO_LAYER)
    for row in (Row("jti:x", 2_000, 3_000), Row("jti:x", 1_000, FOREVER), Row("jti:x", 1_500, 2_000)):
        await revocations._copy(1, [row])
    assert await redis.hgetall(keys.revoked()) == {b"jti:x": f"2000 {FOREVER}".encode()}


async def test_expired_token_leaves_the_copy(redis: Any) -> None:
    revocations = Revocations(redis, NO_LAYER)
    await revocations._copy(1, [Row("jti:gone", 1, 1_000), Row("jti:here", 1, FOREVER)])
    await revocations.refresh()
    assert await redis.hkeys(keys.revoked()) == [b"jti:here"]
    assert not revocations.is_revoked(Principal(user_id=1, expires_at=FOREVER, jti="gone"))
    assert revocations.is_revoked(Principal(user_id=1, expires_at=FOREVER, jti="here"))


@pytest.mark.parametrize(
    ("version", "number"), [(None, -1), (b"", -1), (b"7:epoch", 7), (b"8f_-epoch", -1), (b"x:y", -1), (b"0:a:b", 0)]
)
def test_number_is_read_from_a_version(version: bytes | None, number: int) -> None:
    assert _number_of(version) == number
