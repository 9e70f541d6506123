"""Check the ways to reach Redis: over TLS and over a Unix socket, with a password that needs percent-encoding."""

import asyncio
import ssl
import tempfile
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from urllib.parse import quote

import pytest
import redis as redis_py

from tests.support.chat import new_user
from tests.support.client import connect, make_token
from tests.support.proxy import Proxy
from tests.support.redis import free_port, run
from tests.support.scrape import get_json
from tests.support.stack import Stack
from tests.support.tls import make_certificate

PASSWORD = "p/a@s#s?%:w[o]r d"


@pytest.fixture(params=["rediss", "unix"])
async def address(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[str]:
    """Return a URL of an own Redis that requires a password."""
    password = quote(PASSWORD, safe="")
    async with AsyncExitStack() as stack:
        short = stack.enter_context(tempfile.TemporaryDirectory())  # a socket's path has 107 characters at most
        port = free_port()
        options = ["--port", str(port), "--bind", "127.0.0.1", "--save", "", "--unixsocket", f"{short}/redis"]
        process = run(options, port, tmp_path)
        stack.callback(process.wait)
        stack.callback(process.kill)
        with redis_py.Redis(port=port) as redis:
            redis.config_set("requirepass", PASSWORD)
        if request.param == "unix":
            yield f"unix://:{password}@{short}/redis?db=1"
        else:
            key, certificate = make_certificate(tmp_path)
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate, key)
            proxy = await stack.enter_async_context(Proxy(port, tls=context))
            yield f"rediss://:{password}@localhost:{proxy.port}/1?ssl_ca_certs={quote(str(certificate))}"


async def test_gateway_serves_over_every_kind_of_address(stack: Stack, address: str) -> None:
    gateway = await asyncio.to_thread(stack.start_gateway, REDIS_URL=address)
    client = await connect(gateway.ws)
    assert (await client.ask("auth", {"token": make_token(new_user())}))["type"] == "auth_success"
    status, states = await asyncio.to_thread(get_json, f"{gateway.http}/ready")
    assert (status, states["redis"]) == (200, "ok")
    await client.close()
    assert await asyncio.to_thread(gateway.stop) == 0
    log = gateway.log.read_text()
    assert "Traceback" not in log
    assert PASSWORD not in log
