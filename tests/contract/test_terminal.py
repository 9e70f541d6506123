"""Check `python -m chatws.client` as a process, at a pipe and at a pseudo-terminal."""

import asyncio
import os
import pty
import re
import signal
import sys
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from config.env import BASE_DIR
from tests.contract.test_heartbeats import until_online
from tests.support.chat import Chat, new_user
from tests.support.client import make_token
from tests.support.redis import free_port
from tests.support.stack import Gateway, Stack
from tests.support.waiting import LIMIT
from tests.support.wire import CheckedProxy


class Terminal:
    """The process and its output."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.text = ""

    def type(self, line: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(line.encode() + b"\n")

    async def until(self, pattern: str) -> re.Match[str]:
        assert self.process.stdout is not None
        deadline = asyncio.get_running_loop().time() + LIMIT
        while (found := re.search(pattern, self.text)) is None:
            try:
                async with asyncio.timeout_at(deadline):
                    chunk = await self.process.stdout.read(4096)
            except TimeoutError:
                chunk = b""
            assert chunk, f"no {pattern!r} in: {self.text}"
            self.text += chunk.decode()
        return found

    async def end(self) -> int:
        """Wait for its end and return the exit status."""
        assert self.process.stdout is not None
        assert self.process.stdin is not None
        self.process.stdin.close()
        async with asyncio.timeout(LIMIT):
            self.text += (await self.process.stdout.read()).decode()
            return await self.process.wait()


@pytest.fixture
async def start() -> AsyncIterator[Callable[..., Any]]:
    started: list[asyncio.subprocess.Process] = []

    async def start(*options: str, stdin: int = asyncio.subprocess.PIPE, **env: str) -> Terminal:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "chatws.client", *options, cwd=BASE_DIR, env={"PATH": os.environ["PATH"], **env},
            stdin=stdin, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
        )  # fmt: skip
        started.append(process)
        return Terminal(process)

    yield start
    for process in started:
        if process.returncode is None:
            process.kill()
        await process.wait()


@pytest.fixture
async def proxy(gateway: Gateway) -> AsyncIterator[CheckedProxy]:
    async with CheckedProxy(gateway.port) as proxy:
        yield proxy


Start = Callable[..., Any]


@pytest.mark.reference_only
async def test_two_people_talk(start: Start, proxy: CheckedProxy, chat: Chat, stack: Stack, gateway: Gateway) -> None:
    ids = [stack.demo_users()[name] for name in ("alice", "bob")]
    group = await chat.group(*ids, name=(name := f"Talk {new_user()}"))
    await chat.say(group, ids[0], "See you there")
    alice = await start("--url", f"ws://127.0.0.1:{proxy.port}/ws", "--user", "alice", CHATWS_PASSWORD="demo")
    bob = await start("--url", f"http://127.0.0.1:{proxy.port}/ws", "--user", "bob", CHATWS_PASSWORD="demo")
    for person in (alice, bob):
        number = (await person.until(rf"(\d+) {name}")).group(1)
        person.type(f"/go {number}")
        await person.until("See you there")
    alice.type("two\twords")
    await bob.until(r"\d\d:\d\d Alice: two words\n")
    await alice.until(r"you: two words\n")
    bob.type("//who is a command")
    await alice.until(r"Bob: /who is a command\n")
    for user in ids:
        await until_online(gateway.http, user, True)
    alice.type("/who")
    await alice.until(rf"online in {name}: \d+, \d+\n")
    bob.type("/nonsense")
    await bob.until("unknown: /nonsense; /help")
    alice.type("/quit")
    assert await alice.end() == 0
    assert await bob.end() == 0  # by the end of its input
    assert proxy.checked > 10


@pytest.mark.reference_only
async def test_piped_lines_are_stored_in_order_before_exit(start: Start, gateway: Gateway, chat: Chat) -> None:
    user = new_user()
    group = await chat.group(user)
    sender = await start("--url", gateway.ws, "--group", group, CHATWS_TOKEN=make_token(user))
    for number in range(12):
        sender.type(f"line {number}")
    assert await sender.end() == 0, sender.text
    assert await chat.history(group) == [f"line {number}" for number in range(12)]


async def test_messages_cannot_send_terminal_escape_codes(start: Start, gateway: Gateway, chat: Chat) -> None:
    user, other = new_user(), new_user()
    group = await chat.group(user, other, name="\x1b[31mred")
    await chat.say(group, other, "\x1b]0;title\x07 and\nmore\r!")
    reader = await start("--url", gateway.ws, "--group", group, CHATWS_TOKEN=make_token(user))
    await reader.until("title  and\n      more !\n")
    assert await reader.end() == 0
    assert "\x1b" not in reader.text
    assert "\x07" not in reader.text


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_ctrl_c_ends_the_terminal_client_cleanly(
    start: Start, gateway: Gateway, chat: Chat, number: signal.Signals
) -> None:
    user = new_user()
    group = await chat.group(user)
    ours, its = pty.openpty()
    try:
        talking = await start("--url", gateway.ws, "--group", group, stdin=its, CHATWS_TOKEN=make_token(user))
        await talking.until("-- in a group")
        os.write(ours, b"typed\n")
        await talking.until("you: typed")
        talking.process.send_signal(number)
        async with asyncio.timeout(LIMIT):
            assert await talking.process.wait() == 0
        rest = (await talking.process.stdout.read()).decode()
        assert "Traceback" not in talking.text + rest
    finally:
        os.close(ours)
        os.close(its)


async def test_text_typed_while_disconnected_is_sent_later(start: Start, gateway: Gateway, chat: Chat) -> None:
    user = new_user()
    group = await chat.group(user)
    async with CheckedProxy(gateway.port) as proxy:
        url = f"ws://127.0.0.1:{proxy.port}/ws"
        talking = await start("--url", url, "--group", group, CHATWS_TOKEN=make_token(user))
        await talking.until("-- in a group")
        proxy.reset()
        talking.type("meanwhile")
        await talking.until(f"-- offline .*{re.escape(url)}")
        await talking.until("-- online again")
        await talking.until("you: meanwhile")
        assert await talking.end() == 0
    assert await chat.history(group) == ["meanwhile"]


@pytest.mark.reference_only
async def test_connection_error_is_one_line_with_the_address(start: Start, gateway: Gateway) -> None:
    nobody = free_port()
    cases = {
        (f"ws://127.0.0.1:{nobody}/ws", "token"): rf"chatws: ws://127.0.0.1:{nobody}/ws: .*refused\n",
        (f"ws://127.0.0.1:{nobody}/ws", "user"): rf"chatws: http://127.0.0.1:{nobody}/api/token/: Connection refused\n",
        (gateway.ws, "user"): rf"chatws: {gateway.http}/api/token/: 401 .+\n",
        (gateway.ws, "token"): rf"chatws: {gateway.ws}: closed with 4401: .+\n",
        (f"{gateway.http}/health", "token"): rf"chatws: ws://127.0.0.1:{gateway.port}/health: .+\n",
    }
    for (url, way), pattern in cases.items():
        failing = await start("--url", url, f"--{way}", "wrong", CHATWS_PASSWORD="wrong")
        assert await failing.end() == 1, failing.text
        assert re.fullmatch(pattern, failing.text), failing.text


async def test_help_lists_options_and_misuse_names_the_mistake(start: Start) -> None:
    helping = await start("--help")
    assert await helping.end() == 0
    for word in ("--url", "--user", "--token", "--group", "/history", "CHATWS_PASSWORD", "exit status"):
        assert word in helping.text
    wrong = await start("--user", "alice", "--url", "chat.example")
    assert await wrong.end() == 2
    assert "'chat.example'" in wrong.text
    neither = await start()
    assert await neither.end() == 2
    assert "--user or --token" in neither.text
