"""Put the users, groups and messages of the documents' examples (`chatws.protocol.examples`) into a database."""

import sqlite3

from chatws.protocol.examples import GROUP, IMAGE, NOTIFICATION, OTHER, TEXT, USER
from tests.support.stack import Stack

MADE, NOTIFIED = 1_700_000_000, 1_700_000_100


def make_world(stack: Stack) -> None:
    """Add the examples' data to the stack's database, which must exist."""
    with sqlite3.connect(stack.folder / "db.sqlite3", timeout=20) as database:
        database.execute(
            "INSERT INTO reference_chatgroup (group_id, activity_id, name, owner_id, status, max_members, cover_url,"
            " created_at) VALUES (?, 7, 'Lunch', ?, 1, 500, '', ?)",
            (GROUP, USER, MADE),
        )
        for user_id, role in ((USER, 2), (OTHER, 1)):
            database.execute(
                "INSERT INTO reference_member (group_id, user_id, role, joined_at) VALUES (?, ?, ?, ?)",
                (GROUP, user_id, role, MADE),
            )
        for message in (TEXT, IMAGE):
            database.execute(
                "INSERT INTO reference_message (message_id, group_id, sender_id, msg_type, content, image_url, status,"
                " created_at) VALUES (?, ?, ?, ?, ?, ?, 1, ?)",
                tuple(
                    message[name]
                    for name in (
                        "message_id", "group_id", "sender_id", "msg_type", "content", "image_url", "created_at"
                    )
                ),
            )  # fmt: skip
        database.execute(
            "INSERT INTO reference_readcursor (group_id, user_id, message_id, read_at)"
            " SELECT group_id, ?, id, created_at FROM reference_message WHERE message_id = ?",
            (USER, TEXT["message_id"]),
        )
        database.execute(
            "INSERT INTO reference_notification (notification_id, user_id, type, title, content, is_read, created_at)"
            " VALUES (?, ?, ?, ?, ?, 0, ?)",
            (
                NOTIFICATION["notification_id"], USER, NOTIFICATION["type"], NOTIFICATION["title"],
                NOTIFICATION["content"], NOTIFIED,
            ),
        )  # fmt: skip


def unread_notification(stack: Stack) -> None:
    """Mark its notification unread again."""
    with sqlite3.connect(stack.folder / "db.sqlite3", timeout=20) as database:
        database.execute("UPDATE reference_notification SET is_read = 0")
