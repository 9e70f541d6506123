"""Check the probes of processes without a web server, beside connections that are silent, slow, large or never read."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress

import pytest

from realtime.exceptions import ListenError
from realtime.observability import dependencies, metrics, probes
from realtime.observability.probes import listening_on
from tests.support.redis import free_port
from tests.support.waiting import LIMIT, until


async def well() -> str:
    return "ok"


async def hangs() -> str:
    await asyncio.Event().wait()
    return "ok"


@pytest.fixture
async def port() -> AsyncIterator[int]:
    """Serve the probes of a process whose dependencies are well."""
    port = free_port()
    async with listening_on(f"127.0.0.1:{port}", {"redis": well}):
        yield port


async def answer_to(port: int, request: bytes) -> bytes:
    """Return what comes until the connection is closed."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request)
    async with asyncio.timeout(LIMIT):
        answer = await reader.read()
    await end(writer)
    return answer


async def end(writer: asyncio.StreamWriter) -> None:
    """Close a connection."""
    writer.transport.abort()
    with suppress(ConnectionError):
        await writer.wait_closed()


def served() -> int:
    """Return how many connections the probes have open."""
    return sum(getattr(task.get_coro(), "__qualname__", "") == "_Probes.serve" for task in asyncio.all_tasks())


@pytest.mark.parametrize(
    ("request_line", "begin", "end"),
    [
        (b"GET /health HTTP/1.1", b"HTTP/1.1 200 OK\r\n", b"\r\n\r\nOK"),
        (b"GET /health?a HTTP/1.0", b"HTTP/1.1 200 OK\r\n", b"\r\n\r\nOK"),
        (b"HEAD /health HTTP/1.1", b"HTTP/1.1 200 OK\r\n", b"Content-Length: 2\r\nConnection: close\r\n\r\n"),
        (b"GET /ready HTTP/1.1", b"HTTP/1.1 200 OK\r\n", b'{"redis": "ok"}'),
        (b"HEAD /ready HTTP/1.1", b"HTTP/1.1 200 OK\r\n", b"\r\n\r\n"),
        (b"HEAD /metrics HTTP/1.1", b"HTTP/1.1 200 OK\r\n", b"\r\n\r\n"),
        (b"GET /nothing HTTP/1.1", b"HTTP/1.1 404 ", b"not found"),
        (b"POST /health HTTP/1.1", b"HTTP/1.1 405 ", b"\r\n\r\n"),
        (b"POST /health HTTP/1.1\r\nContent-Length: 5", b"HTTP/1.1 405 ", b"\r\n\r\n"),
        (b"GET /health HTTP/1.1\r\ncontent-length:  1500000000", b"HTTP/1.1 413 ", b"\r\n\r\n"),
        (b"GET /health HTTP/1.1\r\nContent-Length: 0", b"HTTP/1.1 200 ", b"\r\n\r\nOK"),
        (b"GET /health HTTP/1.1\r\nTransfer-Encoding: chunked", b"HTTP/1.1 413 ", b"\r\n\r\n"),
        (b"GET /health HTTP/1.1\r\nX: " + b"y" * 20_000, b"HTTP/1.1 431 ", b"\r\n\r\n"),
        (b"GET health HTTP/1.1", b"HTTP/1.1 400 ", b"\r\n\r\n"),
        (b"\x16\x03\x01", b"HTTP/1.1 400 ", b"\r\n\r\n"),
    ],
)
async def test_probe_is_answered_and_closed(request_line: bytes, begin: bytes, end: bytes, port: int) -> None:
    answer = await answer_to(port, request_line + b"\r\n\r\n")
    assert answer.startswith(begin)
    assert answer.endswith(end)
    assert answer.count(b"HTTP/1.1") == 1


@pytest.mark.parametrize("first", [b"", b"GET /hea", b"GET /health HTTP/1.1\r\nX: y\r\n"])
async def test_silent_connections_keep_no_prober_out(first: bytes, port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probes, "CONNECTION_SECONDS", LIMIT)
    silent = [await asyncio.open_connection("127.0.0.1", port) for _ in range(3 * probes.MOST_CONNECTIONS)]
    for _, writer in silent:
        writer.write(first)
    assert (await answer_to(port, b"GET /health HTTP/1.1\r\n\r\n")).endswith(b"OK")
    assert await silent[0][0].read() == b"", "the oldest was dropped"
    assert served() <= probes.MOST_CONNECTIONS
    for _, writer in silent:
        await end(writer)


async def test_dripping_connection_is_dropped(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probes, "CONNECTION_SECONDS", 0.5)
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    dropped = asyncio.create_task(reader.read())
    for _ in range(1_000):
        writer.write(b"x")
        if (await asyncio.wait([dropped], timeout=0.1))[0]:
            break
    assert dropped.done()
    dropped.exception()
    await end(writer)


async def test_unread_answer_is_dropped(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probes, "CONNECTION_SECONDS", 0.5)

    async def render() -> bytes:
        return bytes(20_000_000)

    monkeypatch.setattr(metrics, "render", render)
    _, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.transport.pause_reading()  # type: ignore[attr-defined]
    writer.write(b"GET /metrics HTTP/1.1\r\n\r\n")
    await until(lambda: served() == 1, what="it is served")
    await until(lambda: served() == 0, what="it is dropped")
    await end(writer)


async def test_hanging_dependency_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dependencies, "CHECK_SECONDS", 0.1)
    port = free_port()
    async with listening_on(f"127.0.0.1:{port}", {"redis": well, "database": hangs}):
        answer = await answer_to(port, b"GET /ready HTTP/1.1\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 503 ")
    assert answer.endswith(b'{"redis": "ok", "database": "no answer within 0.1 s"}')


@pytest.mark.parametrize("address", ["9100", "localhost:", "localhost:x", ":9100", "127.0.0.1:70000", "192.0.2.1:9100"])
async def test_unusable_address_is_named(address: str) -> None:
    with pytest.raises(ListenError, match="--probes"):
        async with listening_on(address, {}):
            pass


async def test_ipv6_address_may_have_brackets() -> None:
    async with listening_on(f"[::1]:{free_port()}", {}):
        pass
