"""One instance of the chat service: it serves the calls that arrive on its links."""

from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

import grpc

from tests.simulation.chat_service.faults import Disturbance, Fault, Faults
from tests.simulation.chat_service.rules import REQUESTS, Refusal
from tests.simulation.network import Link

if TYPE_CHECKING:
    from tests.simulation.chat_service.service import ChatService

PORT = 9003
FASTEST, SLOWEST = 0.0005, 0.004
"""How long a call takes, in seconds."""
HEADERS = 100
"""Bytes of a call beside its message."""
STATUSES = {
    Fault.FAILS: grpc.StatusCode.UNKNOWN,
    Fault.COMMITS_AND_FAILS: grpc.StatusCode.UNKNOWN,
    Fault.OVERLOADED: grpc.StatusCode.RESOURCE_EXHAUSTED,
    Fault.UNAVAILABLE: grpc.StatusCode.UNAVAILABLE,
}


class Call(NamedTuple):
    """A call on its way to an instance. ``number`` distinguishes the calls of a link."""

    number: int
    path: str
    message: bytes


class Answer(NamedTuple):
    """An answer on its way back: a message, or a status and its details."""

    number: int
    status: grpc.StatusCode
    message: bytes
    details: str = ""


class Instance:
    """An instance. ``faults`` are its own; those of the service come after them."""

    def __init__(self, service: "ChatService", host: str) -> None:
        self.service = service
        self.host = host
        self.faults = Faults()
        self.lag_seconds = 0.0
        """How far behind the replica is that this instance reads from."""
        self.is_up = False
        self.calls: Counter[str] = Counter()
        """How many calls of each method arrived."""
        self._served: dict[_Served, None] = {}
        self._waiting: list[Callable[[], None]] | None = None

    @property
    def address(self) -> str:
        return f"{self.host}:{PORT}"

    def start(self) -> None:
        """Listen."""
        self.is_up = True
        self.service.network.listen(self.host, PORT, self._accept)

    def kill(self) -> None:
        """End it at once: nothing of a call under way is stored from now on, and its links are reset."""
        for served in self._gone():
            served.link.out.end = None
            served.link.reset()

    def stop(self) -> None:
        """End it without grace: its calls under way are answered with CANCELLED."""
        for served in self._gone():
            served.cancel_all()
            served.link.close_from(served.link.back)

    def pause(self) -> None:
        """Let it hang: it takes calls and serves none."""
        if self._waiting is None:
            self._waiting = []

    def go_on(self) -> None:
        """Serve what has waited."""
        waiting, self._waiting = self._waiting or [], None
        for serve in waiting:
            serve()

    def when_running(self, serve: Callable[[], None]) -> None:
        """Do it now, or when the pause is over."""
        if self._waiting is None:
            serve()
        else:
            self._waiting.append(serve)

    def disturbance(self, method: str) -> Disturbance | None:
        return self.faults.of(method) or self.service.faults.of(method)

    def forget(self, served: "_Served") -> None:
        self._served.pop(served, None)

    def _gone(self) -> list["_Served"]:
        self.is_up, self._waiting = False, None
        self.service.network.stop_listening(self.host, PORT)
        served, self._served = list(self._served), {}
        return served

    def _accept(self, link: Link, source: str) -> "_Served":
        served = _Served(self, link, source)
        self._served[served] = None
        return served


class _Served:
    """The instance's end of a link. What is drawn for a caller does not depend on other callers."""

    def __init__(self, instance: Instance, link: Link, source: str) -> None:
        self.link = link
        self._instance = instance
        self._scheduler = instance.service.scheduler
        self._draws = self._scheduler.draws(f"calls of {link.name}")
        self._under_way: set[int] = set()

    def received(self, call: Call) -> None:
        self._under_way.add(call.number)
        method = call.path.rpartition("/")[2]
        self._instance.calls[method] += 1
        disturbance = self._instance.disturbance(method)
        if disturbance is not None and self._draws.random() >= disturbance.share:
            disturbance = None
        seconds = self._draws.uniform(FASTEST, SLOWEST)
        if disturbance is not None and disturbance.fault is Fault.COMMITS_LATE:
            seconds = disturbance.seconds
        self._scheduler.after(
            seconds, self._instance.when_running, lambda: self._serve(call, disturbance)
        )  # fmt: skip

    def lost(self, error: Exception | None) -> None:
        """Note that the caller is gone. Its calls are served all the same."""
        self._instance.forget(self)

    def cancel_all(self) -> None:
        for number in sorted(self._under_way):
            self._answer(Answer(number, grpc.StatusCode.CANCELLED, b"", "the server has stopped"))

    def _serve(self, call: Call, disturbance: Disturbance | None) -> None:
        if not self._instance.is_up:
            return
        service, fault = self._instance.service, disturbance.fault if disturbance is not None else None
        if fault is Fault.HANGS:
            return
        if fault in (Fault.FAILS, Fault.OVERLOADED, Fault.UNAVAILABLE):
            self._answer(Answer(call.number, STATUSES[fault], b"", service.problem_of(fault)))
            return
        answer = self._answer_of(call)
        if fault is Fault.COMMITS_AND_HANGS:
            return
        if fault is Fault.COMMITS_AND_FAILS:
            answer = Answer(call.number, STATUSES[fault], b"", service.problem_of(fault))
        if disturbance is not None and fault is Fault.SLOW:
            self._scheduler.after(disturbance.seconds, self._answer, answer)
        else:
            self._answer(answer)

    def _answer_of(self, call: Call) -> Answer:
        service = self._instance.service
        request = REQUESTS[call.path][1].FromString(call.message)
        try:
            response = service.serve(call.path, request, self._instance.lag_seconds)
        except Refusal as refusal:
            return Answer(call.number, refusal.status, b"", refusal.details)
        return Answer(call.number, grpc.StatusCode.OK, response.SerializeToString())

    def _answer(self, answer: Answer) -> None:
        if self._instance.is_up or answer.status is grpc.StatusCode.CANCELLED:
            self._under_way.discard(answer.number)
            self.link.back.send(answer, len(answer.message) + HEADERS)
