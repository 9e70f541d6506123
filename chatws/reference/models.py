"""The reference chat service's tables. Times are Unix seconds."""

from django.db import models

from realtime.fields import UserIdField


class ChatGroup(models.Model):
    """A chat group. Every change locks its row, so that the keys of its events are in commit order."""

    NORMAL, DISBANDED = 1, 2

    group_id = models.CharField(max_length=64, primary_key=True)
    activity_id = UserIdField(default=0, db_index=True)
    name = models.CharField(max_length=200)
    owner_id = UserIdField()
    status = models.SmallIntegerField(default=NORMAL)
    max_members = models.IntegerField(default=500)
    cover_url = models.CharField(max_length=2048, blank=True)
    created_at = models.BigIntegerField()

    class Meta:
        verbose_name = "chat group"

    def __str__(self) -> str:
        return self.name


class Member(models.Model):
    """The membership of a user in a chat group."""

    MEMBER, OWNER = 1, 2

    group = models.ForeignKey(ChatGroup, on_delete=models.CASCADE, related_name="members")
    user_id = UserIdField(db_index=True)
    role = models.SmallIntegerField(default=MEMBER)
    joined_at = models.BigIntegerField()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["group", "user_id"], name="member_once")]

    def __str__(self) -> str:
        return f"{self.user_id} in {self.group_id}"


class Message(models.Model):
    """A stored message; within a chat group the order of keys is the order of commits."""

    TEXT, IMAGE = 1, 2
    NORMAL, RECALLED = 1, 2

    message_id = models.CharField(max_length=64, unique=True)
    group = models.ForeignKey(ChatGroup, on_delete=models.CASCADE, related_name="messages")
    sender_id = UserIdField()
    msg_type = models.SmallIntegerField()
    content = models.TextField(blank=True)
    image_url = models.CharField(max_length=2048, blank=True)
    status = models.SmallIntegerField(default=NORMAL)
    created_at = models.BigIntegerField()

    class Meta:
        indexes = [models.Index(fields=["group", "-id"], name="message_history")]

    def __str__(self) -> str:
        return self.message_id


class ReadCursor(models.Model):
    """The last message of a chat group that a user has read."""

    group = models.ForeignKey(ChatGroup, on_delete=models.CASCADE, related_name="+")
    user_id = UserIdField()
    message = models.ForeignKey(Message, on_delete=models.CASCADE, related_name="+")
    read_at = models.BigIntegerField()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["group", "user_id"], name="cursor_once")]

    def __str__(self) -> str:
        return f"{self.user_id} in {self.group_id}"


class Notification(models.Model):
    """A notification of one user."""

    notification_id = models.CharField(max_length=64, unique=True)
    user_id = UserIdField()
    type = models.CharField(max_length=64)
    title = models.CharField(max_length=200)
    content = models.TextField(blank=True)
    is_read = models.BooleanField(default=False)
    created_at = models.BigIntegerField()

    class Meta:
        indexes = [models.Index(fields=["user_id", "is_read"], name="notification_unread")]

    def __str__(self) -> str:
        return self.title


class OutboxEvent(models.Model):
    """An event that was committed with its change and is not in its stream yet."""

    uuid = models.UUIDField()
    topic = models.CharField(max_length=100)
    payload = models.TextField()
    metadata = models.TextField(blank=True, default="", db_default="")
    """The stream entry's metadata, a JSON object; empty for none."""

    class Meta:
        verbose_name = "event to publish"
        verbose_name_plural = "events to publish"

    def __str__(self) -> str:
        return f"{self.topic} {self.uuid}"
