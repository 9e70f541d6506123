"""What a run of faults is to do, and its result."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from tests.faults.faults import FAULTS
from tests.faults.kinds import TAKEOVER_SECONDS
from tests.faults.platform_faults import PLATFORM_FAULTS
from tests.faults.stage import Fault
from tests.support.ledger import Ledger

GROUPS, WRITERS = 40, 8


@dataclass
class Plan:
    """What to run: faults for so many minutes, or so many faults if ``most`` is given."""

    minutes: float
    seed: int
    rate: float = 125.0
    """Messages a second, all writers together."""
    pause_seconds: float = 30.0
    database: str = ""
    keep: bool = False
    only: str = ""
    """Faults whose name begins with this; empty: all."""
    kinds: Sequence[Fault] = ()
    """Faults to choose from; empty: all that fit the system."""
    most: int = 0
    """Faults in all, each kind once before any comes again; 0: as many as the minutes allow."""
    least: int = 0
    """Messages that must be acked before the run may end."""
    settings: str = "config.settings.test"
    """The settings module of all processes."""
    check_seconds: float = 10.0
    """How often its gateways compare positions with the logs."""
    platform: bool = False
    """Whether the chat service is the platform's twin; the gateways publish then."""
    real: bool = False
    """Whether it is the platform's own, which `RealSystem` finds."""

    @property
    def faults(self) -> list[Fault]:
        """Return the kinds of fault that this plan injects."""
        every: Sequence[Fault] = FAULTS + PLATFORM_FAULTS if self.platform else FAULTS
        if self.real:  # we cannot break its services, and it reads no event without its consumer groups
            every = tuple(fault for fault in FAULTS if "rpc" not in fault.parts)
        return [fault for fault in self.kinds or every if fault.name.startswith(self.only)]


@dataclass
class Outcome:
    """The result of a run."""

    ledger: Ledger
    injected: Counter[str] = field(default_factory=Counter)
    takeovers: list[float] = field(default_factory=list)
    seconds: float = 0.0

    def problems(self, *, timed: bool = False) -> list[str]:
        """Return every broken promise. ``timed``: also what came too late; that depends on the machine, too."""
        return self.ledger.problems + (self.late() if timed else [])

    def late(self) -> list[str]:
        """Return what came too late, the worst first: takeovers by a standby relay, deliveries, reconnections."""
        takeovers = [
            f"the standby relay took over after {took:.1f} s" for took in self.takeovers if took > TAKEOVER_SECONDS
        ]
        return takeovers + [str(one) for one in sorted(self.ledger.late, key=lambda one: -one.by)]
