"""Check what the Python client does when its surroundings fail: handshakes, token functions, observers, odd frames."""

import asyncio
import json
import logging
import ssl
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from email.utils import formatdate
from http import HTTPStatus
from typing import Any

import pytest
import websockets

from chatws.client import ChatClient, Closed, Connected, Disconnected
from tests.support.chat import Chat, new_user
from tests.support.client import make_token
from tests.support.python_client import Enter, User


async def failures(client: ChatClient, count: int = 2) -> list[Disconnected]:
    """Return the first failures of a client to connect."""
    user = User(client)
    async with client:
        listening = asyncio.create_task(user.listen())
        await user.until(lambda: len(user.of(Disconnected)) >= count)
    await listening
    return user.of(Disconnected)[:count]


@asynccontextmanager
async def answering(status: int, **headers: str) -> AsyncIterator[str]:
    """Run a server that answers each handshake with this status; yield its address."""

    def respond(socket: websockets.ServerConnection, request: object) -> websockets.Response:
        response = socket.respond(HTTPStatus(status), "")
        for name, value in headers.items():
            response.headers[name.replace("_", "-")] = value
        return response

    async with websockets.serve(lambda socket: socket.wait_closed(), "127.0.0.1", 0, process_request=respond) as server:
        yield f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/ws"


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (200, "HTTP 200: what answers there speaks HTTP, not WebSocket"),
        (401, "HTTP 401: a proxy in front of the gateway asks for a login"),
        (403, "HTTP 403: a proxy in front of the gateway refuses"),
        (404, "HTTP 404: there is no WebSocket at this path"),
        (502, "HTTP 502: Bad Gateway"),
    ],
)
async def test_refused_handshake_says_what_answered(
    status: int, expected: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with answering(status) as url:
        gone = await failures(ChatClient(url, "t", first_wait=0.01), 3)
    assert {(one.code, one.message, one.reason) for one in gone} == {
        (1006, f"{url}: can't connect: {expected}", "unreachable")
    }
    warned = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert warned == [f"{url}: can't connect: {expected}; retrying"], "once"


async def test_redirect_is_not_followed() -> None:
    connected: list[object] = []

    async def serve(socket: Any) -> None:
        connected.append(socket)
        await socket.wait_closed()

    async with websockets.serve(serve, "127.0.0.1", 0) as server:
        elsewhere = f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/ws"
        async with answering(302, Location=elsewhere) as url:
            [gone] = await failures(ChatClient(url, "secret", first_wait=0.01), 1)
    assert f"HTTP 302, a redirect to {elsewhere}" in gone.message
    assert connected == []


@pytest.mark.parametrize("form", ["seconds", "date"])
async def test_retry_after_of_a_handshake_is_obeyed(form: str) -> None:
    value = "1000" if form == "seconds" else formatdate(time.time() + 1000, usegmt=True)
    async with answering(503, Retry_After=value) as url:
        client = ChatClient(url, "t", first_wait=0.0, longest_wait=0.0)
        user = User(client)
        async with client:
            listening = asyncio.create_task(user.listen())
            await user.until(lambda: user.of(Disconnected))
            client.hurry()
            waits = client._backoff._next(0.0, 0.0) - asyncio.get_running_loop().time()
        await listening
    assert len(user.of(Disconnected)) == 1
    assert 900 < waits <= 1000


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("ws://127.0.0.1:1/ws", "Connection refused"),
        ("ws://nowhere.invalid/ws", "ame"),  # "Name or service not known", "Temporary failure in name resolution"
        (f"ws://{'x' * 64}.example/ws", "label"),
    ],
)
async def test_unreachable_host_is_told_and_retried(url: str, expected: str) -> None:
    for gone in await failures(ChatClient(url, "t", first_wait=0.01)):
        assert expected in gone.message
        assert (gone.code, gone.reason) == (1006, "unreachable")


@pytest.mark.parametrize(
    ("proxy", "expected"),
    [("socks5://127.0.0.1:1", "SOCKS"), ("nonsense", "proxy"), ("http://127.0.0.1:99999", "ort out of range")],
)
async def test_bad_proxy_of_the_environment_is_told(monkeypatch: pytest.MonkeyPatch, proxy: str, expected: str) -> None:
    for name in ("no_proxy", "NO_PROXY", "all_proxy", "socks_proxy", "http_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("https_proxy", proxy)
    monkeypatch.setenv("http_proxy", proxy)
    monkeypatch.setenv("all_proxy", proxy)
    [gone] = await failures(ChatClient("ws://chat.invalid/ws", "t", first_wait=0.01), 1)
    assert gone.reason == "unreachable"
    assert expected in gone.message


async def test_tls_failure_says_so(tmp_path: Any) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()

    async with await asyncio.start_server(talk, "127.0.0.1", 0) as server:
        url = f"wss://127.0.0.1:{server.sockets[0].getsockname()[1]}/ws"
        [gone] = await failures(ChatClient(url, "t", first_wait=0.01), 1)
    assert "TLS failed: " in gone.message
    assert "Operation not permitted" not in gone.message
    assert ssl.SSLError(1, "x").errno == 1  # which is EPERM for everything else


async def test_token_that_never_comes_is_asked_for_again(enter: Enter) -> None:
    someone, calls = new_user(), 0

    async def fetch(*, fresh: bool) -> str:
        nonlocal calls
        calls += 1
        if calls < 3:
            await asyncio.Event().wait()
        return make_token(someone)

    user = await enter(someone, token=fetch, token_timeout=0.05)
    await user.client.ready()
    assert [(gone.message, gone.reason) for gone in user.of(Disconnected)] == [
        ("no token: no answer within 0.05 s", "token")
    ] * 2


@pytest.mark.parametrize("answer", [{"detail": "down"}, 42, b"bytes"])
async def test_token_that_is_no_text_is_asked_for_again(enter: Enter, answer: object) -> None:
    someone = new_user()
    answers = [answer]

    async def fetch(*, fresh: bool) -> Any:
        return answers.pop() if answers else make_token(someone)

    user = await enter(someone, token=fetch)
    await user.client.ready()
    [gone] = user.of(Disconnected)
    assert gone.message == f"no token: the token function returned {type(answer).__name__}, not str"


async def test_cancelled_token_function_does_not_end_the_client(enter: Enter) -> None:
    someone = new_user()
    first = [True]

    async def fetch(*, fresh: bool) -> str:
        if first:
            first.clear()
            raise asyncio.CancelledError
        return make_token(someone)

    user = await enter(someone, token=fetch)
    await user.client.ready()
    assert [gone.message for gone in user.of(Disconnected)] == ["no token: the token function was cancelled"]


async def test_cancelled_task_ends_the_client(enter: Enter) -> None:
    user = await enter(new_user())
    await user.client.ready()
    [task] = [one for one in asyncio.all_tasks() if one.get_name() == f"chat client of {user.client.url}"]
    task.cancel()
    await user.until(lambda: user.closed)
    assert user.closed == 1006
    with pytest.raises(Closed, match="was cancelled"):
        await user.client.ready()


async def test_failing_observer_is_logged_and_stops_nothing(
    enter: Enter, chat: Chat, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(frame: Any) -> None:
        raise ZeroDivisionError("an observer's mistake")

    someone = new_user()
    group = await chat.group(someone)
    user = await enter(someone, observer=broken)
    assert await user.client.send_message(group, "still sent")
    await user.until(lambda: user.texts() == ["still sent"])
    assert "an observer's mistake" in caplog.text


async def test_odd_values_in_frames_do_not_end_the_client() -> None:
    welcome = {"type": "auth_success", "message_id": "auth", "timestamp": 1, "data": {
        "user_id": "1", "heartbeat_seconds": 0, "expires_at": "soon", "feeds": None,
    }}  # fmt: skip
    odd = [
        {"type": "presence", "message_id": "", "data": None},
        {"type": "error", "message_id": "", "data": {"code": 429, "retry_after": "much"}},
        {"type": "shutdown", "message_id": "", "data": {"retry_after": None}},
        {"type": "odd", "data": [1]},
    ]

    async def serve(socket: Any) -> None:
        await socket.recv()
        for frame in (welcome, *odd):
            await socket.send(json.dumps(frame))
        async for text in socket:
            frame = json.loads(text)
            if frame["type"] == "ping":
                await socket.send(json.dumps({"type": "pong", "message_id": frame["message_id"]}))

    async with websockets.serve(serve, "127.0.0.1", 0) as server:
        user = User(ChatClient(f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}", "t", first_wait=0.01))
        async with user.client:
            listening = asyncio.create_task(user.listen())
            assert await user.client.request("ping", {}) == {}
            for _ in range(100):
                user.client.hurry()
            assert await user.client.request("ping", {}) == {}
            assert len(user.of(Connected)) == 1
            assert user.of(Disconnected) == []
        await listening


async def test_deeply_nested_frame_is_no_frame() -> None:
    async def serve(socket: Any) -> None:
        await socket.send("[" * 100_000)
        await socket.wait_closed()

    async with websockets.serve(serve, "127.0.0.1", 0) as server:
        url = f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        [gone] = await failures(ChatClient(url, "t", first_wait=0.01), 1)
    assert "not a frame" in gone.message


async def test_hurry_in_a_loop_is_no_storm(monkeypatch: pytest.MonkeyPatch) -> None:
    async with answering(404) as url:
        client = ChatClient(url, "t", first_wait=0.0, longest_wait=1_000.0)
        monkeypatch.setattr(client._backoff, "window", lambda failures: 1_000.0)
        slept: list[float] = []
        pause = asyncio.sleep

        async def sleep(seconds: float) -> None:
            slept.append(seconds)
            await pause(0)

        monkeypatch.setattr("chatws.client.backoff.asyncio.sleep", sleep)
        user = User(client)
        async with client:
            listening = asyncio.create_task(user.listen())
            for count in range(1, 4):
                await user.until(lambda: len(user.of(Disconnected)) >= count)  # noqa: B023
                client.hurry()
            await user.until(lambda: len(user.of(Disconnected)) >= 4)
        await listening
    assert slept[0] == pytest.approx(0.0, abs=0.1)
    assert slept[1] > 1.0
    assert slept[2] > 3.0


async def test_waiting_frames_are_bounded_in_bytes() -> None:
    client = ChatClient("ws://127.0.0.1:1/ws", "t")
    sending = [asyncio.ensure_future(client.send_message("g", "x" * 800_000)) for _ in range(10)]
    done, waiting = await asyncio.wait(sending, return_when=asyncio.FIRST_COMPLETED)
    assert len(waiting) == 9
    with pytest.raises(Exception, match="429 too many frames wait"):
        done.pop().result()
    await client.close()
    await asyncio.gather(*waiting, return_exceptions=True)
