"""The simulated chat service publishes its events in order and at least once."""

from collections.abc import Callable
from typing import Any

import hiredis
import msgspec

from realtime.relay.watermill import parse
from tests.simulation.forking import forked
from tests.simulation.network import Link
from tests.simulation.test_chat_service import World, world


class Streams:
    """A Redis that knows XADD. ``loses``: entries that it takes without an answer; ``refuses``: that it refuses."""

    def __init__(self, here: World) -> None:
        self.entries: list[tuple[str, dict[bytes, bytes]]] = []
        self.loses = self.refuses = 0
        here.network.listen("redis", 6379, self._accept)

    def _accept(self, link: Link, source: str) -> "_Reader":
        return _Reader(link, self.answer)

    def answer(self, command: list[bytes]) -> bytes | None:
        if command[0] != b"XADD":
            return b"+OK\r\n"
        if self.refuses:
            self.refuses -= 1
            return b"-MISCONF Redis is configured to save RDB snapshots\r\n"
        self.entries.append((command[1].decode(), dict(zip(command[3::2], command[4::2], strict=True))))
        if self.loses:
            self.loses -= 1
            return None
        return b"$3\r\n1-1\r\n"


class _Reader:
    def __init__(self, link: Link, answer: Callable[[list[bytes]], bytes | None]) -> None:
        self.link = link
        self._answer = answer
        self._reader = hiredis.Reader()

    def received(self, data: bytes) -> None:
        self._reader.feed(data)
        while (command := self._reader.gets()) is not False:
            answer = self._answer(command)
            if answer is None:
                self.link.reset()
                return
            self.link.back.send(answer, len(answer))

    def lost(self, error: Exception | None) -> None:
        return


def payloads(streams: Streams) -> list[dict[str, Any]]:
    return [msgspec.json.decode(parse("1-1", fields).payload) for _, fields in streams.entries]


@forked
def test_events_are_published_in_order_at_least_once() -> None:
    with world() as here:
        streams = Streams(here)
        streams.refuses, streams.loses = 3, 1
        here.service.publisher.start()
        group_id = here.service.create(1, 2)
        here.run(here.save(group_id, "m1"))
        here.service.remove(group_id, 2)
        here.service.notify(1)
        here.service.verify(1, 9, 2)
        here.scheduler.run(120)
        topics = [topic for topic, _ in streams.entries]
        assert topics == [
            "chat.group.member.added", "chat.group.member.added", "chat.group.member.added", "chat.message.new",
            "chat.group.member.removed", "notification:push", "verify:progress",
        ]  # fmt: skip
        assert streams.entries[0] == streams.entries[1]
        assert payloads(streams)[3]["message_id"] == "m1"


@forked
def test_killed_publisher_goes_on_where_it_was() -> None:
    with world() as here:
        streams = Streams(here)
        here.service.publisher.start()
        first = here.service.create(1)
        here.scheduler.run(5)
        here.service.publisher.kill()
        second = here.service.create(1)
        here.scheduler.run(10)
        assert [one["group_id"] for one in payloads(streams)] == [first]
        here.service.publisher.start()
        here.scheduler.run(20)
        assert [one["group_id"] for one in payloads(streams)] == [first, second]


@forked
def test_platform_leaves_messages_to_the_gateway() -> None:
    with world(platform=True) as here:
        streams = Streams(here)
        here.service.publisher.start()
        group_id = here.service.create(1, 2)

        async def work() -> list[Any]:
            return [await here.save(group_id, "m"), await here.save(group_id, "m")]

        assert here.run(work()) == ["m", 503]
        topics = [topic for topic, _ in streams.entries]
        assert topics == ["notification:push", "chat.group.member.added", "notification:push"]
        assert parse("1-1", streams.entries[1][1]).metadata["topic"] == "chat.group.member.added"
        streams.refuses, here.service.publisher.forgets = 1, True
        here.service.remove(group_id, 2)
        here.scheduler.run(120)
        assert len(streams.entries) == 4
        assert here.service.publisher.forgotten == 1
