"""Serve `/health`, `/ready` and `/metrics` in processes without a web server: the relay and the reference service.

The probes are served by the process's own event loop, so `/health` fails if that hangs. Each connection gets one answer
and a few seconds, so one that is silent, slow or never read costs no other prober anything.
"""

import asyncio
import json
import logging
import re
from argparse import ArgumentParser
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from http import HTTPStatus

from realtime.exceptions import ListenError
from realtime.observability import metrics
from realtime.observability.dependencies import Check, answer_of

logger = logging.getLogger(__name__)

CONNECTION_SECONDS = 5.0
"""How long a connection may take, from its first byte to its end."""
MOST_CONNECTIONS = 64
"""Beyond these the oldest connection is dropped: a flood of silent ones must not keep out a prober."""
MOST_HEAD_BYTES = 8_192
MOST_DROPPED_BYTES = 1_048_576
REQUEST_LINE = re.compile(rb"([A-Z]+) (/[!-~]*) HTTP/1\.[01]\r\n")
BODY = re.compile(rb"\r\n(?:content-length:[ \t]*0*[^0\s]|transfer-encoding:)", re.IGNORECASE)


def add_option(parser: ArgumentParser) -> None:
    """Add `--probes HOST:PORT` to a command."""
    parser.add_argument(
        "--probes",
        default="",
        metavar="HOST:PORT",
        help="address to serve /health, /ready and /metrics on by HTTP (default: none)",
    )


@asynccontextmanager
async def listening_on(address: str, checks: Mapping[str, Check]) -> AsyncIterator[None]:
    """Serve the probes on ``host:port`` inside the context; do nothing for an empty address.

    Raises:
        ListenError: the address is malformed, or the process cannot listen on it.
    """
    if not address:
        yield
        return
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit():
        raise ListenError(f"--probes: {address!r} is not HOST:PORT")
    probes = _Probes(checks)
    try:
        server = await asyncio.start_server(probes.serve, host.strip("[]"), int(port), limit=MOST_HEAD_BYTES)
    except (OSError, OverflowError) as error:
        raise ListenError(f"--probes: can't listen on {address}: {error}") from error
    logger.info("probes and metrics at http://%s/", address)
    try:
        yield
    finally:
        server.close()
        await probes.drop_all()


class _Probes:
    def __init__(self, checks: Mapping[str, Check]) -> None:
        self._checks = checks
        self._open: dict[asyncio.StreamWriter, None] = {}

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one request and close the connection."""
        self._open[writer] = None
        if len(self._open) > MOST_CONNECTIONS:
            oldest = next(iter(self._open))
            del self._open[oldest]
            oldest.transport.abort()
        try:
            async with asyncio.timeout(CONNECTION_SECONDS):
                writer.write(await self._answer(reader))
                writer.write_eof()
                await writer.drain()
                # With bytes of the client unread, a close would be a reset, which can overtake the answer.
                dropped = 0
                while dropped <= MOST_DROPPED_BYTES and (part := await reader.read(MOST_HEAD_BYTES)):
                    dropped += len(part)
        except (TimeoutError, OSError, asyncio.IncompleteReadError):
            pass
        finally:
            self._open.pop(writer, None)
            writer.transport.abort()

    async def drop_all(self) -> None:
        """Close every connection."""
        writers = list(self._open)
        for writer in writers:
            writer.transport.abort()
        await asyncio.gather(*(writer.wait_closed() for writer in writers), return_exceptions=True)

    async def _answer(self, reader: asyncio.StreamReader) -> bytes:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
        except asyncio.LimitOverrunError:
            return _response(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
        request = REQUEST_LINE.match(head)
        if request is None:
            return _response(HTTPStatus.BAD_REQUEST)
        method, target = request[1], request[2].partition(b"?")[0]
        if method not in (b"GET", b"HEAD"):
            return _response(HTTPStatus.METHOD_NOT_ALLOWED, more="Allow: GET, HEAD\r\n")
        if BODY.search(head):
            return _response(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
        return _response(*await self._probe(target), has_body=method == b"GET")

    async def _probe(self, path: bytes) -> tuple[HTTPStatus, bytes, str]:
        if path == b"/health":
            return HTTPStatus.OK, b"OK", "text/plain"
        if path == b"/metrics":
            return HTTPStatus.OK, await metrics.render(), metrics.CONTENT_TYPE_LATEST
        if path == b"/ready":
            states = dict(zip(self._checks, await asyncio.gather(*map(answer_of, self._checks.values())), strict=True))
            is_well = all(state == "ok" for state in states.values())
            status = HTTPStatus.OK if is_well else HTTPStatus.SERVICE_UNAVAILABLE
            return status, json.dumps(states).encode(), "application/json"
        return HTTPStatus.NOT_FOUND, b"not found", "text/plain"


def _response(
    status: HTTPStatus, body: bytes = b"", kind: str = "text/plain", *, more: str = "", has_body: bool = True
) -> bytes:
    head = (
        f"HTTP/1.1 {status.value} {status.phrase}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n"
        f"{more}Connection: close\r\n\r\n"
    )
    return head.encode() + (body if has_body else b"")
