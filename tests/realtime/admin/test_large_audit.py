"""Check that no page of the connections' list reads the whole table, which has millions of rows."""

import io
import re
from datetime import UTC, datetime, timedelta

import pytest
from django.core.management import call_command
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from realtime.admin import filters
from realtime.audit.open_nodes import nodes_with_open_records
from realtime.management.commands import prune_connections
from realtime.models import ConnectionRecord

pytestmark = [pytest.mark.django_db, pytest.mark.database]
LIST = "/admin/realtime/connectionrecord/"
PAGES = ["", "open=1", "open=0", "code=4401", "node=node-1", "day=2026-01-02", "open=1&node=node-1", "p=2", "q=7"]


@pytest.fixture
def rows() -> list[ConnectionRecord]:
    began = datetime(2026, 1, 2, tzinfo=UTC)
    return ConnectionRecord.objects.bulk_create(
        ConnectionRecord(
            connection_id=f"connection-{number}", node=f"node-{number % 5}", user_id=number % 10, address="10.0.0.1",
            opened_at=began + timedelta(seconds=number), closed_at=began if number % 7 else None,
            close_code=4401 if number % 7 else None,
        )
        for number in range(500)
    )  # fmt: skip


def statements(client: Client, query: str) -> list[str]:
    """Return the statements of a page that read the audit."""
    with CaptureQueriesContext(connection) as captured:
        assert client.get(f"{LIST}?{query}").status_code == 200
    return [one["sql"] for one in captured.captured_queries if "realtime_connectionrecord" in one["sql"]]


COSTLY = ["enable_seqscan", "enable_bitmapscan", "enable_sort", "enable_incremental_sort"]
"""What PostgreSQL does in a large table only if no index helps. In a small one it depends on what other tests left."""


def plan(statement: str) -> str:
    """Return how the database would run a statement if the table were large."""
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute("".join(f"SET LOCAL {step} = off; " for step in COSTLY) + "ANALYZE")
            cursor.execute(f"EXPLAIN {statement}")
        else:
            cursor.execute(f"EXPLAIN QUERY PLAN {statement}")
        return "\n".join(str(row[-1]) for row in cursor.fetchall())


@pytest.mark.parametrize("page", PAGES)
def test_page_reads_by_an_index(admin_client: Client, rows: list[ConnectionRecord], page: str) -> None:
    asked = statements(admin_client, page)
    assert asked
    for statement in asked:
        assert "DISTINCT" not in statement
        assert "COUNT(" not in statement or f"LIMIT {filters.MOST_COUNTED}" in statement, "a count is bounded"
        steps = plan(statement)
        assert not re.search(r"Seq Scan|SCAN realtime_connectionrecord(?! USING)", steps), steps
        assert "Sort" not in steps or '"user_id" = ' in statement, "a page is read in the order of its index"


def test_list_counts_no_further_than_its_bound(
    admin_client: Client, rows: list[ConnectionRecord], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(filters, "MOST_COUNTED", 120)
    assert admin_client.get(LIST).context["cl"].result_count == 120
    assert len(admin_client.get(f"{LIST}?p=3").context["cl"].result_list) == 20
    assert admin_client.get(f"{LIST}?p=4").status_code == 302, "there is no such page"


def test_pruning_reads_kept_rows_once(rows: list[ConnectionRecord], monkeypatch: pytest.MonkeyPatch) -> None:
    """Each chunk begins where the last one ended. The kept rows before it would otherwise be read for every chunk."""
    monkeypatch.setattr(prune_connections, "AT_ONCE", 20)
    now = datetime.now(UTC)
    for number, row in enumerate(rows):
        row.closed_at = now - timedelta(days=8, seconds=number)
        row.authenticated_at = now if number % 5 else None
    ConnectionRecord.objects.bulk_update(rows, ["closed_at", "authenticated_at"])
    with CaptureQueriesContext(connection) as captured:
        call_command("prune_connections", stdout=io.StringIO())
    assert ConnectionRecord.objects.count() == 400
    chunks = [one["sql"] for one in captured.captured_queries if f"LIMIT {prune_connections.AT_ONCE}" in one["sql"]]
    begins = [re.search(r'"closed_at" >= ([^)]+)', statement) for statement in chunks]
    assert len(chunks) == 6
    assert len({begin[1] for begin in begins if begin}) == 5, "every chunk but the first has its own beginning"
    for statement in chunks:
        steps = plan(statement)
        assert not re.search(r"Seq Scan|SCAN realtime_connectionrecord(?! USING)|Sort|TEMP B-TREE", steps), steps


def test_filter_lists_gateways_with_open_connections(
    admin_client: Client, rows: list[ConnectionRecord], monkeypatch: pytest.MonkeyPatch
) -> None:
    ConnectionRecord.objects.filter(node="node-2").update(closed_at=datetime.now(UTC))
    assert nodes_with_open_records(10) == ["node-0", "node-1", "node-3", "node-4"]
    assert nodes_with_open_records(2) == ["node-0", "node-1"]
    page = admin_client.get(f"{LIST}?node=node-2").content.decode()
    assert "?node=node-4" in page
    assert "?node=node-2" in page, "a chosen gateway is listed as well"
    ConnectionRecord.objects.update(closed_at=datetime.now(UTC))
    assert nodes_with_open_records(10) == []
    assert {row.node for row in admin_client.get(f"{LIST}?node=node-1").context["cl"].result_list} == {"node-1"}
