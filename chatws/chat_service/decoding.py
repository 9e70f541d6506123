"""Turn messages of the gRPC contract into the values of `chatws.chat_service.port`."""

from chatws.chat_service.pb import chat_pb2 as pb
from chatws.chat_service.pb import ext_pb2 as ext
from chatws.chat_service.port import Group, GroupInfo, GroupMember, Message, Notification, ReadCursor


def group_info(message: pb.GroupInfo) -> GroupInfo:
    """Return a chat group."""
    return GroupInfo(
        group_id=message.group_id, activity_id=message.activity_id, name=message.name, owner_id=message.owner_id,
        status=message.status, max_members=message.max_members, member_count=message.member_count,
        created_at=message.created_at,
    )  # fmt: skip


def group(message: pb.UserGroupInfo) -> Group:
    """Return a chat group of a user."""
    return Group(
        group_id=message.group_id, activity_id=message.activity_id, name=message.name, owner_id=message.owner_id,
        status=message.status, max_members=message.max_members, member_count=message.member_count,
        created_at=message.created_at, role=message.role, joined_at=message.joined_at,
        last_message=message.last_message, last_message_at=message.last_message_at, cover_url=message.cover_url,
        last_sender_name=message.last_sender_name,
    )  # fmt: skip


def group_member(message: pb.GroupMember) -> GroupMember:
    """Return a member of a chat group."""
    return GroupMember(
        user_id=message.user_id, group_id=message.group_id, role=message.role, joined_at=message.joined_at
    )


def stored_message(message: pb.Message) -> Message:
    """Return a stored message."""
    return Message(
        message_id=message.message_id, group_id=message.group_id, sender_id=message.sender_id,
        sender_name=message.sender_name, msg_type=message.msg_type, content=message.content,
        image_url=message.image_url, status=message.status, created_at=message.created_at,
    )  # fmt: skip


def notification(message: pb.Notification) -> Notification:
    """Return a notification of a user."""
    return Notification(
        notification_id=message.notification_id, user_id=message.user_id, type=message.type, title=message.title,
        content=message.content, is_read=message.is_read, created_at=message.created_at,
    )  # fmt: skip


def read_cursor(message: ext.ReadCursor) -> ReadCursor:
    """Return a user's read cursor in a chat group."""
    return ReadCursor(
        group_id=message.group_id, user_id=message.user_id, message_id=message.message_id, read_at=message.read_at,
        unread_count=message.unread_count,
    )  # fmt: skip
