"""What the HTTP API takes and gives. Times are Unix seconds; user ids are unsigned 64-bit integers."""

import re
from typing import Any

from rest_framework import serializers

from realtime.auth import MAX_USER_ID

_DIGITS = re.compile(r"[0-9]{1,20}")
_GROUP_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")
LARGEST_PAGE = 2**31 - 1
LATEST = 2**63 - 1


class Number(serializers.IntegerField):
    """An integer, or in an address its ASCII digits; no bool, no fraction, no digits of another script."""

    def __init__(self, *, most: int, least: int = 1, **options: Any) -> None:
        message = f"not a number from {least} to {most}"
        errors: dict[str, Any] = {"required": "missing", "invalid": message, "min_value": message, "max_value": message}
        super().__init__(min_value=least, max_value=most, error_messages=errors, **options)

    def to_internal_value(self, data: Any) -> int:
        is_number = type(data) is int or (isinstance(data, str) and _DIGITS.fullmatch(data))
        if not is_number:
            self.fail("required" if data == "" else "invalid")
        return int(data)


class Name(serializers.CharField):
    """An id that is a text."""

    def __init__(self, **options: Any) -> None:
        messages = {"required": "missing", "blank": "missing", "max_length": "over {max_length} characters"}
        super().__init__(**{"max_length": 64, "trim_whitespace": False, "error_messages": messages, **options})


def user_id() -> Number:
    """A user's id."""
    return Number(most=MAX_USER_ID)


class GroupIdField(Name):
    """A chat group's id."""

    def to_internal_value(self, data: Any) -> str:
        text = super().to_internal_value(data)
        if not _GROUP_ID.fullmatch(text):
            raise serializers.ValidationError("not a chat group's id")
        return text


class OfUser(serializers.Serializer[Any]):
    user_id = user_id()


class OfGroup(serializers.Serializer[Any]):
    group_id = GroupIdField()


class PageQuery(serializers.Serializer[Any]):
    page = Number(most=LARGEST_PAGE, default=1)
    page_size = Number(most=100, default=20)


class MembersQuery(OfGroup, PageQuery):
    pass


class UserPageQuery(OfUser, PageQuery):
    pass


class HistoryQuery(OfGroup):
    before_id = Name(default="", allow_blank=True)
    limit = Number(most=100, default=20)


class OfflineQuery(OfUser):
    after_time = Number(least=0, most=LATEST, default=0)


class MarkNotificationsBody(OfUser):
    notification_ids = serializers.ListField(
        child=Name(), allow_empty=False, max_length=100, error_messages={"required": "missing", "empty": "empty"}
    )


class GroupInfo(serializers.Serializer[Any]):
    group_id = serializers.CharField()
    activity_id = serializers.IntegerField()
    name = serializers.CharField()
    owner_id = user_id()
    status = serializers.IntegerField(help_text="1 normal, 2 disbanded")
    max_members = serializers.IntegerField()
    member_count = serializers.IntegerField()
    created_at = serializers.IntegerField()


class UserGroup(GroupInfo):
    role = serializers.IntegerField(help_text="1 member, 2 owner")
    joined_at = serializers.IntegerField()
    last_message = serializers.CharField()
    last_message_at = serializers.IntegerField()
    cover_url = serializers.CharField()
    last_sender_name = serializers.CharField()
    read_id = serializers.CharField(required=False, help_text="the last message that the user has read, if known")
    unread_count = serializers.IntegerField(
        required=False, help_text="messages of others behind it, 1,000 at most; left out where the service keeps none"
    )


class UserGroups(serializers.Serializer[Any]):
    groups = UserGroup(many=True)
    total = serializers.IntegerField()


class Member(serializers.Serializer[Any]):
    user_id = user_id()
    group_id = serializers.CharField()
    role = serializers.IntegerField(help_text="1 member, 2 owner")
    joined_at = serializers.IntegerField()
    read_id = serializers.CharField(required=False, help_text="the last message that the member has read, if known")


class Members(serializers.Serializer[Any]):
    members = Member(many=True)
    total = serializers.IntegerField()


class Message(serializers.Serializer[Any]):
    message_id = serializers.CharField()
    group_id = serializers.CharField()
    sender_id = user_id()
    sender_name = serializers.CharField()
    sender_avatar = serializers.CharField()
    msg_type = serializers.IntegerField(help_text="1 text, 2 image")
    content = serializers.CharField()
    image_url = serializers.CharField()
    created_at = serializers.IntegerField()
    sender = serializers.CharField(help_text="sender_id as a text")
    status = serializers.IntegerField(help_text="1 normal, 2 recalled (without content)")


class Offline(serializers.Serializer[Any]):
    messages = Message(many=True)


class History(Offline):
    has_more = serializers.BooleanField()


class Notification(serializers.Serializer[Any]):
    notification_id = serializers.CharField()
    user_id = user_id()
    type = serializers.CharField()
    title = serializers.CharField()
    content = serializers.CharField()
    is_read = serializers.IntegerField(help_text="0 or 1")
    created_at = serializers.IntegerField()


class Notifications(serializers.Serializer[Any]):
    notifications = Notification(many=True)
    total = serializers.IntegerField()
    unread_count = serializers.IntegerField()


class UnreadCount(serializers.Serializer[Any]):
    unread_count = serializers.IntegerField()


class Marked(serializers.Serializer[Any]):
    success = serializers.BooleanField()
    updated_count = serializers.IntegerField()


class AllMarked(serializers.Serializer[Any]):
    success = serializers.BooleanField()
    affected_count = serializers.IntegerField()


class Status(serializers.Serializer[Any]):
    is_online = serializers.BooleanField()
    last_seen = serializers.IntegerField(help_text="0: never; the same below")
    last_online_at = serializers.IntegerField()
    last_offline_at = serializers.IntegerField()


class Stats(serializers.Serializer[Any]):
    online_users = serializers.IntegerField()
    connections = serializers.IntegerField()
    nodes = serializers.IntegerField()


class Problem(serializers.Serializer[Any]):
    code = serializers.IntegerField(help_text="the HTTP status")
    message = serializers.CharField(help_text="in words; a field that is wrong stands first")
    data = serializers.JSONField(allow_null=True)  # type: ignore[assignment]  # a field's name, not the property
