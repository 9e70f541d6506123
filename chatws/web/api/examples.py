"""The examples of the OpenAPI document, by their view's summary. A test executes each with the example data."""

from dataclasses import dataclass, field
from typing import Any

from chatws.protocol.examples import GROUP, IMAGE, NOTIFICATION, OTHER, TEXT, USER

Values = dict[str, Any]


@dataclass(frozen=True)
class Example:
    """A request and its answer's data."""

    answer: Values
    path: Values = field(default_factory=dict)
    query: Values = field(default_factory=dict)
    body: Values = field(default_factory=dict)


_INFO = {
    "group_id": GROUP, "activity_id": 7, "name": "Lunch", "owner_id": USER, "status": 1, "max_members": 500,
    "member_count": 2, "created_at": "1700000000",
}  # fmt: skip
_USER_GROUP = {
    **_INFO, "role": "owner", "joined_at": "1700000000", "last_message": IMAGE["image_url"],
    "last_message_at": str(IMAGE["created_at"]), "cover_url": "", "last_sender_name": "", "read_id": TEXT["message_id"],
    "unread_count": 1,
}  # fmt: skip
_STORED = [{**one, "created_at": str(one["created_at"]), "status": 1} for one in (IMAGE, TEXT)]
_NOTIFICATION = {**NOTIFICATION, "user_id": USER, "is_read": False, "created_at": "1700000100"}

EXAMPLES = {
    "Users, connections and gateways of the whole cluster": Example({"online_users": 1, "connections": 1, "nodes": 1}),
    "Whether a user is online, and since when": Example(
        {"is_online": False, "last_seen": 0, "last_online_at": 0, "last_offline_at": 0}, query={"user_id": OTHER}
    ),
    "A chat group": Example(_INFO, path={"group_id": GROUP}),
    "The members of a chat group": Example(
        {
            "members": [
                {
                    "user_id": USER, "username": "", "avatar": "", "group_id": GROUP, "role": "owner",
                    "joined_at": "1700000000", "read_id": TEXT["message_id"],
                },
                {
                    "user_id": OTHER, "username": "", "avatar": "", "group_id": GROUP, "role": "member",
                    "joined_at": "1700000000", "read_id": "",
                },
            ],
            "total": 2, "page": 1, "page_size": 20,
        },
        path={"group_id": GROUP},
        query={"page": 1, "page_size": 20},
    ),
    "The chat groups of a user": Example(
        {"groups": [_USER_GROUP], "total": 1, "page": 1, "page_size": 20},
        path={"user_id": USER}, query={"page": 1, "page_size": 20},
    ),
    "Messages of a chat group, newest first": Example(
        {"messages": _STORED[1:], "has_more": False},
        query={"group_id": GROUP, "before_id": IMAGE["message_id"], "limit": 20},
    ),
    "Messages of a user's chat groups after a time": Example(
        {"messages": _STORED[:1]}, query={"user_id": USER, "after_time": TEXT["created_at"]}
    ),
    "A user's notifications, newest first": Example(
        {"notifications": [_NOTIFICATION], "total": 1, "page": 1, "page_size": 20, "unread_count": 1},
        query={"user_id": USER, "page": 1, "page_size": 20},
    ),
    "How many notifications are unread": Example({"count": 1}, query={"user_id": USER}),
    "Mark notifications as read": Example(
        {"success": True, "updated_count": 1},
        body={"user_id": USER, "notification_ids": [NOTIFICATION["notification_id"]]},
    ),
    "Mark all notifications as read": Example({"success": True, "updated_count": 1}, body={"user_id": USER}),
}  # fmt: skip
