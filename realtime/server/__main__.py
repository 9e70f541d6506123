"""The command line of our server: `python -m realtime.server config.asgi:application`.

Plain `daphne` serves the same application, without this folder's features.
"""

# ruff: noqa: E402
import gc

GARBAGE_THRESHOLDS = 50_000, 20, 50
if __name__ == "__main__":  # imported objects stay: collecting garbage among them took a fifth of the start
    gc.set_threshold(*GARBAGE_THRESHOLDS)

import argparse
import asyncio
import sys
from collections.abc import Sequence
from contextlib import suppress

from realtime.server import lean_daphne  # noqa: F401  # isort: skip  # before daphne, autobahn and Twisted

from daphne.cli import DEFAULT_HOST, DEFAULT_PORT
from daphne.cli import CommandLineInterface as DaphneCommandLine
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.utils.log import configure_logging

from realtime import conf
from realtime.exceptions import RedisUnavailable
from realtime.redis.client import connect, wait_for_redis
from realtime.server import supervisor
from realtime.server.daphne import Server

NO_LIMIT = -1


class CommandLine(DaphneCommandLine):  # type: ignore[misc]
    """daphne's command line with all its options, this gateway's defaults and `--workers`."""

    description = "The chat gateway: daphne with this project's defaults"
    server_class = Server

    def __init__(self) -> None:
        super().__init__()
        self.parser.prog = "python -m realtime.server"
        self.parser.add_argument(
            "--workers", type=int, default=1, help="number of processes that accept on the port; a dead one is replaced"
        )
        self.parser.set_defaults(
            verbosity=0,
            server_name="",
            websocket_timeout=NO_LIMIT,
            websocket_max_message_size=None,
            websocket_max_frame_size=None,
        )

    def run(self, args: Sequence[str]) -> None:
        """Parse the options, wait for Redis, then serve."""
        options = self.parser.parse_args(args)
        if options.workers != 1:
            sys.exit(self._supervise(options, args))
        try:
            self.load_asgi_app(options.application)  # this loads the settings, too
        except ImproperlyConfigured as error:
            sys.exit(str(error))
        given = conf.get()
        limit = str(given.max_frame_bytes)
        extra = []
        if options.websocket_max_message_size is None:
            extra += ["--websocket-max-message-size", limit]
        if options.websocket_max_frame_size is None:
            extra += ["--websocket-max-frame-size", limit]
        try:
            asyncio.run(_redis_is_there(given))
        except RedisUnavailable as error:
            sys.exit(str(error))
        except KeyboardInterrupt:
            sys.exit(130)
        # Connections create many long-lived objects: collecting garbage among them took a quarter of accepting.
        gc.freeze()
        super().run([*extra, *args])

    def _supervise(self, options: argparse.Namespace, args: Sequence[str]) -> int:
        if options.workers < 1:
            self.parser.error("--workers: 1 or more")
        if ":" in (options.host or ""):
            self.parser.error(f"--workers: takes an IPv4 address to --bind, not {options.host}")
        if options.socket_strings or options.unix_socket or options.file_descriptor is not None:
            self.parser.error("--workers: takes --bind and --port, not -e, -u or --fd")
        own = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
        own.add_argument("--workers")
        own.add_argument("-b", "--bind")
        own.add_argument("-p", "--port")
        _, rest = own.parse_known_args(args)
        port = DEFAULT_PORT if options.port is None else options.port
        with suppress(ImproperlyConfigured):  # without DJANGO_SETTINGS_MODULE: log plain lines
            configure_logging(settings.LOGGING_CONFIG, settings.LOGGING)
        with supervisor.bind(options.host or DEFAULT_HOST, port) as listening:
            command = [sys.executable, "-m", "realtime.server", "--fd", str(listening.fileno()), *rest]
            return supervisor.supervise(command, options.workers, listening)


async def _redis_is_there(given: conf.RealtimeConf) -> None:
    async with connect(given.redis_url) as client:
        await wait_for_redis(client, given.redis_url, given.start_timeout)


if __name__ == "__main__":
    CommandLine.entrypoint()
