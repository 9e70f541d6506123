"""Dead letters in Django's admin: list, replay and drop them."""

import re
from typing import Any

from asgiref.sync import async_to_sync, sync_to_async
from django.contrib import admin, messages
from django.contrib.admin.models import CHANGE, DELETION, LogEntry
from django.contrib.contenttypes.models import ContentType
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path

from realtime import conf
from realtime.admin.base import redis_problem
from realtime.exceptions import RealtimeError
from realtime.models import DeadLetterEntry
from realtime.redis.client import connect
from realtime.relay.dead_letters import DeadLetter, DeadLetters

DEAD_LETTERS_SHOWN = 50

DEAD_LETTER_ID = re.compile(r"[0-9]{1,20}-[0-9]{1,20}")


@admin.register(DeadLetterEntry)
class DeadLetterAdmin(admin.ModelAdmin):  # type: ignore[type-arg]  # django-stubs: generic only when type checking
    """Dead letters, newest first. To replay one needs the change permission, to drop one the delete permission."""

    change_list_template = "admin/realtime/deadletterentry/change_list.html"

    def get_urls(self) -> list[URLPattern]:
        """Return only the list's URL: there is no table, so there are no pages of single rows."""
        view = self.admin_site.admin_view(self.changelist_view)
        return [path("", view, name="realtime_deadletterentry_changelist")]

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> HttpResponse:
        """Show the dead letters of all topics or of one; a POST replays or drops the selected ones."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        topic, before = request.GET.get("topic", ""), request.GET.get("before", "")
        context: dict[str, Any] = {**self.admin_site.each_context(request), "title": "Dead letters", "opts": self.opts}
        try:
            if request.method == "POST":
                async_to_sync(self._act)(request)
                return HttpResponseRedirect(request.get_full_path())
            context |= async_to_sync(_dead_letters_page)(topic, before)
        except RealtimeError as error:
            self.message_user(request, redis_problem(error), messages.ERROR)
        context["may_replay"], context["may_drop"] = self._may(request, "replay"), self._may(request, "drop")
        return TemplateResponse(request, self.change_list_template, context)

    async def _act(self, request: HttpRequest) -> None:
        action = request.POST.get("action", "")
        if not await sync_to_async(self._may)(request, action):
            raise PermissionDenied
        async with connect(conf.get().redis_url) as redis:
            letters, done = DeadLetters(redis), 0
            chosen = request.POST.getlist("letter")
            for topic, _, letter_id in (name.rpartition(" ") for name in chosen):
                letter = await letters.get(topic, letter_id)
                if letter is not None and await (
                    letters.replay(letter) if action == "replay" else letters.drop(letter)
                ):
                    done += 1
                    await sync_to_async(self._note)(request, letter, action)
        verb = "Replayed" if action == "replay" else "Dropped"
        gone = f" {len(chosen) - done} no longer existed." if done < len(chosen) else ""
        self.message_user(request, f"{verb}: {done} dead letter(s).{gone}", messages.SUCCESS)

    def _note(self, request: HttpRequest, letter: DeadLetter, action: str) -> None:
        """Log in the admin's history who replayed or dropped it."""
        LogEntry.objects.create(
            user_id=int(request.user.pk or 0),  # actions require a logged-in user
            content_type=ContentType.objects.get_for_model(DeadLetterEntry),
            object_id=letter.id,
            object_repr=f"{letter.topic} {letter.entry_id}"[:200],
            action_flag=CHANGE if action == "replay" else DELETION,
            change_message="Replayed to its topic." if action == "replay" else f"Dropped: {letter.reason}",
        )

    def _may(self, request: HttpRequest, action: str) -> bool:
        permission = {"replay": "change", "drop": "delete"}.get(action)
        return permission is not None and request.user.has_perm(f"realtime.{permission}_deadletterentry")

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False


async def _dead_letters_page(topic: str, before: str) -> dict[str, Any]:
    async with connect(conf.get().redis_url) as redis:
        letters = DeadLetters(redis)
        topics = [(name, await letters.count(name)) for name in await letters.topics()]
        wanted = [name for name, _ in topics if topic in ("", name)]
        before = before if topic and DEAD_LETTER_ID.fullmatch(before) else "+"
        shown = [letter for name in wanted for letter in await letters.latest(name, DEAD_LETTERS_SHOWN, before)]
    more = topic and len(shown) == DEAD_LETTERS_SHOWN
    return {"topics": topics, "topic": topic, "letters": shown, "older": shown[-1].id if more else ""}
