"""Check unanswered calls: whether they count against the whole chat service or against one instance."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from chatws.chat_service.circuit_breaker import FAILURES
from chatws.chat_service.grpc import GrpcChatGateway
from chatws.chat_service.port import ChatServiceError
from chatws.conf import ChatConf
from tests.support.instance import Instance
from tests.support.waiting import until_answer


@pytest.fixture
async def instances() -> AsyncIterator[list[Instance]]:
    both = [await Instance(number).start() for number in range(2)]
    yield both
    for one in both:
        await one.stop()


@pytest.fixture
async def gateway(instances: list[Instance]) -> AsyncIterator[GrpcChatGateway]:
    target = ",".join(one.address for one in instances)
    gateway = GrpcChatGateway(ChatConf(rpc_target=target, rpc_seconds=1.0))
    while not all(one.asked for one in instances):  # until both are connected
        await gateway.unread_notifications(1)
    yield gateway
    await gateway.close()


async def unanswered(gateway: GrpcChatGateway, calls: int) -> list[ChatServiceError]:
    answers = await asyncio.gather(*(gateway.unread_notifications(1) for _ in range(calls)), return_exceptions=True)
    return [answer for answer in answers if isinstance(answer, ChatServiceError)]


async def test_hanging_instance_does_not_stop_calls_to_others(
    gateway: GrpcChatGateway, instances: list[Instance]
) -> None:
    instances[0].answers.clear()
    waited = await unanswered(gateway, 4 * FAILURES)
    assert len(waited) > FAILURES, "what went to the one that hangs"
    assert all(error.was_asked for error in await unanswered(gateway, 4)), "none failed at once"


async def test_calls_fail_fast_while_every_instance_hangs(gateway: GrpcChatGateway, instances: list[Instance]) -> None:
    for one in instances:
        one.answers.clear()
    assert all(error.was_asked for error in await unanswered(gateway, FAILURES))
    refused = await unanswered(gateway, 4)
    assert [error.was_asked for error in refused] == [False] * 4
    for one in instances:
        one.answers.set()
    await until_answer(lambda: unanswered(gateway, 1), lambda errors: not errors, "a call that passes")
    assert not await unanswered(gateway, 4)


async def test_call_returned_by_a_stopping_instance_is_503(gateway: GrpcChatGateway, instances: list[Instance]) -> None:
    for one in instances:
        one.takes_back = True
    assert [error.code for error in await unanswered(gateway, 1)] == [503]
