"""Check our server's direct writes to the socket: ready frames, slow readers, closing, TLS, the fallback."""

import asyncio
import json
import ssl
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import Connect
from tests.support.announced import announced
from tests.support.chat import Chat, new_user
from tests.support.client import Client, make_token
from tests.support.raw import CLOSE, PING, PONG, TEXT, RawSocket, raw_socket
from tests.support.redis import free_port
from tests.support.stack import Gateway, Stack
from tests.support.tls import make_certificate
from tests.support.waiting import LIMIT, until_answer

pytestmark = pytest.mark.ours_only

FLOOD = 1_200
"""Messages of 4 KiB: more than the outbox's bound and all buffers before it."""
LONG = "x" * 4_000


AHEAD = 100
"""How many messages the reader may be behind: less than the outbox's bound, for a reader that is slow only because
its machine is."""


async def flood(chat: Chat, group: str, sender: int, reader: Client) -> None:
    """Send many long messages directly to the chat service; ``reader`` must receive them all in order."""
    room = asyncio.Semaphore(AHEAD)

    async def say(number: int) -> None:
        async with busy:
            await chat.say(group, sender, LONG, f"m-{group}-{number}")

    async def say_all() -> None:
        async with asyncio.TaskGroup() as saying:
            for number in range(FLOOD):
                await room.acquire()
                saying.create_task(say(number))

    busy = asyncio.Semaphore(50)
    saying = asyncio.create_task(say_all())
    offsets: list[int] = []
    while len(offsets) < FLOOD:
        offsets.append((await reader.expect("new_message"))["offset"])
        room.release()
    await saying
    assert offsets == list(range(offsets[0], offsets[0] + FLOOD))


def rss(gateway: Gateway) -> int:
    """Return a gateway's memory in bytes."""
    [line] = [line for line in Path(f"/proc/{gateway.pid}/status").read_text().splitlines() if "VmRSS" in line]
    return int(line.split()[1]) * 1024


async def opcodes(raw: RawSocket) -> list[int]:
    """Return the opcodes of all frames up to the connection's end."""
    seen: list[int] = []
    try:
        while True:
            seen.append((await raw.frame())[0])
    except (asyncio.IncompleteReadError, ssl.SSLError, ConnectionError):
        return seen


async def audited_code(stack: Stack, user: int) -> int:
    """Return the close code of this user's connection once the audit has it."""
    sql = "SELECT close_code FROM realtime_connectionrecord WHERE user_id = %s AND close_code IS NOT NULL"
    rows = await until_answer(lambda: asyncio.to_thread(stack.query, sql, user), what=f"user {user} in the audit")
    return int(rows[0][0])


async def frame_but_pings(raw: RawSocket) -> tuple[int, bytes]:
    """Return the next frame that is not a ping."""
    while (frame := await raw.frame())[0] == PING:
        pass
    return frame


async def test_slow_reader_closes_with_4502_and_delays_nobody(
    stack: Stack, chat: Chat, gateway: Gateway, log_in: Connect
) -> None:
    slow, quick = new_user(), new_user()
    group = await announced(stack, await chat.group(quick, slow), 2)
    reader = await log_in(quick)
    async with raw_socket(gateway.port, slow, receive_buffer=4096) as stalled:
        before = rss(gateway)
        await flood(chat, group, quick, reader)
        assert rss(gateway) - before < 20_000_000
        assert await audited_code(stack, slow) == 4502
        await opcodes(stalled)  # it ends although nothing was read while the close was due


async def test_reader_that_resumes_receives_everything_in_order(chat: Chat, gateway: Gateway) -> None:
    slow, sender = new_user(), new_user()
    group = await chat.group(sender, slow)
    async with raw_socket(gateway.port, slow, receive_buffer=4096) as stalled:
        count = 200  # 800 kB: more than the kernel buffers, less than the outbox's bound
        for number in range(count):
            await chat.say(group, sender, f"{number} {LONG}", f"m-{group}-{number}")
        heard: list[str] = []
        while len(heard) < count:
            opcode, payload = await stalled.frame()
            if opcode == TEXT and (frame := json.loads(payload))["type"] == "new_message":
                heard.append(frame["data"]["content"].partition(" ")[0])
        assert heard == [str(number) for number in range(count)]


async def test_nothing_follows_the_close_frame(chat: Chat, gateway: Gateway, log_in: Connect) -> None:
    leaving, sender = new_user(), new_user()
    group = await chat.group(sender, leaving)
    other = await log_in(sender)
    async with raw_socket(gateway.port, leaving) as raw:
        raw.send(CLOSE, (1000).to_bytes(2))
        for number in range(20):
            await chat.say(group, sender, "hello", f"m-{group}-{number}")
        await other.expect("new_message")
        frames = await opcodes(raw)
    assert frames[-1] == CLOSE
    assert frames.count(CLOSE) == 1


async def test_control_frames_between_fragments_are_answered(gateway: Gateway) -> None:
    async with raw_socket(gateway.port, new_user()) as raw:
        raw.send(TEXT, b'{"type":"pi', final=False)
        raw.send(PING, b"in between")
        raw.send(0, b'ng"}')
        assert await raw.frame() == (PONG, b"in between")
        await raw.until("pong")


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Create a key and a certificate for this run."""
    return make_certificate(tmp_path_factory.mktemp("tls"))


async def test_slow_reader_over_tls_is_closed(
    stack: Stack, chat: Chat, sockets: Connect, certificate: tuple[Path, Path]
) -> None:
    key, chain = certificate
    port = free_port()
    secure = stack.start_gateway("-e", f"ssl:{port}:privateKey={key}:certKey={chain}:interface=127.0.0.1")
    tls = ssl.create_default_context(cafile=str(chain))
    slow, quick = new_user(), new_user()
    group = await announced(stack, await chat.group(quick, slow), 2)
    reader = await sockets(f"wss://localhost:{port}/ws", ssl=tls)
    assert (await reader.ask("auth", {"token": make_token(quick)}))["type"] == "auth_success"
    async with raw_socket(port, slow, tls=tls, receive_buffer=4096) as stalled:
        before = rss(secure)
        await flood(chat, group, quick, reader)
        assert rss(secure) - before < 40_000_000
        assert await audited_code(stack, slow) == 4502
        await opcodes(stalled)
    assert secure.stop(seconds=LIMIT) == 0


async def test_unknown_daphne_release_uses_the_slow_path(stack: Stack, chat: Chat, log_in: Connect) -> None:
    moved = (
        "from realtime.server import __main__ as command, compat, websocket; "
        "compat.backlog = websocket.backlog = lambda t: t.moved; command.CommandLine.entrypoint()"
    )
    gateway = stack.start_gateway(server=("-c", moved, "--bind"))
    alice, bob = new_user(), new_user()
    group = await chat.group(alice, bob)
    here, there = await log_in(alice, gateway.ws), await log_in(bob)
    await there.ask("send_message", {"group_id": group, "msg_type": 1, "content": "the slow way"})
    assert (await here.expect("new_message"))["data"]["content"] == "the slow way"
    [warning] = [line for line in gateway.log.read_text().splitlines() if "frames are sent through ASGI" in line]
    assert "moved" in warning


def test_installed_release_supports_the_fast_path() -> None:
    code = "from realtime.server import compat; print(repr(compat.find_unsupported()))"
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT)
    assert done.stdout.strip() == "''", done.stderr


async def test_quiet_client_stays_while_it_answers_pings(stack: Stack) -> None:
    gateway = stack.start_gateway("--ping-interval", "1", "--ping-timeout", "30")
    async with raw_socket(gateway.port, new_user()) as raw:
        for _ in range(3):
            assert await raw.frame() == (PING, b"")
            raw.send(PONG)
        raw.send(CLOSE, (1000).to_bytes(2))
        assert await frame_but_pings(raw) == (CLOSE, (1000).to_bytes(2))


async def test_client_without_pongs_closes_with_4508(stack: Stack) -> None:
    gateway = stack.start_gateway("--ping-interval", "1", "--ping-timeout", "2")
    user = new_user()
    async with raw_socket(gateway.port, user) as raw:
        assert await raw.frame() == (PING, b"")
        opcode, payload = await frame_but_pings(raw)
        assert (opcode, int.from_bytes(payload[:2])) == (CLOSE, 4508)
        assert await audited_code(stack, user) == 4508
        assert await opcodes(raw) == []
