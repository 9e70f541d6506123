"""A model field for a user's id: unsigned 64-bit, exact on every database."""

from typing import Any

from django.db import models

_SIGN, _RANGE = 2**63, 2**64


class UserIdField(models.BigIntegerField):  # type: ignore[type-arg]  # django-stubs: generic only when type checking
    """An integer from 0 to 2^64 - 1 in a signed column: a value above 2^63 - 1 is stored as its two's complement.

    Rows can be found by equality, but not ordered. A BigInteger lacks one bit, and SQLite keeps only 15 digits of a
    decimal.
    """

    def get_prep_value(self, value: Any) -> Any:
        prepared = super().get_prep_value(value)
        if isinstance(prepared, int) and prepared >= _SIGN:
            return prepared - _RANGE
        return prepared

    def from_db_value(self, value: int | None, expression: Any, connection: Any) -> int | None:
        """Return the id for a stored value."""
        return value + _RANGE if value is not None and value < 0 else value
