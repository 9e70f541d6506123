"""Check the channel layer contract on our layer, on the stock pub/sub layer, and on both in one cluster.

Each runs in every setup of the stock layer: one Redis, several, by Sentinel, over TLS, encrypted.
"""

import asyncio
import signal
import ssl
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import redis.asyncio
from channels_redis.pubsub import RedisPubSubChannelLayer

from realtime.layers.redis_pubsub import RedisPubSubLayer
from tests.support.processes import Handle
from tests.support.proxy import Proxy
from tests.support.redis import RedisServer, free_port, run
from tests.support.tls import make_certificate
from tests.support.waiting import LIMIT, until, until_answer, until_news

KINDS = {"ours": RedisPubSubLayer, "stock": RedisPubSubChannelLayer}
SETUPS = ("url", "fields", "two", "encrypted", "sentinel", "tls")


class Setup:
    """A configuration of layers, and their servers as redis-py clients."""

    def __init__(self, options: Mapping[str, Any], clients: list[Any]) -> None:
        self.options = dict(options)
        self.clients = clients

    async def subscribers(self, group: str) -> int:
        """Return the number of connections subscribed to a group, over all servers."""
        name = f"chatws:test__group__{group}"
        return sum([dict(await client.pubsub_numsub(name))[name.encode()] for client in self.clients])


class Ears:
    """A channel of a layer and the messages it received."""

    def __init__(self, layer: Any, setup: Setup) -> None:
        self.layer = layer
        self.heard: list[dict[str, Any]] = []
        self._setup = setup
        self._news = asyncio.Event()

    async def open(self) -> "Ears":
        self.channel = await self.layer.new_channel()
        self._listening = asyncio.create_task(self._listen())
        return self

    async def close(self) -> None:
        self._listening.cancel()
        await asyncio.wait([self._listening])
        clients = [shard._redis for shard in self.layer._get_layer()._shards if shard._redis is not None]
        await self.layer.flush()
        for client in clients:  # the stock layer does not close its connections to the Sentinels
            for sentinel in getattr(getattr(client.connection_pool, "sentinel_manager", None), "sentinels", ()):
                await sentinel.aclose()

    async def join(self, group: str) -> None:
        """Join a group and wait until the subscription is active; the stock layer does not wait."""
        before = await self._setup.subscribers(group)
        await self.layer.group_add(group, self.channel)
        await until_answer(lambda: self._setup.subscribers(group), lambda count: count > before, "it has subscribed")

    async def until(self, *messages: dict[str, Any]) -> None:
        """Return once exactly these messages have arrived, in this order."""

        def are_all_here() -> bool:
            assert self.heard == list(messages)[: len(self.heard)]
            return len(self.heard) == len(messages)

        await until_news(self._news, are_all_here, f"{len(messages)} messages")

    async def _listen(self) -> None:
        while True:
            self.heard.append(await self.layer.receive(self.channel))
            self._news.set()


@dataclass(frozen=True)
class Servers:
    """Two Redis servers, a Sentinel for the first, and a certificate with its key."""

    one: RedisServer
    two: RedisServer
    sentinel_port: int
    key: Path
    certificate: Path


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    one, two = RedisServer(tmp_path_factory.mktemp("one")), RedisServer(tmp_path_factory.mktemp("two"))
    with ExitStack() as stack:
        for server in (one, two):
            server.start()
            stack.callback(server.stop)
        process, port = start_sentinel(tmp_path_factory.mktemp("sentinel"), one.port)
        stack.callback(end, process)
        yield Servers(one, two, port, *make_certificate(tmp_path_factory.mktemp("tls")))


def start_sentinel(folder: Path, watched: int) -> tuple[Handle, int]:
    """Start a Sentinel that monitors one server as `chat`; return its process and port."""
    port = free_port()
    conf = folder / "sentinel.conf"
    conf.write_text(
        f"port {port}\nbind 127.0.0.1\ndir {folder}\nlogfile {folder}/log\n"
        f"sentinel monitor chat 127.0.0.1 {watched} 1\n"
    )
    return run([str(conf), "--sentinel"], port, folder), port


def end(process: Handle) -> None:
    process.send_signal(signal.SIGTERM)
    process.wait(LIMIT)


@pytest.fixture(params=SETUPS)
async def setup(request: pytest.FixtureRequest, servers: Servers) -> AsyncIterator[Setup]:
    async with AsyncExitStack() as stack:
        one, two = servers.one, servers.two
        urls = [one.url]
        options: dict[str, Any] = {"hosts": urls}
        if request.param == "fields":
            options["hosts"] = [{"host": "127.0.0.1", "port": one.port}]
        elif request.param == "two":
            urls = options["hosts"] = [one.url, two.url]
        elif request.param == "encrypted":
            options["symmetric_encryption_keys"] = ["a key of a test"]
        elif request.param == "sentinel":
            options["hosts"] = [{"sentinels": [("127.0.0.1", servers.sentinel_port)], "master_name": "chat"}]
        elif request.param == "tls":
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(servers.certificate, servers.key)
            proxy = await stack.enter_async_context(Proxy(one.port, tls=context))
            address = f"rediss://localhost:{proxy.port}/0"
            options["hosts"] = [{"address": address, "ssl_ca_certs": str(servers.certificate)}]
        clients: list[Any] = [redis.asyncio.Redis.from_url(url) for url in urls]
        yield Setup({**options, "prefix": "chatws:test"}, clients)
        for client in clients:
            await client.aclose()


@asynccontextmanager
async def listening(setup: Setup, *kinds: str) -> AsyncIterator[list[Ears]]:
    """Open a channel on a separate layer for each of these kinds."""
    ears = [await Ears(KINDS[kind](**setup.options), setup).open() for kind in kinds]
    try:
        yield ears
    finally:
        for one in ears:
            await one.close()


BOTH_WAYS = pytest.mark.parametrize(
    ("speaker", "listener"), [("ours", "ours"), ("ours", "stock"), ("stock", "ours"), ("stock", "stock")]
)


@BOTH_WAYS
async def test_group_messages_reach_each_channel_once_in_order(setup: Setup, speaker: str, listener: str) -> None:
    async with listening(setup, speaker, listener, listener) as (says, one, two):
        for ears in (says, one, two):
            await ears.join("g")
        messages = [{"type": "test", "n": number, "bytes": bytes([number, 0, 255])} for number in range(50)]
        for message in messages:
            await says.layer.group_send("g", message)
        for ears in (says, one, two):
            await ears.until(*messages)


@BOTH_WAYS
async def test_channel_receives_only_its_groups(setup: Setup, speaker: str, listener: str) -> None:
    async with listening(setup, speaker, listener) as (says, hears):
        for group in ("a", "b", "c"):
            await hears.join(group)
        await hears.layer.group_discard("b", hears.channel)
        for group in ("a", "b", "other", "c"):
            await says.layer.group_send(group, {"group": group})
        await hears.until({"group": "a"}, {"group": "c"}) if len(setup.clients) == 1 else await ends_as(hears, "a", "c")


async def ends_as(hears: Ears, *groups: str) -> None:
    """Return once these messages have arrived; groups on several servers have no common order."""
    await until(lambda: len(hears.heard) >= len(groups), what=f"{len(groups)} messages")
    assert sorted(message["group"] for message in hears.heard) == sorted(groups)


@BOTH_WAYS
async def test_message_to_a_channel_reaches_only_it(setup: Setup, speaker: str, listener: str) -> None:
    async with listening(setup, speaker, listener, listener) as (says, one, two):
        for ears in (one, two):  # all are subscribed before the first message is sent
            await ears.join("g")
        for number in range(10):
            await says.layer.send(one.channel, {"n": number})
        await one.until(*({"n": number} for number in range(10)))
        assert two.heard == []


@pytest.mark.parametrize("kind", KINDS)
async def test_group_without_channels_accepts_messages(setup: Setup, kind: str) -> None:
    async with listening(setup, kind) as (ears,):
        await ears.layer.group_send("nobody", {"n": 1})
        await ears.layer.group_discard("nobody", ears.channel)
        await ears.join("g")
        await ears.layer.group_send("g", {"n": 2})
        await ears.until({"n": 2})


async def test_other_prefix_is_a_separate_layer(setup: Setup) -> None:
    other = Setup({**setup.options, "prefix": "chatws:other"}, setup.clients)
    async with listening(setup, "ours") as (ears,), listening(other, "ours", "stock") as strangers:
        await ears.join("g")
        for stranger in strangers:
            await stranger.layer.group_send("g", {"n": 1})
        await ears.layer.group_send("g", {"n": 2})
        await ears.until({"n": 2})
