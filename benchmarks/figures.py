"""Hold what a scenario measured: figures for the table and points for a plot."""

import statistics
from dataclasses import dataclass, field


@dataclass
class Figure:
    """One line of the table: ``values`` has one value per run, and the goal applies to their median."""

    what: str
    server: str
    unit: str
    values: list[float] = field(default_factory=list)
    goal: str = ""
    met: bool | None = None
    note: str = ""

    @property
    def median(self) -> float:
        return statistics.median(self.values)


@dataclass
class Outcome:
    """What a scenario measured: figures, and points for a plot as (series, x, y)."""

    figures: list[Figure] = field(default_factory=list)
    points: list[tuple[str, float, float]] = field(default_factory=list)
