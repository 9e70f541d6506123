"""Report a run in Markdown."""

from tests.faults.plan import GROUPS, WRITERS, Outcome, Plan
from tests.support.ledger import CALM_SECONDS


def table(plan: Plan, outcome: Outcome) -> str:
    """Return the run in Markdown."""
    ledger, count = outcome.ledger, outcome.ledger.count
    without_cause = count["unrecoverable without cause"]
    database = plan.database.partition(":")[0] or "sqlite"
    beside = [
        f"| stored and unpublished | {count['unpublished']} |",
        f"| errors to senders of stored messages | {count['error though stored']} |",
        f"| delivered again after FLUSHALL, because the client sent it again | {count['forgotten']} |",
    ] if plan.platform else []  # fmt: skip
    lines = [
        f"seed {plan.seed}, {plan.minutes:g} minutes, {database}, {WRITERS + 2} readers, {GROUPS} chat groups",
        "",
        "| fault | injected |",
        "| --- | --- |",
        *(f"| {fault.name} | {outcome.injected[fault.name]} |" for fault in plan.faults),
        f"| **all** | **{outcome.injected.total()}** |",
        "",
        "| outcome | |",
        "| --- | --- |",
        f"| messages acked | {len(ledger.sent)} |",
        f"| deliveries checked | {sum(len(r.places) for one in ledger.readers for r in one.received.values())} |",
        f"| lost | {count['lost']} |",
        f"| repeated | {count['repeated']} |",
        f"| swapped | {count['swapped']} |",
        *beside,
        f"| gaps inside a connection | {count['gap']} |",
        f"| received after a removal | {count['leaked']} |",
        f"| feeds resumed without a loss (recovered) | {sum(reader.recovered for reader in ledger.readers)} |",
        f"| unrecoverable feeds after FLUSHALL or a trim | {count['unrecoverable'] - without_cause} |",
        f"| unrecoverable feeds without such a cause | {without_cause} |",
        f"| errors by code (403: a request of the removed user) | {dict(sorted(ledger.errors.items()))} |",
        f"| slowest takeover by a standby relay | {max(outcome.takeovers, default=0):.1f} s |",
        f"| deliveries and notices in time | {count['in time']} |",
        f"| of all, due {CALM_SECONDS:g} s after their ack or the connection | {count['due without a fault']} |",
        f"| late | {len(ledger.late)} |",
    ]
    return "\n".join(lines)
