"""The queries for saving messages, as SQL (decision 21). Callers hold a transaction.

With Django's ORM, building these queries took three quarters of a message's time.
"""

from collections.abc import Collection, Iterable
from typing import Any

from django.contrib.auth.models import User
from django.db import connection

from chatws.reference.models import Member

LARGEST_KEY = 2**63 - 1
_as_stored: Any = Member._meta.get_field("user_id").get_prep_value


def lock_groups(group_ids: Collection[str]) -> dict[str, int]:
    """Lock the existing chat groups among these, in the order of their ids, and return the status of each."""
    lock = " FOR UPDATE" if connection.features.has_select_for_update else ""
    sql = "SELECT group_id, status FROM reference_chatgroup WHERE group_id IN ({}) ORDER BY group_id"
    return dict(_rows(sql + lock, group_ids))


def stored_among(message_ids: Collection[str]) -> set[str]:
    """Return those of these message ids that are stored."""
    return {
        found for (found,) in _rows("SELECT message_id FROM reference_message WHERE message_id IN ({})", message_ids)
    }


def members_among(places: Collection[tuple[str, int]]) -> set[tuple[str, int]]:
    """Return those pairs of group and user that are memberships."""
    sql = "SELECT group_id, user_id FROM reference_member WHERE group_id IN ({}) AND user_id IN ({})"
    found = set(_rows(sql, {group for group, _ in places}, {_as_stored(user) for _, user in places}))
    return {(group, user) for group, user in places if (group, _as_stored(user)) in found}


def names_of(user_ids: Iterable[int]) -> dict[int, str]:
    """Return the names of Django's users by id; unknown users are left out."""
    sql = "SELECT id, username, first_name, last_name FROM auth_user WHERE id IN ({})"
    rows = _rows(sql, {user_id for user_id in user_ids if user_id <= LARGEST_KEY})
    return {key: User(first_name=first, last_name=last).get_full_name() or name for key, name, first, last in rows}


def _rows(sql: str, *lists: Collection[str | int]) -> list[Any]:
    """Return the rows of a query; each ``{}`` in it is replaced by a list. Return none if a list is empty."""
    if not all(lists):
        return []
    places = [", ".join(["%s"] * len(values)) for values in lists]
    with connection.cursor() as cursor:
        cursor.execute(sql.format(*places), [value for values in lists for value in values])
        return list(cursor.fetchall())
