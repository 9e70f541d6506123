"""The reference service's tables in Django's admin, to look at."""

from django.contrib import admin
from django.http import HttpRequest

from chatws.reference.models import ChatGroup, Member, Message, Notification, OutboxEvent
from realtime.admin import UserIdSearch


class ReadOnlyAdmin(UserIdSearch):
    """Changes go through gRPC, where they are told of."""

    show_full_result_count = False

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: object = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: object = None) -> bool:
        return False


@admin.register(ChatGroup)
class ChatGroupAdmin(ReadOnlyAdmin):
    user_id_field = "owner_id"
    list_display = ("name", "group_id", "owner_id", "status", "created_at")
    search_fields = ("name", "=group_id")


@admin.register(Member)
class MemberAdmin(ReadOnlyAdmin):
    list_display = ("user_id", "group", "role", "joined_at")
    list_select_related = ("group",)
    search_fields = ("=group__group_id",)


@admin.register(Message)
class MessageAdmin(ReadOnlyAdmin):
    user_id_field = "sender_id"
    list_display = ("message_id", "group", "sender_id", "msg_type", "status", "created_at")
    list_select_related = ("group",)
    search_fields = ("=message_id", "=group__group_id")


@admin.register(Notification)
class NotificationAdmin(ReadOnlyAdmin):
    list_display = ("title", "user_id", "type", "is_read", "created_at")
    search_fields = ("=notification_id",)


@admin.register(OutboxEvent)
class OutboxEventAdmin(ReadOnlyAdmin):
    list_display = ("topic", "uuid")
