"""Check raw-socket attacks: the attacker is disconnected, and a well-behaved client is still served.

`make proofs` judges the measured times: that client's waits and the ends of slow requests.
"""

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import jwt
import pytest
import websockets
from django.conf import settings

from tests.abuse import idle
from tests.abuse.beside import SEEN, unharmed
from tests.abuse.idle import UPGRADE
from tests.contract.test_revocation import welcomed, with_token
from tests.support.chat import Chat, new_user
from tests.support.client import Client, Frame, connect, make_token
from tests.support.key_set import KeySet, PrivateKey, jwk, new_key, pem
from tests.support.raw import CLOSE, CONTINUATION, PING, TEXT, RawSocket, raw_socket
from tests.support.scrape import Scraped
from tests.support.stack import Gateway, Stack

pytestmark = pytest.mark.ours_only

PATIENCE_SECONDS = 120.0
"""Seconds to wait for an expected event; it only catches a hang."""


@pytest.fixture(scope="module")
def attacked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Stack, Gateway]]:
    folder = tmp_path_factory.mktemp("attacked")
    public = folder / "public.pem"
    public.write_text(pem(new_key("RS256")))
    stack = Stack(
        folder,
        CHATWS_REQUEST_SECONDS="4", CHATWS_AUTH_TIMEOUT="2", CHATWS_ACCEPTS_PER_SECOND="0",
        CHATWS_JWT_PUBLIC_KEYS=str(public),
    )  # fmt: skip
    try:
        yield stack, stack.start()
    finally:
        stack.stop()


async def ended(reader: asyncio.StreamReader) -> bytes:
    """Return the bytes of a socket until it is closed."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        try:
            return await reader.read()
        except ConnectionError:
            return b""


async def close_code(raw: RawSocket) -> int:
    """Return the close code; skip other frames."""
    while True:
        try:
            opcode, payload = await raw.frame()
        except (asyncio.IncompleteReadError, ConnectionError):
            return 1006
        if opcode == CLOSE:
            return int.from_bytes(payload[:2])


@pytest.mark.parametrize("first", [b"", b"GET /ws HT", UPGRADE])
async def test_connection_without_a_request_is_closed(first: bytes, attacked: tuple[Stack, Gateway]) -> None:
    _, gateway = attacked
    async with unharmed(gateway):
        began = time.monotonic()
        reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
        writer.write(first)
        await ended(reader)
        SEEN.requests.append(time.monotonic() - began)
        writer.close()
        assert Scraped(f"{gateway.http}/metrics").total("chatws_refusals_total", limit="request") > 0


async def test_slow_request_is_closed(attacked: tuple[Stack, Gateway]) -> None:
    _, gateway = attacked

    async def drip(writer: asyncio.StreamWriter) -> None:
        try:
            for number in range(10_000):
                writer.write(f"X-{number}: {number}\r\n".encode())
                await writer.drain()
                await asyncio.sleep(0.5)
        except ConnectionError:
            return

    async with unharmed(gateway):
        began = time.monotonic()
        reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
        writer.write(UPGRADE)
        dripping = asyncio.create_task(drip(writer))
        await ended(reader)
        SEEN.requests.append(time.monotonic() - began)
        dripping.cancel()
        writer.close()


async def test_unauthenticated_sockets_are_closed_without_a_trace(attacked: tuple[Stack, Gateway]) -> None:
    _, gateway = attacked
    async with unharmed(gateway):
        silent: list[Client] = []
        for _ in range(8):
            silent += await asyncio.gather(*(connect(gateway.ws) for _ in range(50)))
        assert set(await asyncio.gather(*(client.closed() for client in silent))) == {4401}


CLAIMS = {"userId": 1, "exp": int(time.time()) + 86_400}
SECRET, NOT_OURS = settings.REALTIME.jwt_secret, "a-secret-of-who-attacks-" * 2


def token_of(key: Any, algorithm: str, claims: dict[str, Any] = CLAIMS, **header: Any) -> str:
    return jwt.encode(claims, key, algorithm, headers=header)


def changed(token: str) -> str:
    """Return the token with other claims under the same signature."""
    head, _, signature = token.split(".")
    return ".".join([head, token_of(NOT_OURS, "HS256").split(".")[1], signature])


BAD_TOKENS: dict[str, Callable[[PrivateKey, str], str]] = {
    "none": lambda key, url: token_of(None, "none"),
    "another secret": lambda key, url: token_of(NOT_OURS, "HS256"),
    "kid": lambda key, url: token_of(key, "RS256", kid=url),
    "jku": lambda key, url: token_of(key, "RS256", kid="theirs", jku=url),
    "jwk": lambda key, url: token_of(key, "RS256", jwk=jwk(key, "RS256")),
    "changed": lambda key, url: changed(make_token(new_user())),
    "60 KB": lambda key, url: token_of(NOT_OURS, "HS256", {**CLAIMS, "name": "x" * 45_000}),
    "no user": lambda key, url: token_of(SECRET, "HS256", {"exp": CLAIMS["exp"]}),
    "negative user": lambda key, url: token_of(SECRET, "HS256", {**CLAIMS, "userId": -1}),
    "bool for a user": lambda key, url: token_of(SECRET, "HS256", {**CLAIMS, "userId": True}),
}
"""Tokens that an attacker with an own key can make, also with a key set at an address."""


async def shown(gateway: Gateway, way: str, token: str) -> Client:
    """Open a socket with the token given in this way."""
    if way == "header":
        return await with_token(gateway, token)
    if way == "query":
        return await connect(f"{gateway.ws}?token={token}")
    client = await connect(gateway.ws)
    await client.send("auth", {"token": token})
    return client


@pytest.mark.parametrize("what", BAD_TOKENS)
async def test_foreign_token_is_rejected_in_every_form(what: str, attacked: tuple[Stack, Gateway]) -> None:
    _, gateway = attacked
    key = new_key("RS256")
    with KeySet(jwk(key, "RS256", kid="theirs")) as theirs:
        token = BAD_TOKENS[what](key, theirs.url)
        async with unharmed(gateway):
            for way in ("header", "query", "frame"):
                try:
                    client = await shown(gateway, way, token)
                except (websockets.InvalidHandshake, ConnectionError):  # too large for a request
                    assert (what, way) in {("60 KB", "header"), ("60 KB", "query")}
                    continue
                assert (await client.expect("auth_failed"))["data"]["reason"] == "invalid", way
                assert await client.closed() == 4401
        assert theirs.asked == 0


async def test_hundreds_of_silent_sockets_are_closed(attacked: tuple[Stack, Gateway]) -> None:
    """Close 500 silent sockets; `make proofs` opens ten thousand and judges the waits of the client beside them."""
    stack, _ = attacked
    found = await idle.attack(stack, 500, auth_timeout=5, megabytes=40)
    assert found.told == 500
    assert found.beside.answered > 0


DEAD_AFTER = ("--ping-interval", "1", "--ping-timeout", "4")
"""Options of a gateway that soon closes a silent client, but gives a slow machine time for a pong."""


async def test_slow_frame_counts_as_a_dead_connection(attacked: tuple[Stack, Gateway]) -> None:
    stack, _ = attacked
    gateway = stack.start_gateway(*DEAD_AFTER)

    async def drip(writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            while True:
                writer.write(b"x")
                await writer.drain()
                await asyncio.sleep(0.1)

    async with unharmed(gateway), raw_socket(gateway.port, new_user()) as raw:
        raw.writer.write(b"\x81\xfe\x03\xe8" + bytes(4))
        dripping = asyncio.create_task(drip(raw.writer))
        assert await close_code(raw) == 4508
        dripping.cancel()


async def test_unfinished_frame_counts_as_a_dead_connection(attacked: tuple[Stack, Gateway]) -> None:
    stack, _ = attacked
    gateway = stack.start_gateway(*DEAD_AFTER)
    async with unharmed(gateway), raw_socket(gateway.port, new_user()) as raw:
        raw.writer.write(b"\x81\xfe\x03\xe8" + bytes(4) + b'{"type":')
        assert await close_code(raw) == 4508


async def test_flood_of_pings_is_closed(attacked: tuple[Stack, Gateway]) -> None:
    _, gateway = attacked
    async with unharmed(gateway), raw_socket(gateway.port, new_user()) as raw:
        for _ in range(1_000):
            raw.send(PING, b"flood")
        assert await close_code(raw) == 4529


@pytest.mark.parametrize("part", [b"", b"x"])
async def test_message_of_endless_fragments_is_closed(part: bytes, attacked: tuple[Stack, Gateway]) -> None:
    _, gateway = attacked
    async with unharmed(gateway), raw_socket(gateway.port, new_user()) as raw:
        raw.send(TEXT, b"{", final=False)
        for _ in range(2_000):
            raw.send(CONTINUATION, part, final=False)
        assert await close_code(raw) == 4400


async def test_flood_of_frames_is_closed(attacked: tuple[Stack, Gateway]) -> None:
    _, gateway = attacked
    async with unharmed(gateway), raw_socket(gateway.port, new_user()) as raw:
        for _ in range(5_000):
            raw.send(TEXT, b'{"type":"ping"}')
        assert await close_code(raw) == 4529


def overflows(gateway: Gateway) -> float:
    """Return how many connections were closed because their client did not read."""
    return Scraped(f"{gateway.http}/metrics").total("chatws_closes_total", code="4502")


async def test_client_that_never_reads_is_closed(attacked: tuple[Stack, Gateway]) -> None:
    stack, _ = attacked
    gateway = stack.start_gateway(
        CHATWS_FRAMES_PER_SECOND="0", CHATWS_BYTES_PER_SECOND="0", CHATWS_OUTBOX_BYTES="65536", CHATWS_PUBLIC_STATUS="1"
    )
    async with unharmed(gateway), raw_socket(gateway.port, new_user(), receive_buffer=4096) as raw:
        frame = b'{"type":"ping","message_id":"%s"}' % (b"x" * 60)

        async def ask() -> None:
            try:
                while True:
                    for _ in range(100):
                        raw.send(TEXT, frame)
                    await raw.writer.drain()
            except ConnectionError:
                return

        asking = asyncio.create_task(ask())
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not await asyncio.to_thread(overflows, gateway):
                await asyncio.sleep(0.1)
        asking.cancel()


async def test_fifty_connections_of_a_user_are_limited_to_twenty(attacked: tuple[Stack, Gateway]) -> None:
    stack, gateway = attacked
    chat = Chat(stack.rpc_target)
    user, other = new_user(), new_user()
    group = await chat.group(user, other)
    async with unharmed(gateway, 60):
        clients = await asyncio.gather(*(with_token(gateway, make_token(user)) for _ in range(50)))
        gone = await first_closed(clients, 30)
        assert {client.socket.close_code for client in gone} == {4409}
        staying = [client for client in clients if client not in gone]
        began = time.monotonic()
        answers = [one for some in await asyncio.gather(*(flood(client, group) for client in staying)) for one in some]
        acked = sum(answer["type"] == "ack" for answer in answers)
        assert 50 <= acked <= 51 + 10 * (time.monotonic() - began)  # a burst of five seconds, then ten per second
        assert {answer["data"]["code"] for answer in answers if answer["type"] == "error"} == {429}
        for client in staying:
            await client.close()
    await chat.close()


async def flood(client: Client, group: str) -> list[Frame]:
    """Send ten messages at once and return the answers."""
    sent = [
        await client.send("send_message", {"group_id": group, "msg_type": 1, "content": f"{id(client)} {number}"})
        for number in range(10)
    ]
    return [await client.answer(message_id) for message_id in sent]


async def first_closed(clients: list[Client], count: int) -> list[Client]:
    """Return the clients that the gateway has closed, once there are so many."""
    closing = {asyncio.create_task(client.socket.wait_closed()): client for client in clients}
    gone: set[asyncio.Task[None]] = set()
    async with asyncio.timeout(PATIENCE_SECONDS):
        while len(gone) < count:
            done, _ = await asyncio.wait(closing.keys() - gone, return_when=asyncio.FIRST_COMPLETED)
            gone |= done
    for task in closing.keys() - gone:
        task.cancel()
    return [closing[task] for task in gone]


async def test_removed_member_cannot_return_by_retrying(attacked: tuple[Stack, Gateway]) -> None:
    stack, gateway = attacked
    chat = Chat(stack.rpc_target)
    owner, removed = new_user(), new_user()
    group = await chat.group(owner, removed)
    client = await welcomed(gateway, make_token(removed))
    speaker = await welcomed(gateway, make_token(owner))
    await chat.remove(group, removed, owner)
    await client.expect("group_left")
    async with unharmed(gateway):
        for number in range(10):
            said = await speaker.ask("send_message", {"group_id": group, "msg_type": 1, "content": f"secret {number}"})
            assert said["type"] == "ack"
            joined = await client.ask("join_group", {"group_id": group})
            sent = await client.ask("send_message", {"group_id": group, "msg_type": 1, "content": "let me in"})
            assert [joined["data"]["code"], sent["data"]["code"]] == [403, 403]
            again = await welcomed(gateway, make_token(removed))
            assert f"group:{group}" not in [place["feed"] for place in again.seen[0]["data"].get("feeds", [])]
            await again.close()
    assert "secret" not in str(await client.settled())
    for one in (client, speaker):
        await one.close()
    await chat.close()


@pytest.mark.parametrize(
    "request_line",
    [
        b"GET /ws HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"GET /health HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
        b"GET /health HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
        b"GET /health HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
        b"GET /health HTTP/1.1\r\nHost: localhost\r\nX: a\nb: c\r\nContent-Length: -1\r\n\r\n",
        b"GET /health HTTP/1.1\r\nHost: localhost\r\nX: " + b"y" * 100_000 + b"\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00",
    ],
)  # fmt: skip
async def test_ambiguous_request_is_rejected(request_line: bytes, attacked: tuple[Stack, Gateway]) -> None:
    """Send a request that a proxy may take for one; the gateway must not take it for two."""
    _, gateway = attacked
    async with unharmed(gateway):
        reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
        writer.write(request_line)
        answer = await ended(reader)
        assert answer.count(b"HTTP/1.1 ") <= 1
        assert b" 200 " not in answer
        writer.close()
