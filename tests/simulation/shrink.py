"""Find a shorter plan that still breaks a promise: leave out steps as long as the world fails in the same way."""

import time
from collections.abc import Callable, Sequence

from tests.simulation.outcome import Outcome, same_kind
from tests.simulation.plan import Plan

Run = Callable[[Plan], Outcome]


def shortest(plan: Plan, problems: Sequence[str], run: Run, seconds: float) -> Plan:
    """Return the shortest failing plan that is found within so many seconds of this machine."""
    deadline = time.monotonic() + seconds
    size = max(1, len(plan.steps) // 2)
    while True:
        start, is_shorter = 0, False
        while start < len(plan.steps):
            if time.monotonic() > deadline:
                return plan
            shorter = plan.without(plan.steps[start : start + size])
            if same_kind(run(shorter).problems, problems):
                plan, is_shorter = shorter, True
            else:
                start += size
        if size == 1 and not is_shorter:
            return plan
        size = max(1, size // 2)
