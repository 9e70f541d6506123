"""Check whether a connection's first bytes are a plain WebSocket request or belong to daphne's HTTP."""

import pytest

from realtime.server.sniffer import MAX_BYTES, websocket_query

HEAD = b"Host: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"


def request(line: bytes = b"GET /ws HTTP/1.1", headers: bytes = HEAD) -> bytes:
    return line + b"\r\n" + headers + b"\r\n"


@pytest.mark.parametrize(
    ("line", "query"),
    [
        (b"GET /ws HTTP/1.1", b""),
        (b"GET / HTTP/1.1", b""),
        (b"GET /ws? HTTP/1.1", b""),
        (b"GET /ws?token=a.b-c_d&x=%20 HTTP/1.1", b"token=a.b-c_d&x=%20"),
        (b"GET /w%C3%A4?a?b HTTP/1.1", b"a?b"),
    ],
)
def test_plain_request_is_recognised_with_its_query(line: bytes, query: bytes) -> None:
    assert websocket_query(request(line)) == query


@pytest.mark.parametrize("upgrade", [b"upgrade: WebSocket", b"UPGRADE:websocket", b"Upgrade: \t websocket \t"])
def test_upgrade_header_ignores_case_and_spaces(upgrade: bytes) -> None:
    assert websocket_query(request(headers=HEAD.replace(b"Upgrade: websocket", upgrade))) == b""


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"GET /ws HTT",
        request()[:-1],  # not complete
        request() + b"\x81\x80",  # more bytes than a request
        request(headers=b"Host: localhost\r\n"),
        request(headers=HEAD + b"Upgrade: h2c\r\n"),
        request(headers=HEAD + b"X-Upgrade: x\r\nContent-Length: 3\r\n"),
        request(headers=HEAD + b"transfer-encoding: chunked\r\n"),
        request(headers=HEAD + b"Expect: 100-continue\r\n"),
        request(headers=HEAD + b" folded: line\r\n"),
        request(headers=HEAD + b"X y: space in the name\r\n"),
        request(headers=HEAD + b"X-Y : space before the colon\r\n"),
        request(headers=HEAD + b"X: \x00\r\n"),
        request(headers=HEAD + b"X: \xff\r\n"),
        request(headers=HEAD + b"X: a\nb: c\r\n"),
        request(headers=HEAD + b"X: a\rb\r\n"),
        request(headers=HEAD + b"X: " + b"x" * MAX_BYTES + b"\r\n"),
        request(b"POST /ws HTTP/1.1"),
        request(b"GET /ws HTTP/1.0"),
        request(b"GET ws HTTP/1.1"),
        request(b"GET http://localhost/ws HTTP/1.1"),
        request(b"GET /ws#fragment HTTP/1.1"),
        request(b"GET /ws?a#b HTTP/1.1"),
        request(b"GET /w s HTTP/1.1"),
        request(b"GET /w\xc3\xa4 HTTP/1.1"),
        request(b"GET  /ws HTTP/1.1"),
    ],
)
def test_other_requests_are_left_to_http(data: bytes) -> None:
    assert websocket_query(data) is None
