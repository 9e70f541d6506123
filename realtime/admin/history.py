"""The history of actions in Django's admin."""

from django.contrib import admin
from django.contrib.admin.models import LogEntry

from realtime.admin.base import ReadOnlyAdmin


@admin.register(LogEntry)
class ActionAdmin(ReadOnlyAdmin):
    """Actions by user: connections closed, tokens revoked, dead letters replayed or dropped, and Django's changes."""

    list_display = ("action_time", "user", "content_type", "object_repr", "action_flag", "change_message")
    list_filter = ("action_time", "content_type", "action_flag")
    search_fields = ("object_repr", "change_message", "user__username")
    date_hierarchy = "action_time"
    list_select_related = ("user", "content_type")
