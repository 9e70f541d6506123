"""Check which bytes are a PROXY header; tests/contract/test_proxy.py uses real sockets."""

import pytest

from realtime.server.proxy_protocol import MOST_BYTES, SIGNATURE, Header, Malformed, read_header

IPV4 = bytes([203, 0, 113, 9, 10, 0, 0, 1]) + (51_234).to_bytes(2) + (443).to_bytes(2)
IPV6 = bytes.fromhex("20010db8000000000000000000000009" + "0" * 31 + "1") + (51_234).to_bytes(2) + (443).to_bytes(2)


def binary(command: int, family: int, payload: bytes) -> bytes:
    return SIGNATURE + bytes([command, family]) + len(payload).to_bytes(2) + payload


GOOD = [
    (b"PROXY TCP4 203.0.113.9 10.0.0.1 51234 443\r\n", ("203.0.113.9", 51_234)),
    (b"PROXY TCP6 2001:db8::9 ::1 51234 443\r\n", ("2001:db8::9", 51_234)),
    (b"PROXY UNKNOWN\r\n", ("", 0)),
    (b"PROXY UNKNOWN ffff::1 ffff::2 1 2\r\n", ("", 0)),
    (binary(0x21, 0x11, IPV4), ("203.0.113.9", 51_234)),
    (binary(0x21, 0x21, IPV6), ("2001:db8::9", 51_234)),
    (binary(0x21, 0x11, IPV4 + b"\x04\x00\x03abc" + b"\x20\x00\x05\x01\x00\x00\x00\x00"), ("203.0.113.9", 51_234)),
    (binary(0x20, 0x00, b""), ("", 0)),
    (binary(0x20, 0x11, IPV4), ("", 0)),
    (binary(0x21, 0x00, b""), ("", 0)),
    (binary(0x21, 0x31, bytes(216)), ("", 0)),
    (binary(0x21, 0x12, IPV4), ("", 0)),
]


@pytest.mark.parametrize(("data", "client"), GOOD)
def test_header_is_read_with_any_split(data: bytes, client: tuple[str, int]) -> None:
    assert read_header(data) == read_header(data + b"GET /") == Header(len(data), *client)
    assert {read_header(data[:size]) for size in range(len(data))} == {None}


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"GET / HTTP/1.1\r\n", "no PROXY header"),
        (b"PROXX", "no PROXY header"),
        (b"\r\n\r\n\x00\r\nQUIX", "no PROXY header"),
        (b"PROXY TCP4 203.0.113.9 10.0.0.1 51234\r\n", "version 1"),
        (b"PROXY TCP4 203.0.113.999 10.0.0.1 1 2\r\n", "version 1"),
        (b"PROXY TCP4 2001:db8::9 ::1 1 2\r\n", "family"),
        (b"PROXY TCP6 203.0.113.9 10.0.0.1 1 2\r\n", "family"),
        (b"PROXY TCP4 203.0.113.9 10.0.0.1 70000 2\r\n", "port"),
        (b"PROXY TCP4  203.0.113.9 10.0.0.1 1 2\r\n", "version 1"),
        (b"PROXY UDP4 203.0.113.9 10.0.0.1 1 2\r\n", "version 1"),
        (b"PROXY " + b"x" * 200, "too long"),
        (binary(0x11, 0x11, IPV4), "command"),
        (binary(0x22, 0x11, IPV4), "command"),
        (binary(0x21, 0x11, IPV4[:11]), "too short"),
        (binary(0x21, 0x21, IPV4), "too short"),
        (binary(0x21, 0x11, bytes(MOST_BYTES)), "bytes"),
    ],
)
def test_other_bytes_are_malformed(data: bytes, problem: str) -> None:
    with pytest.raises(Malformed, match=problem):
        read_header(data)
