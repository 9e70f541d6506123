"""Check a connection's outbox: ordered, bounded and never blocking."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
from prometheus_client import REGISTRY

from realtime.connection.asgi_outbox import AsgiOutbox
from realtime.connection.extension import Flow
from realtime.connection.frames_outbox import FramesOutbox
from realtime.connection.outbox import Outbox
from realtime.hub.batch import Batch
from tests.support.waiting import LIMIT


class Socket:
    """An ASGI `send` that a test can block."""

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


async def test_frame_is_sent_at_once() -> None:
    socket = Socket()
    write(AsgiOutbox(socket.send, 100), "a")
    assert socket.sent == ["a"]


async def test_frames_for_a_slow_reader_wait_in_order() -> None:
    socket = Socket()
    outbox = AsgiOutbox(socket.send, 100)
    socket.open.clear()
    for text in "abc":
        write(outbox, text)
    write(outbox, "d", "e")
    assert socket.sent == []
    socket.open.set()
    async with asyncio.timeout(LIMIT):
        while len(socket.sent) < 5:
            await asyncio.sleep(0)
    assert socket.sent == list("abcde")
    assert (outbox.frames, outbox.size) == (5, 5)


async def test_overflow_closes_with_4502_and_drops_waiting_frames() -> None:
    socket = Socket()
    outbox = AsgiOutbox(socket.send, 10)
    socket.open.clear()
    for text in ("first", "second", "third"):
        write(outbox, text)
    assert outbox.closing == 4502
    write(outbox, "after")
    socket.open.set()
    async with asyncio.timeout(LIMIT):
        while len(socket.sent) < 2:
            await asyncio.sleep(0)
    assert socket.sent == ["first", 4502]


async def test_held_frames_follow_the_released_reply() -> None:
    socket = Socket()
    outbox = AsgiOutbox(socket.send, 100)
    outbox.hold()
    write(outbox, "live 1", "live 2")
    assert socket.sent == []
    outbox.release(batch("first", "second"))
    assert socket.sent == ["first", "second", "live 1", "live 2"]


async def test_close_follows_written_frames_and_keeps_first_code() -> None:
    socket = Socket()
    outbox = AsgiOutbox(socket.send, 100)
    write(outbox, "last words")
    outbox.close(4401)
    outbox.close(4500)
    write(outbox, "too late")
    assert socket.sent == ["last words", 4401]
    assert outbox.closing == 4401


async def test_broken_socket_drops_waiting_frames() -> None:
    socket = Socket()
    outbox = AsgiOutbox(socket.send, 100)
    socket.broken = True
    write(outbox, "a")
    write(outbox, "b")
    assert socket.sent == []
    assert outbox.closing == 1006


async def test_held_frames_follow_the_answer_and_its_tail() -> None:
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


async def test_tail_does_not_count_as_overflow() -> None:
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
    async with asyncio.timeout(LIMIT):
        while len(socket.sent) < 2:
            await asyncio.sleep(0)
    assert socket.sent == ["answer", 4502]


async def test_held_frames_count_as_overflow_and_can_be_dropped() -> None:
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


async def test_closing_releases_held_frames() -> None:
    socket = Socket()
    outbox = AsgiOutbox(socket.send, 100)
    outbox.hold()
    write(outbox, "last words")
    outbox.close(4403)
    outbox.release(batch("answer"))
    assert socket.sent == ["last words", 4403]


class Transport:
    """A server's `chatws.frames` whose socket can be full, or accept only part of a frame."""

    flow: Flow | None = None

    def __init__(self, *, is_direct: bool = False, room: int = 1_000_000) -> None:
        self.sent: list[bytes | int] = []
        self.is_direct = is_direct
        self.room = room

    def direct(self) -> Callable[[bytes], int] | None:
        return self.send if self.is_direct else None

    def send(self, wire: bytes) -> int:
        if not self.room:
            raise BlockingIOError
        taken = wire[: self.room]
        self.sent.append(taken)
        self.room -= len(taken)
        return len(taken)

    def write_rest(self, wire: bytes) -> None:
        self.sent.append(b"rest:" + wire)
        self.fill()

    def write(self, wire: bytes) -> None:
        self.sent.append(wire)

    def backlog(self) -> int:
        return 0

    def close(self, code: int) -> None:
        self.sent.append(code)

    def fill(self) -> None:
        assert self.flow is not None
        self.flow.pause_writing()

    def drain(self) -> None:
        assert self.flow is not None
        self.flow.resume_writing()


def test_ready_frames_are_one_write_with_headers() -> None:
    transport = Transport()
    FramesOutbox(transport, 1_000_000).write(Batch([b"a", b"b" * 126, b"c" * 65_536]))
    wire = b"\x81\x01a" + b"\x81\x7e\x00\x7e" + b"b" * 126 + b"\x81\x7f" + (65_536).to_bytes(8) + b"c" * 65_536
    assert transport.sent == [wire]


def test_frames_wait_while_the_socket_is_full() -> None:
    transport = Transport()
    outbox = FramesOutbox(transport, 100)
    transport.fill()
    write(outbox, "a")
    write(outbox, "b")
    outbox.close(4403)
    assert transport.sent == []
    transport.drain()
    assert transport.sent == [b"\x81\x01a", b"\x81\x01b", 4403]
    assert (outbox.frames, outbox.size) == (2, 2)


@pytest.mark.parametrize(
    ("room", "sent"), [(3, [b"\x81\x01a", b"rest:\x81\x01b"]), (4, [b"\x81\x01a", b"\x81", b"rest:\x01b"])]
)
def test_partially_written_frame_precedes_all_others(room: int, sent: list[bytes]) -> None:
    transport = Transport(is_direct=True)
    outbox = FramesOutbox(transport, 100)
    write(outbox, "first")  # from now on directly to the socket
    transport.sent.clear()
    transport.room = room
    write(outbox, "a")
    write(outbox, "b")
    write(outbox, "c")
    assert transport.sent == sent
    transport.room = 100
    transport.drain()
    write(outbox, "d")
    assert transport.sent == [*sent, b"\x81\x01c", b"\x81\x01d"]
    assert outbox.frames == 5


@pytest.mark.parametrize("is_direct", [False, True])
def test_no_frame_overtakes_held_frames_or_a_close(is_direct: bool) -> None:
    transport = Transport(is_direct=is_direct)
    outbox = FramesOutbox(transport, 100)
    write(outbox, "1")
    outbox.hold()
    write(outbox, "3")
    outbox.release(batch("2"))
    write(outbox, "4")
    outbox.close(4403)
    write(outbox, "5")
    assert transport.sent == [b"\x81\x011", b"\x81\x012", b"\x81\x013", b"\x81\x014", 4403]


def test_nothing_bypasses_a_closing_server() -> None:
    transport = Transport(is_direct=True)
    outbox = FramesOutbox(transport, 100)
    write(outbox, "1")
    transport.is_direct = False
    outbox.stop_sending()
    transport.room = 0
    write(outbox, "2")
    assert transport.sent == [b"\x81\x011", b"\x81\x012"]  # the second by `write`, which may drop it


def test_overflow_closes_a_full_socket_at_once() -> None:
    transport = Transport()
    outbox = FramesOutbox(transport, 10)
    transport.fill()
    write(outbox, "12345678")
    write(outbox, "12345678")
    assert transport.sent == [4502]
    outbox.discard()
    assert transport.flow is None


def dropped(what: str) -> float:
    return REGISTRY.get_sample_value("chatws_outbox_dropped_total", {"what": what}) or 0.0


def test_dropped_frames_are_counted() -> None:
    before = dropped("ephemeral"), dropped("overflow")
    transport = Transport()
    outbox = FramesOutbox(transport, 10)
    transport.fill()
    outbox.write(Batch([b"a", b"b"], ephemeral=True))
    write(outbox, "1234567")
    outbox.write(Batch([b"late"], ephemeral=True))
    assert (dropped("ephemeral"), dropped("overflow")) == (before[0] + 3, before[1])
    write(outbox, "12345678")
    assert (dropped("ephemeral"), dropped("overflow")) == (before[0] + 3, before[1] + 1)


@pytest.mark.parametrize("held", [False, True])
def test_ephemeral_frames_are_dropped_past_half_full(held: bool) -> None:
    transport = Transport()
    outbox = FramesOutbox(transport, 10)
    if held:
        outbox.hold()
    else:
        transport.fill()
    write(outbox, "1")
    outbox.write(Batch([b"typing"[:3]], ephemeral=True))
    write(outbox, "2")  # at half
    outbox.write(Batch([b"late"], ephemeral=True))
    write(outbox, "34567")
    write(outbox, "89")
    assert outbox.closing is None
    if held:
        outbox.release()
    else:
        transport.drain()
    assert b"".join(part for part in transport.sent if isinstance(part, bytes)) == (
        b"\x81\x011\x81\x012\x81\x0534567\x81\x0289"
    )


async def test_batch_with_a_blocked_first_frame_stays_in_order() -> None:
    socket = Socket()
    outbox = AsgiOutbox(socket.send, 100)
    socket.open.clear()
    write(outbox, "a", "b", "c")
    write(outbox, "d")
    assert socket.sent == []
    socket.open.set()
    async with asyncio.timeout(LIMIT):
        while len(socket.sent) < 4:
            await asyncio.sleep(0)
    assert socket.sent == list("abcd")


async def test_any_error_of_send_discards_the_outbox() -> None:
    """autobahn and uvicorn raise RuntimeError for a connection whose close has begun."""

    async def send(message: dict[str, Any]) -> None:
        raise RuntimeError("closed")

    outbox = AsgiOutbox(send, 100)
    write(outbox, "a")
    assert outbox.closing == 1006
    write(outbox, "b")


async def test_close_during_a_hold_sends_notices_and_no_publications() -> None:
    socket = Socket()
    outbox = AsgiOutbox(socket.send, 1_000)
    with outbox.holding() as reply:
        outbox.write(Batch([b"live"], live=True))
        outbox.write(Batch([b"typing"], ephemeral=True))
        write(outbox, "shutdown")
        outbox.close(4501)
        reply.first = batch("answer")
    assert socket.sent == ["shutdown", 4501]


async def test_failed_hold_releases_or_drops_what_was_held() -> None:
    for drop, sent in ((False, ["live"]), (True, [])):
        socket = Socket()
        outbox = AsgiOutbox(socket.send, 1_000)
        with suppress(ValueError), outbox.holding(drop_on_error=drop):
            outbox.write(Batch([b"live"], live=True))
            raise ValueError
        assert socket.sent == sent
