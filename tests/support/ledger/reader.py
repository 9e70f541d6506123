"""What one client saw: each frame is checked against all earlier ones, with the time at which it arrived."""

from array import array
from collections.abc import Mapping
from dataclasses import dataclass, field
from math import inf
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.support.ledger.ledger import Ledger

OUR_FAULT = {1011, 4500}
"""Close codes of an internal error."""
ITS_FAULT = {1002, 1007, 1009, 4400, 4403, 4409, 4529}
"""Close codes for a client that did something wrong; these do nothing wrong."""
EXPECTED_ERRORS = {403, 404, 429, 503}
"""Codes of errors that a client may receive: of a chat group that it was removed from, of too much, of a fault."""
UNAVAILABLE = 503
LONGEST_ASKED = 10.0
"""Seconds that a gateway that shuts down asks to wait at most (`CHATWS_DRAIN_RETRY_SECONDS`)."""
LEFT = "leave_group"
"""What ends the span of a reader that left a chat group by itself."""
Frame = Mapping[str, Any]
Place = tuple[str, int]
"""Epoch and offset of a publication in its feed."""


@dataclass(slots=True)
class Notice:
    """The notice to a reader that publications of a feed were lost, between two places."""

    reader: str
    feed: str
    before: Place
    after: Place
    at: float
    kind: str = "feed_reset"
    """The type of its frame."""
    rejoined: bool = False
    """Whether the reader was not subscribed to the feed before: then a removal explains it, too."""


@dataclass(slots=True)
class Span:
    """A stretch in which a reader was subscribed to a feed, across its connections. ``last``: None while it is."""

    first: Place
    began: float
    last: Place | None = None
    ended: float = inf
    why: str = ""
    """What ended it: "group_left", `LEFT`, "auth_success" without the feed, or "finished"."""


@dataclass(slots=True)
class Connected:
    """The time in which a reader was connected and authenticated."""

    began: float
    ended: float = inf
    is_over: bool = False
    """Whether the reader closed it for good."""
    asked: float = 0.0
    """The seconds that the gateway asked to wait before the next connection: it shuts down."""


@dataclass(slots=True)
class Received:
    """The publications of one feed, in the order of their arrival: places, and the time of each."""

    places: list[Place] = field(default_factory=list)
    at: "array[float]" = field(default_factory=lambda: array("d"))


class Reader:
    """One client's view: `observe` takes every frame from the socket, `disconnected` the end of each connection."""

    def __init__(self, name: str, ledger: "Ledger", user_id: int) -> None:
        self.name = name
        self.user_id = user_id
        self.places: dict[str, Place] = {}
        """The last position in each feed."""
        self.spans: dict[str, list[Span]] = {}
        self.connections: list[Connected] = []
        self.messages: dict[str, list[str]] = {}
        """Message ids by chat group, in order of arrival."""
        self.received: dict[str, Received] = {}
        self.seen: dict[str, float] = {}
        """When each message was first received."""
        self.places_of: dict[str, Place] = {}
        """Where each message was received first."""
        self.acks: dict[str, str] = {}
        """The message id of each acked frame, by frame id."""
        self.errors: list[tuple[str, float]] = []
        """Frames answered by an error, with the time (Unix seconds)."""
        self.unavailable: list[float] = []
        """When it received an error 503."""
        self.notices: list[Notice] = []
        self.recovered = 0
        self.is_over = False
        """Whether it has left in the middle of the run."""
        self._connection_id = ""
        self._behind_a_gap: set[str] = set()
        """Feeds of which a frame was lost on the way: what follows counts on the next connection only."""
        self._ledger = ledger

    @property
    def is_connected(self) -> bool:
        """Return whether the reader has an authenticated connection."""
        return bool(self.connections) and self.connections[-1].ended == inf

    @property
    def was_connected(self) -> bool:
        """Return whether it has a connection, or had one until it finished."""
        return self.is_connected or (bool(self.connections) and self.connections[-1].is_over)

    def has(self, feed: str, at: Place) -> bool:
        """Return whether the reader received a publication with this position."""
        return feed in self.received and at in self.received[feed].places

    def disconnected(self, code: int = 0, *, for_good: bool = False) -> None:
        """Record that the reader noticed the end of its connection.

        ``code``: the close code, if it is known. ``for_good``: the reader itself has finished.
        """
        if code in OUR_FAULT or code in ITS_FAULT:
            self._ledger.found("closed", f"{self.name}: the gateway closed the connection with {code}")
        if self.is_connected:
            self.connections[-1].ended = self._ledger.clock()
        if self.connections:
            self.connections[-1].is_over |= for_good

    def finished(self) -> None:
        """Record that the reader has left in the middle of the run: from now on nothing is owed to it."""
        self.disconnected(for_good=True)
        self.is_over = True
        for feed in self.spans:
            self._end_span(feed, "finished")

    def observe(self, frame: Frame) -> None:
        """Check one frame against all earlier ones."""
        kind = frame["type"]
        if "offset" in frame:
            self._publication(frame)
        elif kind == "auth_success":
            self._authenticated(frame["data"])
        elif kind in ("group_joined", "feed_reset"):
            self._placed(frame["data"], kind)
        elif kind == "group_left":
            self._end_span(f"group:{frame['data']['group_id']}", LEFT if frame.get("message_id") else kind)
        elif kind == "error":
            self._error(frame)
            self.errors.append((frame.get("message_id", ""), self._ledger.wall()))
        elif kind == "shutdown" and self.is_connected:
            self.connections[-1].asked = min(frame["data"]["retry_after"], LONGEST_ASKED)
        elif kind == "ack":
            self.acks[frame["message_id"]] = frame["data"]["message_id"]

    def _error(self, frame: Frame) -> None:
        code = frame["data"]["code"]
        self._ledger.errors[code] += 1
        if code == UNAVAILABLE:
            self.unavailable.append(self._ledger.clock())
        if code not in EXPECTED_ERRORS:
            self._ledger.found("error", f"{self.name}: received {frame}")

    def _authenticated(self, data: Frame) -> None:
        """Begin a connection, unless it is the answer to a new token on the same connection."""
        connection_id = data.get("connection_id", "")
        if not self.is_connected or (connection_id and connection_id != self._connection_id):
            self.disconnected()
            self._connection_id = connection_id
            self._behind_a_gap.clear()
            self.connections.append(Connected(self._ledger.clock()))
        if "feeds" not in data:
            return
        for place in data["feeds"]:
            self._placed(place, "auth_success")
        for feed in self.spans.keys() - {place["feed"] for place in data["feeds"]}:
            self._end_span(feed, "auth_success")  # `group_joined` follows if the chat service could not be asked

    def _end_span(self, feed: str, why: str) -> None:
        span = self._span(feed)
        if span is not None:
            span.last, span.ended, span.why = self.places[feed], self._ledger.clock(), why

    def _span(self, feed: str) -> Span | None:
        """Return the stretch in which the reader is subscribed to a feed now; None if it isn't."""
        spans = self.spans.get(feed)
        return spans[-1] if spans and spans[-1].last is None else None

    def _begin_span(self, feed: str, at: Place, *, continues: bool) -> None:
        """Begin a stretch; one that continues where the last one ended is the same."""
        spans = self.spans.setdefault(feed, [])
        if continues and spans:
            spans[-1].began = self._ledger.clock()  # what was published meanwhile is due from now on
            spans[-1].last, spans[-1].ended, spans[-1].why = None, inf, ""
        else:
            spans.append(Span(at, self._ledger.clock()))

    def _placed(self, place: Frame, kind: str) -> None:
        """Take a position that the server reports; it is a notice of a loss unless it is the reader's own."""
        feed, at = place["feed"], (place["epoch"], place["offset"])
        before, is_subscribed = self.places.get(feed), self._span(feed) is not None
        if place.get("recovered") is True:
            self.recovered += 1
            if before is None or before[0] != at[0] or before[1] > at[1]:
                self._ledger.problem(f"{self.name} {feed}: {kind} recovers to {at} from {before}")
            if not is_subscribed:
                self._begin_span(feed, before or at, continues=True)
            return
        self.places[feed] = at
        self._ledger.known(feed, at)
        has_left = not is_subscribed and before is not None and self.spans[feed][-1].why in (LEFT, "group_left")
        if not is_subscribed:
            self._begin_span(feed, at, continues=before == at)
        if before in (None, at) or (has_left and "recovered" not in place):  # it joins again without its position
            return
        self.notices.append(Notice(self.name, feed, before, at, self._ledger.clock(), kind, not is_subscribed))

    def _publication(self, frame: Frame) -> None:
        feed, at = frame["feed"], (frame["epoch"], frame["offset"])
        before = self.places.get(feed)
        is_gap = before is not None and at[0] == before[0] and at[1] > before[1] + 1
        if feed in self._behind_a_gap or (is_gap and self._ledger.causes.skips(self.name, self._ledger.clock())):
            self._behind_a_gap.add(feed)
            return
        if before is None or at != (before[0], before[1] + 1):
            what = "repeated" if before and at[0] == before[0] and at[1] <= before[1] else "gap"
            self._ledger.found(what, f"{self.name} {feed}: {what}: {at} after {before}")
        self.places[feed] = at
        received = self.received.setdefault(feed, Received())
        received.places.append(at)
        received.at.append(self._ledger.clock())
        self._ledger.known(feed, at)
        if frame["type"] == "group_member" and frame["data"]["change"] == "removed":
            self._ledger.removed(frame["data"]["group_id"], frame["data"]["user_id"], at)
        if frame["type"] == "new_message":
            self._message(frame, at)

    def _message(self, frame: Frame, at: Place) -> None:
        message_id, group_id = frame["data"]["message_id"], frame["data"]["group_id"]
        self._ledger.delivered(message_id, frame["feed"], at)
        if message_id in self.seen:
            self._ledger.again(self, message_id, at)
        self.seen.setdefault(message_id, self._ledger.clock())
        self.places_of.setdefault(message_id, at)
        self.messages.setdefault(group_id, []).append(message_id)
