"""Hold what a run of Redis's errors did, and judge it."""

from dataclasses import dataclass, field

from tests.faults.kinds import ERRORS_SECONDS
from tests.support.ledger import Ledger

TRUE_SECONDS = ERRORS_SECONDS
"""How soon after the errors presence and audit have to be true, and everything delivered."""


@dataclass
class Row:
    """What happened while Redis answered one kind of error, and how soon after it all was well again (seconds)."""

    kind: str
    answered: int = 0
    acked: int = 0
    refused: int = 0
    newcomers: int = 0
    turned_away: int = 0
    disconnected: int = 0
    task_failures: int = 0
    delivered_after: float = 0.0
    presence_after: float = 0.0
    audit_after: float = 0.0


@dataclass
class Outcome:
    """The result of a run."""

    ledger: Ledger = field(default_factory=Ledger)
    rows: list[Row] = field(default_factory=list)

    @property
    def slowest(self) -> float:
        """Return the longest time until all was well after a kind of error."""
        return max(max(row.delivered_after, row.presence_after, row.audit_after) for row in self.rows)


def table(outcome: Outcome) -> str:
    """Return the rows as an aligned Markdown table."""
    head = (
        "kind", "answered", "acked", "503", "newcomers", "turned away", "disconnected", "task failures",
        "delivered", "presence true", "audit true",
    )  # fmt: skip
    rows = [
        [*map(str, (row.kind, row.answered, row.acked, row.refused, row.newcomers, row.turned_away, row.disconnected,
                    row.task_failures)),
         *(f"{after:.1f} s" for after in (row.delivered_after, row.presence_after, row.audit_after))]
        for row in outcome.rows
    ]  # fmt: skip
    count = outcome.ledger.count
    lines = [" | ".join(cells) for cells in ([*head], ["---"] * len(head), *rows)]
    return "\n".join([*(f"| {line} |" for line in lines), "", f"lost {count['lost']}, repeated {count['repeated']}"])


def problems(outcome: Outcome, seconds: float | None = TRUE_SECONDS) -> list[str]:
    """Return every broken promise. ``seconds``: the limit until all is well after an error; None: no limit."""
    late = [
        f"{row.kind}: well again after {max(row.delivered_after, row.presence_after, row.audit_after):.1f} s"
        for row in outcome.rows
        if seconds is not None and max(row.delivered_after, row.presence_after, row.audit_after) > seconds
    ]
    failed = [f"{row.kind}: {row.task_failures} failures of tasks" for row in outcome.rows if row.task_failures]
    idle = [f"{row.kind}: nothing was answered or acked" for row in outcome.rows if not (row.answered and row.acked)]
    late += [str(one) for one in outcome.ledger.late if seconds is not None]
    return [*outcome.ledger.problems, *late, *failed, *idle]
