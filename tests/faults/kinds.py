"""What each fault may do, and how soon after it everything is well again: the permits of the ledger."""

from tests.support.ledger import CALM_SECONDS, Kind

TAKEOVER_SECONDS = 5.0
"""Seconds until a standby relay has taken over."""
OUTBOX_SECONDS = 3.0
"""Seconds until another chat service publishes what a killed one stored: the lease of the outbox."""
SILENT_SECONDS = 3.0
"""Seconds until these clients notice a server that is silent: two of their heartbeats."""
OPEN_SECONDS = 15.0
"""Seconds for which a client waits for the answer to a handshake."""
ERRORS_SECONDS = 10.0
"""Seconds until everything is delivered after Redis answered errors."""

PROCESS_KILLED = Kind("a process was killed")
SERVICE_KILLED = Kind("a chat service was killed", budget=OUTBOX_SECONDS + CALM_SECONDS)
RELAY_KILLED = Kind("the active relay was killed or stopped", budget=TAKEOVER_SECONDS)
REDIS_DOWN = Kind("Redis was down")
REDIS_ERRORS = Kind("Redis answered errors", budget=ERRORS_SECONDS)
SUBSCRIPTIONS_KILLED = Kind("the gateways' subscriptions were killed")
TRIMMED = Kind("a log was trimmed", loses=True)
NETWORK_RESET = Kind("a reader's network was reset")
NETWORK_STALLED = Kind("a reader's network was stalled", budget=SILENT_SECONDS + CALM_SECONDS)
NETWORK_DROPPED = Kind(
    "a reader's network was dropped silently",
    budget=SILENT_SECONDS + CALM_SECONDS, connect=SILENT_SECONDS + OPEN_SECONDS + CALM_SECONDS,
)  # fmt: skip
CLOCK_TURNED = Kind("a process's clock was set back", turns_clock=True)
SERVICE_FAILED = Kind("the platform's services failed")


def flushed(check_seconds: float, *, forgets: bool) -> Kind:
    """Return what FLUSHALL may do. ``check_seconds``: how often the gateways compare positions with the logs.

    ``forgets``: the gateways publish, and their record of published messages is deleted, too.
    """
    return Kind("FLUSHALL", budget=check_seconds + CALM_SECONDS, loses=True, forgets=forgets)
