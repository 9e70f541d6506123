"""One connection's way out: in order, bounded, and never waiting."""

import asyncio
from typing import Any

from realtime.batch import Batch
from realtime.outbox import AsgiOutbox, Outbox


class Socket:
    """An ASGI `send` that can be made to push back."""

    def __init__(self) -> None:
        self.sent: list[Any] = []
        self.open = asyncio.Event()
        self.open.set()
        self.broken = False

    async def send(self, message: dict[str, Any]) -> None:
        if not self.open.is_set():
            await self.open.wait()
        if self.broken:
            raise OSError("gone")
        self.sent.append(message.get("text", message.get("code")))


def batch(*texts: str) -> Batch:
    return Batch([text.encode() for text in texts])


def write(outbox: Outbox, *texts: str) -> None:
    outbox.write(batch(*texts))


async def test_a_frame_is_sent_at_once() -> None:
    socket = Socket()
    write(AsgiOutbox(socket.send, 100), "a")
    assert socket.sent == ["a"]


async def test_what_a_slow_reader_does_not_take_waits_in_order() -> None:
    socket = Socket()
    outbox = AsgiOutbox(socket.send, 100)
    socket.open.clear()
    for text in "abc":
        write(outbox, text)
    write(outbox, "d", "e")
    assert socket.sent == []
    socket.open.set()
    async with asyncio.timeout(5):
        while len(socket.sent) < 5:
            await asyncio.sleep(0)
    assert socket.sent == list("abcde")
    assert (outbox.frames, outbox.size) == (5, 5)


async def test_overflow_closes_with_4502_and_drops_what_waited() -> None:
    socket = Socket()
    outbox = AsgiOutbox(socket.send, 10)
    socket.open.clear()
    for text in ("first", "second", "third"):
        write(outbox, text)
    assert outbox.closing == 4502
    write(outbox, "after")
    socket.open.set()
    async with asyncio.timeout(5):
        while len(socket.sent) < 2:
            await asyncio.sleep(0)
    assert socket.sent == ["first", 4502]


async def test_what_is_written_while_held_follows_what_goes_first() -> None:
    socket = Socket()
    outbox = AsgiOutbox(socket.send, 100)
    outbox.hold()
    write(outbox, "live 1", "live 2")
    assert socket.sent == []
    outbox.release(batch("first", "second"))
    assert socket.sent == ["first", "second", "live 1", "live 2"]


async def test_closing_comes_after_what_was_written_and_the_first_code_stays() -> None:
    socket = Socket()
    outbox = AsgiOutbox(socket.send, 100)
    write(outbox, "last words")
    outbox.close(4401)
    outbox.close(4500)
    write(outbox, "too late")
    assert socket.sent == ["last words", 4401]
    assert outbox.closing == 4401


async def test_a_socket_that_is_gone_forgets_what_waits() -> None:
    socket = Socket()
    outbox = AsgiOutbox(socket.send, 100)
    socket.broken = True
    write(outbox, "a")
    write(outbox, "b")
    assert socket.sent == []
    assert outbox.closing == 1006


async def test_what_is_held_goes_out_behind_the_answer_and_its_tail() -> None:
    socket = Socket()
    outbox = AsgiOutbox(socket.send, 100)
    write(outbox, "before")
    outbox.hold()
    write(outbox, "live 1")
    write(outbox, "live 2")
    assert socket.sent == ["before"]
    outbox.release(batch("answer"), [b"tail 1", b"tail 2"])
    assert socket.sent == ["before", "answer", "tail 1", "tail 2", "live 1", "live 2"]
    write(outbox, "after")
    assert socket.sent[-1] == "after"
    assert outbox.tail_size == 0


async def test_a_tail_is_taken_as_the_socket_drains_and_does_not_count_as_overflow() -> None:
    socket = Socket()
    outbox = AsgiOutbox(socket.send, 10)
    socket.open.clear()
    outbox.release(batch("answer"), [b"t" * 50] * 3)
    write(outbox, "live")
    assert outbox.tail_size == 150, "overflow would have dropped it"
    write(outbox, "too much")
    assert outbox.closing == 4502
    assert outbox.tail_size == 0
    socket.open.set()
    async with asyncio.timeout(5):
        while len(socket.sent) < 2:
            await asyncio.sleep(0)
    assert socket.sent == ["answer", 4502]


async def test_what_is_held_counts_as_overflow_and_can_be_dropped() -> None:
    socket = Socket()
    outbox = AsgiOutbox(socket.send, 10)
    outbox.hold()
    write(outbox, "12345678")
    outbox.drop_held()
    outbox.hold()
    write(outbox, "12345678")
    outbox.release(batch("answer"))
    assert socket.sent == ["answer", "12345678"]
    outbox.hold()
    write(outbox, "12345678")
    write(outbox, "12345678")
    assert socket.sent == ["answer", "12345678", 4502]


async def test_closing_lets_out_what_was_held() -> None:
    socket = Socket()
    outbox = AsgiOutbox(socket.send, 100)
    outbox.hold()
    write(outbox, "last words")
    outbox.close(4403)
    outbox.release(batch("answer"))
    assert socket.sent == ["last words", 4403]
