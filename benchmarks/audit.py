"""Measure how many audit events per second are written to the database: opened, authenticated, closed.

    python -m benchmarks.audit [--connections 10000]

It uses SQLite in a temporary folder, or the database that DATABASE_URL names; there its rows remain.
"""

import argparse
import os
import tempfile
import time
import uuid
from collections.abc import Sequence
from typing import Any

BATCH = 1_000


def measure(connections: int) -> tuple[float, float]:
    """Return the events per second, and the microseconds of CPU of each."""
    from django.core.management import call_command

    from realtime.audit import events as audit_events
    from realtime.audit import sink

    call_command("migrate", verbosity=0)
    ids = [uuid.uuid4().hex for _ in range(connections)]
    given: dict[str, Any] = {"node": "bench", "at": time.time()}
    kinds: list[list[audit_events.Event]] = [
        [audit_events.Opened(connection_id=one, address="127.0.0.1", user_agent="x" * 60, **given) for one in ids],
        [audit_events.Authenticated(connection_id=one, user_id=1, way="header", **given) for one in ids],
        [
            audit_events.Closed(
                connection_id=one, code=1000, frames_in=1, frames_out=2, bytes_in=3, bytes_out=4, **given
            )
            for one in ids
        ],
    ]
    began, used = time.perf_counter(), time.process_time()
    for events in kinds:
        for batch in _batches(events):
            sink.write(batch)
    took, used = time.perf_counter() - began, time.process_time() - used
    return 3 * connections / took, 1e6 * used / (3 * connections)


def _batches(events: Sequence[Any]) -> list[Sequence[Any]]:
    return [events[start : start + BATCH] for start in range(0, len(events), BATCH)]


def main() -> None:
    """Measure three times."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.audit", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--connections", type=int, default=10_000)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        os.environ |= {"DJANGO_SETTINGS_MODULE": "config.settings.test", "CHATWS_DATA_DIR": folder}
        import django

        django.setup()
        for _ in range(3):
            rate, cost = measure(given.connections)
            print(f"{rate:10,.0f} events/s, {cost:.0f} us of CPU each")


if __name__ == "__main__":
    main()
