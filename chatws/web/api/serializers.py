"""The inputs and answers of the HTTP API, in the shapes of the platform's own API.

Times are Unix seconds as decimal strings; user ids are unsigned 64-bit integers.
"""

import re
from typing import Any

from django.core.validators import RegexValidator
from rest_framework import serializers

from realtime.auth.tokens import MAX_USER_ID

OWNER = 2
"""The chat service's number for the role of a chat group's owner."""
_WHOLE = re.compile(r"-?[0-9]{1,20}")
_DIGITS = re.compile(r"[0-9]{1,20}")
GROUP_ID = r"[A-Za-z0-9_-]{1,64}"
_GROUP_ID = re.compile(GROUP_ID)
_no_null = RegexValidator(r"^[^\x00]*\Z", "contains a NUL")
LARGEST_PAGE = 2**31 - 1
LATEST = 2**63 - 1


class Number(serializers.IntegerField):
    """An integer, or its ASCII digits in a path or query; no bool, no fraction, no digits of another script."""

    def __init__(self, *, maximum: int, least: int = 1, **options: Any) -> None:
        message = f"not a number from {least} to {maximum}"
        errors: dict[str, Any] = {"required": "missing", "invalid": message, "min_value": message, "max_value": message}
        super().__init__(min_value=least, max_value=maximum, error_messages=errors, **options)

    def to_internal_value(self, data: Any) -> int:
        is_number = type(data) is int or (isinstance(data, str) and _DIGITS.fullmatch(data))
        if not is_number:
            self.fail("required" if data == "" else "invalid")
        return int(data)


class Size(serializers.IntegerField):
    """A page's number or size: a value below 1 becomes the default, a value above ``maximum`` becomes ``maximum``."""

    def __init__(self, *, maximum: int, small: int, **options: Any) -> None:
        errors: dict[str, Any] = {"invalid": "not a number", "max_string_length": "not a number"}
        super().__init__(error_messages=errors, required=False, default=small, **options)
        self._maximum = maximum
        self._small = small

    def to_internal_value(self, data: Any) -> int:
        if data == "":
            return self._small
        if type(data) is not int and not (isinstance(data, str) and _WHOLE.fullmatch(data)):
            self.fail("invalid")
        number = int(data)
        return min(number, self._maximum) if number >= 1 else self._small


class Time(serializers.CharField):
    """A time in Unix seconds as a string; "0" is never."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**{"help_text": "Unix seconds", **options})


class Role(serializers.ChoiceField):
    """A member's role: `member` or `owner`."""

    def __init__(self) -> None:
        super().__init__(choices=["member", "owner"])

    def to_representation(self, value: Any) -> str:
        return "owner" if value == OWNER else "member"


class Name(serializers.CharField):
    """A string id."""

    def __init__(self, **options: Any) -> None:
        messages = {"required": "missing", "blank": "missing", "max_length": "over {max_length} characters"}
        kept: dict[str, Any] = {"max_length": 64, "trim_whitespace": False, "validators": [_no_null]}
        super().__init__(**{**kept, "error_messages": messages, **options})


class OptionalName(serializers.Field[str, Any, str, Any]):
    """A string id, or an empty string."""

    def __init__(self) -> None:
        super().__init__(default="")
        self._name = Name()

    def to_internal_value(self, data: Any) -> str:
        return "" if data == "" else str(self._name.run_validation(data))


def user_id() -> Number:
    """A user's id."""
    return Number(maximum=MAX_USER_ID)


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
    page = Size(maximum=LARGEST_PAGE, small=1)
    page_size = Size(maximum=100, small=20, help_text="at most 100")


class MembersQuery(OfGroup, PageQuery):
    pass


class UserPageQuery(OfUser, PageQuery):
    pass


class HistoryQuery(OfGroup):
    before_id = OptionalName()
    limit = Size(maximum=100, small=20, help_text="at most 100")


class OfflineQuery(OfUser):
    after_time = Number(least=0, maximum=LATEST, default=0)


class MarkNotificationsBody(OfUser):
    notification_ids = serializers.ListField(
        child=Name(), allow_empty=False, min_length=1, max_length=100,
        error_messages={"required": "missing", "empty": "empty"},
    )  # fmt: skip


class GroupInfo(serializers.Serializer[Any]):
    group_id = serializers.CharField()
    activity_id = serializers.IntegerField()
    name = serializers.CharField()
    owner_id = user_id()
    status = serializers.IntegerField(help_text="1 normal, 2 disbanded")
    max_members = serializers.IntegerField()
    member_count = serializers.IntegerField()
    created_at = Time()


class UserGroup(GroupInfo):
    role = Role()
    joined_at = Time()
    last_message = serializers.CharField()
    last_message_at = Time()
    cover_url = serializers.CharField()
    last_sender_name = serializers.CharField()
    read_id = serializers.CharField(required=False, help_text="the last message that the user has read, if known")
    unread_count = serializers.IntegerField(
        required=False, help_text="unread messages of others, at most 1,000; absent if the service has no read cursors"
    )


class Listing(serializers.Serializer[Any]):
    total = serializers.IntegerField()
    page = serializers.IntegerField()
    page_size = serializers.IntegerField()


class UserGroups(Listing):
    groups = UserGroup(many=True)


class Member(serializers.Serializer[Any]):
    user_id = user_id()
    username = serializers.CharField(help_text="empty if no user service is configured")
    avatar = serializers.CharField()
    group_id = serializers.CharField()
    role = Role()
    joined_at = Time()
    read_id = serializers.CharField(required=False, help_text="the last message that the member has read, if known")


class Members(Listing):
    members = Member(many=True)


class Message(serializers.Serializer[Any]):
    message_id = serializers.CharField()
    group_id = serializers.CharField()
    sender_id = user_id()
    sender_name = serializers.CharField()
    sender_avatar = serializers.CharField()
    msg_type = serializers.IntegerField(help_text="1 text, 2 image")
    content = serializers.CharField()
    image_url = serializers.CharField()
    created_at = Time()
    sender = serializers.CharField(help_text="sender_id as a string")
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
    is_read = serializers.BooleanField()
    created_at = Time()


class Notifications(Listing):
    notifications = Notification(many=True)
    unread_count = serializers.IntegerField()


class UnreadCount(serializers.Serializer[Any]):
    count = serializers.IntegerField()


class Marked(serializers.Serializer[Any]):
    success = serializers.BooleanField()
    updated_count = serializers.IntegerField()


class Status(serializers.Serializer[Any]):
    is_online = serializers.BooleanField()
    last_seen = serializers.IntegerField(help_text="0: never; also for the next two")
    last_online_at = serializers.IntegerField()
    last_offline_at = serializers.IntegerField()


class Stats(serializers.Serializer[Any]):
    online_users = serializers.IntegerField()
    connections = serializers.IntegerField()
    nodes = serializers.IntegerField()


class Problem(serializers.Serializer[Any]):
    code = serializers.IntegerField(help_text="the HTTP status")
    message = serializers.CharField(help_text="text of the error; it begins with the name of an invalid field")
    data = serializers.JSONField(allow_null=True)  # type: ignore[assignment]  # a field's name, not the property
