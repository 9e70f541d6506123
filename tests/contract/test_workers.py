"""`--workers N`: one port, several processes, a dead one replaced, nobody left behind."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from tests.conftest import Connect
from tests.support.chat import Chat, new_user
from tests.support.stack import Process, Stack

pytestmark = pytest.mark.ours_only


def workers(gateway: Process) -> set[int]:
    """Process ids of a gateway's workers."""
    return set(map(int, Path(f"/proc/{gateway.pid}/task/{gateway.pid}/children").read_text().split()))


def connections(pid: int) -> int:
    """How many sockets a process holds."""
    count = 0
    for link in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(FileNotFoundError):  # closed since they were listed
            count += "socket" in os.readlink(link)
    return count


def runs(pid: int) -> bool:
    """Whether a process is there."""
    return Path(f"/proc/{pid}").exists()


async def gone(pids: set[int]) -> None:
    """Return once none of these processes runs."""
    async with asyncio.timeout(15):
        while any(map(runs, pids)):
            await asyncio.sleep(0.05)


async def test_workers_share_a_port_and_one_that_dies_is_replaced(stack: Stack, chat: Chat, log_in: Connect) -> None:
    gateway = stack.start_gateway("--workers", "2", CHATWS_LOG_FORMAT="json")
    first = workers(gateway)
    assert len(first) == 2
    alice, bob = new_user(), new_user()
    group = await chat.group(alice, bob)
    async with asyncio.timeout(30):
        while not all(connections(pid) > 20 for pid in first):  # until both have taken some
            await log_in(new_user(), gateway.ws)
    here, there = await log_in(alice, gateway.ws), await log_in(bob, gateway.ws)
    await here.ask("send_message", {"group_id": group, "msg_type": 1, "content": "to whichever"})
    assert (await there.expect("new_message"))["data"]["content"] == "to whichever"

    victim = min(first)
    os.kill(victim, signal.SIGKILL)
    async with asyncio.timeout(20):
        while len(workers(gateway) - first) != 1:
            await asyncio.sleep(0.05)
    assert f"ended with status -{signal.SIGKILL.value}" in gateway.log.read_text()
    await log_in(alice, gateway.ws)

    present = workers(gateway)
    assert gateway.stop() == 0
    await gone(present)
    assert all(json.loads(line)["message"] for line in gateway.log.read_text().splitlines()), "the supervisor's too"


async def test_workers_end_when_their_supervisor_is_killed(stack: Stack) -> None:
    gateway = stack.start_gateway("--workers", "2")
    orphans = workers(gateway)
    gateway.kill()
    await gone(orphans)


def test_what_ails_every_worker_ends_all(stack: Stack) -> None:
    command = [sys.executable, "-m", "realtime.server", "--workers", "2", "--port", "0", "config.asgi:application"]
    env = {**stack.env, "CHATWS_RPC_TARGET": "not an address"}
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert "CHATWS_RPC_TARGET" in done.stderr


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--workers", "0"], "--workers: 1 or more"),
        (["--workers", "2", "-e", "tcp:0"], "--workers: takes --bind and --port"),
        (["--workers", "2", "--bind", "192.0.2.1"], "can't listen on 192.0.2.1:8000"),
    ],
)
def test_a_command_line_that_cannot_be_served_says_why(stack: Stack, options: list[str], said: str) -> None:
    command = [sys.executable, "-m", "realtime.server", *options, "config.asgi:application"]
    done = subprocess.run(command, env=stack.env, capture_output=True, text=True, timeout=60)
    assert done.returncode != 0
    assert said in done.stderr
