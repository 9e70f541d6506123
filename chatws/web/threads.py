"""Serve HTTP requests by Django in a bounded number of threads (docs/adr/0031).

Django runs a request's synchronous code in one thread and would start one for each request. Here requests borrow a
thread. Logins have threads of their own, because hashing a password takes a core for a while: a flood of them delays
neither the loop nor the other requests. A thread has at most one database connection, which ends with the request.
"""

import asyncio
import os
import sys
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import asynccontextmanager
from functools import partial
from typing import IO, Any

import msgspec
from asgiref.sync import ThreadSensitiveContext
from django.core.exceptions import RequestAborted
from django.db import connections
from django.http import FileResponse
from django.http.response import HttpResponseBase

from chatws.web.streaming import StreamingHandler
from realtime.observability import metrics

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[Any]]
Send = Callable[[Mapping[str, Any]], Awaitable[None]]

LOGIN_THREADS = 2
"""How many passwords are hashed at a time."""
NICE = 10
"""The loop, and other processes, come before the hashing of passwords: it has a tenth of their weight."""
WAITING_PER_THREAD = 16
"""How many requests may wait for each thread; further ones are answered with 503 at once."""
RETRY_AFTER_SECONDS = 2
HASHING = "/admin/login/", "/admin/password_change/", "/api/token/"
"""Ends of the paths whose POST checks a password."""


class Busy(Exception):
    """All threads are in use, and as many requests as allowed wait for one."""


class Pool:
    """Some threads, each lent to one request at a time."""

    def __init__(self, name: str, threads: int, nice: int = 0) -> None:
        start = partial(_yield_processor, nice)
        self._idle = [ThreadPoolExecutor(1, thread_name_prefix=name, initializer=start) for _ in range(threads)]
        self._slots = asyncio.Semaphore(threads)
        self._waiting = 0
        self._most_waiting = threads * WAITING_PER_THREAD
        self._rest = ThreadPoolExecutor(1, thread_name_prefix=f"{name}-rest")

    @asynccontextmanager
    async def lend(self) -> AsyncIterator["Lent"]:
        """Give a thread for the synchronous code inside the context; wait for one if necessary.

        Raises:
            Busy: too many requests wait already.
        """
        if self._slots.locked() and self._waiting >= self._most_waiting:
            raise Busy
        self._waiting += 1
        try:
            await self._slots.acquire()
        finally:
            self._waiting -= 1
        lent = Lent(self._idle.pop(), self._rest, self._take_back)
        try:
            async with ThreadSensitiveContext(executor=lent):
                yield lent
        finally:
            lent.give_back()

    def _take_back(self, thread: ThreadPoolExecutor) -> None:
        self._idle.append(thread)
        self._slots.release()


class Lent(Executor):
    """The thread of a request. After `give_back` the request's last calls run in a thread that all share."""

    def __init__(
        self, thread: ThreadPoolExecutor, rest: ThreadPoolExecutor, taken_back: Callable[[ThreadPoolExecutor], None]
    ) -> None:
        self._thread: ThreadPoolExecutor | None = thread
        self._rest = rest
        self._taken_back = taken_back

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> "Future[Any]":
        return (self._thread or self._rest).submit(fn, *args, **kwargs)

    def give_back(self) -> None:
        """Let others use the thread once it has ended its work and closed its database connections."""
        thread, self._thread = self._thread, None
        if thread is not None:
            closing = asyncio.wrap_future(thread.submit(connections.close_all))
            closing.add_done_callback(lambda _: self._taken_back(thread))


class _Receiving:
    """The server's ``receive`` once the body was read, with the body for `Handler.read_body`."""

    def __init__(self, receive: Receive, body: IO[bytes]) -> None:
        self._receive = receive
        self.body = body

    async def __call__(self) -> Any:
        return await self._receive()


class _Sending:
    """The server's ``send``, with the request's thread for `Handler.send_response`."""

    def __init__(self, send: Send, lent: Lent) -> None:
        self._send = send
        self.lent = lent

    async def __call__(self, message: Mapping[str, Any]) -> None:
        await self._send(message)


class Handler(StreamingHandler):
    """Django's handler of HTTP requests, with ``threads`` threads for them and `LOGIN_THREADS` for logins."""

    def __init__(self, threads: int) -> None:
        super().__init__()
        self._requests = Pool("http", threads)
        self._logins = Pool("login", LOGIN_THREADS, NICE)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request, or answer 503 if too many wait. Its body comes first, so that a slow one keeps no thread."""
        hashes = scope["method"] == "POST" and scope["path"].endswith(HASHING)
        try:
            body = await super().read_body(receive)
        except RequestAborted:
            return
        with body:
            try:
                async with (self._logins if hashes else self._requests).lend() as lent:
                    await super().__call__(scope, _Receiving(receive, body), _Sending(send, lent))
            except Busy:
                metrics.refusals.labels("http").inc()
                await _refuse(send)

    async def read_body(self, receive: Any) -> IO[bytes]:
        """Return the request's body, which has been read."""
        body: IO[bytes] = receive.body
        return body

    async def send_response(self, response: HttpResponseBase, send: Any) -> None:
        """Send a response. A complete one no longer needs the thread, so a client that reads slowly keeps none."""
        if not response.streaming or isinstance(response, FileResponse):
            send.lent.give_back()
        await super().send_response(response, send)


def _yield_processor(nice: int) -> None:
    """Lower the priority of the calling thread; only on Linux a thread has one of its own."""
    if nice and sys.platform == "linux":
        thread = threading.get_native_id()
        os.setpriority(os.PRIO_PROCESS, thread, min(19, os.getpriority(os.PRIO_PROCESS, thread) + nice))


async def _refuse(send: Send) -> None:
    body = msgspec.json.encode({"code": 503, "message": "too many requests are waiting", "data": None})
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
        (b"retry-after", str(RETRY_AFTER_SECONDS).encode()),
    ]
    await send({"type": "http.response.start", "status": 503, "headers": headers})
    await send({"type": "http.response.body", "body": body})
