"""Check the audit's admin page: permissions, filters, and its errors while Redis is unavailable."""

import csv
import io
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.conf import settings
from django.contrib.admin.models import ADDITION, LogEntry
from django.contrib.auth.models import Permission, User
from django.contrib.sessions.models import Session
from django.core.management import CommandError, call_command
from django.test import Client, override_settings
from redis import Redis

from realtime.models import ConnectionRecord, Revocation
from realtime.redis import keys
from tests.support.redis import RedisServer, free_port

pytestmark = pytest.mark.django_db
LIST = "/admin/realtime/connectionrecord/"


@pytest.fixture
def rows() -> list[ConnectionRecord]:
    now = datetime.now(UTC)
    return [
        ConnectionRecord.objects.create(
            connection_id=f"connection-{number}", node=f"node-{number % 2}", user_id=2**64 - 1 - number,
            address=f"10.0.0.{number}", opened_at=now, closed_at=None if number < 2 else now,
            close_code=None if number < 2 else 4401, authenticated_at=now,
        )
        for number in range(4)
    ]  # fmt: skip


def shown(client: Client, query: str) -> set[str]:
    page = client.get(f"{LIST}?{query}")
    assert page.status_code == 200
    return {record.address for record in page.context["cl"].result_list}


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("", {"10.0.0.0", "10.0.0.1", "10.0.0.2", "10.0.0.3"}),
        ("open=1", {"10.0.0.0", "10.0.0.1"}),
        ("open=0&node=node-1", {"10.0.0.3"}),
        ("code=4401", {"10.0.0.2", "10.0.0.3"}),
        ("code=x", {"10.0.0.0", "10.0.0.1", "10.0.0.2", "10.0.0.3"}),
        ("q=18446744073709551615", {"10.0.0.0"}),
        ("q=10.0.0.3", {"10.0.0.3"}),
        ("q=connection-2", {"10.0.0.2"}),
        ("q=nobody", set()),
    ],
)
def test_connections_are_filtered_and_searched(
    admin_client: Client, rows: list[ConnectionRecord], query: str, found: set[str]
) -> None:
    assert shown(admin_client, query) == found


def test_list_is_filtered_by_date(admin_client: Client, rows: list[ConnectionRecord]) -> None:
    ConnectionRecord.objects.filter(pk=rows[1].pk).update(opened_at=datetime(2020, 5, 6, tzinfo=UTC))
    assert f"?day={rows[0].opened_at.date()}" in admin_client.get(LIST).content.decode()
    assert shown(admin_client, "day=2020-05-06") == {"10.0.0.1"}
    assert shown(admin_client, "day=2020-05-07") == set()
    for malformed in ("x", "9999-12-31", "2020-13-01"):
        assert len(shown(admin_client, f"day={malformed}")) == 4


def test_nothing_can_be_added_changed_or_deleted(admin_client: Client, rows: list[ConnectionRecord]) -> None:
    assert admin_client.get(f"{LIST}add/").status_code == 403
    assert admin_client.post(f"{LIST}{rows[0].pk}/delete/", {"post": "yes"}).status_code == 403
    page = admin_client.get(f"{LIST}{rows[0].pk}/change/")
    assert page.status_code == 200
    assert b'name="_save"' not in page.content


def test_viewer_cannot_end_connections(client: Client, rows: list[ConnectionRecord]) -> None:
    user = User.objects.create_user("looks", password="x", is_staff=True)
    user.user_permissions.add(Permission.objects.get(codename="view_connectionrecord"))
    client.force_login(user)
    assert "end_connections" not in client.get(LIST).content.decode()
    user.user_permissions.add(Permission.objects.get(codename="end_connection"))
    assert "end_connections" in client.get(LIST).content.decode()


def test_unavailable_redis_is_reported_with_its_address(admin_client: Client, rows: list[ConnectionRecord]) -> None:
    port = free_port()
    data = {"action": "end_connections", "_selected_action": str(rows[0].pk)}
    with override_settings(REALTIME=replace(settings.REALTIME, redis_url=f"redis://127.0.0.1:{port}/0")):
        page = admin_client.post(LIST, data, follow=True).content.decode()
    assert "No connection was closed" in page
    assert f"127.0.0.1:{port}" in page


def with_redis(server: RedisServer) -> Any:
    return override_settings(REALTIME=replace(settings.REALTIME, redis_url=server.url))


def test_selection_is_exported_as_csv_without_formulas(admin_client: Client, rows: list[ConnectionRecord]) -> None:
    ConnectionRecord.objects.filter(pk=rows[1].pk).update(user_agent='=HYPERLINK("http://evil.example"),\n"x"')
    data = {"action": "download_csv", "_selected_action": [str(row.pk) for row in rows[:2]]}
    answer = admin_client.post(LIST, data)
    assert answer["Content-Disposition"] == 'attachment; filename="connections.csv"'
    text = b"".join(answer.streaming_content).decode()  # type: ignore[attr-defined]  # it streams
    by_id = {line["connection_id"]: line for line in csv.DictReader(io.StringIO(text))}
    assert by_id.keys() == {"connection-0", "connection-1"}
    assert by_id["connection-0"]["user_id"] == str(2**64 - 1)
    assert by_id["connection-0"]["closed_at"] == ""
    assert datetime.fromisoformat(by_id["connection-0"]["opened_at"]) == rows[0].opened_at
    assert by_id["connection-1"]["user_agent"] == '\'=HYPERLINK("http://evil.example"),\n"x"'


def run(command: str, *arguments: str) -> str:
    """Run the command and return its output followed by its warnings."""
    out, warned = io.StringIO(), io.StringIO()
    call_command(command, *arguments, stdout=out, stderr=warned)
    return out.getvalue() + warned.getvalue()


def test_pruning_keeps_open_connections(rows: list[ConnectionRecord]) -> None:
    ConnectionRecord.objects.update(opened_at=datetime(2020, 1, 1, tzinfo=UTC))
    ConnectionRecord.objects.filter(pk=rows[3].pk).update(closed_at=datetime.now(UTC) - timedelta(days=91))
    assert run("prune_connections", "--dry-run") == "1 connections would be removed\n"
    assert ConnectionRecord.objects.count() == 4
    assert run("prune_connections") == "removed 1 connections\n"
    assert run("prune_connections") == "removed 0 connections\n"
    assert set(ConnectionRecord.objects.values_list("address", flat=True)) == {"10.0.0.0", "10.0.0.1", "10.0.0.2"}
    with pytest.raises(CommandError, match="--days"):
        run("prune_connections", "--days", "0")


def test_pruning_removes_unauthenticated_connections_sooner(rows: list[ConnectionRecord]) -> None:
    closed = datetime.now(UTC) - timedelta(days=8)
    ConnectionRecord.objects.filter(pk__in=[rows[2].pk, rows[3].pk]).update(closed_at=closed)
    ConnectionRecord.objects.filter(pk__in=[rows[1].pk, rows[3].pk]).update(authenticated_at=None)
    assert run("prune_connections", "--unauthenticated-days", "9") == "removed 0 connections\n"
    assert run("prune_connections") == "removed 1 connections\n"
    assert set(ConnectionRecord.objects.values_list("address", flat=True)) == {"10.0.0.0", "10.0.0.1", "10.0.0.2"}
    with pytest.raises(CommandError, match="--unauthenticated-days"):
        run("prune_connections", "--unauthenticated-days", "0")


@pytest.mark.django_db(transaction=True)
def test_erasing_a_user_keeps_other_users(rows: list[ConnectionRecord], redis_server: RedisServer) -> None:
    user = 2**64 - 1
    with Redis.from_url(redis_server.url) as redis:
        redis.flushall()
        redis.hset(f"user:status:{user}", "last_seen", 1)
        redis.hset(f"user:status:{user - 1}", "last_seen", 1)
        with with_redis(redis_server):
            assert run("erase_user", str(user)) == f"removed 1 connections and the presence of user {user}\n"
            redis.xadd(keys.audit_stream(), {"event": "of a gateway"})
            assert "\n1 audit events wait for the relay" in run("erase_user", str(user))
        assert redis.exists(f"user:status:{user}", f"user:status:{user - 1}") == 1
    assert set(ConnectionRecord.objects.values_list("user_id", flat=True)) == {user - 3, user - 2, user - 1}
    with pytest.raises(CommandError, match="not a user's id"):
        run("erase_user", "0")


OVERVIEW = f"{LIST}overview/"


def staff(*permissions: str, is_staff: bool = True) -> User:
    user = User.objects.create_user("somebody", password="x", is_staff=is_staff)
    user.user_permissions.set(Permission.objects.filter(codename__in=permissions))
    return user


@pytest.mark.parametrize(
    ("permissions", "is_staff", "status"),
    [
        (["view_connectionrecord"], True, 200),
        (["view_connectionrecord"], False, 403),
        (["view_deadletterentry", "end_connection"], True, 403),
    ],
)
@pytest.mark.django_db(transaction=True)
def test_overview_needs_permission_to_view_connections(
    client: Client, redis_server: RedisServer, permissions: list[str], is_staff: bool, status: int
) -> None:
    client.force_login(staff(*permissions, is_staff=is_staff))
    with with_redis(redis_server):
        answer = client.get(OVERVIEW)
        assert client.post(OVERVIEW).status_code == 405
    assert answer.status_code == status
    if status == 200:
        assert answer.json().keys() == {"online", "topics", "closes"}
        assert answer["Cache-Control"] == "max-age=0, no-cache, no-store, must-revalidate, private"
    if is_staff:
        index = client.get("/admin/").content.decode()
        assert ('id="overview"' in index) == (status == 200)
        assert ("overview.js" in index) == (status == 200)


def test_overview_needs_a_login(client: Client) -> None:
    assert client.get(OVERVIEW).status_code == 403


def test_index_links_dead_letters_only_with_permission(client: Client) -> None:
    user = staff("view_connectionrecord")
    client.force_login(user)
    assert "data-dead-letters" not in client.get("/admin/").content.decode()
    user.user_permissions.add(Permission.objects.get(codename="view_deadletterentry"))
    assert 'data-dead-letters="/admin/realtime/deadletterentry/"' in client.get("/admin/").content.decode()


REVOCATIONS = "/admin/realtime/revocation/"
NO_MOMENT = {"until_0": "", "until_1": ""}


def revoke(client: Client, **fields: str) -> Any:
    return client.post(f"{REVOCATIONS}add/", {"jti": "", "user": "", **NO_MOMENT, **fields})


@pytest.mark.parametrize(
    ("fields", "whose", "until"),
    [
        ({"what": "token", "jti": "stolen-1"}, "jti:stolen-1", None),
        ({"what": "user", "user": str(2**64 - 1)}, f"user:{2**64 - 1}", None),
        ({"what": "user", "user": "7", "until_0": "2026-01-02", "until_1": "03:04:05"}, "user:7", 1_767_323_045),
        ({"what": "everybody"}, "all", None),
        ({"what": "everybody", "until_0": "2026-01-02", "until_1": "03:04:05"}, "all", 1_767_323_045),
    ],
)
def test_added_revocation_records_its_author(
    client: Client, redis_server: RedisServer, fields: dict[str, str], whose: str, until: int | None
) -> None:
    user = staff("view_revocation", "add_revocation")
    client.force_login(user)
    before = int(datetime.now(UTC).timestamp())
    with Redis.from_url(redis_server.url) as redis:
        redis.flushall()
        with with_redis(redis_server):
            assert 'name="jti"' in client.get(f"{REVOCATIONS}add/").content.decode()
            answer = revoke(client, **fields)
        assert (answer.status_code, answer["Location"]) == (302, REVOCATIONS)
        [(name, value)] = redis.hgetall(keys.revoked()).items()
    kept = Revocation.objects.get()
    assert (kept.whose, kept.revoked_by) == (whose, "somebody")
    assert (name.decode(), value.decode()) == (whose, f"{kept.issued_until} {kept.kept_until}")
    assert kept.issued_until == until if until else before <= kept.issued_until <= int(time.time())
    entry = LogEntry.objects.get()
    assert (entry.user, entry.action_flag, entry.object_repr) == (user, ADDITION, whose)
    page = client.get(f"{REVOCATIONS}{kept.pk.replace(':', '_3A')}/change/")
    assert whose in page.content.decode()
    assert b'name="_save"' not in page.content


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({}, "what"),
        ({"what": "token"}, "jti"),
        ({"what": "token", "jti": "x" * 257}, "jti"),
        ({"what": "token", "jti": "x", "user": "7"}, "user"),
        ({"what": "token", "jti": "x", "until_0": "2026-01-02", "until_1": "03:04:05"}, "until"),
        ({"what": "user"}, "user"),
        ({"what": "user", "user": "0"}, "user"),
        ({"what": "user", "user": str(2**64)}, "user"),
        ({"what": "user", "user": "7", "jti": "x"}, "jti"),
        ({"what": "user", "user": "7", "until_0": "2999-01-02", "until_1": "03:04:05"}, "until"),
        ({"what": "user", "user": "7", "until_0": "1960-01-02", "until_1": "03:04:05"}, "until"),
        ({"what": "user", "user": "7", "until_0": "soon", "until_1": ""}, "until"),
        ({"what": "everybody", "user": "7"}, "user"),
        ({"what": "everybody", "jti": "x"}, "jti"),
    ],
)
def test_invalid_revocation_is_rejected_at_its_field(admin_client: Client, fields: dict[str, str], named: str) -> None:
    answer = revoke(admin_client, **fields)
    assert answer.status_code == 200
    assert list(answer.context["adminform"].form.errors) == [named]
    assert not Revocation.objects.exists()


def test_viewer_cannot_revoke(client: Client) -> None:
    client.force_login(staff("view_revocation", "end_connection"))
    assert client.get(REVOCATIONS).status_code == 200
    assert client.get(f"{REVOCATIONS}add/").status_code == 403
    assert revoke(client, what="everybody").status_code == 403


def test_revoking_from_the_list_needs_its_own_permission(client: Client, rows: list[ConnectionRecord]) -> None:
    user = staff("view_connectionrecord", "end_connection")
    client.force_login(user)
    assert "revoke_tokens" not in client.get(LIST).content.decode()
    client.post(LIST, {"action": "revoke_tokens", "_selected_action": str(rows[0].pk)})
    assert not Revocation.objects.exists()
    user.user_permissions.add(Permission.objects.get(codename="add_revocation"))
    assert "revoke_tokens" in client.get(LIST).content.decode()


def test_revocation_is_neither_changed_nor_deleted(admin_client: Client) -> None:
    row = Revocation.objects.create(whose="all", issued_until=1, kept_until=2**40)
    for answer in (
        admin_client.post(f"{REVOCATIONS}all/delete/", {"post": "yes"}),
        admin_client.post(f"{REVOCATIONS}all/change/", {"issued_until": "0"}),
    ):
        assert answer.status_code == 403
    admin_client.post(REVOCATIONS, {"action": "delete_selected", "_selected_action": "all", "post": "yes"})
    row.refresh_from_db()
    assert row.issued_until == 1
    kinds = Permission.objects.filter(content_type__model="revocation").values_list("codename", flat=True)
    assert set(kinds) == {"view_revocation", "add_revocation"}


@pytest.mark.django_db(transaction=True)
def test_no_revocation_is_stored_without_redis(admin_client: Client) -> None:
    port = free_port()
    with override_settings(REALTIME=replace(settings.REALTIME, redis_url=f"redis://127.0.0.1:{port}/0")):
        answer = revoke(admin_client, what="everybody")
        page = admin_client.get(answer["Location"]).content.decode()
    assert f"Nothing was revoked: Redis at 127.0.0.1:{port} is unavailable" in page
    assert 'name="jti"' in page, "it can be tried again at once"
    assert not Revocation.objects.exists()
    assert not LogEntry.objects.exists()


def test_strangers_create_no_sessions(client: Client) -> None:
    for path in ("/admin/", "/admin/login/", LIST, "/"):
        client.get(path)
    for number in range(3):
        client.post("/admin/login/", {"username": f"nobody-{number}", "password": "wrong"})
    assert Session.objects.count() == 0
