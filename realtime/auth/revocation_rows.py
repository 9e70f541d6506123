"""The revoked tokens in the database, with a number that rises with each revocation. All functions are synchronous.

The number says whether a copy is up to date, without reading the rows. A transaction that revokes holds its row, so
numbers rise in the order of the commits.
"""

import time
from typing import NamedTuple

from django.db import transaction
from django.db.models import F

from realtime.models import Revocation, RevocationNumber

FOREVER = 253_402_300_799
"""The end of the year 9999, in Unix seconds."""


class Row(NamedTuple):
    """One revocation: ``jti:<id>``, ``user:<id>`` or ``all``, and its times in Unix seconds."""

    whose: str
    issued_until: int
    kept_until: int


def store(row: Row, by: str) -> tuple[Revocation, int]:
    """Store a revocation, and return its row and its number; of two for the same tokens the later times count.

    Forget the tokens that have expired since. In the caller's transaction, if there is one.
    """
    with transaction.atomic():
        if not RevocationNumber.objects.filter(id=1).update(number=F("number") + 1):
            RevocationNumber.objects.create(id=1, number=1)
        before = Revocation.objects.filter(whose=row.whose).first()
        kept, _ = Revocation.objects.update_or_create(
            whose=row.whose,
            defaults={
                "issued_until": max(row.issued_until, before.issued_until if before else 0),
                "kept_until": max(row.kept_until, before.kept_until if before else 0),
                "revoked_by": by,
            },
        )
        Revocation.objects.filter(kept_until__lt=int(time.time())).delete()
        return kept, number()


def number() -> int:
    """Return the number of the last revocation; 0 before the first."""
    found = RevocationNumber.objects.filter(id=1).first()
    return found.number if found else 0


def read() -> tuple[int, list[Row]]:
    """Return all rows, and a number that they contain at least."""
    last = number()
    rows = Revocation.objects.filter(kept_until__gt=int(time.time()))
    return last, [Row(*row) for row in rows.values_list("whose", "issued_until", "kept_until")]
