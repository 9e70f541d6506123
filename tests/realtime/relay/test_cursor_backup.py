"""Check the copy of the cursors in the database."""

from types import SimpleNamespace
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.db import OperationalError

from realtime.exceptions import DatabaseUnavailable
from realtime.models import RelayCursor
from realtime.relay.cursor_backup import CursorBackup, saved_cursor

pytestmark = pytest.mark.django_db(transaction=True)


def worker(topic: str, committed: str) -> Any:
    return SimpleNamespace(topic=SimpleNamespace(name=topic), committed=committed)


async def test_moved_cursor_is_written_and_read_back() -> None:
    active, standby = worker("a", "5-0"), worker("b", "")
    copies = CursorBackup([active, standby])
    await copies.write()
    assert (await saved_cursor("a"), await saved_cursor("b")) == ("5-0", None)
    active.committed = "6-0"
    await copies.write()
    assert await saved_cursor("a") == "6-0"
    await sync_to_async(RelayCursor.objects.all().delete)()
    await copies.write()
    assert await saved_cursor("a") is None, "nothing moved, nothing is written"


async def test_unavailable_database_is_reported_and_retried(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def away(*arguments: object, **options: object) -> None:
        raise OperationalError("gone")

    copies = CursorBackup([worker("a", "5-0")])
    with monkeypatch.context() as patch:
        patch.setattr(RelayCursor.objects, "bulk_create", away)
        patch.setattr(RelayCursor.objects, "filter", away)
        await copies.write()
        with pytest.raises(DatabaseUnavailable, match="gone"):
            await saved_cursor("a")
    assert "could not be written to the database" in caplog.text
    await copies.write()
    assert await saved_cursor("a") == "5-0"
