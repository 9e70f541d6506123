"""channels_redis's pub/sub layer, extended: it detects lost and half-open connections and restarts its receiver.

It has the same configuration and the same bytes on the wire. On the stock layer the hub recovers more slowly.
"""

import asyncio
import logging
import math
from collections import Counter, deque
from collections.abc import Callable, Sequence
from typing import Any

from realtime.aio import tasks
from realtime.aio.backoff import Backoff
from realtime.exceptions import RedisConnectionLost, RedisRefused
from realtime.imports import without
from realtime.redis.client import database_of, layer_host, no_retry  # before channels_redis: it hides parts of redis
from realtime.redis.errors import translate  # before channels_redis: it hides parts of redis
from realtime.redis.pipeline import buffered, pipelined, response_or_error  # before channels_redis: it hides parts
from realtime.redis.scripts import Script  # before channels_redis: it hides parts of redis

with without("cryptography.fernet"):  # for messages that are encrypted, which ours aren't
    from channels_redis.pubsub import RedisPubSubChannelLayer, RedisSingleShardConnection
    from channels_redis.utils import create_pool

logger = logging.getLogger(__name__)

PING_SECONDS = 1.0
SILENT_SECONDS = 3.0
"""How long a subscription connection may stay silent, although it is pinged, before it is dropped."""
CONFIRMED_SECONDS = 5.0
FIRST_WAIT, LONGEST_WAIT = 0.05, 1.0
HEALTHY_SECONDS = 10.0
"""A connection that lasted this long counts as recovered: after its loss the wait is `FIRST_WAIT` again."""
SUBSCRIBED_AT_ONCE = PUBLISHED_AT_ONCE = 500

_layer_publish = Script("layer_publish")


class RedisPubSubLayer(RedisPubSubChannelLayer):  # type: ignore[misc]  # channels_redis has no types
    """A layer whose `group_add` returns once Redis has subscribed, and which reports that it has reconnected."""

    def __init__(self, hosts: Sequence[Any] | None = None, *args: Any, **kwargs: Any) -> None:
        known = [layer_host(host) if isinstance(host, str) else host for host in hosts or ()]
        super().__init__(known or None, *args, **kwargs)
        self._listeners: list[Callable[[], None]] = []

    @staticmethod
    def prefix_of(prefix: str, database: int) -> str:
        """Return the prefix of every channel of a deployment on this database.

        Redis has no channels per database: two deployments would receive each other's messages. Database 0 has the
        stock layer's prefix.
        """
        return f"{prefix}:{database}" if database else prefix

    def on_resubscribed(self, listener: Callable[[], None]) -> None:
        """Call ``listener``, in the loop, each time all subscriptions are restored after a lost connection."""
        self._listeners.append(listener)

    async def group_send_all(self, messages: Sequence[tuple[str, dict[str, Any]]]) -> None:
        """Do `group_send` for many ``(group, message)``, in order, with one round trip for some hundreds of them."""
        layer = self._get_layer()
        channels = {group: layer._get_group_channel_name(group) for group, _ in messages}
        shards = {group: layer._get_shard(channel) for group, channel in channels.items()}
        by_shard: dict[Any, list[tuple[str, bytes]]] = {}
        for group, message in messages:
            by_shard.setdefault(shards[group], []).append((channels[group], self.serialize(message)))
        for shard, published in by_shard.items():
            for start in range(0, len(published), PUBLISHED_AT_ONCE):
                await shard.publish_all(published[start : start + PUBLISHED_AT_ONCE])

    async def receive_all(self, channel: str) -> list[dict[str, Any]]:
        """Return the next message and all others that have arrived: in general what one read of the socket brought."""
        layer = self._get_layer()
        messages = [await layer.receive(channel)]
        queue = layer.channels[channel]
        while not queue.empty():
            try:
                messages.append(self.deserialize(queue.get_nowait()))
            except Exception:  # a boundary: one bad message must not lose the others
                logger.exception("a message of the channel layer could not be read")
        return messages

    def resubscribed(self) -> None:
        """Notify the listeners. A connection calls this."""
        for listener in self._listeners:
            listener()

    def _get_layer(self) -> Any:
        fresh = asyncio.get_running_loop() not in self._layers
        layer = super()._get_layer()
        if fresh:
            layer.prefix = self.prefix_of(layer.prefix, database_of(layer._shards[0].host))
            layer._shards = [SubscribedConnection(shard.host, layer) for shard in layer._shards]
        return layer


class SubscribedConnection(RedisSingleShardConnection):  # type: ignore[misc]  # channels_redis has no types
    """One Redis of the layer. ``_subscribed_to`` is what has to be subscribed, on this connection or the next."""

    _receive_task: Any

    def __init__(self, host: dict[str, Any], channel_layer: Any) -> None:
        super().__init__(host, channel_layer)
        self._connection: Any = None
        self._pool: Any = None
        self._pending: Counter[str] = Counter()
        """Unanswered SUBSCRIBEs, by channel."""
        self._asked: deque[tuple[tuple[str, ...], int]] = deque()
        """The unanswered commands, each with the count of its replies: Redis answers in order."""
        self._confirmed: set[str] = set()
        self._refusals = Backoff(FIRST_WAIT, LONGEST_WAIT)
        self._refusal = ""
        """How Redis last refused a SUBSCRIBE."""
        self._waiting: dict[str, asyncio.Future[None]] = {}
        self._unsent: list[str] = []
        self._was_connected = False

    async def publish(self, channel: str, message: bytes) -> None:
        """Publish one message."""
        self._ensure_redis()
        await pipelined(self._redis, [("PUBLISH", channel, message)])

    async def publish_all(self, messages: Sequence[tuple[str, bytes]]) -> None:
        """Publish in one round trip."""
        self._ensure_redis()
        await _layer_publish.run(self._redis, [], [part for pair in messages for part in pair])

    async def subscribe(self, channel: str) -> None:
        """Subscribe to a channel; return once Redis has confirmed it.

        Raises:
            RedisRefused: Redis refused it and did not confirm in time. It is tried again.
            RedisConnectionLost: Redis did not confirm in time. A group is subscribed to after the next connect.
        """
        self._subscribed_to.add(channel)
        self._ensure_receiver()
        if channel in self._confirmed and not self._pending[channel]:
            return
        waiting = self._waiting.get(channel)
        if waiting is None:
            waiting = self._waiting[channel] = asyncio.get_running_loop().create_future()
            if not self._unsent:
                asyncio.get_running_loop().call_soon(self._send_subscribes)
            self._unsent.append(channel)
        try:
            async with asyncio.timeout(CONFIRMED_SECONDS):
                await asyncio.shield(waiting)
        except TimeoutError:
            if channel not in self.channel_layer.groups:  # a process's own: nobody else knows the name yet
                self._subscribed_to.discard(channel)
                self.channel_layer.channels.pop(channel, None)
            problem = f"the subscription was not confirmed in {CONFIRMED_SECONDS:g} s"
            if self._refusal:
                raise RedisRefused(f"{problem}: {self._refusal}") from None
            raise RedisConnectionLost(problem) from None

    async def unsubscribe(self, channel: str) -> None:
        """Unsubscribe from a channel. Redis does not have to confirm that."""
        self._subscribed_to.discard(channel)
        self._confirmed.discard(channel)
        self._give_up(channel)
        if self._connection is not None:
            await self._send_or_drop("UNSUBSCRIBE", channel)

    async def flush(self) -> None:
        """Forget every subscription and close the connections."""
        receiver, self._receive_task = self._receive_task, None
        if receiver is not None:
            await tasks.end([receiver])
        for channel in list(self._waiting):
            self._give_up(channel)
        self._unsent.clear()
        self._was_connected = False
        pools = [self._pool, getattr(self._redis, "connection_pool", None)]
        await super().flush()
        if self._pool is not None:
            await self._pool.disconnect()
            self._pool = None
        for pool in pools:  # a Sentinel pool doesn't close its connections to the Sentinels
            for sentinel in getattr(getattr(pool, "sentinel_manager", None), "sentinels", ()):
                await sentinel.aclose()

    def _give_up(self, channel: str) -> None:
        """Fail those who wait for a channel's confirmation. The next `subscribe` asks again."""
        waiting = self._waiting.pop(channel, None)
        if waiting is not None and not waiting.done():
            waiting.set_exception(RedisConnectionLost("the subscription was given up"))
            waiting.exception()  # its caller may have been cancelled

    def _ensure_receiver(self) -> None:
        if self._receive_task is None:
            self._receive_task = tasks.start(self._do_receiving(), "layer receiver")
            self._receive_task.add_done_callback(self._receiver_ended)

    def _receiver_ended(self, task: asyncio.Task[None]) -> None:
        if task is self._receive_task and not asyncio.get_running_loop().is_closed():
            logger.error("the channel layer's receiver ended, starting another")
            self._receive_task = None
            self._ensure_receiver()

    def _send_subscribes(self) -> None:
        """Send one SUBSCRIBE for all channels that were asked for in one turn of the loop."""
        names, self._unsent = [name for name in self._unsent if name in self._subscribed_to], []
        if self._connection is not None and names:
            self._pending.update(names)
            tasks.spawn(self._send_or_drop("SUBSCRIBE", *names), "subscribing")

    async def _send_or_drop(self, *command: str) -> None:
        try:
            await self._send(*command)
        except Exception as error:  # redis-py raises AttributeError as well when a connection is lost
            logger.info("%s could not be sent; the next connection subscribes again: %s", command[0], error)

    async def _send(self, *command: str) -> None:
        connection = self._connection
        if connection is not None:
            if not connection.is_connected:  # redis-py would reconnect by itself, without our subscriptions
                raise RedisConnectionLost("the connection is lost")
            self._asked.append((command, max(len(command) - 1, 1)))
            await connection.send_command(*command, check_health=False)

    async def _do_receiving(self) -> None:
        """Receive until cancelled; reconnect after any failure. The first of a row of failures is logged."""
        loop, backoff, is_reported = asyncio.get_running_loop(), Backoff(FIRST_WAIT, LONGEST_WAIT), False
        while True:
            connected_at = math.inf
            try:
                await self._connect()
                connected_at = loop.time()
                await self._receive_until_lost()
            except BaseException as error:  # it supervises the connection; redis-py turns some time-outs into cancels
                if isinstance(error, asyncio.CancelledError) and tasks.is_cancelled():
                    raise
                if connected_at < math.inf or not is_reported:
                    is_reported = True
                    logger.warning("the channel layer lost its connection, reconnecting: %s", error or repr(error))
            finally:
                await self._disconnect()
            if loop.time() - connected_at >= HEALTHY_SECONDS:
                backoff.reset()
            await backoff.sleep()

    async def _connect(self) -> None:
        """Open a connection and subscribe to everything; return when Redis has confirmed the last subscription."""
        if self._pool is None:
            self._pool = create_pool({**self.host, "protocol": 2, **no_retry(SILENT_SECONDS)})
        connection = self._pool.make_connection()
        try:
            async with asyncio.timeout(SILENT_SECONDS):
                await connection.connect()
        except BaseException:  # also a cancellation; it is raised again
            await connection.disconnect(nowait=True)
            raise
        self._connection = connection
        names, self._unsent = list(self._subscribed_to), []
        self._pending.update(names)
        for start in range(0, len(names), SUBSCRIBED_AT_ONCE):
            await self._send("SUBSCRIBE", *names[start : start + SUBSCRIBED_AT_ONCE])
        while self._pending:
            reply = await connection.read_response(timeout=SILENT_SECONDS)
            if reply is None:
                raise RedisConnectionLost(f"no answer in {SILENT_SECONDS:g} s")
            self._received(reply)
        if self._was_connected:
            logger.warning("the channel layer is connected again, with %d subscriptions", len(names))
            self.channel_layer.channel_layer.resubscribed()
        self._was_connected = True

    async def _receive_until_lost(self) -> None:
        """Read until the connection is lost. If it stays silent although it is pinged, it counts as lost."""
        reader = tasks.start(self._read(self._connection), "layer reader")
        try:
            while True:
                self._silent = True
                await self._send("PING")
                silent_for = 0.0
                while silent_for < SILENT_SECONDS and self._silent:
                    done, _ = await asyncio.wait([reader], timeout=PING_SECONDS)
                    silent_for += PING_SECONDS
                    if done:
                        reader.result()
                if self._silent:
                    raise RedisConnectionLost(f"no answer in {SILENT_SECONDS:g} s")
        finally:
            await tasks.end([reader])

    async def _read(self, connection: Any) -> None:
        while True:
            reply = await response_or_error(connection)
            self._silent = False
            self._received(reply)
            for more in buffered(connection):
                self._received(more)

    def _received(self, reply: Any) -> None:
        kind = reply[0] if isinstance(reply, list) else None
        if kind == b"message":
            self._receive_message({"channel": reply[1], "data": reply[2]})
            return
        if isinstance(reply, Exception):
            names, _ = self._asked.popleft() if self._asked else ((), 0)
            self._refused(names, str(translate(reply)))
            return
        if kind == b"subscribe":
            self._subscribed(reply[1].decode())
        if self._asked:
            command, replies = self._asked.popleft()
            if replies > 1:
                self._asked.appendleft((command, replies - 1))

    def _subscribed(self, name: str) -> None:
        self._answered(name)
        if name not in self._pending and name in self._subscribed_to:
            self._confirmed.add(name)
            if not self._pending:
                self._refusals.reset()
                self._refusal = ""
            if (waiting := self._waiting.pop(name, None)) and not waiting.done():
                waiting.set_result(None)

    def _answered(self, name: str) -> None:
        self._pending[name] -= 1
        if self._pending[name] <= 0:
            del self._pending[name]

    def _refused(self, command: Sequence[str], refusal: str) -> None:
        """Send a refused SUBSCRIBE again after a while, on this connection: it still receives the other channels."""
        if not command or command[0] != "SUBSCRIBE":
            return
        if not self._refusal:
            logger.warning("Redis refuses to subscribe to %d channels, trying again: %s", len(command) - 1, refusal)
        self._refusal = refusal
        for name in command[1:]:
            self._answered(name)
        asyncio.get_running_loop().call_later(self._refusals.take(), self._subscribe_again, command[1:])

    def _subscribe_again(self, names: Sequence[str]) -> None:
        if not self._unsent:
            asyncio.get_running_loop().call_soon(self._send_subscribes)
        self._unsent += [name for name in names if name not in self._confirmed and name not in self._pending]

    async def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        self._pending.clear()
        self._asked.clear()
        self._confirmed.clear()
        if connection is not None:
            await connection.disconnect(nowait=True)
