"""Serve `/health`, `/ready` and `/metrics` in processes without a web server: the relay and the reference service."""

import json
import logging
import threading
from argparse import ArgumentParser
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, make_server

from realtime.exceptions import ListenError
from realtime.observability import metrics

logger = logging.getLogger(__name__)

State = Callable[[], Mapping[str, str]]
"""Returns the process's dependencies, each ``ok`` or a reason. It is called in another thread."""


def add_option(parser: ArgumentParser) -> None:
    """Add `--probes HOST:PORT` to a command."""
    parser.add_argument(
        "--probes",
        default="",
        metavar="HOST:PORT",
        help="address to serve /health, /ready and /metrics on by HTTP (default: none)",
    )


class _QuietHandler(WSGIRequestHandler):
    def log_message(self, *args: Any) -> None:
        """Log nothing: probes come every few seconds."""


@contextmanager
def listening_on(address: str, state: State) -> Iterator[None]:
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

    def application(environ: Mapping[str, Any], start: Callable[..., object]) -> Iterable[bytes]:
        status, kind, body = _answer(environ.get("PATH_INFO", ""), state)
        start(status, [("Content-Type", kind), ("Content-Length", str(len(body)))])
        return [body]

    try:
        server = make_server(host, int(port), application, handler_class=_QuietHandler)
    except (OSError, OverflowError) as error:
        raise ListenError(f"--probes: can't listen on {address}: {error}") from error
    thread = threading.Thread(target=server.serve_forever, name="probes", daemon=True)
    thread.start()
    logger.info("probes and metrics at http://%s/", address)
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()


def _answer(path: str, state: State) -> tuple[str, str, bytes]:
    if path == "/health":
        return "200 OK", "text/plain", b"OK"
    if path == "/metrics":
        return "200 OK", metrics.CONTENT_TYPE_LATEST, metrics.render()
    if path == "/ready":
        states = state()
        well = all(value == "ok" for value in states.values())
        return "200 OK" if well else "503 Service Unavailable", "application/json", json.dumps(states).encode()
    return "404 Not Found", "text/plain", b"not found"
