"""Check `--workers N`: one port, several processes, dead ones replaced, none left at the end."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.conftest import Connect
from tests.support.chat import Chat, new_user
from tests.support.stack import Process, Stack
from tests.support.waiting import LIMIT, until, until_logged

pytestmark = pytest.mark.ours_only


def workers(gateway: Process) -> set[int]:
    """Return the process ids of a gateway's workers."""
    return set(map(int, Path(f"/proc/{gateway.pid}/task/{gateway.pid}/children").read_text().split()))


@contextmanager
def without(pids: set[int]) -> Iterator[None]:
    """Stop these processes for a while, so that connections go to the others."""
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)


def runs(pid: int) -> bool:
    """Return whether a process exists."""
    return Path(f"/proc/{pid}").exists()


async def gone(pids: set[int]) -> None:
    """Return once none of these processes runs."""
    await until(lambda: [pid for pid in pids if runs(pid)], lambda left: not left, "they are gone")


async def test_workers_share_a_port_and_dead_ones_are_replaced(stack: Stack, chat: Chat, log_in: Connect) -> None:
    gateway = stack.start_gateway("--workers", "2", CHATWS_LOG_FORMAT="json")
    first = workers(gateway)
    assert len(first) == 2
    alice, bob = new_user(), new_user()
    group = await chat.group(alice, bob)
    one, other = sorted(first)
    with without({other}):
        here = await log_in(alice, gateway.ws)
    with without({one}):
        there = await log_in(bob, gateway.ws)
    await here.ask("send_message", {"group_id": group, "msg_type": 1, "content": "to the other"})
    assert (await there.expect("new_message"))["data"]["content"] == "to the other"

    os.kill(one, signal.SIGKILL)
    await until(lambda: workers(gateway) - first, lambda fresh: len(fresh) == 1, "another worker")
    await until_logged(gateway.log, f"ended with status -{signal.SIGKILL.value}")
    assert (await there.ask("ping"))["type"] == "pong"
    await log_in(alice, gateway.ws)

    present = workers(gateway)
    assert gateway.stop(seconds=LIMIT) == 0
    await gone(present)
    assert all(json.loads(line)["message"] for line in gateway.log.read_text().splitlines()), "the supervisor's too"


@pytest.mark.parametrize("during", ["service", "drain"])
async def test_workers_drain_when_their_supervisor_is_killed(stack: Stack, log_in: Connect, during: str) -> None:
    gateway = stack.start_gateway("--workers", "2", CHATWS_DRAIN_DELAY="0.5", CHATWS_DRAIN_PER_SECOND="4")
    orphans = workers(gateway)
    clients = [await log_in(new_user(), gateway.ws) for _ in range(20)]
    closing = [asyncio.ensure_future(client.closed()) for client in clients]
    if during == "drain":
        gateway.handle.send_signal(signal.SIGTERM)
        await asyncio.wait(closing, return_when="FIRST_COMPLETED")
    gateway.kill()
    assert await asyncio.gather(*closing) == [4501] * 20
    await gone(orphans)
    log = gateway.log.read_text()
    assert "Traceback" not in log
    assert log.count("the supervisor died") <= len(orphans), "once each, not on each turn of the loop"


def test_failure_of_every_worker_ends_all(stack: Stack) -> None:
    command = [sys.executable, "-m", "realtime.server", "--workers", "2", "--port", "0", "config.asgi:application"]
    env = {**stack.env, "CHATWS_RPC_TARGET": "not an address"}
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=LIMIT)
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
def test_invalid_command_line_says_why(stack: Stack, options: list[str], said: str) -> None:
    command = [sys.executable, "-m", "realtime.server", *options, "config.asgi:application"]
    done = subprocess.run(command, env=stack.env, capture_output=True, text=True, timeout=LIMIT)
    assert done.returncode != 0
    assert said in done.stderr
