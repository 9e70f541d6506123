"""A world: a cluster of gateways and relays with Redis, a chat service and clients, on one virtual clock."""

import random
import traceback
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from django.conf import settings

from chatws.events import routes
from chatws.management.commands import relay_stream
from chatws.messaging import message_publisher
from realtime.auth import revocations
from realtime.hub import recovery
from realtime.layers import redis_pubsub
from realtime.node import node
from realtime.observability import metrics
from realtime.presence import presence
from realtime.redis import client, keys
from realtime.relay import reporting
from tests.simulation import checks, client_sockets
from tests.simulation.actions import ACTIONS
from tests.simulation.chat_service import channel
from tests.simulation.chat_service.service import ChatService
from tests.simulation.faults import FAULTS
from tests.simulation.gateway import Gateway
from tests.simulation.losses import Losses
from tests.simulation.members import Member
from tests.simulation.network import Link, Network
from tests.simulation.outcome import Outcome
from tests.simulation.plan import QUIET_SECONDS, SETTLE_SECONDS, Plan, Shape, Step
from tests.simulation.process import Process
from tests.simulation.redis_host import URL, RedisHost
from tests.simulation.relay import Relay
from tests.simulation.scenes.plan import SCENES
from tests.simulation.scheduler import START, Scheduler
from tests.simulation.seams import installed
from tests.simulation.socket_servers import Balancer
from tests.simulation.world_log import WorldLog
from tests.support.ledger import Ledger

TOPICS = (routes.MESSAGE_NEW, routes.MEMBER_ADDED, routes.MEMBER_REMOVED, routes.NOTIFICATION_PUSH, keys.AUDIT_STREAM)
WORKS = {name: work for name, (work, _) in (*FAULTS.items(), *ACTIONS.items())} | SCENES
"""What each step of a plan does."""


MOMENT_SECONDS = 3.0


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
        self.lost = Losses(self)
        _configure(self.shape)
        self.redis = RedisHost(self.scheduler, self.network, everysec=self.shape.everysec)
        self.chat = ChatService(self.scheduler, self.network, instances=2, platform=self.shape.platform)
        settings.CHATWS = replace(settings.CHATWS, rpc_target=self.chat.target)
        self.users = list(range(101, 101 + self.shape.users))
        self.groups: list[str] = []
        self.clients: list[Member] = []
        self.balancer = Balancer(self.network, "gateway")
        self.silent_links: list[Link] = []
        """Those that fell silent in this storm."""
        self._texts = 0
        self.gateways = [Slot(self, f"gateway-{number}", self._gateway) for number in range(self.shape.gateways)]
        self.relays = [Slot(self, f"relay-{number}", self._relay) for number in range(self.shape.relays)]

    # Parts

    def process(self, name: str) -> Process:
        """Return a new process."""
        return Process(self.scheduler, self.network, name, shuffled=self.shape.shuffled)

    def _gateway(self, process: Process) -> Gateway:
        gateway = Gateway(process, frames=self.shape.frames)
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

    def _first_device(self, user_id: int) -> None:
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
            self._check(
                checks.subscriptions, checks.presence, checks.audit, checks.tasks, checks.redis_keys, checks.sizes
            )
        self._judge()

    def _begin(self) -> None:
        draws = self.scheduler.draws("groups")
        self.chat.start()
        for _ in range(self.shape.groups):
            members = draws.sample(self.users, draws.randint(1, len(self.users)))
            self.groups.append(self.chat.create(members[0], *members[1:]))
        for slot in (*self.gateways, *self.relays):
            slot.start()
        for user_id in self.users:
            self.scheduler.after(draws.uniform(1, 3), self._first_device, user_id)

    def _do(self, step: Step) -> None:
        self.log.note(f"{step.what} ({step.number})")
        WORKS[step.what](self, self.scheduler.draws(f"step {step.number}"))

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

    def _judge(self) -> None:
        ledger = self.ledger
        for message_id in self.lost.messages:
            ledger.sent.pop(message_id, None)
        gone = {device.user_id for device in self.clients if device.is_over}
        stored = {group_id: [one.message_id for one in messages] for group_id, messages in self.chat.stored.items()}
        ledger.abandoned = self.lost.messages | {
            one.message_id
            for many in self.chat.stored.values()
            for one in many
            if one.sender_id in gone or (one.sender_id, one.group_id) in self.refused
        }
        ledger.judge(stored, {}, by_feed=self.shape.platform)
        self.problems += [f"ledger: {problem}" for problem in ledger.problems[:20]]
        if self.shape.patience == 1:  # in a calm world all that polls is slow
            self.problems += [f"late: {late}" for late in ledger.late[:10]]
        self.problems += [f"unexpected in the log: {line}" for line in self.log.unexpected[:10]]

    def groups_of(self, user_id: int) -> set[str]:
        return self.chat.groups_of(user_id)

    @property
    def id_seconds(self) -> float:
        """How long ids of publications are remembered, at least."""
        return float(dict(self.shape.settings).get("id_seconds", 600.0))

    def publish_again(self, fields: Sequence[bytes]) -> None:
        """Add an entry to the stream of messages once more, as a publisher does whose answer was lost."""
        if self.redis.is_up:
            self.redis.command("XADD", routes.MESSAGE_NEW, "*", *fields)

    def any_feed(self, draws: random.Random) -> str:
        return f"group:{draws.choice(self.groups)}"


def _configure(shape: Shape) -> None:
    """Set the settings of all processes, and how often they poll: for the rest of this Python process."""
    patience, small = shape.patience, dict(shape.settings)
    recovery.READ_AT_ONCE = int(small.pop("read_at_once", recovery.READ_AT_ONCE))
    presence.CHUNK = int(small.pop("presence_chunk", presence.CHUNK))
    settings.CHATWS = replace(
        settings.CHATWS, publishes_messages=shape.platform, owns_topics=True, owns_messages=True,
        membership_seconds=small.pop("membership_seconds", 300.0),
    )  # fmt: skip
    given: Any = {"presence_lease": 30.0, **small}
    if patience > 1:
        given["presence_lease"] = 30.0
        connect: Any = client.connect
        connect.__kwdefaults__["timeout"] = 15.0  # a relay waits as long for an entry
    settings.REALTIME = replace(settings.REALTIME, redis_url=URL, relay_lease_seconds=3.0 * patience, **given)
    node.CONTROL_SECONDS = 1.0 * patience
    node.MEASURE_SECONDS = node.SLOW_SECONDS = metrics.LAG_SECONDS = 1.0 * patience
    redis_pubsub.PING_SECONDS, redis_pubsub.SILENT_SECONDS = 1.0 * patience, 3.0 * patience
    revocations.COMPARE_SECONDS = 5.0 * min(patience, 4)
    message_publisher.CLAIM_SECONDS = 1.0 * min(patience, 4)
    vars(relay_stream)["watch_lag"] = partial(reporting.watch_lag, every=60.0 * patience)
