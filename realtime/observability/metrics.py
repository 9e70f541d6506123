"""The Prometheus metrics of all processes. Every label has a bounded set of values; no metric is updated per delivery.

With `--workers` the processes share a folder (`PROMETHEUS_MULTIPROC_DIR`), and each of them serves the metrics of all.
"""

import asyncio
import os
import re
import time
from collections.abc import Callable, Iterable, Sequence

from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, CollectorRegistry, Counter, Gauge, Histogram, Metric
from prometheus_client.exposition import generate_latest
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead
from prometheus_client.registry import Collector

__all__ = ["CONTENT_TYPE_LATEST", "mark_process_dead", "render"]

SHARED_FOLDER = "PROMETHEUS_MULTIPROC_DIR"
_QUICK = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0)
_SLOW = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
LAG_SECONDS = 0.5
_sent: dict[str, tuple[Counter, Counter]] = {}
_TYPE = re.compile(rb'\{"type":"([a-z_]{1,40})"')


def _gauge(name: str, what: str, labels: tuple[str, ...] = (), mode: str = "livesum") -> Gauge:
    return Gauge(name, what, labels, multiprocess_mode=mode)  # type: ignore[arg-type]  # one of its literals


connections = _gauge("chatws_connections", "Open sockets")
users = _gauge(
    "chatws_users",
    "Users with a socket at this gateway; with several workers a user with sockets at two of them counts twice",
)
feeds = _gauge("chatws_feeds", "Feeds that this gateway is subscribed to")
frames_received = Counter("chatws_frames_received_total", "Frames from clients", ("type",))
bytes_received = Counter("chatws_received_bytes_total", "Bytes of frames from clients", ("type",))
frames_sent = Counter("chatws_frames_sent_total", "Frames to clients, added to their queues", ("type",))
bytes_sent = Counter("chatws_sent_bytes_total", "Bytes of frames to clients, added to their queues", ("type",))
deliveries = Counter("chatws_deliveries_total", "Publications delivered to connections")
fanout_seconds = Histogram(
    "chatws_fanout_seconds", "Time to deliver the messages of one turn of the event loop", buckets=_QUICK
)
event_age_seconds = Histogram(
    "chatws_event_age_seconds", "Time from a publication's stream entry to its write to the sockets", buckets=_SLOW
)
outbox_dropped = Counter(
    "chatws_outbox_dropped_total", "Ephemeral frames dropped, and queues that overflowed", ("what",)
)
closes = Counter("chatws_closes_total", "Closed sockets", ("code",))
authentications = Counter("chatws_authentications_total", "Tokens checked", ("way", "outcome"))
key_set_fetches = Counter("chatws_key_set_fetches_total", "Fetches of the key set that verifies tokens", ("outcome",))
key_set_fetched = _gauge(
    "chatws_key_set_fetched_seconds", "When the key set was last fetched, in Unix time; 0 without one", mode="livemin"
)
logins = Counter("chatws_logins_total", "Logins with a password: ok, failed, refused by a limit", ("outcome",))
refusals = Counter("chatws_refusals_total", "Requests, connections and frames rejected by a limit", ("limit",))
resumes = Counter("chatws_resumes_total", "Feeds that clients resumed", ("outcome",))
gaps = Counter("chatws_gaps_total", "Gaps in feeds: found, then recovered from the log or lost", ("outcome",))
position_checks = Counter("chatws_position_checks_total", "Comparisons of all feeds with their logs")
task_failures = Counter(
    "chatws_task_failures_total",
    "Failures of long-running tasks, which were restarted",
    ("task",),
)
dependency_up = _gauge(
    "chatws_dependency_up", "1 while a service that this gateway depends on answers", ("dependency",), mode="livemin"
)
log_records_dropped = Counter("chatws_log_records_dropped_total", "Log records of statements that logged too often")
audit_dropped = Counter(
    "chatws_audit_dropped_total",
    "Connections not recorded: unauthenticated, or of a user, over a limit. Events dropped while Redis is unavailable",
    ("reason",),
)
loop_lag_seconds = Histogram("chatws_loop_lag_seconds", "Delay of the event loop's timers", buckets=_QUICK)

rpc_seconds = Histogram("chatws_rpc_seconds", "Calls of the chat service", ("method", "outcome"), buckets=_SLOW)
circuit_open = _gauge("chatws_circuit_open", "1 while calls of the chat service are rejected at once", mode="livemax")

relayed = Counter("chatws_relayed_total", "Stream entries relayed", ("topic",))
relay_lag = _gauge(
    "chatws_relay_lag_entries", "Stream entries that wait for the relay, if Redis can count them", ("topic",)
)
topic_entries = _gauge(
    "chatws_topic_entries", "Stream entries that Redis holds, processed ones included", ("topic",), mode="livemax"
)
relay_retries = Counter("chatws_relay_retries_total", "Failed attempts that are retried", ("topic",))
dead_letters = Counter("chatws_dead_letters_total", "Stream entries that can never succeed", ("topic",))
dead_letters_dropped = Counter(
    "chatws_dead_letters_dropped_total", "Dead letters dropped, the oldest first: a topic has too many", ("topic",)
)
relay_lease = _gauge("chatws_relay_lease", "1 while this relay holds the topic", ("topic",))
relay_refused = _gauge(
    "chatws_relay_refused", "1 while Redis refuses the relay's writes: it is full, read-only or can't save", ("topic",)
)

messages_finished = Counter(
    "chatws_messages_finished_total", "Stored messages published in place of a gateway that died or gave up"
)

waiting_events = _gauge(
    "chatws_reference_waiting_events",
    "Events that wait in the reference chat service's outbox for Redis",
    mode="livemax",
)
served_seconds = Histogram(
    "chatws_reference_seconds", "Calls served by the reference chat service", ("method", "outcome"), buckets=_SLOW
)


def publications_sent(handed_out: Iterable[tuple[Sequence[bytes], int]]) -> None:
    """Count publications: pairs of frames and the number of connections they were delivered to."""
    tallies: dict[str, list[int]] = {}
    for frames, members in handed_out:
        for frame in frames:
            tally = tallies.setdefault(type_of(frame), [0, 0])
            tally[0] += members
            tally[1] += len(frame) * members
    for kind, (count, size) in tallies.items():
        sent(kind, count, size)
        deliveries.inc(count)


def observe_ages(entered: Iterable[int]) -> None:
    """Observe the ages of publications; ``entered`` holds the times of their stream entries, in Unix milliseconds."""
    now = time.time()
    for at in entered:
        event_age_seconds.observe(now - at / 1000)


async def watch_loop() -> None:
    """Observe the lag of the running event loop twice a second, until cancelled."""
    loop = asyncio.get_running_loop()
    while True:
        due = loop.time() + LAG_SECONDS
        await asyncio.sleep(LAG_SECONDS)
        loop_lag_seconds.observe(max(0.0, loop.time() - due))


def type_of(frame: bytes) -> str:
    """Return the type of an encoded server frame, which begins with it."""
    match = _TYPE.match(frame)
    return match[1].decode() if match else "other"


def sent(kind: str, frames: int, size: int) -> None:
    """Count frames of one type added to queues, ``size`` bytes in all."""
    children = _sent.get(kind)
    if children is None:
        children = _sent[kind] = frames_sent.labels(kind), bytes_sent.labels(kind)
    children[0].inc(frames)
    children[1].inc(size)


async def render() -> bytes:
    """Return all metrics in Prometheus's text format. All take 20 ms, so frames are served between any two of them."""
    registry = REGISTRY
    if SHARED_FOLDER in os.environ:
        registry = CollectorRegistry()
        collect: Callable[..., object] = MultiProcessCollector
        collect(registry)
    parts = []
    for metric in registry.collect():
        parts.append(generate_latest(_One(metric)))
        await asyncio.sleep(0)
    return b"".join(parts)


class _One(Collector):
    """A collector of one metric."""

    def __init__(self, metric: Metric) -> None:
        self._metric = metric

    def collect(self) -> Iterable[Metric]:
        return [self._metric]
