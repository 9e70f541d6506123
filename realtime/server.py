"""daphne's server and command line with options that fit: `python -m realtime.server config.asgi:application`.

The only door to daphne and Twisted. Plain `daphne` serves the same application, without what stands here.
"""

import asyncio
import sys
from collections.abc import Sequence
from typing import Any

from daphne import server as daphne_server  # installs the asyncio reactor: before anything of Twisted
from daphne.cli import CommandLineInterface as DaphneCommandLine
from django.core.exceptions import ImproperlyConfigured
from twisted.internet import defer
from twisted.internet import reactor as twisted_reactor

from realtime import conf
from realtime.exceptions import RedisUnavailable
from realtime.redis import connect, wait_for_redis

NO_LIMIT = -1
reactor: Any = twisted_reactor  # its declared interface isn't what the type checker takes it for


class Server(daphne_server.Server):  # type: ignore[misc]  # daphne has no types
    """daphne's server that tells clients why it closes (1007, 1009), and tells the application when it starts and ends.

    daphne drops a connection whose frame is bad; it has no ASGI lifespan.
    """

    @property
    def ws_factory(self) -> Any:
        """daphne's factory of WebSocket protocols."""
        return self._ws_factory

    @ws_factory.setter
    def ws_factory(self, factory: Any) -> None:
        factory.setProtocolOptions(failByDrop=False)
        self._ws_factory = factory

    def run(self) -> None:
        """Serve until SIGTERM or SIGINT."""
        self._events: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._started = False
        reactor.callLater(0, self._start_application)
        super().run()

    def _start_application(self) -> None:
        self._events.put_nowait({"type": "lifespan.startup"})
        scope = {"type": "lifespan", "asgi": {"version": "3.0", "spec_version": "2.0"}, "state": {}}
        self._lifespan = asyncio.ensure_future(self.application(scope, self._events.get, _ignore))
        self._started = True

    def kill_all_applications(self) -> Any:
        """End the connections' applications, then the process's own; the reactor waits for both.

        daphne's own stumbles over a connection whose application has ended, and would leave out what follows.
        """
        running = [details.get("application_instance") for details in self.connections.values()]
        tasks = [task for task in running if task is not None and not task.done()]
        return defer.Deferred.fromFuture(asyncio.ensure_future(self._end(tasks)))

    async def _end(self, tasks: list[asyncio.Task[None]]) -> None:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._started:
            self._events.put_nowait({"type": "lifespan.shutdown"})
            await self._lifespan


class CommandLine(DaphneCommandLine):  # type: ignore[misc]
    """daphne's command line with this gateway's defaults; every option of daphne is there."""

    description = "The chat gateway: daphne with this project's defaults"
    server_class = Server

    def __init__(self) -> None:
        super().__init__()
        self.parser.prog = "python -m realtime.server"
        self.parser.set_defaults(
            verbosity=0,
            server_name="",
            websocket_timeout=NO_LIMIT,
            websocket_max_message_size=None,
            websocket_max_frame_size=None,
        )

    def run(self, args: Sequence[str]) -> None:
        """Parse, wait for Redis, serve."""
        options = self.parser.parse_args(args)
        try:
            self.load_asgi_app(options.application)  # it loads the settings too
        except ImproperlyConfigured as error:
            sys.exit(str(error))
        settings = conf.get()
        limit = str(settings.max_frame_bytes)
        extra = []
        if options.websocket_max_message_size is None:
            extra += ["--websocket-max-message-size", limit]
        if options.websocket_max_frame_size is None:
            extra += ["--websocket-max-frame-size", limit]
        try:
            asyncio.run(_redis_is_there(settings))
        except RedisUnavailable as error:
            sys.exit(str(error))
        except KeyboardInterrupt:
            sys.exit(130)
        super().run([*extra, *args])


async def _redis_is_there(settings: conf.RealtimeConf) -> None:
    client = connect(settings.redis_url)
    try:
        await wait_for_redis(client, settings.redis_url, settings.start_timeout)
    finally:
        await client.aclose()


async def _ignore(message: dict[str, Any]) -> None:
    """The application's words about its start and end; there is nothing to do with them."""


if __name__ == "__main__":
    CommandLine.entrypoint()
