"""Django's admin: the connection audit, where connections can be ended, and the dead letters."""

import re
from typing import Any

from asgiref.sync import async_to_sync, sync_to_async
from channels.layers import get_channel_layer
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path

from realtime import conf
from realtime.auth import MAX_USER_ID
from realtime.close_codes import CloseCode
from realtime.dead_letters import DeadLetters
from realtime.kicks import Kicks
from realtime.models import ConnectionRecord, DeadLetterEntry
from realtime.redis import RedisError, address_of, connect
from realtime.revocations import Revocations

DEAD_LETTERS_SHOWN = 50
DEAD_LETTER_ID = re.compile(r"[0-9]{1,20}-[0-9]{1,20}")


class UserIdSearch(admin.ModelAdmin):  # type: ignore[type-arg]  # django-stubs: generic only when type checking
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
    show_full_result_count = False
    actions = ("end_connections", "revoke_tokens")

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
        settings = conf.get()
        try:
            async_to_sync(_ask_to_end)(open_ones, settings)
        except (RedisError, OSError) as error:
            where = address_of(settings.redis_url)
            self.message_user(
                request, f"Nothing was ended: Redis at {where} can't be reached ({error}).", messages.ERROR
            )
            return
        already = queryset.count() - len(open_ones)
        note = f" {already} had been closed already." if already else ""
        self.message_user(request, f"Asked to end {len(open_ones)} connection(s).{note}", messages.SUCCESS)

    @admin.action(description="Revoke the tokens of the selected connections' users", permissions=["end"])
    def revoke_tokens(self, request: HttpRequest, queryset: "QuerySet[ConnectionRecord]") -> None:
        """All tokens of these users that have been issued by now; their connections are closed with 4401."""
        users = sorted({user for user in queryset.values_list("user_id", flat=True) if user is not None})
        settings = conf.get()
        try:
            async_to_sync(_revoke)(users, settings, request.user.get_username())
        except (RedisError, OSError) as error:
            where = address_of(settings.redis_url)
            self.message_user(
                request, f"Not all was revoked: Redis at {where} can't be reached ({error}).", messages.ERROR
            )
            return
        self.message_user(request, f"Revoked the tokens of {len(users)} user(s).", messages.SUCCESS)

    def has_end_permission(self, request: HttpRequest) -> bool:
        """Whether this user may end connections."""
        return request.user.has_perm("realtime.end_connection")

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


async def _revoke(user_ids: list[int], settings: conf.RealtimeConf, by: str) -> None:
    redis = connect(settings.redis_url)
    try:
        revocations = Revocations(redis, get_channel_layer(), settings.revocation_days)
        for user_id in user_ids:
            await revocations.revoke(user_id=user_id, by=by)
    finally:
        await redis.aclose()


async def _ask_to_end(connection_ids: list[str], settings: conf.RealtimeConf) -> None:
    redis = connect(settings.redis_url)
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
            where = address_of(conf.get().redis_url)
            self.message_user(request, f"Redis at {where} can't be reached ({error}).", messages.ERROR)
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
                if letter is not None:
                    done += bool(await (letters.replay(letter) if action == "replay" else letters.drop(letter)))
        finally:
            await redis.aclose()
        verb = "Put back on their topics" if action == "replay" else "Dropped"
        gone = f" {len(chosen) - done} were gone already." if done < len(chosen) else ""
        self.message_user(request, f"{verb}: {done} dead letter(s).{gone}", messages.SUCCESS)

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
