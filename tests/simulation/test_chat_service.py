"""The simulated chat service over a channel like gRPC's: faults, instances, lagging replicas."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from chatws.chat_service.grpc import GrpcChatGateway
from chatws.chat_service.port import ChatServiceError, all_user_group_ids
from chatws.conf import ChatConf
from tests.simulation.chat_service import channel
from tests.simulation.chat_service.faults import Fault
from tests.simulation.chat_service.service import ChatService
from tests.simulation.forking import forked
from tests.simulation.network import Network
from tests.simulation.process import Process
from tests.simulation.scheduler import Scheduler
from tests.simulation.seams import installed

SECONDS = 3.0


class World:
    """A chat service, and a process that calls it as a gateway does."""

    def __init__(self, *, platform: bool = False, instances: int = 2) -> None:
        self.scheduler = Scheduler(1)
        self.network = Network(self.scheduler)
        self.service = ChatService(self.scheduler, self.network, platform=platform, instances=instances)
        for instance in self.service.instances:
            instance.start()
        self.gateway = Process(self.scheduler, self.network, "gateway-1")
        self.chat = GrpcChatGateway(ChatConf(rpc_target=self.service.target, rpc_seconds=SECONDS))

    def run(self, work: Any, seconds: float = 60.0) -> Any:
        task = self.gateway.start(work, "work")
        self.scheduler.run(self.scheduler.now + seconds)
        return task.result()

    async def save(self, group_id: str, message_id: str, sender_id: int = 1) -> str | int:
        """Save a message; return its id, or the code of the error."""
        try:
            return await self.chat.save_message(
                message_id=message_id, group_id=group_id, sender_id=sender_id, msg_type=1, content="hi", image_url=""
            )
        except ChatServiceError as error:
            return error.code

    def stored(self, group_id: str) -> list[str]:
        return [message.message_id for message in self.service.stored.get(group_id, [])]


@contextmanager
def world(**options: Any) -> Iterator[World]:
    with channel.installed():
        here = World(**options)
        with installed(here.scheduler):
            yield here


@pytest.mark.parametrize(
    ("fault", "answer", "is_stored", "seconds"),
    [
        (None, "m", True, 0.0),
        (Fault.FAILS, 503, False, 0.0),
        (Fault.COMMITS_AND_FAILS, 503, True, 0.0),
        (Fault.HANGS, 503, False, SECONDS),
        (Fault.COMMITS_AND_HANGS, 503, True, SECONDS),
        (Fault.COMMITS_LATE, 503, True, SECONDS),
        (Fault.SLOW, 503, True, SECONDS),
        (Fault.OVERLOADED, 429, False, 0.0),
        (Fault.UNAVAILABLE, 503, False, 0.0),
    ],
)
@forked
def test_each_fault_has_its_effect_on_one_method(
    fault: Fault | None, answer: str | int, is_stored: bool, seconds: float
) -> None:
    with world() as here:
        group_id = here.service.create(1)
        if fault is not None:
            here.service.faults.begin(fault, "SaveMessage")

        async def work() -> list[Any]:
            loop = asyncio.get_running_loop()
            began = loop.time()
            found = await here.save(group_id, "m")
            took = loop.time() - began
            return [found, took, (await here.chat.group_info(group_id)).member_count]

        found, took, members = here.run(work())
        assert (found, members) == (answer, 1)
        assert seconds <= took < seconds + 1.5
        assert here.stored(group_id) == (["m"] if is_stored else [])


@forked
def test_share_of_calls_is_disturbed() -> None:
    with world() as here:
        group_id = here.service.create(1)
        here.service.faults.begin(Fault.FAILS, share=0.3)

        async def work() -> int:
            return sum([await here.save(group_id, f"m{number}") == 503 for number in range(200)])

        assert 30 < here.run(work()) < 90


@forked
def test_calls_of_a_killed_instance_are_served_elsewhere() -> None:
    with world() as here:
        group_id = here.service.create(1)
        here.service.instances[0].faults.begin(Fault.HANGS)
        here.scheduler.after(1.0, here.service.instances[0].kill)

        async def work() -> list[Any]:
            return await asyncio.gather(*(here.save(group_id, f"m{number}") for number in range(4)))

        assert here.run(work()) == ["m0", "m1", "m2", "m3"]
        assert sorted(here.stored(group_id)) == ["m0", "m1", "m2", "m3"]


@forked
def test_killed_instance_stores_nothing_more() -> None:
    with world(instances=1) as here:
        group_id = here.service.create(1)
        [instance] = here.service.instances
        instance.faults.begin(Fault.COMMITS_LATE, seconds=2.0)
        here.scheduler.after(1.0, instance.kill)
        assert here.run(here.save(group_id, "m")) == 503
        assert here.stored(group_id) == []


@pytest.mark.parametrize("end", ["kill", "stop"])
@forked
def test_service_without_instances_is_unavailable_until_one_starts(end: str) -> None:
    with world(instances=1) as here:
        group_id = here.service.create(1)
        [instance] = here.service.instances

        async def work() -> list[Any]:
            found: list[Any] = [await here.save(group_id, "m0"), await here.chat.state()]
            getattr(instance, end)()
            await asyncio.sleep(1)
            found += [await here.save(group_id, "m1"), await here.chat.state()]
            instance.start()
            await asyncio.sleep(10)
            return [*found, await here.save(group_id, "m2"), await here.chat.state()]

        assert here.run(work()) == [
            "m0", "ok", 503, "transient_failure (chat-1:9003)", "m2", "ok",
        ]  # fmt: skip


@forked
def test_silent_connection_is_replaced() -> None:
    with world(instances=1) as here:
        group_id = here.service.create(1)

        async def work() -> list[Any]:
            found = [await here.save(group_id, "m0")]
            [link] = here.network.of("gateway-1")
            link.cut_silently()
            found.append(await here.save(group_id, "m1"))
            await asyncio.sleep(20)
            return [*found, await here.save(group_id, "m2")]

        assert here.run(work()) == ["m0", 503, "m2"]


@forked
def test_paused_instance_serves_its_calls_later() -> None:
    with world(instances=1) as here:
        group_id = here.service.create(1)
        [instance] = here.service.instances
        instance.pause()

        async def work() -> Any:
            found = await here.save(group_id, "m")
            instance.go_on()
            return found

        assert here.run(work()) == 503
        assert here.stored(group_id) == ["m"]


@forked
def test_lagging_replica_answers_old_membership_and_stores_new_messages() -> None:
    with world() as here:
        group_id = here.service.create(1)
        here.scheduler.run(5)
        here.service.lag_seconds = 2.0
        here.service.add(group_id, 2)

        async def work() -> list[Any]:
            found: list[Any] = [await all_user_group_ids(here.chat, 2), await here.save(group_id, "m", sender_id=2)]
            await asyncio.sleep(2)
            return [*found, await all_user_group_ids(here.chat, 2)]

        assert here.run(work()) == [frozenset(), "m", frozenset({group_id})]


@forked
def test_listing_that_moves_is_read_until_it_agrees(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chatws.chat_service.port.PAGE_SIZE", 3)
    with world() as here:
        groups = [here.service.create(1) for _ in range(8)]
        here.service.rules.moves_pages = True
        listed = {here.run(_complete(here.chat)) for _ in range(10)}
        assert frozenset(groups) in listed
        here.service.rules.moves_pages = False
        here.service.after_page = lambda method, request: (
            groups.append(here.service.create(1)) if request.page == 2 and len(groups) == 8 else None
        )
        assert here.run(_complete(here.chat)) == frozenset(groups)
        assert len(groups) == 9


async def _complete(chat: GrpcChatGateway) -> frozenset[str]:
    try:
        return await all_user_group_ids(chat, 1)
    except ChatServiceError:
        return frozenset()


@forked
def test_truth_has_every_interval_of_membership() -> None:
    scheduler = Scheduler(1)
    service = ChatService(scheduler, Network(scheduler))
    group_id = service.create(1, 2)
    for moment, change in ((10, service.remove), (20, service.add)):
        scheduler.run(moment)
        change(group_id, 2)
    scheduler.run(30)
    service.disband(group_id)
    assert service.intervals(group_id) == [(1, 0, 30), (2, 0, 10), (2, 20, 30)]
    assert [service.members_at(group_id, at) for at in (5, 15, 25, 35)] == [{1, 2}, {1}, {1, 2}, set()]


@forked
def test_same_seed_gives_the_same_answers() -> None:
    def times() -> list[float]:
        with world() as here:
            group_id = here.service.create(1)

            async def work() -> list[float]:
                found = []
                for number in range(20):
                    await here.save(group_id, f"m{number}")
                    found.append(asyncio.get_running_loop().time())
                return found

            return list(here.run(work()))

    assert times() == times()
