"""Read the mutants from the files in `catalogue/`, one for each area.

A mutant is written as a part of a diff below its fields:

    name: hub-applies-while-filling
    path: realtime/hub/hub.py
    breaks: lost
    needs: the next publication of a feed arrives while its log is being read
    -        if follows_on and feed.fill is None:
    +        if follows_on:

Lines with ``-`` go, lines with ``+`` come, lines with a space stay; together they occur exactly once. ``guard: yes``
marks what protects a promise, ``scenes: a, b`` the worlds that are run for it. A blank line ends a mutant.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from tests.simulation.mutants.mutant import Mutant

FOLDER = Path(__file__).parent / "catalogue"
FIELDS = ("name", "path", "breaks", "needs")


def mutants_in(text: str) -> Iterator[Mutant]:
    """Yield the mutants of one file; raise ValueError for one that can't be read."""
    for block in text.strip().split("\n\n"):
        lines = block.splitlines()
        fields = [line for line in lines if line[:1] not in ("-", "+", " ")]
        change = lines[len(fields) :]
        yield _mutant(dict(_field(line) for line in fields), [line for line in change if line not in fields])


def _field(line: str) -> tuple[str, str]:
    name, colon, value = line.partition(": ")
    if not colon or name not in (*FIELDS, "guard", "scenes"):
        raise ValueError(f"not a field of a mutant: {line!r}")
    return name, value.strip()


def _mutant(fields: dict[str, str], change: Sequence[str]) -> Mutant:
    old = "".join(f"{line[1:]}\n" for line in change if line[0] in "- ")
    new = "".join(f"{line[1:]}\n" for line in change if line[0] in "+ ")
    scenes = fields["scenes"].split(", ") if "scenes" in fields else []
    given = {**fields, "guard": fields.get("guard") == "yes", "scenes": scenes, "old": old, "new": new}
    try:
        return msgspec.convert(given, Mutant)
    except msgspec.ValidationError as error:
        raise ValueError(f"mutant {fields.get('name')!r}: {error}") from error


def all_mutants() -> dict[str, Mutant]:
    """Return every mutant by its name; raise ValueError for a name that is there twice."""
    found: dict[str, Mutant] = {}
    for file in sorted(FOLDER.glob("*.txt")):
        for mutant in mutants_in(file.read_text()):
            if mutant.name in found:
                raise ValueError(f"two mutants are named {mutant.name}")
            found[mutant.name] = mutant
    return found


MUTANTS = all_mutants()
