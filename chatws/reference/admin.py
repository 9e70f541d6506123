"""The reference service's tables in Django's admin, read-only: only changes through gRPC publish events."""

from django.contrib import admin

from chatws.reference.models import ChatGroup, Member, Message, Notification, OutboxEvent, ReadCursor
from realtime.admin.base import UserIdSearch


@admin.register(ChatGroup)
class ChatGroupAdmin(UserIdSearch):
    user_id_field = "owner_id"
    list_display = ("name", "group_id", "owner_id", "status", "created_at")
    search_fields = ("name", "=group_id")


@admin.register(Member)
class MemberAdmin(UserIdSearch):
    list_display = ("user_id", "group", "role", "joined_at")
    list_select_related = ("group",)
    search_fields = ("=group__group_id",)


@admin.register(Message)
class MessageAdmin(UserIdSearch):
    user_id_field = "sender_id"
    list_display = ("message_id", "group", "sender_id", "msg_type", "status", "created_at")
    list_select_related = ("group",)
    search_fields = ("=message_id", "=group__group_id")


@admin.register(ReadCursor)
class ReadCursorAdmin(UserIdSearch):
    list_display = ("user_id", "group", "message", "read_at")
    list_select_related = ("group", "message")
    search_fields = ("=group__group_id",)


@admin.register(Notification)
class NotificationAdmin(UserIdSearch):
    list_display = ("title", "user_id", "type", "is_read", "created_at")
    search_fields = ("=notification_id",)


@admin.register(OutboxEvent)
class OutboxEventAdmin(UserIdSearch):
    list_display = ("topic", "uuid")
