"""Check that each server drops a silently lost client, and marks its user offline, within a minute."""

import asyncio
from typing import Any

import pytest
from daphne.cli import CommandLineInterface
from uvicorn.config import Config

from tests.support.chat import new_user
from tests.support.client import connect, make_token
from tests.support.raw import raw_socket
from tests.support.scrape import get_json
from tests.support.stack import SERVERS, Stack
from tests.support.waiting import until_answer

QUICK = {
    "ours": ["--ping-interval", "1", "--ping-timeout", "5"],
    "daphne": ["--ping-interval", "1", "--ping-timeout", "5"],
    "uvicorn": ["--ws-ping-interval", "1", "--ws-ping-timeout", "5"],
}
LOOKS_EVERY = 2.0
"""Seconds between daphne's checks; it may need two before it sends a ping or detects silence."""


@pytest.mark.parametrize("server", sorted(SERVERS))
async def test_half_open_connection_does_not_keep_user_online(stack: Stack, server: str) -> None:
    gateway = stack.start_gateway(*QUICK[server], server=SERVERS[server])
    silent, answering = new_user(), new_user()
    there = await connect(gateway.ws, additional_headers={"Authorization": f"Bearer {make_token(answering)}"})
    await there.expect("auth_success")
    async with raw_socket(gateway.port, silent):  # it answers no ping and sends no close
        await until_online(gateway.http, silent, True)
        await until_online(gateway.http, silent, False)
        await until_online(gateway.http, answering, True)
        assert (await there.ask("ping"))["type"] == "pong"
    await there.close()
    gateway.kill()


async def until_online(http: str, user: int, state: bool) -> None:
    """Return once the cluster reports a user as online, or as offline."""
    url = f"{http}/api/users/status?user_id={user}"
    await until_answer(
        lambda: asyncio.to_thread(get_json, url),
        lambda answer: answer[0] == 200 and answer[1]["data"]["is_online"] is state,
        f"user {user} is online: {state}",
    )


def test_default_heartbeats_detect_loss_within_a_minute() -> None:
    daphne: Any = CommandLineInterface().parser
    interval, timeout = daphne.get_default("ping_interval"), daphne.get_default("ping_timeout")
    assert interval + timeout + 2 * LOOKS_EVERY < 60
    uvicorn = Config("config.asgi:application")
    assert (uvicorn.ws_ping_interval or 60) + (uvicorn.ws_ping_timeout or 60) < 60
