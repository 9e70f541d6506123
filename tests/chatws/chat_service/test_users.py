"""Check user names: fetched together, cached where the platform caches them, with a short wait."""

import asyncio
from collections.abc import AsyncIterator, Collection, Sequence
from typing import Any

import grpc
import pytest

from chatws.chat_service.grpc_users import GrpcUsers
from chatws.chat_service.pb import user_pb2 as pb
from chatws.chat_service.pb.user_pb2_grpc import UserBasicServiceServicer, add_UserBasicServiceServicer_to_server
from chatws.chat_service.port import User, UserServiceError
from chatws.chat_service.users import LOOKUP_SECONDS, UNNAMED, Name, Names
from chatws.conf import ChatConf
from realtime.redis.client import connect
from tests.support.redis import free_port
from tests.support.waiting import LIMIT, until_answer

PEOPLE = {11: Name("Ada", "https://img.example/ada.png"), 12: Name("Bo", "")}


class People:
    """A user service that knows `PEOPLE` and answers when the test allows it."""

    def __init__(self) -> None:
        self.asked: list[set[int]] = []
        self.answers = asyncio.Event()
        self.answers.set()
        self.failure: Exception | None = None

    async def users(self, user_ids: Collection[int]) -> Sequence[User]:
        self.asked.append(set(user_ids))
        await self.answers.wait()
        if self.failure is not None:
            raise self.failure
        return [
            User(user_id, PEOPLE[user_id].name, PEOPLE[user_id].avatar) for user_id in user_ids if user_id in PEOPLE
        ]

    @property
    def instances(self) -> Sequence[str]:
        return ()

    async def state(self) -> str:
        return "ok"

    async def close(self) -> None: ...


@pytest.fixture
def people() -> People:
    return People()


@pytest.fixture
async def names(redis: Any, people: People, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Names]:
    monkeypatch.setattr("chatws.chat_service.users.LOOKUP_SECONDS", LIMIT)
    names = Names(redis, people)
    yield names
    await names.close()


async def test_one_call_fetches_many_names_and_caches_them(redis: Any, names: Names, people: People) -> None:
    assert await names.of([11, 12, 11]) == PEOPLE
    assert people.asked == [{11, 12}]
    assert await redis.hgetall("chat:user:info:11") == {b"name": b"Ada", b"avatar": b"https://img.example/ada.png"}
    assert await redis.hgetall("chat:user:info:12") == {b"name": b"Bo", b"avatar": b""}
    assert 290 < await redis.ttl("chat:user:info:11") <= 300
    assert await names.of([12, 11]) == PEOPLE
    assert len(people.asked) == 1


async def test_name_cached_by_another_service_is_not_fetched(redis: Any, names: Names, people: People) -> None:
    await redis.hset("chat:user:info:7", mapping={"name": "Cy", "avatar": ""})
    assert await names.of([7, 11]) == {7: Name("Cy", ""), 11: PEOPLE[11]}
    assert people.asked == [{11}]


async def test_concurrent_lookups_share_one_call(names: Names, people: People) -> None:
    people.answers.clear()
    first = asyncio.create_task(names.of([11]))
    await until_answer(lambda: asyncio.sleep(0, people.asked), lambda asked: asked == [{11}], "a call")
    both = asyncio.create_task(names.of([11, 12]))
    await until_answer(lambda: asyncio.sleep(0, people.asked), lambda asked: asked == [{11}, {12}], "another")
    people.answers.set()
    assert (await first, await both) == ({11: PEOPLE[11]}, PEOPLE)


async def test_late_answer_is_cached_for_the_next_lookup(
    redis: Any, people: People, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert LOOKUP_SECONDS == 0.2
    names = Names(redis, people)
    people.answers.clear()
    assert await names.of([11]) == {11: UNNAMED}
    assert await names.of([11]) == {11: UNNAMED}
    assert people.asked == [{11}]
    people.answers.set()
    assert await until_answer(lambda: redis.hget("chat:user:info:11", "name"), what="the late answer") == b"Ada"
    monkeypatch.setattr("chatws.chat_service.users.LOOKUP_SECONDS", LIMIT)
    assert await names.of([11]) == {11: PEOPLE[11]}
    assert people.asked == [{11}]
    await names.close()


async def test_failing_service_is_not_called_during_the_pause(
    names: Names, people: People, monkeypatch: pytest.MonkeyPatch
) -> None:
    people.failure = UserServiceError("away")
    assert await names.of([11]) == {11: UNNAMED}
    assert await names.of([12]) == {12: UNNAMED}
    assert people.asked == [{11}], "within the pause nobody is asked for"
    people.failure = None
    names._call_at = 0.0  # the pause is over
    assert await names.of([12]) == {12: PEOPLE[12]}


async def test_lookup_error_costs_only_the_name(redis: Any, names: Names, people: People) -> None:
    people.failure = ValueError("an id that is too long")
    assert await names.of([11]) == {11: UNNAMED}
    people.failure = None
    await redis.rpush("chat:user:info:11", "of another type")
    assert await names.of([11, 12]) == PEOPLE
    assert await redis.type("chat:user:info:11") == b"list"


async def test_unknown_user_is_fetched_once(names: Names, people: People) -> None:
    for _ in range(2):
        assert await names.of([99]) == {99: UNNAMED}
    assert people.asked == [{99}]


async def test_names_are_fetched_without_redis(people: People, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chatws.chat_service.users.LOOKUP_SECONDS", LIMIT)
    away = connect(f"redis://127.0.0.1:{free_port()}/0")
    assert await Names(away, people).of([11]) == {11: PEOPLE[11]}
    await away.aclose()


async def test_no_user_service_means_no_names(redis: Any) -> None:
    assert await Names(redis).of([11]) == {}
    assert not Names(redis).has_service


class Service(UserBasicServiceServicer):
    async def GetGroupUser(  # noqa: N802
        self, request: pb.GetGroupUserReq, context: Any
    ) -> pb.GetGroupUserResponse:
        if 13 in request.ids:
            await context.abort(grpc.StatusCode.UNKNOWN, "no such thing")
        users = [pb.GroupUserInfo(id=i, nickname=PEOPLE[i].name, avatar_url=PEOPLE[i].avatar) for i in request.ids]
        return pb.GetGroupUserResponse(users=users)


async def test_grpc_users_follow_the_service_contract() -> None:
    server = grpc.aio.server()
    port = server.add_insecure_port("127.0.0.1:0")
    add_UserBasicServiceServicer_to_server(Service(), server)
    await server.start()
    users = GrpcUsers(ChatConf(rpc_target="127.0.0.1:1", user_rpc_target=f"127.0.0.1:{port}", rpc_seconds=LIMIT))
    found = await users.users([11, 12, 2**64 - 1])
    assert {user.user_id: Name(user.name, user.avatar) for user in found} == PEOPLE
    assert await users.state() == "ok"
    with pytest.raises(UserServiceError, match=f"127.0.0.1:{port}: UNKNOWN: no such thing"):
        await users.users([13])
    await users.close()
    await server.stop(None)
