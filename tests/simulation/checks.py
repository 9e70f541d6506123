"""What has to be true of a world after a quiet stretch, without any new event to help.

Each check returns the differences between what should be and what is, in words; an empty list is good.
"""

import asyncio
import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from chatws.socket.connection import ChatConnection
from realtime import conf as realtime_conf
from realtime.connection.consumer import Connection
from realtime.connection.outbox import Outbox
from realtime.feeds.log import Position
from realtime.feeds.names import group_feed, user_feed
from realtime.models import ConnectionRecord
from realtime.redis import keys
from realtime.relay.watermill import read_metadata
from tests.simulation.gateway import Gateway

if TYPE_CHECKING:
    from tests.simulation.world import World

GATEWAY_TASKS = frozenset({
    "presence", "audit", "ending connections", "comparing revocations", "ending revoked connections",
    "measuring", "finding slow frames", "the loop's lag", "hub receiver", "hub position check",
})  # fmt: skip
LAYER_TASKS = frozenset({"layer receiver", "layer reader"})
"""Tasks that run as long as a gateway."""
RELAY_TASKS = frozenset({
    "the relay", "the minute's report", "the lag", "the reaper", "copying the cursors", "the loop's lag",
})  # fmt: skip
"""Tasks that run as long as a relay."""
MAY_RUN = re.compile(
    r"publishing what was left unpublished$|checking every user's groups$|a connection$|reading ahead$|Task-\d+$"
    r"|reading (chat|notification|verify|chatws)|None$"  # the last: unnamed tasks of Python 3.13
)
"""Tasks that may run besides."""

EVER = frozenset({
    keys.nodes(), keys.online(), keys.revoked(), keys.revoked_version(), keys.revoked_news(), keys.topics(),
    keys.dead_letter_topics(), keys.audit_stream(), keys.reaper(),
})  # fmt: skip
"""Keys that have no expiry, one each."""


def tasks(world: "World") -> list[str]:
    """Every supervised task runs, once, and no other task is left over."""
    found: list[str] = []
    for gateway in world.live_gateways:
        of_layer = frozenset[str]() if world.shape.stock_layer else LAYER_TASKS
        found += _tasks_of(gateway.process.name, gateway.process.loop, GATEWAY_TASKS | of_layer)
    for relay in world.live_relays:
        found += _tasks_of(relay.process.name, relay.process.loop, RELAY_TASKS)
    return found


def _tasks_of(process: str, loop: asyncio.AbstractEventLoop, expected: Iterable[str]) -> list[str]:
    running = Counter(task.get_name() for task in asyncio.all_tasks(loop) if not task.done())
    found = [f"{process}: task {name!r} runs {running[name]} times" for name in expected if running[name] != 1]
    others = sorted(name for name in running if name not in expected and not MAY_RUN.match(name))
    return found + [f"{process}: task {name!r} still runs ({running[name]} times)" for name in others]


def subscriptions(world: "World") -> list[str]:
    """What the chat service says, what each hub serves, and what each client believes are the same."""
    found: list[str] = []
    ends = positions(world)
    for gateway in world.live_gateways:
        for connection in gateway.node.connections.values():
            handler = getattr(connection, "handler", None)
            if isinstance(handler, ChatConnection) and handler.session is not None:
                subscribed = handler.session.subscriptions
                groups = world.groups_of(subscribed.user_id) - subscribed._left
                wanted = {user_feed(subscribed.user_id), *map(group_feed, groups)}
                served = set(gateway.node.hub.feeds_of(subscribed))
                found += _differences(f"{gateway.process.name}, user {subscribed.user_id}", wanted, served)
        for name, feed in gateway.node.hub._feeds.items():
            if feed.epoch and feed.closing is None and feed.position != ends.get(name):
                found.append(f"{gateway.process.name}: {name} is at {feed.position}, its log ends at {ends.get(name)}")
    for client in world.clients:
        found += client.differences(world.groups_of(client.user_id), ends)
    return found


def _differences(whose: str, wanted: set[str], served: set[str]) -> list[str]:
    found = [f"{whose} is not subscribed to {name}" for name in sorted(wanted - served)]
    return found + [f"{whose} is still subscribed to {name}" for name in sorted(served - wanted)]


def positions(world: "World") -> Mapping[str, Position]:
    """Return the end of each feed's log."""
    ends: dict[str, Position] = {}
    for key, value in world.redis.model.dump().items():
        if match := re.fullmatch(rb"chatws:\{(.+)\}:meta", key):
            meta: dict[bytes, bytes] = value  # type: ignore[assignment]  # the values of a hash
            ends[match[1].decode()] = Position(
                meta[b"epoch"].decode(), int(meta.get(b"offset", 0)), meta.get(b"id", b"").decode()
            )
    return ends


def presence(world: "World") -> list[str]:
    """Redis counts each user's connections, and each gateway's, as they are."""
    dump = world.redis.model.dump()
    users = Counter[str]()
    found: list[str] = []
    for gateway in world.live_gateways:
        users.update({str(user): count for user, count in gateway.node.users.items()})
        held: Any = dump.get(keys.node_connections(gateway.node.name).encode(), {})
        own = {name for name, one in gateway.node.connections.items() if getattr(one, "user_id", 0)}
        stored = {name.decode() for name in held}
        if own != stored:
            found.append(f"{gateway.node.name} has the connections {sorted(own)}, Redis {sorted(stored)}")
    online: Any = dump.get(keys.online().encode(), {})
    counted = {user.decode(): int(count) for user, count in online.items()}
    if counted != dict(users):
        found.append(f"online are {dict(users)}, Redis has {counted}")
    nodes: Any = dump.get(keys.nodes().encode(), {})
    names = {gateway.node.name for gateway in world.live_gateways}
    if {node.decode() for node, _ in nodes} != names:
        found.append(f"gateways are {sorted(names)}, Redis has {sorted(nodes)}")
    for user_id in world.users:
        status: Any = dump.get(keys.user_status(user_id).encode(), {})
        is_online = status.get(b"is_online") == b"true"
        if is_online != (users[str(user_id)] > 0) and status:
            found.append(f"user {user_id} has {users[str(user_id)]} connections, the status says {status}")
    return found


def audit(world: "World") -> list[str]:
    """The records of open connections are those of the connections that live."""
    live = {name for gateway in world.live_gateways for name, one in gateway.node.connections.items() if _is_known(one)}
    live -= world.lost.records
    rows = {row.connection_id: row for row in ConnectionRecord.objects.exclude(connection_id__in=world.lost.records)}
    still_open = {name for name, row in rows.items() if row.closed_at is None and row.user_id is not None}
    found = [f"the record of connection {name} is open, but it has ended" for name in sorted(still_open - live)]
    unrecorded = {name for gateway in world.live_gateways for name in gateway.node.audit._unrecorded}
    missing = live - set(rows) - unrecorded
    found += [f"connection {name} has no record" for name in sorted(missing)]
    found += [
        f"the record of connection {name} is closed, but it lives" for name in sorted(live & set(rows) - still_open)
    ]
    return found


def _is_known(connection: object) -> bool:
    return bool(getattr(connection, "user_id", 0))


def redis_keys(world: "World") -> list[str]:
    """No key is left over: each belongs to something that lives, or expires."""
    found: list[str] = []
    topics = {topic.encode() for topic in world.topics}
    for key in world.redis.model.dump():
        text = key.decode()
        is_topic = key in topics or text.removesuffix(".dlq").encode() in topics
        of_topic = re.fullmatch(r"chatws:\{(.+?)\}:(pos|token|intents|intents:due)", text)
        if text in EVER or is_topic or (of_topic and of_topic[1].encode() in topics):
            continue
        if of_node := re.fullmatch(r"chatws:node:(.+?)(:mark)?", text):
            names = {gateway.node.name for gateway in world.live_gateways}
            if of_node[1] in names or (of_node[2] and world.redis.model.ttl(key)):
                continue
        elif world.redis.model.ttl(key):
            continue
        found.append(f"key {text} is left over, without an expiry")
    return found


def sizes(world: "World") -> list[str]:
    """What a gateway remembers is bounded by what lives in it."""
    found: list[str] = []
    for gateway in world.live_gateways:
        found += _sizes(gateway)
    return found


def limits(world: "World") -> list[str]:
    """What waits for a reader stays within its limit, at every moment."""
    found: list[str] = []
    for gateway in world.live_gateways:
        limit = gateway.node.conf.outbox_bytes
        for name, connection in gateway.node.connections.items():
            if isinstance(connection, Connection) and (size := _waiting(connection.outbox)) > limit:
                found.append(f"{gateway.process.name}: {size} bytes wait for connection {name}, more than {limit}")
    return found


class Online:
    """Who was online when it was looked at last, by which connections."""

    def __init__(self) -> None:
        self._connections: set[str] = set()

    def look(self, world: "World") -> list[str]:
        """Nobody goes offline whose connection lives, unless Redis lost data or its gateway was paused."""
        if not world.redis.is_up:
            return []
        shown: Any = world.redis.command("HGETALL", keys.online())
        online = {user.decode() for user in shown[::2]}
        users = {
            name: str(one.user_id)
            for gateway in world.live_gateways
            for name, one in gateway.node.connections.items()
            if isinstance(one, Connection) and one.user_id
        }
        lease = realtime_conf.get().presence_lease
        since = world.scheduler.now - 2 * lease - 5
        gone = [name for name in users.keys() & self._connections if users[name] not in online]
        self._connections = {name for name, user in users.items() if user in online and _is_counted(world, name)}
        if not gone or any(one.acted(since, math.inf) and one.kind.hides for one in world.ledger.causes.all):
            return []
        return [f"user {users[name]} went offline while its connection {name} lived" for name in sorted(gone)]


def _is_counted(world: "World", connection: str) -> bool:
    """Return whether Redis lists a connection under a gateway."""
    lists = [keys.node_connections(gateway.node.name) for gateway in world.live_gateways]
    return any(world.redis.command("HEXISTS", name, connection) == 1 for name in lists)


def _waiting(outbox: Outbox) -> int:
    waiting = (*(outbox._waiting or ()), *(outbox._held or ()))
    return sum(one.batch.size for one in waiting if not one.is_tail)


def unwanted(world: "World") -> list[str]:
    """No connection lives that was to be ended, or whose token was revoked."""
    found: list[str] = []
    administrator = world.administrator
    ended = administrator.ended.keys() - world.lost.ends
    for gateway in world.live_gateways:
        for name, connection in gateway.node.connections.items():
            principal = getattr(connection, "principal", None)
            if name in ended:
                found.append(f"{gateway.process.name}: connection {name} lives, but it was to be ended")
            if principal is not None and principal.issued_at <= administrator.revoked.get(principal.user_id, 0):
                found.append(f"{gateway.process.name}: connection {name} lives, but its token was revoked")
    return found


def dead_letters(world: "World") -> list[str]:
    """Each entry that nobody can read is one dead letter, and nothing else is one."""
    dump: Any = world.redis.model.dump()
    letters: Counter[str] = Counter()
    for topic in world.topics:
        for _, fields in dump.get(keys.dead_letters(topic).encode(), ()):
            given = dict(zip(fields[::2], fields[1::2], strict=True))
            letters[read_metadata(given)["dlq_entry_id"]] += 1
    wanted = Counter(entry.decode() for entry in world.poison)
    return [
        f"entry {entry} has {letters[entry]} dead letters" for entry in sorted((letters - wanted) + (wanted - letters))
    ]


def timers(world: "World") -> list[str]:
    """No timer is left of a connection that has ended."""
    found: list[str] = []
    for gateway in world.live_gateways:
        left = [timer for timer in world.scheduler.timers_of(gateway.process.loop) if _is_of_the_dead(timer, gateway)]
        if left:
            found.append(f"{gateway.process.name} has {len(left)} timers of connections that have ended: {left[0]!r}")
    return found


def _is_of_the_dead(timer: Any, gateway: Gateway) -> bool:
    owner = getattr(timer._callback, "__self__", None)
    return isinstance(owner, Connection) and owner.connection_id not in gateway.node.connections


def _sizes(gateway: Gateway) -> list[str]:
    node, name = gateway.node, gateway.process.name
    connections = len(node.connections)
    held = {
        "subscribers": len(node.hub._feeds_by_subscriber), "serving": len(node.serving),
        "memberships": len(gateway.memberships._users), "users": len(node.users),
        "unrecorded": len(node.audit._unrecorded),
    }  # fmt: skip
    found = [
        f"{name} holds {size} {what} for {connections} connections" for what, size in held.items() if size > connections
    ]
    if gateway.sender._under_way:
        found.append(f"{name} still sends {list(gateway.sender._under_way)}")
    return found + _feeds_of(gateway)


def _feeds_of(gateway: Gateway) -> list[str]:
    """A gateway receives only what a connection of it receives, also on its channel layer.

    For the removals in it, it receives a chat group that its only members here have left by themselves, too.
    """
    hub, name = gateway.node.hub, gateway.process.name
    followed = {group_feed(one) for known in gateway.memberships._users.values() for one in known.groups or ()}
    unused = [feed.name for feed in hub._feeds.values() if not feed.subscribers and feed.name not in followed]
    found = [f"{name} receives {feed} for nobody" for feed in unused]
    of_users = {one for subscribers in hub._subscribers_of_user.values() for one in subscribers}
    if of_users != hub._feeds_by_subscriber.keys():
        found.append(f"{name} notes {len(of_users)} subscribers by user, {len(hub._feeds_by_subscriber)} by feed")
    for layer in gateway.process.layers["default"]._layers.values():
        channels = sum(len(shard._subscribed_to) for shard in layer._shards)
        if channels > len(hub._feeds) + 2:  # and its own channel, and that of all gateways
            found.append(f"{name} is subscribed to {channels} channels for {len(hub._feeds)} feeds")
    return found


IN_QUIET = (subscriptions, presence, audit, tasks, redis_keys, sizes, timers, unwanted, dead_letters)
"""What is checked after a quiet stretch."""
