"""A world: a cluster of gateways and relays with Redis, a chat service and clients, on one virtual clock."""

import random
import traceback
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import msgspec
from channels_redis.pubsub import RedisPubSubChannelLayer
from django.conf import settings

from chatws.events import routes
from realtime.layers.redis_pubsub import RedisPubSubLayer
from realtime.redis import keys
from realtime.relay.watermill import METADATA, PAYLOAD, UUID
from tests.simulation import checks, client_sockets, judging
from tests.simulation.actions import ACTIONS
from tests.simulation.administrator import Administrator
from tests.simulation.chat_service import channel
from tests.simulation.chat_service.service import ChatService
from tests.simulation.configuration import configure
from tests.simulation.faults import FAULTS
from tests.simulation.gateway import Gateway
from tests.simulation.losses import Losses
from tests.simulation.members import Member
from tests.simulation.network import Link, Network
from tests.simulation.outcome import Outcome
from tests.simulation.plan import QUIET_SECONDS, SETTLE_SECONDS, Plan, Step
from tests.simulation.process import Process
from tests.simulation.redis_host import RedisHost
from tests.simulation.relay import Relay
from tests.simulation.scenes.plan import SCENES
from tests.simulation.scheduler import START, Scheduler
from tests.simulation.seams import installed
from tests.simulation.socket_servers import BUFFER as SOCKET_BUFFER
from tests.simulation.socket_servers import Balancer
from tests.simulation.world_log import WorldLog
from tests.support.ledger import Ledger

TOPICS = (routes.MESSAGE_NEW, routes.MEMBER_ADDED, routes.MEMBER_REMOVED, routes.NOTIFICATION_PUSH, keys.audit_stream())
WORKS = {name: work for name, (work, _) in (*FAULTS.items(), *ACTIONS.items())} | SCENES
"""What each step of a plan does."""


MOMENT_SECONDS = 3.0
WATCH_SECONDS = 0.5
"""How often it is checked what may never be exceeded, also in a storm; in a calm world it is `CALM_WATCH_SECONDS`."""
CALM_WATCH_SECONDS = 3.0


class Slot:
    """The place of one process of the cluster: what runs there is killed, stopped and started again."""

    def __init__(self, world: "World", name: str, make: Callable[[Process], Any]) -> None:
        self.name = name
        self.running: Any = None
        self._world = world
        self._make = make
        self._starts = 0

    def start(self) -> None:
        """Start a process, unless one runs."""
        if self.running is None:
            self._starts += 1
            process = self._world.process(f"{self.name}.{self._starts}")
            self.running = self._make(process)

    def kill(self) -> None:
        """End the process at once."""
        if self.running is not None:
            self._world.forget(self.running)
            self.running.process.kill()
            self.running = None

    def stop(self) -> None:
        """End the process as SIGTERM does; what has not ended in some seconds is killed."""
        running, self.running = self.running, None
        if running is not None:
            self._world.leaves(running)
            running.process.go_on()
            running.stop()

    def pause(self) -> None:
        if self.running is not None:
            self.running.process.pause()

    def go_on(self) -> None:
        if self.running is not None:
            self.running.process.go_on()


class World:
    """Everything that runs, from a plan. `run` runs it to its end."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.shape = plan.shape
        self.scheduler = Scheduler(plan.seed)
        self.network = Network(self.scheduler)
        self.log = WorldLog(self.scheduler)
        kept = int(dict(self.shape.settings).get("feed_publications", 1_000))
        self.ledger = Ledger(
            lambda: self.scheduler.now, lambda: START + self.scheduler.now, resumed=min(256, kept), kept=kept
        )
        self.problems: list[str] = []
        self.checks = 0
        self.topics = TOPICS
        self.refused: set[tuple[int, str]] = set()
        """Users who sent to a chat group in which they were no longer: perhaps again, after a lost ack."""
        self.poison: set[bytes] = set()
        """The entries that nobody can read: each becomes one dead letter."""
        self.added_again: set[str] = set()
        """Messages that were added to their stream once more."""
        self.lost = Losses(self)
        configure(self.shape)
        self.redis = RedisHost(self.scheduler, self.network, everysec=self.shape.everysec)
        self.chat = ChatService(self.scheduler, self.network, instances=2, platform=self.shape.platform)
        settings.CHATWS = replace(settings.CHATWS, rpc_target=self.chat.target)
        self.users = list(range(101, 101 + self.shape.users))
        self.groups: list[str] = []
        self.clients: list[Member] = []
        self.balancer = Balancer(self.network, "gateway")
        self.silent_links: list[Link] = []
        """Those that fell silent in this storm."""
        self._online = checks.Online()
        self.administrator = Administrator(self)
        self._texts = 0
        self.gateways = [Slot(self, f"gateway-{number}", self._gateway) for number in range(self.shape.gateways)]
        self.relays = [Slot(self, f"relay-{number}", self._relay) for number in range(self.shape.relays)]

    # Parts

    def process(self, name: str) -> Process:
        """Return a new process."""
        shape = self.shape
        return Process(
            self.scheduler, self.network, name, shuffled=shape.shuffled, turn_seconds=shape.turn_seconds
        )  # fmt: skip

    def _gateway(self, process: Process) -> Gateway:
        layer = RedisPubSubChannelLayer if self.shape.stock_layer else RedisPubSubLayer
        gateway = Gateway(process, frames=self.shape.frames, buffer=self.socket_buffer, layer=layer)
        self.balancer.add(gateway.server)
        return gateway

    def _relay(self, process: Process) -> Relay:
        relay = Relay(process, self.topics)
        relay.task.add_done_callback(lambda _: self.scheduler.after(1.0, self._supervise, relay))
        return relay

    def _supervise(self, relay: Relay) -> None:
        """Start another relay where one has ended by itself: it gives up if Redis does not answer at its start."""
        if not relay.task.cancelled():
            relay.task.exception()  # its command prints it
        for slot in self.relays:
            if slot.running is relay:
                slot.running = None
                slot.start()

    def leaves(self, running: Gateway | Relay) -> None:
        """Send no new connection to a gateway that ends."""
        if isinstance(running, Gateway):
            self.balancer.remove(running.server)

    def forget(self, running: Gateway | Relay) -> None:
        """Reset the connections of a gateway that is killed."""
        self.leaves(running)
        if isinstance(running, Gateway):
            running.server.kill()

    def add_device(self, user_id: int) -> Member:
        """Let a user begin to use one more device."""
        device = Member(self, user_id, len(self.clients) + 1)
        self.clients.append(device)
        return device

    def new_user(self) -> int:
        """Return a user who has no device yet."""
        self.users.append(self.users[-1] + 1)
        return self.users[-1]

    def begin_device(self, user_id: int) -> None:
        """As `add_device`, for the scheduler."""
        self.add_device(user_id)

    def text(self) -> str:
        """Return a text that nobody has said."""
        self._texts += 1
        return f"text {self._texts}"

    @property
    def live_gateways(self) -> list[Gateway]:
        return [slot.running for slot in self.gateways if slot.running is not None]

    @property
    def live_relays(self) -> list[Relay]:
        return [slot.running for slot in self.relays if slot.running is not None]

    def any_process(self, draws: random.Random) -> Process:
        """Return one of the processes that run."""
        running = [gateway.process for gateway in self.live_gateways]
        running += [relay.process for relay in self.live_relays]
        return draws.choice(running) if running else self.process("nobody")

    # Running

    def run(self) -> Outcome:
        """Run the plan to its end, and judge."""
        self.log.install()
        with channel.installed(), client_sockets.installed(), installed(self.scheduler):
            try:
                self._run()
            except Exception:  # a boundary: the world itself is broken; the log says what came before
                self.problems.append(traceback.format_exc())
        return Outcome(
            seed=self.plan.seed, seconds=self.scheduler.now, messages=len(self.ledger.sent),
            faults=Counter(cause.kind.name for cause in self.ledger.causes.all),
            deliveries=sum(len(feed.places) for reader in self.ledger.readers for feed in reader.received.values()),
            checks=self.checks, problems=self.problems, events=list(self.log.lines), digest=self.scheduler.digest,
        )  # fmt: skip

    def _run(self) -> None:
        self._begin()
        self._watch()
        for step in self.plan.steps:
            self.scheduler.at(step.at, self._do, step)
        for end in self.plan.rounds:
            self.scheduler.run(end)
            silent, self.silent_links = self.silent_links, []
            for link in silent:
                link.find_dead()
            self.scheduler.run(end + SETTLE_SECONDS)
            self._check(checks.subscriptions)
            self.scheduler.run(end + QUIET_SECONDS)
            self._check(*checks.IN_QUIET)
        judging.judge(self)

    def _begin(self) -> None:
        draws = self.scheduler.draws("groups")
        self.chat.start()
        for _ in range(self.shape.groups):
            members = draws.sample(self.users, draws.randint(1, len(self.users)))
            self.groups.append(self.chat.create(members[0], *members[1:]))
        for slot in (*self.gateways, *self.relays):
            slot.start()
        for user_id in self.users:
            self.scheduler.after(draws.uniform(1, 3), self.begin_device, user_id)

    def _do(self, step: Step) -> None:
        self.log.note(f"{step.what} ({step.number})")
        WORKS[step.what](self, self.scheduler.draws(f"step {step.number}"))

    def _watch(self) -> None:
        """Check what may never be exceeded; the first time is enough."""
        if exceeded := checks.limits(self) or self._online.look(self):
            self.problems.append(f"{self.scheduler.now:.1f} s, {exceeded[0]}")
            return
        self.scheduler.after(CALM_WATCH_SECONDS if self.shape.patience > 1 else WATCH_SECONDS, self._watch)

    def _check(self, *some: Callable[["World"], list[str]]) -> None:
        """Note what is wrong now and still is a moment later: work that is under way is no problem."""
        found = [[f"{check.__name__}: {problem}" for problem in check(self)] for check in some]
        self.checks += len(some)
        self.scheduler.run(self.scheduler.now + MOMENT_SECONDS)  # in any case: what is found must not change the world
        for check, before in zip(some, found, strict=True):
            now = {f"{check.__name__}: {problem}" for problem in check(self)} if before else set()
            for problem in before[:10]:
                if problem in now:
                    self.problems.append(f"{self.scheduler.now:.0f} s, {problem}")
                    self.log.note(problem)

    def groups_of(self, user_id: int) -> set[str]:
        return self.chat.groups_of(user_id)

    @property
    def socket_buffer(self) -> int:
        """How many bytes the operating systems take of a connection that its client has not read."""
        return int(dict(self.shape.settings).get("socket_buffer", SOCKET_BUFFER))

    @property
    def id_seconds(self) -> float:
        """How long ids of publications are remembered, at least."""
        return float(dict(self.shape.settings).get("id_seconds", 600.0))

    def publish_again(self, fields: Sequence[bytes]) -> None:
        """Add an entry to the stream of messages once more, as a publisher does whose answer was lost."""
        if self.redis.is_up:
            self.added_again.add(self.message_of(fields))
            self.redis.command("XADD", routes.MESSAGE_NEW, "*", *fields)

    def message_of(self, fields: Sequence[bytes]) -> str:
        """Return the id of the message of an entry of the stream of messages; empty if nobody can read it."""
        payload = dict(zip(fields[::2], fields[1::2], strict=True))[PAYLOAD]
        try:
            return str(msgspec.json.decode(payload)["message_id"])
        except (msgspec.DecodeError, KeyError):
            return ""

    def add_poison(self, draws: random.Random) -> None:
        """Add an entry to the stream of messages that nobody can read."""
        if self.redis.is_up:
            wrong = draws.choice((b"no json", b"{}", b'{"message_id": 1}'))
            fields = (UUID, b"poison", METADATA, msgspec.msgpack.encode({}), PAYLOAD, wrong)
            self.poison.add(self.redis.command("XADD", routes.MESSAGE_NEW, "*", *fields))

    def any_feed(self, draws: random.Random) -> str:
        return f"group:{draws.choice(self.groups)}"
