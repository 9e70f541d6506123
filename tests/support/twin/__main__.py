"""Run a twin of the Go platform: a chat service and a user service that answer as the recorded ones do.

`python -m tests.support.twin --port … --user-port … --database … --redis …` runs both. Every failure of the chat
service has the same status. A total counts disbanded groups. A message that is stored already is an error; nothing else
of a message is checked. Only activity events make it publish. `Twin.tell` injects failures.
"""

import argparse
import asyncio
import signal
from contextlib import closing
from pathlib import Path

import grpc
import redis.asyncio

from realtime.aio import tasks
from tests.support.twin.platform import Platform
from tests.support.twin.store import Store


async def serve(port: int, user_port: int, database: Path, redis_url: str) -> None:
    """Serve until SIGTERM."""
    with closing(Store(database)) as store:
        events = redis.asyncio.Redis.from_url(redis_url)
        platform = Platform(store, events)
        servers = []
        for listen in (port, user_port):
            server = grpc.aio.server()
            server.add_generic_rpc_handlers([platform])
            server.add_insecure_port(f"127.0.0.1:{listen}")
            await server.start()
            servers.append(server)
        following = asyncio.create_task(platform.follow_events())
        stopping = asyncio.Event()
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopping.set)
        await stopping.wait()
        await tasks.end([following])  # one cancellation may be lost: redis-py turns it into a time-out
        for server in servers:
            await server.stop(0.5)
        await events.aclose()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.support.twin", description=__doc__)
    parser.add_argument("--port", type=int, required=True, help="of the chat service")
    parser.add_argument("--user-port", type=int, required=True, help="of the user service")
    parser.add_argument("--database", type=Path, required=True, help="file that keeps what is stored")
    parser.add_argument("--redis", required=True, help="URL of the Redis with the topics")
    given = parser.parse_args()
    asyncio.run(serve(given.port, given.user_port, given.database, given.redis))


if __name__ == "__main__":
    main()
