"""The settings of a world's processes, and how often they poll."""

from dataclasses import replace
from functools import partial
from typing import Any

from django.conf import settings

from chatws.management.commands import relay_stream
from chatws.messaging import message_publisher
from realtime.auth import revocations
from realtime.hub import recovery
from realtime.layers import redis_pubsub
from realtime.node import node
from realtime.observability import metrics
from realtime.presence import presence, terminations
from realtime.redis import client
from realtime.relay import reporting
from tests.simulation.plan import DEFAULT_LEASE, Shape
from tests.simulation.redis_host import URL


def configure(shape: Shape) -> None:
    """Set the settings of all processes, and how often they poll: for the rest of this Python process."""
    patience, small = shape.patience, dict(shape.settings)
    recovery.READ_AT_ONCE = int(small.pop("read_at_once", recovery.READ_AT_ONCE))
    presence.CHUNK = int(small.pop("presence_chunk", presence.CHUNK))
    terminations.AT_ONCE = int(small.pop("terminations_at_once", terminations.AT_ONCE))
    small.pop("socket_buffer", None)  # the servers' own
    settings.CHATWS = replace(
        settings.CHATWS, publishes_messages=shape.platform, owns_topics=True, owns_messages=True,
        membership_seconds=small.pop("membership_seconds", 300.0),
    )  # fmt: skip
    given: Any = {"presence_lease": DEFAULT_LEASE, **small}
    if patience > 1:
        given["presence_lease"] = DEFAULT_LEASE
        connect: Any = client.connect
        connect.__kwdefaults__["timeout"] = 15.0  # a relay waits as long for an entry
    settings.REALTIME = replace(settings.REALTIME, redis_url=URL, relay_lease_seconds=3.0 * patience, **given)
    node.CONTROL_SECONDS = 1.0 * patience
    node.MEASURE_SECONDS = node.SLOW_SECONDS = metrics.LAG_SECONDS = 1.0 * patience
    redis_pubsub.PING_SECONDS, redis_pubsub.SILENT_SECONDS = 1.0 * patience, 3.0 * patience
    revocations.COMPARE_SECONDS = 5.0 * min(patience, 4)
    message_publisher.CLAIM_SECONDS = 1.0 * min(patience, 4)
    vars(relay_stream)["watch_lag"] = partial(reporting.watch_lag, every=60.0 * patience)
