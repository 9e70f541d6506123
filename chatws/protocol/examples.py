"""The data of the documents' examples: two users, a chat group, two messages, a notification."""

from typing import Any

USER, OTHER, GROUP = 42, 43, "g1"

TEXT: dict[str, Any] = {
    "message_id": "0cc8e0e0-26fb-56a3-bdce-2d93fc942a2f", "group_id": GROUP, "sender_id": USER, "sender_name": "",
    "sender_avatar": "", "msg_type": 1, "content": "你好", "image_url": "", "created_at": 1_700_000_010,
    "sender": str(USER),
}  # fmt: skip
IMAGE: dict[str, Any] = {
    **TEXT, "message_id": "m-2", "sender_id": OTHER, "sender": str(OTHER), "msg_type": 2, "content": "",
    "image_url": "https://pictures.example/1.png", "created_at": 1_700_000_020,
}  # fmt: skip
NOTIFICATION: dict[str, Any] = {
    "notification_id": "n-1", "type": "activity", "title": "Lunch is on", "content": "12:15 at the door",
}  # fmt: skip
