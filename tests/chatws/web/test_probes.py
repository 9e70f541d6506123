"""Check pages and probes on a real gateway (docs/protocol.md, HTTP)."""

import asyncio
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.key_set import KeySet, jwk, new_key
from tests.support.scrape import scraped
from tests.support.stack import Stack
from tests.support.waiting import LIMIT, until_answer


async def until_state(http: httpx.AsyncClient, is_wanted: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    """Read `/ready` until its states are as wanted: they are checked once a second."""

    async def states() -> dict[str, Any]:
        answer: dict[str, Any] = (await http.get("/ready")).json()
        return answer

    return await until_answer(states, is_wanted, "the states of /ready")


@pytest.mark.parametrize("path", ["/health", "/ws/health"])
async def test_health_answers_ok(http: httpx.AsyncClient, path: str) -> None:
    answer = await http.get(path)
    assert (answer.status_code, answer.text) == (200, "OK")


@pytest.mark.parametrize("path", ["/ready", "/startup"])
async def test_ready_names_each_dependency(http: httpx.AsyncClient, path: str) -> None:
    answer = await http.get(path)
    assert (answer.status_code, answer.json()) == (200, {"gateway": "ok", "redis": "ok", "chat_rpc": "ok"})


async def test_unavailable_dependencies_are_shown_but_not_voted_on(tmp_path: Path) -> None:
    """Both dependencies are shared: with a vote, all gateways would leave the balancer at once."""
    stack = Stack(tmp_path)
    try:
        gateway = stack.start()
        stack.redis.kill()
        next(process for process in stack.processes if process.name.startswith("rpc")).kill()
        async with httpx.AsyncClient(base_url=gateway.http, timeout=LIMIT) as http:
            states = await until_state(http, lambda states: "ok" not in (states["redis"], states["chat_rpc"]))
            assert states["gateway"] == "ok"
            assert f"127.0.0.1:{stack.redis.port}" in states["redis"]
            assert stack.rpc_target in states["chat_rpc"]
            for path in ("/ready", "/startup", "/health"):
                assert (await http.get(path)).status_code == 200
            refused = await http.get("/stats")
            assert (refused.status_code, refused.json()["code"]) == (503, 503)
            seen = await scraped(f"{gateway.http}/metrics", lambda seen: not seen.total("chatws_dependency_up"))
            watched = {one.labels["dependency"] for one in seen.samples if one.name == "chatws_dependency_up"}
            assert watched == {"redis", "chat_rpc"}
    finally:
        stack.stop()


async def test_ready_answers_while_dependencies_hang(tmp_path: Path) -> None:
    """A probe that waits for them would time out in its prober, which is a vote as well."""
    stack = Stack(tmp_path)
    try:
        gateway = stack.start()
        rpc = next(process for process in stack.processes if process.name.startswith("rpc"))
        rpc.pause()
        assert stack.redis.process is not None
        os.kill(stack.redis.process.pid, signal.SIGSTOP)
        async with httpx.AsyncClient(base_url=gateway.http, timeout=LIMIT) as http:
            states = await until_state(http, lambda states: states["redis"] != "ok")
            assert "no answer" in states["redis"]
            assert (await http.get("/ready")).status_code == 200
        os.kill(stack.redis.process.pid, signal.SIGCONT)
        rpc.go_on()
    finally:
        stack.stop()


async def test_start_up_waits_for_each_dependency_once(tmp_path: Path) -> None:
    stack = Stack(tmp_path)
    try:
        stack.redis.start()
        stack.migrate()
        gateway = stack.start_gateway(probe="ready")
        async with httpx.AsyncClient(base_url=gateway.http, timeout=LIMIT) as http:
            begun = await http.get("/startup")
            assert (begun.status_code, begun.json()["gateway"]) == (503, "ok")
            rpc = await asyncio.to_thread(stack.start_rpc)
            await asyncio.to_thread(stack.wait_until_ready, gateway, "startup")
            rpc.kill()
            await until_state(http, lambda states: states["chat_rpc"] != "ok")
            assert (await http.get("/startup")).status_code == 200
    finally:
        stack.stop()


async def test_gateway_is_not_ready_before_its_keys_are_fetched(stack: Stack) -> None:
    with KeySet() as key_set:  # a set without keys can't be used
        gateway = stack.start_gateway(probe="health", CHATWS_JWT_JWKS_URL=key_set.url)
        async with httpx.AsyncClient(base_url=gateway.http, timeout=LIMIT) as http:
            states = await until_state(http, lambda states: states["jwks"] not in ("ok", "not asked yet"))
            assert "never been fetched" in states["gateway"]
            for path in ("/ready", "/startup"):
                assert (await http.get(path)).status_code == 503
        seen = await scraped(f"{gateway.http}/metrics", lambda seen: seen.total("chatws_dependency_up") == 2)
        assert seen.total("chatws_dependency_up", dependency="jwks") == 0
        gateway.kill()
        key_set.document = {"keys": [jwk(new_key("ES256"), "ES256")]}
        stack.start_gateway(CHATWS_JWT_JWKS_URL=key_set.url).kill()


async def test_only_operators_see_the_dependencies(stack: Stack) -> None:
    outside = {"X-Forwarded-For": "203.0.113.9"}
    token = "m" * 32
    gateway = stack.start_gateway(
        CHATWS_PUBLIC_STATUS="0", CHATWS_METRICS_TOKEN=token, CHATWS_TRUSTED_PROXIES="10.0.0.0/8"
    )
    async with httpx.AsyncClient(base_url=gateway.http, timeout=LIMIT) as http:
        for headers, sees in (
            ({}, True), ({"X-Forwarded-For": "10.1.2.3"}, True), (outside, False),
            (outside | {"Authorization": "Bearer wrong"}, False),
            (outside | {"Authorization": f"Bearer {token}"}, True),
        ):  # fmt: skip
            answer = await http.get("/ready", headers=headers)
            assert answer.status_code == 200
            assert answer.json()["gateway"] == "ok"
            assert ("redis" in answer.json()) == sees
        assert (await http.get("/admin/gateway", headers=outside)).status_code == 302, "to the login"
        page = await http.get("/admin/login/")
        await http.post(
            "/admin/login/", headers=outside,
            data={"username": "admin", "password": "demo", "csrfmiddlewaretoken": page.cookies["csrftoken"]},
        )  # fmt: skip
        staff = await http.get("/admin/gateway", headers=outside)
        assert staff.json() == {"gateway": "ok", "redis": "ok", "chat_rpc": "ok"}
    gateway.kill()


async def test_pages_are_sent_with_a_strict_policy(http: httpx.AsyncClient) -> None:
    for path in ("/", "/admin/login/", "/health"):
        policy = (await http.get(path)).headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
