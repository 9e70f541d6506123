"""Check pages and probes on a real gateway (docs/protocol.md, HTTP)."""

from pathlib import Path

import httpx
import pytest

from tests.support.stack import Stack
from tests.support.waiting import LIMIT


@pytest.mark.parametrize("path", ["/health", "/ws/health"])
async def test_health_answers_ok(http: httpx.AsyncClient, path: str) -> None:
    answer = await http.get(path)
    assert (answer.status_code, answer.text) == (200, "OK")


async def test_ready_names_each_dependency(http: httpx.AsyncClient) -> None:
    answer = await http.get("/ready")
    assert (answer.status_code, answer.json()) == (200, {"gateway": "ok", "redis": "ok", "chat_rpc": "ok"})


async def test_ready_names_the_unavailable_dependency(tmp_path: Path) -> None:
    stack = Stack(tmp_path)
    try:
        gateway = stack.start()
        stack.redis.kill()
        next(process for process in stack.processes if process.name.startswith("rpc")).kill()
        async with httpx.AsyncClient(base_url=gateway.http, timeout=LIMIT) as http:
            answer = await http.get("/ready")
            assert answer.status_code == 503
            assert f"127.0.0.1:{stack.redis.port}" in answer.json()["redis"]
            assert stack.rpc_target in answer.json()["chat_rpc"]
            assert (await http.get("/health")).status_code == 200
            refused = await http.get("/stats")
            assert (refused.status_code, refused.json()["code"]) == (503, 503)
    finally:
        stack.stop()


async def test_pages_are_sent_with_a_strict_policy(http: httpx.AsyncClient) -> None:
    for path in ("/", "/admin/login/", "/health"):
        policy = (await http.get(path)).headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
