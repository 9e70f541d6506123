"""`python -m tools.repeat` runs `make test` repeatedly, each time with another seed, and prints a table.

Two busy processes load the machine during every second run. Ctrl-C ends it and prints the runs so far.
"""

import argparse
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BUSY = "import os\nparent = os.getppid()\nwhile os.getppid() == parent:\n    sum(range(100_000))"
"""A program that computes as long as its starter lives."""
BUSY_PROCESSES = 2
COUNTS = re.compile(r"^=+ (?:.*?(\d+) failed, )?(?:.*?(\d+) passed).* in [\d.]+s", re.MULTILINE)
FAILED = re.compile(r"^(?:FAILED|ERROR) (\S+)", re.MULTILINE)


@dataclass
class Run:
    """One run of the tests and its result."""

    seed: int
    is_loaded: bool
    seconds: float
    status: int
    passed: int
    failed: list[str]

    @property
    def row(self) -> str:
        """Return its line of the table."""
        machine = "busy" if self.is_loaded else "idle"
        outcome = "green" if self.status == 0 else ", ".join(self.failed) or f"exit status {self.status}"
        return f"| {self.seed} | {machine} | {self.seconds:.0f} | {self.passed:,} | {outcome} |"


def main() -> None:
    """Run the tests, print a row after each run, and exit with 1 if a run failed."""
    parser = argparse.ArgumentParser(prog="python -m tools.repeat", description=__doc__)
    parser.add_argument("--times", type=int, default=10, help="how many runs (10)")
    parser.add_argument("--machine", choices=["turns", "idle", "busy"], default="turns", help="load beside (by turns)")
    parser.add_argument("--clone", action="store_true", help="each run in a clean clone of HEAD, installation included")
    parser.add_argument("--logs", type=Path, default=Path(tempfile.gettempdir()), help="folder of each run's output")
    given = parser.parse_args()
    print("| seed | machine | seconds | passed | outcome |\n| --- | --- | --: | --: | --- |", flush=True)
    is_green = True
    try:
        for number in range(given.times):
            is_loaded = given.machine == "busy" or (given.machine == "turns" and number % 2 == 1)
            run = once(random.SystemRandom().randrange(1, 10**6), given.logs, is_loaded=is_loaded, clones=given.clone)
            is_green &= run.status == 0
            print(run.row, flush=True)
    except KeyboardInterrupt:
        sys.exit(130)
    sys.exit(0 if is_green else 1)


def once(seed: int, logs: Path, *, is_loaded: bool, clones: bool) -> Run:
    """Run `make test` once; write its output to ``logs``/repeat-SEED.log."""
    log = logs / f"repeat-{seed}.log"
    with _checkout(clones) as folder, busy(BUSY_PROCESSES if is_loaded else 0), log.open("w+") as output:
        began = time.monotonic()
        process = subprocess.Popen(
            ["make", "test", f"SEED={seed}"],
            cwd=folder, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
        try:
            status = process.wait()
        except BaseException:
            os.killpg(process.pid, signal.SIGINT)
            process.wait()
            raise
        seconds = time.monotonic() - began
        output.seek(0)
        text = output.read()
    passed = sum(int(count[1]) for count in COUNTS.findall(text))
    return Run(seed, is_loaded, seconds, status, passed, list(dict.fromkeys(FAILED.findall(text))))


@contextmanager
def _checkout(clones: bool) -> Iterator[Path]:
    """Yield this checkout, or a clone of it that is removed afterwards."""
    if not clones:
        yield ROOT
        return
    folder = Path(tempfile.mkdtemp(prefix="chatws-clone-"))
    try:
        subprocess.run(["git", "clone", "--quiet", str(ROOT), str(folder)], check=True)
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def busy(count: int) -> Iterator[list[subprocess.Popen[bytes]]]:
    """Load the machine with so many busy processes."""
    processes = [subprocess.Popen([sys.executable, "-c", BUSY]) for _ in range(count)]
    try:
        yield processes
    finally:
        for process in processes:
            process.kill()
            process.wait()


if __name__ == "__main__":
    main()
