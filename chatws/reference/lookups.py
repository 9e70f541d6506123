"""What saving messages asks of the database, in statements written by hand (decision 21).

Making them took Django's ORM three quarters of a message's time. Callers hold a transaction.
"""

from collections.abc import Collection, Iterable
from typing import Any

from django.contrib.auth.models import User
from django.db import connection

from chatws.reference.models import Member

LARGEST_KEY = 2**63 - 1
_as_stored: Any = Member._meta.get_field("user_id").get_prep_value


def lock_groups(group_ids: Collection[str]) -> dict[str, int]:
    """The status of each chat group there is, all of them locked in one order."""
    lock = " FOR UPDATE" if connection.features.has_select_for_update else ""
    sql = "SELECT group_id, status FROM reference_chatgroup WHERE group_id IN ({}) ORDER BY group_id"
    return dict(_rows(sql + lock, group_ids))


def stored_among(message_ids: Collection[str]) -> set[str]:
    """Those of these messages that are stored."""
    return {
        found for (found,) in _rows("SELECT message_id FROM reference_message WHERE message_id IN ({})", message_ids)
    }


def members_among(places: Collection[tuple[str, int]]) -> set[tuple[str, int]]:
    """Those of ``(group, user)`` that are a member's."""
    sql = "SELECT group_id, user_id FROM reference_member WHERE group_id IN ({}) AND user_id IN ({})"
    found = set(_rows(sql, {group for group, _ in places}, {_as_stored(user) for _, user in places}))
    return {(group, user) for group, user in places if (group, _as_stored(user)) in found}


def names_of(user_ids: Iterable[int]) -> dict[int, str]:
    """The names of Django's users; those it doesn't know are missing."""
    sql = "SELECT id, username, first_name, last_name FROM auth_user WHERE id IN ({})"
    rows = _rows(sql, {user_id for user_id in user_ids if user_id <= LARGEST_KEY})
    return {key: User(first_name=first, last_name=last).get_full_name() or name for key, name, first, last in rows}


def _rows(sql: str, *lists: Collection[str | int]) -> list[Any]:
    """The rows of a statement, in which each ``{}`` is a list; none if a list is empty."""
    if not all(lists):
        return []
    places = [", ".join(["%s"] * len(values)) for values in lists]
    with connection.cursor() as cursor:
        cursor.execute(sql.format(*places), [value for values in lists for value in values])
        return list(cursor.fetchall())
