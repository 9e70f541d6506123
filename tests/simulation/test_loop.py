"""The world's loop, network and processes behave as real ones do, and the same seed gives the same run."""

import asyncio
import time
from typing import Any

import pytest

from tests.simulation.network import Link, Network
from tests.simulation.process import Process
from tests.simulation.scheduler import Scheduler
from tests.simulation.seams import LeftTheWorld, installed


class Machine:
    """A world of one process and its network."""

    def __init__(self, seed: int = 1, *, shuffled: bool = False) -> None:
        self.scheduler = Scheduler(seed)
        self.network = Network(self.scheduler)
        self.process = Process(self.scheduler, self.network, "a", shuffled=shuffled)

    def run(self, work: Any, seconds: float = 60.0) -> Any:
        with installed(self.scheduler):
            task = self.process.start(work, "work")
            self.scheduler.run(self.scheduler.now + seconds)
            return task.result()


class Echo:
    """Sends back what it receives; says how the link ended."""

    def __init__(self, link: Link) -> None:
        self.link = link
        self.ended: list[Exception | None] = []

    def received(self, data: bytes) -> None:
        self.link.back.send(data, len(data))

    def lost(self, error: Exception | None) -> None:
        self.ended.append(error)


def listening(machine: Machine) -> list[Echo]:
    echoes: list[Echo] = []

    def accept(link: Link, source: str) -> Echo:
        echoes.append(Echo(link))
        return echoes[-1]

    machine.network.listen("echo", 7, accept)
    return echoes


def test_time_jumps_to_the_next_timer() -> None:
    machine = Machine()

    async def work() -> list[float]:
        began, wall = time.monotonic(), time.time()
        await asyncio.sleep(3600)
        return [time.monotonic() - began, time.time() - wall, asyncio.get_running_loop().time()]

    assert machine.run(work(), 4000) == [3600, 3600, 3600]


def test_streams_carry_bytes_in_order_in_any_parts() -> None:
    machine = Machine()
    machine.network.weather.split_share = 1.0
    listening(machine)
    sent = bytes(range(256)) * 40

    async def work() -> bytes:
        reader, writer = await asyncio.open_connection("echo", 7)
        for start in range(0, len(sent), 100):
            writer.write(sent[start : start + 100])
        answer = await reader.readexactly(len(sent))
        writer.close()
        await writer.wait_closed()
        return answer

    assert machine.run(work()) == sent


@pytest.mark.parametrize(("end", "expected"), [("reset", ConnectionResetError), ("close", asyncio.IncompleteReadError)])
def test_reader_learns_of_the_end(end: str, expected: type[Exception]) -> None:
    machine = Machine()
    echoes = listening(machine)

    async def work() -> type[BaseException]:
        reader, writer = await asyncio.open_connection("echo", 7)
        link = echoes[0].link
        link.reset() if end == "reset" else link.close_from(link.back)
        with pytest.raises((OSError, EOFError)) as ended:
            await reader.readexactly(1)
        writer.close()
        return ended.type

    assert machine.run(work()) is expected


def test_silent_and_stalled_links() -> None:
    machine = Machine()
    echoes = listening(machine)

    async def work() -> list[Any]:
        reader, writer = await asyncio.open_connection("echo", 7)
        echoes[0].link.stall()
        writer.write(b"late")
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(5):
                await reader.readexactly(1)
        echoes[0].link.go_on()
        late = await reader.readexactly(4)
        echoes[0].link.cut_silently()
        writer.write(b"never")
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(5):
                await reader.readexactly(1)
        writer.close()
        return [late, echoes[0].ended]

    assert machine.run(work()) == [b"late", []]


def test_nobody_listens() -> None:
    async def work() -> None:
        with pytest.raises(ConnectionRefusedError, match="nowhere:1"):
            await asyncio.open_connection("nowhere", 1)

    Machine().run(work())


def test_killed_process_does_nothing_more_and_its_peers_learn_of_it() -> None:
    machine = Machine()
    echoes = listening(machine)
    done: list[str] = []
    streams: list[Any] = []

    async def work() -> None:
        streams.extend(await asyncio.open_connection("echo", 7))
        done.append("connected")
        try:
            await asyncio.sleep(10)
        finally:
            done.append("never")

    with installed(machine.scheduler):
        machine.process.start(work(), "work")
        machine.scheduler.run(5)
        machine.process.kill()
        machine.scheduler.run(60)
        assert done == ["connected"]
        assert [type(error) for error in echoes[0].ended] == [ConnectionResetError]
        streams[1].close()


def test_paused_process_goes_on_where_it_was() -> None:
    machine = Machine()
    seen: list[float] = []

    async def work() -> None:
        for _ in range(3):
            await asyncio.sleep(1)
            seen.append(time.monotonic())

    with installed(machine.scheduler):
        machine.process.start(work(), "work")
        machine.scheduler.run(1.5)
        machine.process.pause()
        machine.scheduler.run(10)
        machine.process.go_on()
        machine.scheduler.run(20)
    assert seen == [1, 10, 11]


def test_world_refuses_threads_and_real_sleep() -> None:
    async def work() -> None:
        with pytest.raises(LeftTheWorld):
            time.sleep(1)  # noqa: ASYNC251
        with pytest.raises(LeftTheWorld):
            await asyncio.to_thread(print)

    Machine().run(work())


@pytest.mark.parametrize("shuffled", [False, True])
def test_callbacks_of_one_task_keep_their_order(shuffled: bool) -> None:
    def order(seed: int) -> list[str]:
        machine = Machine(seed, shuffled=shuffled)
        seen: list[str] = []

        async def steps(name: str) -> None:
            for number in range(3):
                seen.append(f"{name}{number}")
                await asyncio.sleep(0)

        async def work() -> None:
            await asyncio.gather(steps("a"), steps("b"), steps("c"))

        machine.run(work())
        return seen

    seen = order(1)
    assert order(1) == seen
    for name in "abc":
        assert [one for one in seen if one[0] == name] == [f"{name}{number}" for number in range(3)]
    orders = {tuple(order(seed)) for seed in range(10)}
    assert len(orders) > 1 if shuffled else len(orders) == 1
