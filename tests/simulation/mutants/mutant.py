"""What a mutant is: some exact lines of the source, and the lines that replace them."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

ROOT = Path(__file__).parents[3]

Promise = Literal[
    "lost", "repeated", "swapped", "leak", "late", "presence", "subscriptions", "growth", "error"
]  # fmt: skip
"""What a mutant breaks.

``lost``, ``repeated``, ``swapped``: of publications and their frames; also a loss that is reported without a cause.
``leak``: a publication after a removal, or a frame of a revoked token. ``late``: all of it right, but too late.
``subscriptions``: client, hub and chat service don't agree on who receives what. ``growth``: something is kept for
ever. ``error``: a refusal, a close or an exception that has no cause.
"""


class NotApplicable(Exception):
    """The lines that a mutant replaces are missing from their file, or are there more than once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mutant:
    """A defect. ``path``: the Python module or Lua script, from the project's root. ``needs``: what has to happen.

    ``old`` and ``new`` are whole lines. A ``guard`` switches off what protects a promise, and changes nothing else.
    ``scenes``: those of `tests.simulation.scenes` that bring it about; only worlds that have one are run.
    """

    name: str
    path: str
    old: str
    new: str
    breaks: Promise
    needs: str
    guard: bool = False
    scenes: tuple[str, ...] = ()

    @property
    def module(self) -> str:
        """The module that has to be loaded with the change: a script is read by `realtime.redis.scripts`."""
        if self.path.endswith(".lua"):
            return "realtime.redis.scripts"
        return self.path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")

    @property
    def script(self) -> str:
        """The script's name; empty for a Python module."""
        return Path(self.path).stem if self.path.endswith(".lua") else ""

    def applied(self) -> str:
        """Return the file's text with the change.

        Raises:
            NotApplicable: the old lines don't occur exactly once.
        """
        text, old = "\n" + (ROOT / self.path).read_text(), "\n" + self.old
        count = text.count(old)
        if count != 1:
            raise NotApplicable(f"{self.name}: its old lines occur {count} times in {self.path}, not once")
        return text.replace(old, "\n" + self.new)[1:]
