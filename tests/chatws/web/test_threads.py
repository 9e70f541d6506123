"""Check that HTTP requests share a bounded number of threads, and who has to wait for one."""

import asyncio
import os
import sys
import threading
from collections.abc import Callable
from typing import Any

import pytest
from asgiref.sync import sync_to_async

from chatws.web.threads import NICE, WAITING_PER_THREAD, Busy, Handler, Pool
from realtime.observability import metrics
from tests.support.waiting import LIMIT, until

SCOPE = {
    "type": "http", "http_version": "1.1", "method": "GET", "scheme": "http", "raw_path": b"", "query_string": b"",
    "root_path": "", "headers": [(b"host", b"localhost")], "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 2),
}  # fmt: skip


async def run(pool: Pool, work: Callable[[], Any]) -> Any:
    async with pool.lend():
        return await sync_to_async(work)()


async def serve(handler: Handler, path: str, send: Any, method: str = "GET") -> None:
    messages = [{"type": "http.request", "body": b"", "more_body": False}]

    async def receive() -> Any:
        return messages.pop() if messages else await asyncio.Event().wait()

    await handler({**SCOPE, "path": path, "method": method}, receive, send)


async def test_requests_share_the_threads() -> None:
    pool = Pool("test", 2)
    running, most, seen, lock = 0, 0, set(), threading.Lock()

    def work() -> None:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
            seen.add(threading.get_ident())
        threading.Event().wait(0.001)
        with lock:
            running -= 1

    await asyncio.gather(*(run(pool, work) for _ in range(20)))
    assert len(seen) <= 2
    assert most <= 2


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a thread has no priority of its own")
async def test_only_passwords_are_hashed_at_a_lower_priority() -> None:
    def priority() -> int:
        return os.getpriority(os.PRIO_PROCESS, threading.get_native_id())

    here = priority()
    assert await run(Pool("test", 1, nice=NICE), priority) == min(19, here + NICE)
    assert await run(Pool("test", 1), priority) == priority() == here


async def test_one_request_keeps_its_thread() -> None:
    pool = Pool("test", 2)

    async def request() -> None:
        async with pool.lend():
            assert len({await sync_to_async(threading.get_ident)() for _ in range(5)}) == 1

    await asyncio.gather(*(request() for _ in range(8)))


async def test_request_beyond_the_waiting_ones_is_refused() -> None:
    pool, release = Pool("test", 1), threading.Event()
    served = [asyncio.ensure_future(run(pool, release.wait)) for _ in range(1 + WAITING_PER_THREAD)]
    await asyncio.sleep(0)
    with pytest.raises(Busy):
        await run(pool, release.wait)
    release.set()
    assert await asyncio.gather(*served) == [True] * len(served)
    assert await run(pool, lambda: "again") == "again"


async def test_waiting_request_that_is_cancelled_takes_no_thread() -> None:
    pool, release = Pool("test", 1), threading.Event()
    first = asyncio.ensure_future(run(pool, release.wait))
    await asyncio.sleep(0)
    waiting = asyncio.ensure_future(run(pool, release.wait))
    await asyncio.sleep(0)
    waiting.cancel()
    release.set()
    await asyncio.gather(first, waiting, return_exceptions=True)
    assert await run(pool, lambda: "again") == "again"


async def test_cancelled_request_keeps_its_thread_until_its_work_ends() -> None:
    pool, release, began = Pool("test", 1), threading.Event(), threading.Event()

    def work() -> None:
        began.set()
        release.wait(LIMIT)

    request = asyncio.ensure_future(run(pool, work))
    await until(began.is_set, bool, "the work runs")
    request.cancel()
    other = asyncio.ensure_future(run(pool, release.is_set))
    await asyncio.sleep(0)
    release.set()
    assert await other, "it ran after the work"
    await asyncio.gather(request, return_exceptions=True)


@pytest.mark.filterwarnings("ignore:StreamingHttpResponse")  # Django reads a static file at once
async def test_slow_reader_keeps_no_thread() -> None:
    handler, reads = Handler(1), asyncio.Event()

    async def send_slowly(message: Any) -> None:
        await reads.wait()

    statuses = []

    async def send(message: Any) -> None:
        statuses.append(message.get("status"))

    slow = [asyncio.ensure_future(serve(handler, path, send_slowly)) for path in ("/", "/static/chatws/docs.css")]
    async with asyncio.timeout(LIMIT):
        await serve(handler, "/favicon.ico", send)
    assert statuses[0] == 302
    reads.set()
    await asyncio.gather(*slow)


async def test_slow_body_keeps_no_thread() -> None:
    handler, breaks_off, statuses = Handler(1), asyncio.Event(), []

    async def receive() -> Any:
        await breaks_off.wait()
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        statuses.append(message.get("status"))

    slow = asyncio.ensure_future(handler({**SCOPE, "path": "/api/messages", "method": "POST"}, receive, send))
    await asyncio.sleep(0)
    async with asyncio.timeout(LIMIT):
        await serve(handler, "/favicon.ico", send)
    assert statuses[0] == 302
    breaks_off.set()
    await slow
    assert len(statuses) == 2, "nobody is there for an answer"


async def test_refusal_is_503_with_retry_after(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chatws.web.threads.WAITING_PER_THREAD", 0)
    handler, reads, messages = Handler(1), asyncio.Event(), []
    refused = metrics.refusals.labels("http")._value.get()

    async def send(message: Any) -> None:
        messages.append(message)

    async with handler._requests.lend():
        await serve(handler, "/", send)
    reads.set()
    assert messages[0]["status"] == 503
    assert dict(messages[0]["headers"])[b"retry-after"] == b"2"
    assert metrics.refusals.labels("http")._value.get() == refused + 1


async def test_logins_have_threads_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chatws.web.threads.WAITING_PER_THREAD", 0)
    handler, statuses = Handler(1), []

    async def send(message: Any) -> None:
        statuses.append(message.get("status"))

    async with handler._logins.lend(), handler._logins.lend():
        await serve(handler, "/admin/login/", send, "POST")
        await serve(handler, "/favicon.ico", send)
    assert [status for status in statuses if status] == [503, 302]
