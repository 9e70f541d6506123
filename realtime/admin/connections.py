"""The connection audit in Django's admin, with actions that close connections."""

import csv
import itertools
from datetime import datetime

import msgspec
from asgiref.sync import async_to_sync
from channels.layers import get_channel_layer
from django.contrib import admin, messages
from django.contrib.admin.models import CHANGE, LogEntry
from django.core.exceptions import PermissionDenied
from django.db import Error as DatabaseError
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.urls import URLPattern, path
from django.utils.decorators import method_decorator
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from realtime import conf
from realtime.admin import overview
from realtime.admin.base import UserIdSearch, redis_problem
from realtime.admin.filters import BoundedPaginator, CloseCodeFilter, DayFilter, NodeFilter, OpenNow
from realtime.admin.revocations import revoke
from realtime.close_codes import CloseCode
from realtime.exceptions import RealtimeError
from realtime.models import ConnectionRecord
from realtime.presence.terminations import Terminations
from realtime.redis.client import connect

ROWS_AT_ONCE = 2_000

admin.site.index_template = "admin/realtime/index.html"


@admin.register(ConnectionRecord)
class ConnectionRecordAdmin(UserIdSearch):
    """Every connection, newest first. Rows are read-only; actions close connections and revoke tokens."""

    list_display = ("opened_at", "user", "state", "traffic", "address", "node", "way", "closed_at", "agent")
    list_display_links = ("opened_at",)
    list_filter = (OpenNow, CloseCodeFilter, NodeFilter, DayFilter)
    sortable_by = ("opened_at",)  # only this order has an index for every filter
    paginator = BoundedPaginator
    search_fields = ("address__startswith", "=connection_id")
    search_help_text = "A user's id, the beginning of an address, or a connection's id"
    ordering = ("-opened_at", "-id")
    list_per_page = 50
    actions = ("end_connections", "revoke_tokens", "download_csv")

    closes = overview.ClosesByCode()

    def get_urls(self) -> list[URLPattern]:
        """Add the overview, which the admin's index requests every few seconds."""
        return [path("overview/", self.overview_view, name="realtime_overview"), *super().get_urls()]

    @method_decorator([require_safe, never_cache])
    def overview_view(self, request: HttpRequest) -> HttpResponse:
        """Return the overview as JSON; without permission 403 instead of a redirect, because a script requests it."""
        try:
            may = self.admin_site.has_permission(request) and request.user.has_perm("realtime.view_connectionrecord")
        except DatabaseError as error:
            problem = overview.SourceUnavailable(f"the database is unavailable: {error}")
            return HttpResponse(msgspec.json.encode(problem), "application/json", 503)
        if not may:
            raise PermissionDenied
        seen = async_to_sync(overview.collect)(conf.get(), self.closes)
        return HttpResponse(msgspec.json.encode(seen), "application/json")

    @admin.display(description="user")
    def user(self, record: ConnectionRecord) -> str:
        return "-" if record.user_id is None else str(record.user_id)

    @admin.display(description="state")
    def state(self, record: ConnectionRecord) -> str:
        return "open" if record.closed_at is None else f"{record.close_code} {record.close_meaning}"

    @admin.display(description="frames (bytes) in / out")
    def traffic(self, record: ConnectionRecord) -> str:
        if record.closed_at is None:
            return "-"
        return f"{record.frames_in} ({record.bytes_in}) / {record.frames_out} ({record.bytes_out})"

    @admin.display(description="user agent")
    def agent(self, record: ConnectionRecord) -> str:
        return record.user_agent if len(record.user_agent) <= 40 else record.user_agent[:39] + "…"

    @admin.action(description="End selected connections", permissions=["end"])
    def end_connections(self, request: HttpRequest, queryset: "QuerySet[ConnectionRecord]") -> None:
        """Request that the selected open connections are closed with 4403, on any gateway."""
        open_ones = list(queryset.filter(closed_at=None).values_list("connection_id", flat=True))
        try:
            async_to_sync(_ask_to_end)(open_ones)
        except RealtimeError as error:
            self.message_user(request, f"No connection was closed: {redis_problem(error)}", messages.ERROR)
            return
        _note(request, queryset.filter(connection_id__in=open_ones), "Requested the termination of the connection.")
        already = queryset.count() - len(open_ones)
        note = f" {already} had already been closed." if already else ""
        self.message_user(
            request, f"Requested the termination of {len(open_ones)} connection(s).{note}", messages.SUCCESS
        )

    @admin.action(description="Revoke the tokens of the selected connections' users", permissions=["revoke"])
    def revoke_tokens(self, request: HttpRequest, queryset: "QuerySet[ConnectionRecord]") -> None:
        """Revoke all tokens of these users issued until now; their connections are closed with 4401."""
        users = sorted({user for user in queryset.values_list("user_id", flat=True) if user is not None})
        try:
            async_to_sync(revoke)([{"user_id": user} for user in users], request.user.get_username())
        except RealtimeError as error:
            self.message_user(request, f"Not all tokens were revoked: {redis_problem(error)}", messages.ERROR)
            return
        _note(request, queryset.filter(user_id__in=users), "Revoked all tokens of its user.")
        self.message_user(request, f"Revoked the tokens of {len(users)} user(s).", messages.SUCCESS)

    @admin.action(description="Download selected connections as CSV", permissions=["view"])
    def download_csv(self, request: HttpRequest, queryset: "QuerySet[ConnectionRecord]") -> StreamingHttpResponse:
        """Stream all columns as CSV; times in UTC."""
        columns = [field.name for field in ConnectionRecord._meta.fields if field.name != "id"]
        writer = csv.writer(_Echo())
        rows = (
            [_cell(getattr(record, name)) for name in columns] for record in queryset.iterator(chunk_size=ROWS_AT_ONCE)
        )
        lines = (writer.writerow(row) for row in itertools.chain([columns], rows))
        answer = StreamingHttpResponse(lines, content_type="text/csv; charset=utf-8")
        answer["Content-Disposition"] = 'attachment; filename="connections.csv"'
        return answer

    def has_revoke_permission(self, request: HttpRequest) -> bool:
        """Return whether this user may revoke tokens."""
        return request.user.has_perm("realtime.add_revocation")

    def has_end_permission(self, request: HttpRequest) -> bool:
        """Return whether this user may close connections."""
        return request.user.has_perm("realtime.end_connection")


class _Echo:
    """A file whose `write` returns its argument, so that `csv.writer` returns each line."""

    def write(self, line: str) -> str:
        return line


def _cell(value: object) -> str:
    """Return a value as text; a leading quote keeps a spreadsheet from reading it as a formula."""
    if value is None:
        return ""
    text = value.isoformat() if isinstance(value, datetime) else str(value)
    return f"'{text}" if text.startswith(("=", "+", "-", "@", "\t", "\r")) else text


def _note(request: HttpRequest, records: "QuerySet[ConnectionRecord]", what: str) -> None:
    """Log in the admin's history who did what to connections."""
    user_id = int(request.user.pk or 0)  # actions require a logged-in user
    LogEntry.objects.log_actions(user_id=user_id, queryset=records, action_flag=CHANGE, change_message=what)


async def _ask_to_end(connection_ids: list[str]) -> None:
    async with connect(conf.get().redis_url) as redis:
        await Terminations(redis, get_channel_layer()).ask(connection_ids, CloseCode.FORBIDDEN)
