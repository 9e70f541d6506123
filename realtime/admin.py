"""Django's admin: the connection audit, where connections can be ended, and the dead letters."""

import csv
import itertools
import re
from datetime import UTC, datetime
from typing import Any

import msgspec
from asgiref.sync import async_to_sync, sync_to_async
from channels.layers import get_channel_layer
from django.contrib import admin, messages
from django.contrib.admin.models import CHANGE, DELETION, LogEntry
from django.contrib.contenttypes.models import ContentType
from django.core.exceptions import PermissionDenied
from django.db import Error as DatabaseError
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, StreamingHttpResponse
from django.template.response import TemplateResponse
from django.urls import URLPattern, path
from django.utils.decorators import method_decorator
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from realtime import conf, overview
from realtime.auth.revocations import connected
from realtime.auth.tokens import MAX_USER_ID
from realtime.close_codes import CloseCode
from realtime.forms import RevocationForm
from realtime.models import ConnectionRecord, DeadLetterEntry, Revocation
from realtime.presence.terminations import Kicks
from realtime.redis.client import address_of, connect
from realtime.redis.errors import RedisError
from realtime.relay.dead_letters import DeadLetter, DeadLetters

DEAD_LETTERS_SHOWN = 50
ROWS_AT_ONCE = 2_000
DEAD_LETTER_ID = re.compile(r"[0-9]{1,20}-[0-9]{1,20}")

admin.site.index_template = "admin/realtime/index.html"


class ReadOnlyAdmin(admin.ModelAdmin):  # type: ignore[type-arg]  # django-stubs: generic only when type checking
    """Rows to look at: what is done to them is done by actions, or elsewhere."""

    show_full_result_count = False

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


class UserIdSearch(ReadOnlyAdmin):
    """A search for a number is one for the user with that id, by its index; Django's own would compare texts."""

    user_id_field = "user_id"

    def get_search_results(
        self, request: HttpRequest, queryset: "QuerySet[Any]", search_term: str
    ) -> tuple["QuerySet[Any]", bool]:
        term = search_term.strip()
        if term.isascii() and term.isdigit() and int(term[:21]) <= MAX_USER_ID:
            return queryset.filter(**{self.user_id_field: int(term)}), False
        return super().get_search_results(request, queryset, search_term)


class OpenNow(admin.SimpleListFilter):
    """Open connections, or closed ones."""

    title = "state"
    parameter_name = "open"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("1", "Open now"), ("0", "Closed")]

    def queryset(self, request: HttpRequest, queryset: "QuerySet[ConnectionRecord]") -> "QuerySet[ConnectionRecord]":
        return queryset if self.value() is None else queryset.filter(closed_at__isnull=self.value() == "1")


class CloseCodeFilter(admin.SimpleListFilter):
    """By close code, each with its meaning."""

    title = "close code"
    parameter_name = "code"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(str(int(code)), f"{int(code)} {code.meaning}") for code in CloseCode]

    def queryset(self, request: HttpRequest, queryset: "QuerySet[ConnectionRecord]") -> "QuerySet[ConnectionRecord]":
        value = self.value() or ""
        return queryset.filter(close_code=int(value)) if value.isascii() and value.isdigit() else queryset


@admin.register(ConnectionRecord)
class ConnectionRecordAdmin(UserIdSearch):
    """Every connection, newest first. Nothing can be changed; open connections can be ended."""

    list_display = ("opened_at", "user", "state", "traffic", "address", "node", "way", "closed_at", "agent")
    list_display_links = ("opened_at",)
    list_filter = (OpenNow, CloseCodeFilter, "node", "opened_at")
    search_fields = ("address__startswith", "=connection_id")
    search_help_text = "A user's id, the beginning of an address, or a connection's id"
    ordering = ("-opened_at", "-id")
    list_per_page = 50
    date_hierarchy = "opened_at"
    actions = ("end_connections", "revoke_tokens", "download_csv")

    closes = overview.ClosesByCode()

    def get_urls(self) -> list[URLPattern]:
        """The list's own, and what the admin's index asks for every few seconds."""
        return [path("overview/", self.overview_view, name="realtime_overview"), *super().get_urls()]

    @method_decorator([require_safe, never_cache])
    def overview_view(self, request: HttpRequest) -> HttpResponse:
        """The cluster at a glance, as JSON. A program asks: who may not is refused, not sent to log in."""
        try:
            may = self.admin_site.has_permission(request) and request.user.has_perm("realtime.view_connectionrecord")
        except DatabaseError as error:
            problem = overview.Away(f"the database is away: {error}")
            return HttpResponse(msgspec.json.encode(problem), "application/json", 503)
        if not may:
            raise PermissionDenied
        seen = async_to_sync(overview.look)(conf.get(), self.closes)
        return HttpResponse(msgspec.json.encode(seen), "application/json")

    @admin.display(description="user", ordering="user_id")
    def user(self, record: ConnectionRecord) -> str:
        return "-" if record.user_id is None else str(record.user_id)

    @admin.display(description="state", ordering="close_code")
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
        """Close them with 4403, on whichever gateway they are."""
        open_ones = list(queryset.filter(closed_at=None).values_list("connection_id", flat=True))
        try:
            async_to_sync(_ask_to_end)(open_ones)
        except (RedisError, OSError) as error:
            self.message_user(request, f"Nothing was ended: {_away(error)}", messages.ERROR)
            return
        _note(request, queryset.filter(connection_id__in=open_ones), "Asked to end the connection.")
        already = queryset.count() - len(open_ones)
        note = f" {already} had been closed already." if already else ""
        self.message_user(request, f"Asked to end {len(open_ones)} connection(s).{note}", messages.SUCCESS)

    @admin.action(description="Revoke the tokens of the selected connections' users", permissions=["end"])
    def revoke_tokens(self, request: HttpRequest, queryset: "QuerySet[ConnectionRecord]") -> None:
        """All tokens of these users that have been issued by now; their connections are closed with 4401."""
        users = sorted({user for user in queryset.values_list("user_id", flat=True) if user is not None})
        try:
            async_to_sync(_revoke)([{"user_id": user} for user in users], request.user.get_username())
        except (RedisError, OSError) as error:
            self.message_user(request, f"Not all was revoked: {_away(error)}", messages.ERROR)
            return
        _note(request, queryset.filter(user_id__in=users), "Revoked all tokens of its user.")
        self.message_user(request, f"Revoked the tokens of {len(users)} user(s).", messages.SUCCESS)

    @admin.action(description="Download selected connections as CSV", permissions=["view"])
    def download_csv(self, request: HttpRequest, queryset: "QuerySet[ConnectionRecord]") -> StreamingHttpResponse:
        """All columns, as they stand in the database; times in UTC."""
        columns = [field.name for field in ConnectionRecord._meta.fields if field.name != "id"]
        writer = csv.writer(_Echo())
        rows = (
            [_cell(getattr(record, name)) for name in columns] for record in queryset.iterator(chunk_size=ROWS_AT_ONCE)
        )
        lines = (writer.writerow(row) for row in itertools.chain([columns], rows))
        answer = StreamingHttpResponse(lines, content_type="text/csv; charset=utf-8")
        answer["Content-Disposition"] = 'attachment; filename="connections.csv"'
        return answer

    def has_end_permission(self, request: HttpRequest) -> bool:
        """Whether this user may end connections."""
        return request.user.has_perm("realtime.end_connection")


def _away(error: Exception) -> str:
    return f"Redis at {address_of(conf.get().redis_url)} can't be reached ({error})."


class _Echo:
    """A file that gives back what is written to it."""

    def write(self, line: str) -> str:
        return line


def _cell(value: object) -> str:
    """A value as a spreadsheet shows it; one that it would compute with is told to be text."""
    if value is None:
        return ""
    text = value.isoformat() if isinstance(value, datetime) else str(value)
    return f"'{text}" if text.startswith(("=", "+", "-", "@", "\t", "\r")) else text


def _note(request: HttpRequest, records: "QuerySet[ConnectionRecord]", what: str) -> None:
    """Keep who did something to connections."""
    user_id = int(request.user.pk or 0)  # whoever may act has logged in
    LogEntry.objects.log_actions(user_id=user_id, queryset=records, action_flag=CHANGE, change_message=what)


async def _revoke(wanted: list[dict[str, Any]], by: str) -> list[Revocation]:
    async with connected(conf.get(), get_channel_layer()) as revocations:
        return [await revocations.revoke(**whose, by=by) for whose in wanted]


async def _ask_to_end(connection_ids: list[str]) -> None:
    redis = connect(conf.get().redis_url)
    try:
        await Kicks(redis, get_channel_layer()).ask(connection_ids, CloseCode.FORBIDDEN)
    finally:
        await redis.aclose()


@admin.register(DeadLetterEntry)
class DeadLetterAdmin(admin.ModelAdmin):  # type: ignore[type-arg]  # django-stubs: generic only when type checking
    """Dead letters, newest first: replayed by who may change them, dropped by who may delete them."""

    change_list_template = "admin/realtime/deadletterentry/change_list.html"

    def get_urls(self) -> list[URLPattern]:
        """The list alone: there is no table behind it."""
        view = self.admin_site.admin_view(self.changelist_view)
        return [path("", view, name="realtime_deadletterentry_changelist")]

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> HttpResponse:
        """A topic's dead letters; a POST replays or drops those that are selected."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        topic, before = request.GET.get("topic", ""), request.GET.get("before", "")
        context: dict[str, Any] = {**self.admin_site.each_context(request), "title": "Dead letters", "opts": self.opts}
        try:
            if request.method == "POST":
                async_to_sync(self._act)(request)
                return HttpResponseRedirect(request.get_full_path())
            context |= async_to_sync(_dead_letters_page)(topic, before)
        except (RedisError, OSError) as error:
            self.message_user(request, _away(error), messages.ERROR)
        context["may_replay"], context["may_drop"] = self._may(request, "replay"), self._may(request, "drop")
        return TemplateResponse(request, self.change_list_template, context)

    async def _act(self, request: HttpRequest) -> None:
        action = request.POST.get("action", "")
        if not await sync_to_async(self._may)(request, action):
            raise PermissionDenied
        redis = connect(conf.get().redis_url)
        try:
            letters, done = DeadLetters(redis), 0
            chosen = request.POST.getlist("letter")
            for topic, _, letter_id in (name.rpartition(" ") for name in chosen):
                letter = await letters.get(topic, letter_id)
                if letter is not None and await (
                    letters.replay(letter) if action == "replay" else letters.drop(letter)
                ):
                    done += 1
                    await sync_to_async(self._note)(request, letter, action)
        finally:
            await redis.aclose()
        verb = "Put back on their topics" if action == "replay" else "Dropped"
        gone = f" {len(chosen) - done} were gone already." if done < len(chosen) else ""
        self.message_user(request, f"{verb}: {done} dead letter(s).{gone}", messages.SUCCESS)

    def _note(self, request: HttpRequest, letter: DeadLetter, action: str) -> None:
        """Keep who replayed or dropped it."""
        LogEntry.objects.create(
            user_id=int(request.user.pk or 0),  # whoever may act has logged in
            content_type=ContentType.objects.get_for_model(DeadLetterEntry),
            object_id=letter.id,
            object_repr=f"{letter.topic} {letter.entry_id}"[:200],
            action_flag=CHANGE if action == "replay" else DELETION,
            change_message="Put back on its topic." if action == "replay" else f"Dropped: {letter.reason}",
        )

    def _may(self, request: HttpRequest, action: str) -> bool:
        permission = {"replay": "change", "drop": "delete"}.get(action)
        return permission is not None and request.user.has_perm(f"realtime.{permission}_deadletterentry")

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False


async def _dead_letters_page(topic: str, before: str) -> dict[str, Any]:
    redis = connect(conf.get().redis_url)
    try:
        letters = DeadLetters(redis)
        topics = [(name, await letters.count(name)) for name in await letters.topics()]
        wanted = [name for name, _ in topics if topic in ("", name)]
        before = before if topic and DEAD_LETTER_ID.fullmatch(before) else "+"
        shown = [letter for name in wanted for letter in await letters.latest(name, DEAD_LETTERS_SHOWN, before)]
    finally:
        await redis.aclose()
    more = topic and len(shown) == DEAD_LETTERS_SHOWN
    return {"topics": topics, "topic": topic, "letters": shown, "older": shown[-1].id if more else ""}


@admin.register(LogEntry)
class ActionAdmin(ReadOnlyAdmin):
    """Who did what here: ended and revoked connections, replayed and dropped dead letters, and Django's own changes."""

    list_display = ("action_time", "user", "content_type", "object_repr", "action_flag", "change_message")
    list_filter = ("action_time", "content_type", "action_flag")
    search_fields = ("object_repr", "change_message", "user__username")
    date_hierarchy = "action_time"
    list_select_related = ("user", "content_type")


@admin.register(Revocation)
class RevocationAdmin(ReadOnlyAdmin):
    """Tokens that no longer count. Who may add one revokes; the connections' action and `manage.py revoke` do too."""

    list_display = ("revoked_at", "whose", "until", "revoked_by")
    search_fields = ("whose",)

    @admin.display(description="issued until")
    def until(self, record: Revocation) -> datetime:
        return datetime.fromtimestamp(record.issued_until, UTC)

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:
        return super().get_form(request, obj, change, **({} if obj else {"form": RevocationForm}), **kwargs)

    def add_view(self, request: HttpRequest, form_url: str = "", extra_context: Any = None) -> HttpResponse:
        """The form; if Redis is away nothing is kept, for the admin's transaction is undone."""
        try:
            return super().add_view(request, form_url, extra_context)
        except (RedisError, OSError) as error:
            self.message_user(request, f"Nothing was revoked: {_away(error)}", messages.ERROR)
            return HttpResponseRedirect(request.get_full_path())

    def save_model(self, request: HttpRequest, obj: Revocation, form: RevocationForm, change: bool) -> None:
        """Revoke, as the command does."""
        obj.whose = async_to_sync(_revoke)([form.wanted], request.user.get_username())[0].whose

    def has_add_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("realtime.add_revocation")
