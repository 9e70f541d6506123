"""`make proofs` measures figures that depend on the machine's speed, one proof after the other, and prints a table.

The test suite's assertions also hold on a slow or busy machine. Shares, rates and delays are measured here, with
nothing else running.
"""

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from config.env import BASE_DIR
from tests.e2e.tutorial import interruptible
from tests.proofs.figures import Result, read, table

LONGEST_SECONDS = 1_800.0
"""Seconds after which a proof counts as hanging."""
END_SECONDS = 60.0
"""Seconds for a proof to end its processes after Ctrl-C."""


@dataclass(frozen=True)
class Proof:
    """A proof. ``seconds``: its approximate duration on two idle cores; ``command``: the command if not `measure`."""

    name: str
    about: str
    seconds: int = 0
    command: tuple[str, ...] = ()


PROOFS = (
    Proof("rolling", "restart three gateways one by one under 3,000 clients", 200),
    Proof("soak", "connect, join, send, leave and disconnect for minutes: nothing is left behind", 210),
    Proof("messages", "scroll through 10,000 messages in a browser", 120),
    Proof("sockets", "10,000 sockets that never authenticate", 90),
    Proof("faults", "break processes, network and clocks at random moments for minutes", 200),
    Proof("platform", "break the chat beside the Go platform's twin at random moments for minutes", 200),
    Proof("fuzz", "send 400,000 random frames", 220),
    Proof("attacks", "run the attacks of the test suite beside a well-behaved client", 90),
    Proof("hostile", "3,200 hostile requests and sockets beside 200 honest clients", 130),
    Proof("redis-errors", "Redis answers each of eleven errors for some seconds", 150),
    Proof("slow-readers", "10 of 1,000 clients never read, at full load", 90),
    Proof("latency", "measure the delays of promised effects", 40),
    Proof("tutorial", "follow docs/tutorial.md in a browser", 60),
)


class Runner:
    """Run proofs, each in its own process, so that a crash or a hang of one does not affect the others."""

    def __init__(self, folder: Path, options: Sequence[str] = (), longest_seconds: float = LONGEST_SECONDS) -> None:
        self.folder = folder
        self.options = options
        self.longest_seconds = longest_seconds

    def run(self, proof: Proof) -> Result:
        """Run a proof until it ends."""
        log, figures = self.folder / f"{proof.name}.log", self.folder / f"{proof.name}.json"
        command = proof.command or (sys.executable, "-m", "tests.proofs.measure", proof.name, *self.options)
        began = time.monotonic()
        with log.open("wb") as output:
            process = subprocess.Popen(
                [*command, "--figures", str(figures)], cwd=BASE_DIR, stdin=subprocess.DEVNULL, stdout=output,
                stderr=subprocess.STDOUT, start_new_session=True, env={**os.environ, "PYTHONUNBUFFERED": "1"},
                preexec_fn=interruptible,
            )  # fmt: skip
        problem = ""
        try:
            status = process.wait(self.longest_seconds)
            if status:
                problem = f"ended with exit status {status}: {last_line(log)}"
        except subprocess.TimeoutExpired:
            problem = f"did not end within {self.longest_seconds:,.0f} s"
        finally:
            end(process)
        found = read(figures)
        if not problem and not found:
            problem = "ended without figures"
        return Result(proof.name, found, time.monotonic() - began, log, problem)


def end(process: subprocess.Popen[bytes]) -> None:
    """End a proof with all its processes; first ask it to end by itself."""
    if process.poll() is None:
        process.send_signal(signal.SIGINT)
        with suppress(subprocess.TimeoutExpired, KeyboardInterrupt):
            process.wait(END_SECONDS)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def last_line(log: Path) -> str:
    """Return the last line of a proof's output, shortened for the table."""
    lines = log.read_text(errors="replace").strip().splitlines()
    return lines[-1].strip()[:80].replace("|", "/") if lines else "no output"


def run_all(proofs: Sequence[Proof], runner: Runner) -> int:
    """Run proofs one after the other, print the table and return the exit status."""
    results: list[Result] = []
    status = 0
    try:
        for number, proof in enumerate(proofs, 1):
            say(f"[{number}/{len(proofs)}] {proof.name}: {proof.about} …")
            result = runner.run(proof)
            results.append(result)
            say(f"      {'met' if result.met else 'MISSED'} after {result.seconds:,.0f} s" + whereabouts(result))
    except KeyboardInterrupt:
        say("interrupted")
        status = 130
    sys.stdout.write("\n" + table(results))
    missed = [result for result in results if not result.met]
    for result in missed:
        say(f"{result.name} missed a goal: its output is in {result.log}")
    say(f"the output of every proof is in {runner.folder}")
    return status or (1 if missed else 0)


def whereabouts(result: Result) -> str:
    """Return the location of the output of a proof that missed a goal."""
    return "" if result.met else f": {result.problem or 'a goal was missed'} (see {result.log})"


def say(text: str) -> None:
    """Print a line of progress."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status."""
    parser = argparse.ArgumentParser(prog="make proofs", description=(__doc__ or "").partition("\n")[0])
    names = [proof.name for proof in PROOFS]
    parser.add_argument(
        "--only", action="append", choices=names, metavar="NAME", help="run only this proof; may be repeated"
    )
    parser.add_argument("--list", action="store_true", help="list the proofs and their seconds")
    parser.add_argument(
        "--seed", type=int, default=1, help="seed of the faults and random frames (default: %(default)s)"
    )
    parser.add_argument(
        "--scale", type=float, default=1.0, metavar="SHARE",
        help="do only this share of the work, to check that the proofs run (default: all of it)",
    )  # fmt: skip
    given = parser.parse_args(arguments)
    if given.list:
        for proof in PROOFS:
            say(f"{proof.name:<14}{proof.seconds:>4} s  {proof.about}")
        return 0
    folder = Path(tempfile.mkdtemp(prefix="chatws-proofs-"))
    if given.scale != 1:
        say(f"only {given.scale:g} of the work is done, but the goals are those for all of it")
    runner = Runner(folder, ("--seed", str(given.seed), "--scale", str(given.scale)))
    return run_all([proof for proof in PROOFS if not given.only or proof.name in given.only], runner)


if __name__ == "__main__":
    sys.exit(main())
