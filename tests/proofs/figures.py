"""Hold the figures of proofs and write their table."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True)
class Figure:
    """A measured figure and the goal that it meets or misses."""

    what: str
    value: str
    goal: str
    met: bool


@dataclass(frozen=True)
class Result:
    """A finished proof. ``problem``: why it has no figures; ``log``: the file with its output."""

    name: str
    figures: Sequence[Figure]
    seconds: float
    log: Path
    problem: str = ""

    @property
    def met(self) -> bool:
        """Return whether there are figures and each meets its goal."""
        return not self.problem and bool(self.figures) and all(figure.met for figure in self.figures)


def at_most(what: str, value: float, goal: float, unit: str = "s") -> Figure:
    """Return a figure that must not exceed its goal."""
    return Figure(what, f"{value:.1f} {unit}", f"{goal:g} {unit} or less", value <= goal)


def all_of(what: str, value: int, whole: int) -> Figure:
    """Return a figure that must equal the whole."""
    return Figure(what, f"{value:,}", f"{whole:,}", value == whole)


def between(what: str, value: float, least: float, goal: float, unit: str = "s") -> Figure:
    """Return a figure that must be between ``least`` and its goal."""
    return Figure(what, f"{value:.1f} {unit}", f"{least:g} to {goal:g} {unit}", least <= value <= goal)


def none_of(what: str, problems: Sequence[str]) -> Figure:
    """Return a figure that is met without problems; the log names a few of them."""
    for problem in problems[:20]:
        print(f"PROBLEM {problem}", flush=True)  # noqa: T201
    return Figure(what, f"{len(problems):,}", "0", not problems)


def write(figures: Sequence[Figure], path: Path) -> None:
    """Write figures for the process that started the proof."""
    path.write_text(json.dumps([asdict(figure) for figure in figures]))


def read(path: Path) -> list[Figure]:
    """Return the figures of a proof; none if it ended too early."""
    if not path.exists():
        return []
    return [Figure(**figure) for figure in json.loads(path.read_text())]


def table(results: Sequence[Result]) -> str:
    """Return all results as an aligned Markdown table."""
    rows = [("proof", "what was measured", "figure", "goal", "", "seconds")]
    for result in results:
        seconds = f"{result.seconds:,.0f}"
        if result.problem:
            rows.append((result.name, result.problem, "", "", "missed", seconds))
        for number, figure in enumerate(result.figures):
            name, took = ("", "") if number or result.problem else (result.name, seconds)
            rows.append((name, figure.what, figure.value, figure.goal, "met" if figure.met else "missed", took))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |" for row in rows
    ]
    lines.insert(1, "| " + " | ".join("-" * max(width, 3) for width in widths) + " |")
    return "\n".join(lines) + "\n"
