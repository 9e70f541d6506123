"""Filters and the paginator of the connections' list: none of them reads the whole table of millions of rows."""

from datetime import UTC, date, datetime, timedelta
from functools import cached_property
from typing import Any, TypeAlias

from django.contrib import admin
from django.core.paginator import Paginator
from django.db.models import QuerySet
from django.http import HttpRequest

from realtime.audit.open_nodes import nodes_with_open_records
from realtime.close_codes import CloseCode
from realtime.models import ConnectionRecord

Records: TypeAlias = QuerySet[ConnectionRecord]
MOST_COUNTED = 10_000
"""A list counts no further; its last page ends there."""
NODES_SHOWN = 50
DAYS_SHOWN = 14


class BoundedPaginator(Paginator):  # type: ignore[type-arg]  # django-stubs: generic only when type checking
    """A paginator that counts up to `MOST_COUNTED` rows, because counting millions takes seconds for each page."""

    @cached_property
    def count(self) -> int:
        rows: QuerySet[Any] = self.object_list  # type: ignore[assignment]  # the admin passes a query set
        return rows.order_by()[:MOST_COUNTED].count()


class OpenNow(admin.SimpleListFilter):
    """Filter by state: open or closed."""

    title = "state"
    parameter_name = "open"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("1", "Open now"), ("0", "Closed")]

    def queryset(self, request: HttpRequest, queryset: Records) -> Records:
        return queryset if self.value() is None else queryset.filter(closed_at__isnull=self.value() == "1")


class CloseCodeFilter(admin.SimpleListFilter):
    """Filter by close code, each shown with its meaning."""

    title = "close code"
    parameter_name = "code"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(str(int(code)), f"{int(code)} {code.meaning}") for code in CloseCode]

    def queryset(self, request: HttpRequest, queryset: Records) -> Records:
        value = self.value() or ""
        is_code = value.isascii() and value.isdigit() and len(value) < 6
        return queryset.filter(close_code=int(value)) if is_code else queryset


class NodeFilter(admin.SimpleListFilter):
    """Filter by gateway. Those with open connections are listed; an address with another name (`?node=`) works too."""

    title = "gateway"
    parameter_name = "node"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        nodes = nodes_with_open_records(NODES_SHOWN)
        chosen = request.GET.get(self.parameter_name)
        return [(node, node) for node in ([chosen] if chosen and chosen not in nodes else []) + nodes]

    def has_output(self) -> bool:
        return True  # also without an open connection: otherwise Django ignores the parameter

    def queryset(self, request: HttpRequest, queryset: Records) -> Records:
        return queryset.filter(node=self.value()) if self.value() else queryset


class DayFilter(admin.SimpleListFilter):
    """Filter by the day of opening, in UTC. The last days are listed; an address with another day works too."""

    title = "day"
    parameter_name = "day"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        today = datetime.now(UTC).date()
        days = [(today - timedelta(days=back)).isoformat() for back in range(DAYS_SHOWN)]
        chosen = request.GET.get(self.parameter_name, "")
        return [(day, day) for day in [*days, *([chosen] if _day(chosen) and chosen not in days else [])]]

    def queryset(self, request: HttpRequest, queryset: Records) -> Records:
        day = _day(self.value() or "")
        if day is None:
            return queryset
        begin = datetime(day.year, day.month, day.day, tzinfo=UTC)
        return queryset.filter(opened_at__gte=begin, opened_at__lt=begin + timedelta(days=1))


def _day(text: str) -> date | None:
    try:
        day = date.fromisoformat(text)
    except ValueError:
        return None
    return day if day < date.max else None
