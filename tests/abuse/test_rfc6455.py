"""Check RFC 6455 case by case on the gateway: text, binary, fragments, invalid UTF-8, and answers to a close."""

import asyncio
import json

import pytest

from tests.support.chat import new_user
from tests.support.raw import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, RawSocket, frame_of, raw_socket
from tests.support.stack import Gateway

pytestmark = pytest.mark.ours_only  # other servers drop the connection without a code

HELLO = json.dumps({"type": "ping", "message_id": "hé€𝄞"}, ensure_ascii=False).encode()
RSV1, FINAL = 0x40, 0x80


async def outcome(raw: RawSocket) -> list[tuple[int, object]]:
    """Return the frames up to the close or the second text: opcode, and payload, message id or close code."""
    seen: list[tuple[int, object]] = []
    while True:
        try:
            opcode, payload = await raw.frame()
        except (asyncio.IncompleteReadError, ConnectionError):
            return [*seen, (CLOSE, 1006)]
        if opcode == CLOSE:
            return [*seen, (CLOSE, int.from_bytes(payload[:2]) if payload else 1005)]
        if opcode == TEXT:
            frame = json.loads(payload)
            seen.append((TEXT, f"{frame['type']} {frame['message_id']}"))
            if frame["message_id"] == "end":
                return seen[:-1]
        else:
            seen.append((opcode, payload))


PONGED = (TEXT, "pong hé€𝄞")
TEXTS = [
    ("text in one frame", [(TEXT, HELLO)], [PONGED]),
    ("text in two frames", [(TEXT, HELLO[:9], False), (CONTINUATION, HELLO[9:])], [PONGED]),
    (
        "a frame for each byte, also inside a character",
        [(TEXT, HELLO[:1], False), *((CONTINUATION, HELLO[i : i + 1], False) for i in range(1, len(HELLO) - 1)),
         (CONTINUATION, HELLO[-1:])],
        [PONGED],
    ),
    ("an empty first part", [(TEXT, b"", False), (CONTINUATION, HELLO)], [PONGED]),
    ("an empty last part", [(TEXT, HELLO, False), (CONTINUATION, b"")], [PONGED]),
    (
        "a ping between parts",
        [(TEXT, HELLO[:9], False), (PING, b"now"), (CONTINUATION, HELLO[9:])],
        [(PONG, b"now"), PONGED],
    ),
    ("a ping without payload", [(PING, b"")], [(PONG, b"")]),
    ("a ping of 125 bytes", [(PING, bytes(125))], [(PONG, bytes(125))]),
    ("a pong that nobody asked for", [(PONG, b"here")], []),
    ("binary", [(BINARY, b"\x00\xff")], [(TEXT, "error ")]),
    ("binary in parts", [(BINARY, b"\x00", False), (CONTINUATION, b"\xff")], [(TEXT, "error ")]),
    ("empty text", [(TEXT, b"")], [(TEXT, "error ")]),
]  # fmt: skip


@pytest.mark.parametrize(("frames", "expected"), [case[1:] for case in TEXTS], ids=[case[0] for case in TEXTS])
async def test_frames_allowed_by_the_rfc_are_served(
    frames: list[tuple[int, bytes] | tuple[int, bytes, bool]], expected: list[tuple[int, object]], gateway: Gateway
) -> None:
    async with raw_socket(gateway.port, new_user()) as raw:
        for opcode, payload, *final in frames:
            raw.send(opcode, payload, final=final[0] if final else True)
        raw.send(TEXT, b'{"type":"ping","message_id":"end"}')
        assert await outcome(raw) == expected


REFUSED = [
    ("a frame without a mask", b"\x81\x02{}", 1002),
    ("a reserved bit", frame_of(FINAL | RSV1 | TEXT, HELLO), 1002),
    *((f"reserved opcode {opcode}", frame_of(FINAL | opcode, b""), 1002) for opcode in (3, 7, 11, 15)),
    ("a ping in parts", frame_of(PING, b"a"), 1002),
    ("a ping of 126 bytes", frame_of(FINAL | PING, bytes(126)), 1002),
    ("a part of nothing", frame_of(FINAL | CONTINUATION, b"a"), 1002),
    ("a text within a text", frame_of(TEXT, b"a") + frame_of(FINAL | TEXT, b"b"), 1002),
    ("a length in more bytes than it needs", b"\x81\xfe\x00\x05" + bytes(4) + b"hello", 1002),
    ("a 64 bit length below 64 KiB", b"\x81\xff" + (5).to_bytes(8) + bytes(4) + b"hello", 1002),
    ("a length with the highest bit", b"\x81\xff" + b"\xff" * 8 + bytes(4), 1002),
    ("a length over the limit, before a byte of it came", b"\x81\xff" + (2**40).to_bytes(8) + bytes(4), 1009),
    ("a message over the limit in parts", frame_of(TEXT, bytes(40_000)) + frame_of(CONTINUATION, bytes(40_000)), 1009),
    ("a close of one byte", frame_of(FINAL | CLOSE, b"\x03"), 1002),
    ("a close with a reason that is not UTF-8", frame_of(FINAL | CLOSE, b"\x03\xe8\xff"), 1007),
    *(
        (f"close code {code}", frame_of(FINAL | CLOSE, code.to_bytes(2)), 1002)
        for code in (0, 999, 1004, 1005, 1006, 1015)
    ),
    *(
        (f"not UTF-8: {bad!r}", frame_of(FINAL | TEXT, bad), 1007)
        for bad in (b"\xff", b"\xc0\xaf", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"a\xe2\x82", b"\x80")
    ),
    ("not UTF-8, before the message is whole", frame_of(TEXT, b"a\xff"), 1007),
]  # fmt: skip


@pytest.mark.parametrize(("sent", "code"), [case[1:] for case in REFUSED], ids=[case[0] for case in REFUSED])
async def test_forbidden_frames_close_with_their_code(sent: bytes, code: int, gateway: Gateway) -> None:
    async with raw_socket(gateway.port, new_user()) as raw:
        raw.writer.write(sent)
        assert await outcome(raw) == [(CLOSE, code)]


@pytest.mark.parametrize("code", [1000, 1001, 1011, 3000, 4999])
async def test_close_is_answered_with_its_code(code: int, gateway: Gateway) -> None:
    async with raw_socket(gateway.port, new_user()) as raw:
        raw.send(CLOSE, code.to_bytes(2) + b"bye")
        assert await outcome(raw) == [(CLOSE, code)]


async def test_nothing_is_served_after_a_close(gateway: Gateway) -> None:
    async with raw_socket(gateway.port, new_user()) as raw:
        raw.send(CLOSE, (1000).to_bytes(2))
        raw.send(TEXT, HELLO)
        assert await outcome(raw) == [(CLOSE, 1000)]
