"""What goes wrong with calls of the chat service."""

from dataclasses import dataclass
from enum import Enum

ALL = "*"
"""Stands for every method."""


class Fault(Enum):
    """What happens to a call."""

    FAILS = "UNKNOWN; nothing is changed"
    COMMITS_AND_FAILS = "it is served, and answered with UNKNOWN"
    HANGS = "no answer; nothing is changed"
    COMMITS_AND_HANGS = "it is served, and never answered"
    COMMITS_LATE = "it waits, and is served only then"
    SLOW = "it is served at once, and answered late"
    OVERLOADED = "RESOURCE_EXHAUSTED; nothing is changed"
    UNAVAILABLE = "UNAVAILABLE; nothing is changed"


@dataclass(frozen=True, slots=True)
class Disturbance:
    """A fault of a share of the calls. ``seconds``: how long COMMITS_LATE and SLOW take."""

    fault: Fault
    share: float = 1.0
    seconds: float = 6.0


class Faults:
    """The disturbance of each method."""

    def __init__(self) -> None:
        self.by_method: dict[str, Disturbance] = {}

    def begin(self, fault: Fault, *methods: str, share: float = 1.0, seconds: float = 6.0) -> None:
        """Disturb these methods, such as ``"SaveMessage"``, or all."""
        for method in methods or (ALL,):
            self.by_method[method] = Disturbance(fault, share, seconds)

    def end(self) -> None:
        """Disturb nothing from now on."""
        self.by_method.clear()

    def of(self, method: str) -> Disturbance | None:
        """Return the disturbance of a method."""
        return self.by_method.get(method) or self.by_method.get(ALL)
