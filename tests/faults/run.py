"""`make faults` injects random faults into the whole chat for some minutes and reports broken promises.

python -m tests.faults.run --minutes 20 --seed 7 [--database postgres://…]
"""

import argparse
import asyncio
import logging
import os
import random
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings.test")

import django

django.setup()

from tests.faults.execution import Run  # noqa: E402
from tests.faults.faults import FAULTS  # noqa: E402
from tests.faults.plan import Outcome, Plan  # noqa: E402
from tests.faults.report import table  # noqa: E402
from tests.faults.system import System  # noqa: E402
from tests.support.stack import SERVERS  # noqa: E402


async def run(plan: Plan) -> Outcome:
    """Run a plan in its own folder, which remains if a promise was broken."""
    folder = Path(tempfile.mkdtemp(prefix="chatws-faults-"))
    outcome = None
    try:
        outcome = await Run(plan, folder)()
        return outcome
    finally:
        if outcome is not None and not outcome.problems(timed=True) and not plan.keep:
            shutil.rmtree(folder, ignore_errors=True)
        else:
            sys.stderr.write(f"the logs of all processes are in {folder}\n")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status."""
    parser = argparse.ArgumentParser(prog="make faults", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--minutes", type=float, default=2.0, help="how long faults are injected (default: 2)")
    parser.add_argument("--seed", type=int, default=None, help="repeat the choice of faults of an earlier run")
    parser.add_argument("--rate", type=float, default=Plan.rate, help="messages a second (default: %(default)s)")
    parser.add_argument("--pause", type=float, default=Plan.pause_seconds, help="seconds for which Redis is paused")
    parser.add_argument("--database", default="", help="URL of the chat service's database (default: SQLite)")
    parser.add_argument("--only", default="", help="inject only faults whose name begins with this")
    parser.add_argument(
        "--server", choices=sorted(SERVERS), default="ours", help="ASGI server of the gateways (default: %(default)s)"
    )
    parser.add_argument("--platform", action="store_true", help="run beside the twin of the Go platform")
    parser.add_argument("--real", action="store_true", help="run beside the platform itself, at CHATWS_TEST_PLATFORM")
    parser.add_argument("--keep", action="store_true", help="keep the processes' logs")
    given = parser.parse_args(arguments)
    System.server = given.server
    seed = given.seed if given.seed is not None else random.SystemRandom().randrange(10**6)
    plan = Plan(given.minutes, seed, given.rate, given.pause, given.database, given.keep, given.only)
    plan.platform, plan.real = given.platform or given.real, given.real
    if not plan.faults:
        parser.error(f"--only {given.only}: none of: {', '.join(fault.name for fault in FAULTS)}")
    logging.getLogger("chatws.client").setLevel(logging.ERROR)
    outcome = asyncio.run(run(plan))
    sys.stdout.write(table(plan, outcome) + "\n")
    problems = outcome.problems(timed=True)
    for problem in problems[:40]:
        sys.stdout.write(f"PROBLEM {problem}\n")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
