"""The audit's page: who may do what, what it finds, and what it says when Redis is away."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest
from django.conf import settings
from django.contrib.auth.models import Permission, User
from django.test import Client, override_settings

from realtime.models import ConnectionRecord
from tests.support.redis import free_port

pytestmark = pytest.mark.django_db
LIST = "/admin/realtime/connectionrecord/"


@pytest.fixture
def rows() -> list[ConnectionRecord]:
    now = datetime.now(UTC)
    return [
        ConnectionRecord.objects.create(
            connection_id=f"connection-{number}", node=f"node-{number % 2}", user_id=2**64 - 1 - number,
            address=f"10.0.0.{number}", opened_at=now, closed_at=None if number < 2 else now,
            close_code=None if number < 2 else 4401,
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
def test_filters_and_search(admin_client: Client, rows: list[ConnectionRecord], query: str, found: set[str]) -> None:
    assert shown(admin_client, query) == found


def test_nothing_can_be_added_changed_or_deleted(admin_client: Client, rows: list[ConnectionRecord]) -> None:
    assert admin_client.get(f"{LIST}add/").status_code == 403
    assert admin_client.post(f"{LIST}{rows[0].pk}/delete/", {"post": "yes"}).status_code == 403
    page = admin_client.get(f"{LIST}{rows[0].pk}/change/")
    assert page.status_code == 200
    assert b'name="_save"' not in page.content


def test_who_may_only_look_cannot_end(client: Client, rows: list[ConnectionRecord]) -> None:
    user = User.objects.create_user("looks", password="x", is_staff=True)
    user.user_permissions.add(Permission.objects.get(codename="view_connectionrecord"))
    client.force_login(user)
    assert "end_connections" not in client.get(LIST).content.decode()
    user.user_permissions.add(Permission.objects.get(codename="end_connection"))
    assert "end_connections" in client.get(LIST).content.decode()


def test_a_redis_that_is_away_is_said_with_its_address(admin_client: Client, rows: list[ConnectionRecord]) -> None:
    port = free_port()
    data = {"action": "end_connections", "_selected_action": str(rows[0].pk)}
    with override_settings(REALTIME=replace(settings.REALTIME, redis_url=f"redis://127.0.0.1:{port}/0")):
        page = admin_client.post(LIST, data, follow=True).content.decode()
    assert "Nothing was ended" in page
    assert f"127.0.0.1:{port}" in page
