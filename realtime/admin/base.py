"""Base classes and helpers of the admin's pages."""

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest

from realtime import conf
from realtime.auth.tokens import MAX_USER_ID
from realtime.redis.client import address_of


class ReadOnlyAdmin(admin.ModelAdmin):  # type: ignore[type-arg]  # django-stubs: generic only when type checking
    """A read-only list: rows are changed only by actions, or outside the admin."""

    show_full_result_count = False

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


class UserIdSearch(ReadOnlyAdmin):
    """A list with a search by user id: a number finds that user by the index, where Django's search compares texts."""

    user_id_field = "user_id"

    def get_search_results(
        self, request: HttpRequest, queryset: "QuerySet[Any]", search_term: str
    ) -> tuple["QuerySet[Any]", bool]:
        term = search_term.strip()
        if term.isascii() and term.isdigit() and int(term[:21]) <= MAX_USER_ID:
            return queryset.filter(**{self.user_id_field: int(term)}), False
        return super().get_search_results(request, queryset, search_term)


def redis_problem(error: Exception) -> str:
    return f"Redis at {address_of(conf.get().redis_url)} is unavailable ({error})."
