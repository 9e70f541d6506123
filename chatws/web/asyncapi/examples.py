"""An example of each frame and each event, with the data of `chatws.protocol.examples`. A test executes them all."""

from typing import Any

from chatws.protocol.examples import GROUP, IMAGE, NOTIFICATION, OTHER, TEXT, USER

Json = dict[str, Any]
NOW, EPOCH = 1_700_000_200, "b7Qz0f6sK1E"
FEED, USER_FEED = f"group:{GROUP}", f"user:{USER}"
SAID = {**TEXT, "message_id": "m-3", "content": "See you there.", "created_at": 1_700_000_030}


def _sent(kind: str, data: Json | None = None, message_id: str = "c-7", timestamp: int = NOW) -> Json:
    return {"type": kind, "message_id": message_id, "timestamp": timestamp, "data": data or {}}


def _published(kind: str, data: Json, message_id: str, timestamp: int, feed: str, offset: int) -> Json:
    return {**_sent(kind, data, message_id, timestamp), "feed": feed, "epoch": EPOCH, "offset": offset}


FROM_CLIENT: dict[str, Json] = {
    "ping": _sent("ping"),
    "auth": _sent("auth", {"token": "<jwt>", "resume": {FEED: {"epoch": EPOCH, "offset": 0}}}),
    "send_message": _sent(
        "send_message", {"group_id": GROUP, "msg_type": 1, "content": "你好", "image_url": ""}, "c-1", 1_700_000_000
    ),
    "join_group": _sent("join_group", {"group_id": GROUP}),
    "leave_group": _sent("leave_group", {"group_id": GROUP}),
    "mark_read": _sent("mark_read", {"group_id": GROUP, "message_id": IMAGE["message_id"]}),
    "typing": _sent("typing", {"group_id": GROUP, "typing": True}),
    "presence": _sent("presence", {"group_id": GROUP}),
    "history": _sent("history", {"group_id": GROUP, "before_id": IMAGE["message_id"], "limit": 20}),
}
FROM_SERVER: dict[str, Json] = {
    "pong": _sent("pong"),
    "auth_success": _sent(
        "auth_success",
        {
            "user_id": str(USER), "connection_id": "8d1c1e1ab5a44bb0", "expires_at": 1_700_000_800,
            "heartbeat_seconds": 25, "groups": [GROUP],
            "feeds": [
                {"feed": USER_FEED, "epoch": EPOCH, "offset": 0},
                {"feed": FEED, "epoch": EPOCH, "offset": 0, "recovered": False},
            ],
        },
    ),
    "auth_failed": _sent("auth_failed", {"message": "the token is not valid", "reason": "invalid"}),
    "ack": _sent("ack", {"message_id": TEXT["message_id"], "success": True}, "c-1"),
    "error": _sent("error", {"code": 403, "message": "data.group_id: not a member of g9"}),
    "group_joined": _sent("group_joined", {"group_id": GROUP, "feed": FEED, "epoch": EPOCH, "offset": 1}),
    "group_left": _sent("group_left", {"group_id": GROUP}),
    "feed_reset": _sent("feed_reset", {"feed": FEED, "epoch": EPOCH, "offset": 0, "recovered": False}, ""),
    "message_read": _sent(
        "message_read", {"group_id": GROUP, "user_id": USER, "message_id": IMAGE["message_id"]}, ""
    ),
    "typing": _sent("typing", {"group_id": GROUP, "user_id": OTHER, "typing": True}, ""),
    "presence": _sent(
        "presence",
        {
            "group_id": GROUP,
            "users": [
                {"user_id": USER, "connections": 1, "last_seen": NOW},
                {"user_id": OTHER, "connections": 1, "last_seen": NOW},
            ],
            "total": 2,
            "truncated": False,
        },
    ),
    "history": _sent("history", {"group_id": GROUP, "messages": [{**TEXT, "status": 1}], "has_more": False}),
    "shutdown": _sent("shutdown", {"retry_after": 3}, ""),
    "new_message": _published("new_message", SAID, "m-3", SAID["created_at"], FEED, 1),
    "notification": _published("notification", NOTIFICATION, "notif_n-1", 1_700_000_100, USER_FEED, 1),
    "verify_progress": _published(
        "verify_progress", {"verify_id": 9, "status": 2, "refresh": True}, "verify_9_1700000110", 1_700_000_110,
        USER_FEED, 2,
    ),
    "group_member": _published(
        "group_member", {"group_id": GROUP, "user_id": OTHER, "change": "added"}, "", NOW, FEED, 2
    ),
    "membership": _published("membership", {"group_id": GROUP, "change": "added"}, "", NOW, f"user:{OTHER}", 1),
}  # fmt: skip
EVENTS: dict[str, Json] = {
    "chat.message.new": {name: value for name, value in SAID.items() if name != "sender"},
    "chat.group.member.added": {"group_id": GROUP, "user_id": OTHER},
    "chat.group.member.removed": {"group_id": GROUP, "user_id": OTHER},
    "notification:push": {**NOTIFICATION, "user_id": USER, "timestamp": 1_700_000_100},
    "verify:progress": {
        "user_id": USER, "verify_id": 9, "status": 2, "refresh": True, "timestamp": 1_700_000_110, "operator": "eve",
    },
}  # fmt: skip
