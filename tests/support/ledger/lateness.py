"""Judge lateness: each delivery, each notice of a loss and each reconnection has a time by which it is due.

A delivery to a connected reader is due a budget after it was acked, or after the reader was authenticated, whichever is
later: `CALM_SECONDS`. If a fault acts in the meantime, it is due at the fault's end and its kind's budget at the
earliest; a fault that begins before that extends it again. Each connection of the reader is judged by itself: one that
ended before the delivery was due owes nothing.

These findings depend on the speed of the machine, unless the clock is virtual.
"""

from bisect import bisect_left
from collections.abc import Collection
from dataclasses import dataclass
from math import inf
from typing import TYPE_CHECKING

from tests.support.ledger import losses
from tests.support.ledger.causes import CALM_SECONDS, CONNECT_SECONDS, Timeline
from tests.support.ledger.reader import Reader

if TYPE_CHECKING:
    from tests.support.ledger.ledger import Ledger


@dataclass(frozen=True, slots=True)
class Late:
    """What came so many seconds after it was due."""

    what: str
    by: float
    due: float

    def __str__(self) -> str:
        return f"{self.what}: {self.by:.2f} s after it was due"


def judge(ledger: "Ledger", reader: Reader, groups: Collection[str]) -> None:
    """Find late deliveries, late notices and late reconnections of a reader."""
    concerning = [cause for cause in ledger.causes.all if cause.concerns(reader.name)]
    settled = Timeline((cause.began, cause.ended + cause.kind.budget) for cause in concerning)
    notices, _ = losses.excused(ledger, reader)
    for message_id, sent in ledger.sent.items():
        span = losses.span_of(ledger, reader, message_id, sent)
        if sent.group_id not in groups and span is None:
            continue
        if losses.is_taken_for_another(ledger, reader, message_id, sent):
            continue
        arrived = reader.seen.get(message_id)
        if arrived is None:
            covering = losses.covering(ledger, reader, notices, message_id, sent)
            if covering is None:
                continue  # it is lost
            arrived = covering.notice.at
        start = sent.acked if sent.group_id in groups or span is None else max(sent.acked, span.began)
        ledger.count["in time"] += 1
        ledger.count["due without a fault"] += settled.due(start, CALM_SECONDS) == start + CALM_SECONDS
        late = _latest(reader, settled, start, arrived)
        if late is not None:
            ledger.count["in time"] -= 1
            by, due = late
            ledger.late.append(Late(f"{reader.name}: {message_id} of {sent.group_id}", by, due))
    _judge_connections(ledger, reader)


def _latest(reader: Reader, settled: Timeline, start: float, arrived: float) -> tuple[float, float] | None:
    """Return by how many seconds the worst connection owed a delivery that arrived later, and when it was due."""
    worst: tuple[float, float] | None = None
    connections = reader.connections
    first = max(0, bisect_left(connections, start, key=lambda one: one.began) - 1)
    for connection in connections[first:]:
        if connection.began > arrived:
            break
        due = settled.due(max(start, connection.began), CALM_SECONDS)
        by = min(arrived, connection.ended) - due
        if by > 0 and (worst is None or by > worst[0]):
            worst = by, due
    return worst


def _judge_connections(ledger: "Ledger", reader: Reader) -> None:
    concerning = [cause for cause in ledger.causes.all if cause.concerns(reader.name)]
    settled = Timeline((cause.began, cause.ended + cause.kind.connect) for cause in concerning)
    for number, connection in enumerate(reader.connections):
        if connection.is_over or connection.ended == inf:
            continue
        due = settled.due(connection.ended + connection.asked, CONNECT_SECONDS)
        following = reader.connections[number + 1 : number + 2]
        again = following[0].began if following else ledger.clock()
        if again > due:
            ledger.late.append(Late(f"{reader.name}: connected again", again - due, due))
