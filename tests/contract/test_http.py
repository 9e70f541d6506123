"""Check HTTP itself on a real gateway: HEAD, HTTP/1.0, `Connection: close`, probes, and answers that are streamed."""

import asyncio
import hashlib
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from tests.contract.test_server import certificate
from tests.support.chat import new_user
from tests.support.client import make_token
from tests.support.raw import PONG, frame_of
from tests.support.redis import free_port
from tests.support.stack import Gateway, Stack
from tests.support.waiting import LIMIT

__all__ = ["certificate"]  # a fixture

PROBES = ("/health", "/ws/health", "/ready", "/startup", "/metrics")
PAGES = ("/", "/docs/socket", "/docs/asyncapi.yaml", "/docs/api", "/docs/openapi.yaml", "/favicon.ico", "/admin/login/")
LARGE_FILE = "/static/drf_spectacular_sidecar/swagger-ui-dist/swagger-ui-bundle.js"


async def answer_to(port: int, request: bytes) -> bytes:
    """Return what comes until the server closes the connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request)
    async with asyncio.timeout(LIMIT):
        answer = await reader.read()
    writer.close()
    return answer


@pytest.mark.parametrize("path", [*PROBES, *PAGES])
async def test_head_is_answered_as_get(path: str, http: httpx.AsyncClient) -> None:
    head, get = await http.head(path), await http.get(path)
    assert (head.status_code, head.headers["Content-Type"]) == (get.status_code, get.headers["Content-Type"])
    assert head.content == b""
    assert get.content or get.is_redirect


@pytest.mark.parametrize("path", PROBES)
async def test_probe_refuses_other_methods(path: str, http: httpx.AsyncClient) -> None:
    assert (await http.post(path)).status_code == 405


@pytest.mark.ours_only
@pytest.mark.parametrize(
    "head",
    [
        b"HTTP/1.0\r\n",
        b"HTTP/1.0\r\nConnection: keep-alive\r\n",
        b"HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n",
        b"HTTP/1.1\r\nHost: localhost\r\nConnection: TE,Close\r\n",
        b"HTTP/1.1\r\nHost: localhost\r\nConnection: TE\r\nConnection: close\r\n",
        b"HTTP/1.1\r\nHost: 10.1.2.3:8889\r\nConnection: close\r\n",
    ],
)
async def test_connection_is_closed_where_the_client_expects_it(head: bytes, gateway: Gateway) -> None:
    answer = await answer_to(gateway.port, b"GET /health " + head + b"\r\n")
    assert b" 200 OK\r\n" in answer
    assert b"\r\nConnection: close\r\n" in answer
    assert answer.endswith(b"\r\n\r\nOK")


@pytest.mark.ours_only
async def test_offered_upgrade_to_http2_is_ignored(gateway: Gateway) -> None:
    """Java's client offers it with every request over plain HTTP."""
    offer = b"Connection: Upgrade, HTTP2-Settings, close\r\nUpgrade: h2c\r\nHTTP2-Settings: AAEAAEAAAAIAAAAB\r\n"
    head = b"POST /api/token/ HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 2\r\n"
    answer = await answer_to(gateway.port, head + offer + b"\r\n{}")
    assert b"username: This field is required" in answer, "Django has read the body"


async def test_large_file_arrives_whole(http: httpx.AsyncClient) -> None:
    whole = (await http.get(LARGE_FILE, headers={"Accept-Encoding": "identity"})).content
    assert len(whole) > 1_000_000
    async with http.stream("GET", LARGE_FILE, headers={"Accept-Encoding": "identity"}) as slowly:
        digest = hashlib.sha256()
        async for part in slowly.aiter_raw(10_000):
            digest.update(part)
            await asyncio.sleep(0)
    assert digest.digest() == hashlib.sha256(whole).digest()
    middle = await http.get(LARGE_FILE, headers={"Accept-Encoding": "identity", "Range": "bytes=100000-299999"})
    assert (middle.status_code, middle.content) == (206, whole[100_000:300_000])


@pytest.mark.ours_only
async def test_probes_need_no_thread_of_django(stack: Stack) -> None:
    hanging = (
        "import asyncio; from django.core.handlers.asgi import ASGIHandler; "
        "ASGIHandler.__call__ = lambda *given: asyncio.Event().wait(); "
        "from realtime.server.__main__ import CommandLine; CommandLine.entrypoint()"
    )
    gateway = stack.start_gateway(server=("-c", hanging, "--bind"))
    async with httpx.AsyncClient(base_url=gateway.http, timeout=LIMIT) as http:
        hangs = asyncio.create_task(http.get("/"))
        for path in PROBES:
            assert (await http.get(path)).status_code == 200
        assert not hangs.done()
        hangs.cancel()
    gateway.kill()


@pytest.mark.ours_only
async def test_frames_behind_the_upgrade_are_served(gateway: Gateway) -> None:
    """Send the first frames in one piece with the request, before the gateway has answered."""
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    writer.write(
        b"GET /ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n"
        b"Authorization: Bearer " + make_token(new_user()).encode() + b"\r\n\r\n" + frame_of(0x89, b"early")
    )
    async with asyncio.timeout(LIMIT):
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 101 ")
        await reader.readuntil(bytes([0x80 | PONG, 5]) + b"early")
    writer.close()


@pytest.mark.ours_only
async def test_body_is_refused_over_tls(stack: Stack, certificate: tuple[Path, Path]) -> None:
    key, chain = certificate
    port = free_port()
    gateway = stack.start_gateway("-e", f"ssl:{port}:privateKey={key}:certKey={chain}:interface=127.0.0.1")
    tls = ssl.create_default_context(cafile=str(chain))
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=tls, server_hostname="localhost")
    writer.write(b"POST /health HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1500000000\r\n\r\n" + bytes(1_000))
    async with asyncio.timeout(LIMIT):
        assert (await reader.read()).startswith(b"HTTP/1.1 413 ")
    writer.transport.abort()
    gateway.kill()


@pytest.mark.parametrize("server", ["uvicorn"])
async def test_other_servers_refuse_large_bodies_too(server: str, stack: Stack) -> None:
    port = free_port()
    command = ("-m", server, "--host")
    gateway = stack.start_gateway(server=command, port=port, CHATWS_MAX_BODY_BYTES="1000")
    async with httpx.AsyncClient(base_url=gateway.http, timeout=LIMIT) as http:
        assert (await http.post("/api/token/", content=b"x" * 1_001)).status_code == 413

        async def chunks() -> AsyncIterator[bytes]:
            for _ in range(3):
                yield b"x" * 500

        assert (await http.post("/api/token/", content=chunks())).status_code == 413
        assert (await http.post("/api/token/", content=b"x" * 1_000)).status_code == 415
    gateway.kill()
