"""What a run of a world found, and how it is reported."""

import subprocess
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from tests.simulation.plan import Plan

SHOWN_PROBLEMS, SHOWN_EVENTS = 20, 60


@dataclass(slots=True)
class Outcome:
    """One world's end. ``digest``: a hash of every byte that crossed its network, equal in each run of the seed."""

    seed: int
    seconds: float = 0.0
    """Simulated."""
    faults: Counter[str] = field(default_factory=Counter)
    """Those that acted, by the name of their kind."""
    messages: int = 0
    """Acked."""
    deliveries: int = 0
    checks: int = 0
    problems: list[str] = field(default_factory=list)
    events: list[str] = field(default_factory=list)
    """The last lines of the log of all processes."""
    digest: str = ""


@dataclass(slots=True)
class Total:
    """Many worlds together."""

    worlds: int = 0
    seconds: float = 0.0
    faults: Counter[str] = field(default_factory=Counter)
    messages: int = 0
    deliveries: int = 0
    checks: int = 0
    failed: list[Outcome] = field(default_factory=list)

    def add(self, outcome: Outcome) -> None:
        """Count one more world."""
        self.worlds += 1
        self.seconds += outcome.seconds
        self.faults += outcome.faults
        self.messages += outcome.messages
        self.deliveries += outcome.deliveries
        self.checks += outcome.checks
        if outcome.problems:
            self.failed.append(outcome)

    def table(self) -> str:
        """Return the sum in Markdown."""
        lines = [
            "| simulated | |", "| --- | --: |",
            f"| worlds | {self.worlds:,} |", f"| hours | {self.seconds / 3600:,.1f} |",
            f"| messages acked | {self.messages:,} |", f"| deliveries checked | {self.deliveries:,} |",
            f"| checks of the whole world | {self.checks:,} |", f"| faults | {self.faults.total():,} |",
            *(f"| … {name} | {count:,} |" for name, count in sorted(self.faults.items())),
            f"| worlds with a broken promise | {len(self.failed)} |",
        ]  # fmt: skip
        return "\n".join(lines)


def failure(outcome: Outcome, shortest: Plan | None) -> str:
    """Return what is needed to replay and to understand a broken promise."""
    lines = [f"seed {outcome.seed} at commit {commit()}: {len(outcome.problems)} broken promises"]
    lines += [f"  {problem}" for problem in outcome.problems[:SHOWN_PROBLEMS]]
    if shortest is not None:
        lines.append(f"the shortest list of steps that still breaks one, in {shortest.shape}:")
        lines += [f"  {step.at:9.3f} {step.what} ({step.number})" for step in shortest.steps]
    lines.append("the last events:")
    lines += [f"  {event}" for event in outcome.events[-SHOWN_EVENTS:]]
    lines.append(f"replay it: make simulate SEED={outcome.seed}")
    return "\n".join(lines)


def commit() -> str:
    """Return the commit of this checkout, with a mark if files were changed; empty without git."""
    try:
        named = subprocess.run(
            ["git", "describe", "--always", "--dirty"], capture_output=True, text=True, check=True, timeout=10
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return "unknown"
    return named.stdout.strip()


def kinds(problems: Iterable[str]) -> set[str]:
    """Return the kinds of some problems: their texts without names, numbers and positions."""
    return {"".join(character for character in problem if not character.isdigit())[:40] for problem in problems}


def same_kind(first: Sequence[str], second: Sequence[str]) -> bool:
    """Return whether two runs broke a promise in the same way."""
    return bool(kinds(first) & kinds(second))
