"""Run a twin of the Go platform: a chat service and a user service that answer as the recorded ones do.

`python -m tests.support.twin --port … --user-port … --database … --redis …` runs both. Every failure of the chat
service has the same status. A total counts disbanded groups. A message that is stored already is an error; nothing else
of a message is checked. Only activity events make it publish. `Twin.tell` injects failures.
"""

import argparse
import asyncio
import json
import os
import signal
import sqlite3
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Mapping
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import grpc
import redis.asyncio
from redis.exceptions import RedisError

from chatws.chat_service.pb import chat_pb2 as pb
from chatws.chat_service.pb import user_pb2
from realtime.aio import tasks
from realtime.relay.watermill import encode

FAILURE = "内部服务器错误"
NORMAL, DISBANDED = 1, 2
MEMBER, OWNER = 1, 2
LONGEST_ID, LONGEST_URL, MAX_BYTES = 64, 512, 65_535
CONTROL = "/twin.Control/Tell"
EVENTS = ("activity.created", "activity.member.joined", "activity.member.left", "activity.cancelled")
TABLES = """
CREATE TABLE IF NOT EXISTS chat_group (
    id INTEGER PRIMARY KEY, group_id TEXT UNIQUE, activity_id INTEGER UNIQUE, name TEXT, owner_id TEXT, status INTEGER,
    max_members INTEGER, cover_url TEXT, created_at INTEGER);
CREATE TABLE IF NOT EXISTS member (
    id INTEGER PRIMARY KEY, group_id TEXT, user_id TEXT, role INTEGER, is_in INTEGER, joined_at INTEGER,
    UNIQUE (group_id, user_id));
CREATE TABLE IF NOT EXISTS message (
    id INTEGER PRIMARY KEY, message_id TEXT UNIQUE, group_id TEXT, sender_id TEXT, msg_type INTEGER, content TEXT,
    image_url TEXT, created_at INTEGER);
CREATE INDEX IF NOT EXISTS message_group ON message (group_id, created_at);
CREATE TABLE IF NOT EXISTS notification (
    id INTEGER PRIMARY KEY, notification_id TEXT UNIQUE, user_id TEXT, type TEXT, title TEXT, content TEXT,
    is_read INTEGER, created_at INTEGER);
CREATE TABLE IF NOT EXISTS person (user_id TEXT PRIMARY KEY, name TEXT, avatar TEXT);
CREATE TABLE IF NOT EXISTS position (topic TEXT PRIMARY KEY, entry_id TEXT);
"""


class Failure(Exception):
    """The chat service's error for every failure."""


class Store:
    """The chat service's database. A method raises `Failure` where the real service answers with an error."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._here = threading.local()
        self._opened: list[sqlite3.Connection] = []
        self._database.execute("PRAGMA journal_mode = WAL")
        self._database.executescript(TABLES)
        self.now: int | None = None
        """The twin's time, if it was set."""

    @property
    def _database(self) -> sqlite3.Connection:
        """Return this thread's own connection: threads that share one share its statements and mix up values."""
        if not hasattr(self._here, "database"):
            self._here.database = sqlite3.connect(self._path, 30, isolation_level=None, check_same_thread=False)
            self._here.database.create_function("this_second", 0, self._time)  # read once no other thread writes
            self._opened.append(self._here.database)
        database: sqlite3.Connection = self._here.database
        return database

    def close(self) -> None:
        for database in self._opened:
            database.close()

    def create_group(self, request: pb.CreateGroupReq) -> pb.CreateGroupResp:
        _require(request.activity_id, request.name, request.owner_id)
        group_id = str(uuid.uuid4())
        values = (
            group_id,
            request.activity_id,
            request.name,
            str(request.owner_id),
            NORMAL,
            request.max_members or 500,
        )
        self._write(
            "INSERT INTO chat_group (group_id, activity_id, name, owner_id, status, max_members, cover_url, created_at)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            *values, request.cover_url, self._time(),
        )  # fmt: skip
        self._join(group_id, request.owner_id, OWNER)
        return pb.CreateGroupResp(group_id=group_id)

    def add_member(self, request: pb.AddGroupMemberReq) -> pb.AddGroupMemberResp:
        _require(request.group_id, request.user_id)
        group = self._group("group_id", request.group_id)
        if group.member_count >= group.max_members or self._member(request.group_id, request.user_id):
            raise Failure
        self._join(request.group_id, request.user_id, request.role if request.role > 0 else MEMBER)
        return pb.AddGroupMemberResp(success=True)

    def remove_member(self, request: pb.RemoveGroupMemberReq) -> pb.RemoveGroupMemberResp:
        _require(request.group_id, request.user_id)
        self._group("group_id", request.group_id)
        member = self._member(request.group_id, request.user_id)
        if member is None or member[0] == OWNER:
            raise Failure
        self._write(
            "UPDATE member SET is_in = 0 WHERE group_id = ? AND user_id = ?", request.group_id, str(request.user_id)
        )
        return pb.RemoveGroupMemberResp(success=True)

    def disband(self, request: pb.DisbandGroupReq) -> pb.DisbandGroupResp:
        _require(request.group_id, request.operator_id)
        if self._group("group_id", request.group_id).owner_id != request.operator_id:
            raise Failure
        self._write("UPDATE chat_group SET status = ? WHERE group_id = ?", DISBANDED, request.group_id)
        return pb.DisbandGroupResp(success=True)

    def group_info(self, request: pb.GetGroupInfoReq) -> pb.GetGroupInfoResp:
        _require(request.group_id)
        return pb.GetGroupInfoResp(group=self._group("group_id", request.group_id))

    def group_of_activity(self, request: pb.GetGroupByActivityIdReq) -> pb.GetGroupByActivityIdResp:
        _require(request.activity_id)
        return pb.GetGroupByActivityIdResp(group=self._group("activity_id", request.activity_id))

    def group_members(self, request: pb.GetGroupMembersReq) -> pb.GetGroupMembersResp:
        _require(request.group_id)
        rows = self._read(
            "SELECT user_id, role, joined_at FROM member WHERE group_id = ? AND is_in ORDER BY id", request.group_id
        )
        members = [
            pb.GroupMember(user_id=int(user_id), group_id=request.group_id, role=role, joined_at=at)
            for user_id, role, at in rows
        ]
        return pb.GetGroupMembersResp(members=_page(members, request), total=len(members))

    def user_groups(self, request: pb.GetUserGroupsReq) -> pb.GetUserGroupsResp:
        """Return a user's groups; the total also counts disbanded groups, which are not listed."""
        _require(request.user_id)
        rows = self._read(
            "SELECT group_id, role, joined_at FROM member WHERE user_id = ? AND is_in ORDER BY id", str(request.user_id)
        )
        groups = []
        for group_id, role, joined_at in rows:
            try:
                group = self._group("group_id", group_id)
            except Failure:
                continue
            [(cover,)] = self._read("SELECT cover_url FROM chat_group WHERE group_id = ?", group_id)
            last = self._history(group_id, "", 1)
            info = pb.UserGroupInfo(role=role, joined_at=joined_at, cover_url=cover)
            for name in group.DESCRIPTOR.fields_by_name:
                setattr(info, name, getattr(group, name))
            if last:
                info.last_message, info.last_message_at = last[0].content, last[0].created_at
                info.last_sender_name = self.people([last[0].sender_id]).get(last[0].sender_id, ("", ""))[0]
            groups.append(info)
        groups.sort(key=lambda info: -max(info.last_message_at, info.joined_at))
        return pb.GetUserGroupsResp(groups=_page(groups, request), total=len(rows))

    def save_message(self, request: pb.SaveMessageReq) -> pb.SaveMessageResp:
        """Store a message; only the lengths of its columns are checked."""
        too_long = len(request.message_id) > LONGEST_ID or len(request.group_id) > LONGEST_ID
        if too_long or len(request.image_url) > LONGEST_URL or len(request.content.encode()) > MAX_BYTES:
            raise Failure
        self._write(
            "INSERT INTO message (message_id, group_id, sender_id, msg_type, content, image_url, created_at)"
            " VALUES (?, ?, ?, ?, ?, ?, this_second())",
            request.message_id, request.group_id, str(request.sender_id), request.msg_type, request.content,
            request.image_url,
        )  # fmt: skip
        return pb.SaveMessageResp(success=True, message_id=request.message_id)

    def history(self, request: pb.GetMessageHistoryReq) -> pb.GetMessageHistoryResp:
        _require(request.group_id)
        limit = _size(request.limit)
        found = self._history(request.group_id, request.before_id, limit)
        return pb.GetMessageHistoryResp(messages=self._named(found), has_more=len(found) >= limit)

    def offline(self, request: pb.GetOfflineMessagesReq) -> pb.GetOfflineMessagesResp:
        _require(request.user_id, max(request.after_time, 0))
        rows = self._read(
            "SELECT message_id, message.group_id, sender_id, msg_type, content, image_url, created_at FROM message"
            " JOIN member ON member.group_id = message.group_id WHERE member.user_id = ? AND is_in AND created_at > ?"
            " ORDER BY created_at, message.id",
            str(request.user_id), request.after_time,
        )  # fmt: skip
        return pb.GetOfflineMessagesResp(messages=self._named([_message(row) for row in rows]))

    def notify(self, request: pb.CreateNotificationReq) -> pb.CreateNotificationResp:
        _require(request.user_id, request.type, request.title)
        notification_id = str(uuid.uuid4())
        self._write(
            "INSERT INTO notification (notification_id, user_id, type, title, content, is_read, created_at)"
            " VALUES (?, ?, ?, ?, ?, 0, ?)",
            notification_id, str(request.user_id), request.type, request.title, request.content, self._time(),
        )  # fmt: skip
        return pb.CreateNotificationResp(notification_id=notification_id)

    def notifications(self, request: pb.GetNotificationsReq) -> pb.GetNotificationsResp:
        """Return notifications. ``is_read``: 0 or -1 for all, as recorded; 1 for the read ones."""
        _require(request.user_id)
        rows = self._read(
            "SELECT notification_id, type, title, content, is_read, created_at FROM notification WHERE user_id = ?"
            " ORDER BY created_at DESC, id DESC",
            str(request.user_id),
        )
        found = [
            pb.Notification(
                notification_id=notification_id, user_id=request.user_id, type=kind, title=title, content=content,
                is_read=is_read, created_at=created_at,
            )
            for notification_id, kind, title, content, is_read, created_at in rows
            if request.is_read <= 0 or is_read == request.is_read
        ]  # fmt: skip
        unread = sum(not row[4] for row in rows)
        return pb.GetNotificationsResp(notifications=_page(found, request), total=len(found), unread_count=unread)

    def unread(self, request: pb.GetUnreadCountReq) -> pb.GetUnreadCountResp:
        _require(request.user_id)
        [(count,)] = self._read(
            "SELECT count(*) FROM notification WHERE user_id = ? AND NOT is_read", str(request.user_id)
        )
        return pb.GetUnreadCountResp(unread_count=count)

    def mark_read(self, request: pb.MarkNotificationReadReq) -> pb.MarkNotificationReadResp:
        _require(request.user_id, len(request.notification_ids))
        count = sum(
            self._write(
                "UPDATE notification SET is_read = 1 WHERE user_id = ? AND notification_id = ? AND NOT is_read",
                str(request.user_id), notification_id,
            )
            for notification_id in request.notification_ids
        )  # fmt: skip
        return pb.MarkNotificationReadResp(success=True, updated_count=count)

    def mark_all(self, request: pb.MarkAllReadReq) -> pb.MarkAllReadResp:
        _require(request.user_id)
        count = self._write(
            "UPDATE notification SET is_read = 1 WHERE user_id = ? AND NOT is_read", str(request.user_id)
        )
        return pb.MarkAllReadResp(success=True, affected_count=count)

    def people(self, user_ids: Iterable[int]) -> dict[int, tuple[str, str]]:
        """Return name and avatar of the users that the user service knows."""
        found = {}
        for user_id in user_ids:
            for name, avatar in self._read("SELECT name, avatar FROM person WHERE user_id = ?", str(user_id)):
                found[user_id] = (name, avatar)
        return found

    def meet(self, user_id: int, name: str, avatar: str) -> None:
        """Make a user known to the user service."""
        self._write("INSERT OR REPLACE INTO person VALUES (?, ?, ?)", str(user_id), name, avatar)

    def position(self, topic: str) -> str:
        """Return the last entry of a topic whose event was processed."""
        rows = self._read("SELECT entry_id FROM position WHERE topic = ?", topic)
        return rows[0][0] if rows else "0-0"

    def move_to(self, topic: str, entry_id: str) -> None:
        self._write("INSERT OR REPLACE INTO position VALUES (?, ?)", topic, entry_id)

    def _time(self) -> int:
        return int(time.time()) if self.now is None else self.now

    def _read(self, statement: str, *values: object) -> list[tuple[Any, ...]]:
        try:
            return self._database.execute(statement, values).fetchall()
        except sqlite3.Error as error:
            raise Failure from error

    def _write(self, statement: str, *values: object) -> int:
        try:
            return self._database.execute(statement, values).rowcount
        except (sqlite3.Error, OverflowError) as error:
            raise Failure from error

    def _group(self, column: str, value: object) -> pb.GroupInfo:
        rows = self._read(
            "SELECT group_id, activity_id, name, owner_id, status, max_members, created_at FROM chat_group"
            f" WHERE {column} = ? AND status = ?",  # one of two possible names
            value, NORMAL,
        )  # fmt: skip
        if not rows:
            raise Failure
        group_id, activity_id, name, owner_id, status, most, created_at = rows[0]
        [(count,)] = self._read("SELECT count(*) FROM member WHERE group_id = ? AND is_in", group_id)
        return pb.GroupInfo(
            group_id=group_id, activity_id=activity_id, name=name, owner_id=int(owner_id), status=status,
            max_members=most, member_count=count, created_at=created_at,
        )  # fmt: skip

    def _member(self, group_id: str, user_id: int) -> tuple[Any, ...] | None:
        rows = self._read(
            "SELECT role FROM member WHERE group_id = ? AND user_id = ? AND is_in", group_id, str(user_id)
        )
        return rows[0] if rows else None

    def _join(self, group_id: str, user_id: int, role: int) -> None:
        """Add a member; a former member still has a row, so that fails."""
        self._write(
            "INSERT INTO member (group_id, user_id, role, is_in, joined_at) VALUES (?, ?, ?, 1, ?)",
            group_id, str(user_id), role, self._time(),
        )  # fmt: skip

    def _history(self, group_id: str, before_id: str, limit: int) -> list[pb.Message]:
        """Return the history by whole seconds. Those of one second are newest first, or oldest first if all fit."""
        before = self._read("SELECT created_at FROM message WHERE message_id = ?", before_id) if before_id else []
        rows = self._read(
            "SELECT message_id, group_id, sender_id, msg_type, content, image_url, created_at FROM message"
            " WHERE group_id = ? AND created_at < ? ORDER BY created_at DESC, id DESC LIMIT ?",
            group_id, before[0][0] if before else 2**62, limit + 1,
        )  # fmt: skip
        if len(rows) <= limit:
            rows.reverse()
            rows.sort(key=lambda row: -row[6])
        return [_message(row) for row in rows[:limit]]

    def _named(self, messages: list[pb.Message]) -> list[pb.Message]:
        known = self.people({message.sender_id for message in messages})
        for message in messages:
            message.sender_name = known.get(message.sender_id, (str(message.sender_id), ""))[0]
        return messages


METHODS: dict[str, tuple[type[Any], Callable[[Store, Any], Any]]] = {
    "CreateGroup": (pb.CreateGroupReq, Store.create_group),
    "AddGroupMember": (pb.AddGroupMemberReq, Store.add_member),
    "RemoveGroupMember": (pb.RemoveGroupMemberReq, Store.remove_member),
    "DisbandGroup": (pb.DisbandGroupReq, Store.disband),
    "GetGroupInfo": (pb.GetGroupInfoReq, Store.group_info),
    "GetGroupByActivityId": (pb.GetGroupByActivityIdReq, Store.group_of_activity),
    "GetGroupMembers": (pb.GetGroupMembersReq, Store.group_members),
    "GetUserGroups": (pb.GetUserGroupsReq, Store.user_groups),
    "SaveMessage": (pb.SaveMessageReq, Store.save_message),
    "GetMessageHistory": (pb.GetMessageHistoryReq, Store.history),
    "GetOfflineMessages": (pb.GetOfflineMessagesReq, Store.offline),
    "CreateNotification": (pb.CreateNotificationReq, Store.notify),
    "GetNotifications": (pb.GetNotificationsReq, Store.notifications),
    "GetUnreadCount": (pb.GetUnreadCountReq, Store.unread),
    "MarkNotificationRead": (pb.MarkNotificationReadReq, Store.mark_read),
    "MarkAllRead": (pb.MarkAllReadReq, Store.mark_all),
}


class Platform(grpc.GenericRpcHandler):
    """Serve the chat service, the user service and the tests' instructions."""

    def __init__(self, store: Store, events: "redis.asyncio.Redis") -> None:
        self._store = store
        self._events: Any = events
        self._saves = ""
        """The failure of each SaveMessage: `hang before` or `refuse` before storing, then `fail`, `hang`, `drop`."""
        self._users = ""
        """The failure of the user service: `slow` or `away`."""
        self._calls = ""
        """`overloaded`: it rejects all calls, as go-zero services do when the processor is busy."""

    def service(self, details: grpc.HandlerCallDetails) -> Any:
        service, _, method = details.method.strip("/").rpartition("/")
        if details.method == CONTROL:
            return grpc.unary_unary_rpc_method_handler(self._told)
        if service == "user.UserBasicService" and method == "GetGroupUser":
            return grpc.unary_unary_rpc_method_handler(
                self._people, user_pb2.GetGroupUserReq.FromString, user_pb2.GetGroupUserResponse.SerializeToString
            )
        if service != "chat.ChatService" or method not in METHODS:
            return None
        kind, call = METHODS[method]

        async def serve(request: Any, context: Any) -> Any:
            if self._calls == "overloaded":
                await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "service overloaded")
            try:
                if method == "SaveMessage" and self._saves == "hang before":
                    await asyncio.Event().wait()
                if method == "SaveMessage" and self._saves == "refuse":
                    raise Failure
                answer = await asyncio.to_thread(call, self._store, request)
            except Failure:
                await context.abort(grpc.StatusCode.UNKNOWN, FAILURE)
            if method == "SaveMessage" and self._saves:
                await self._disturb(context)
            if method == "CreateNotification":
                await self._push(request, answer.notification_id)
            return answer

        return grpc.unary_unary_rpc_method_handler(serve, kind.FromString, lambda answer: answer.SerializeToString())

    async def _disturb(self, context: Any) -> None:
        if self._saves == "hang":
            await asyncio.Event().wait()
        if self._saves == "drop":
            os.kill(os.getpid(), signal.SIGKILL)
        await context.abort(grpc.StatusCode.UNKNOWN, FAILURE)

    async def _people(self, request: user_pb2.GetGroupUserReq, context: Any) -> Any:
        if self._users == "slow":
            await asyncio.Event().wait()
        if self._users == "away":
            await context.abort(grpc.StatusCode.UNAVAILABLE, "away")
        known = self._store.people(request.ids)
        users = [
            user_pb2.GroupUserInfo(id=user_id, nickname=name, avatar_url=avatar)
            for user_id, (name, avatar) in known.items()
        ]
        return user_pb2.GetGroupUserResponse(users=users)

    async def _told(self, request: bytes, context: object) -> bytes:
        told = json.loads(request)
        self._saves = told.get("saves", self._saves)
        self._users = told.get("users", self._users)
        self._calls = told.get("calls", self._calls)
        self._store.now = told.get("now", self._store.now)
        for user_id, name, avatar in told.get("people", []):
            self._store.meet(user_id, name, avatar)
        return b"{}"

    async def _push(self, request: pb.CreateNotificationReq, notification_id: str) -> None:
        event = {
            "user_id": request.user_id, "notification_id": notification_id, "type": request.type,
            "title": request.title, "content": request.content, "timestamp": int(time.time()),
        }  # fmt: skip
        await self._publish("notification:push", event)

    async def _publish(self, topic: str, event: Mapping[str, object]) -> None:
        payload = json.dumps(event, ensure_ascii=False).encode()
        with suppress(RedisError, OSError):  # the real service only logs a message that cannot be published
            await self._events.xadd(topic, encode(payload, {"topic": topic}))

    async def follow_events(self) -> None:
        """Process the activity events in order; skip one that fails, as the real service finally does."""
        while True:
            try:
                positions = {topic: self._store.position(topic) for topic in EVENTS}
                for topic, entries in await self._events.xread(positions, count=10, block=500):
                    for entry_id, fields in entries:
                        await self._serve_event(topic.decode(), json.loads(fields[b"payload"]))
                        self._store.move_to(topic.decode(), entry_id.decode())
            except (RedisError, OSError):
                await asyncio.sleep(0.1)

    async def _serve_event(self, topic: str, event: Mapping[str, Any]) -> None:
        store, activity = self._store, event["activity_id"]
        try:
            if topic == "activity.created":
                create = pb.CreateGroupReq(activity_id=activity, name=event["title"], owner_id=event["creator_id"])
                store.create_group(create)
                await self._notify(event["creator_id"], "group_created")
                return
            group = store.group_of_activity(pb.GetGroupByActivityIdReq(activity_id=activity)).group
            place = {"group_id": group.group_id, "user_id": event.get("user_id", 0)}
            if topic == "activity.member.joined":
                store.add_member(pb.AddGroupMemberReq(**place))
                await self._publish("chat.group.member.added", place)
                await self._notify(event["user_id"], "group_joined")
            elif topic == "activity.member.left":
                store.remove_member(pb.RemoveGroupMemberReq(**place))
                await self._publish("chat.group.member.removed", place)
                await self._notify(event["user_id"], "group_left")
            else:
                members = store.group_members(pb.GetGroupMembersReq(group_id=group.group_id, page_size=100)).members
                store.disband(pb.DisbandGroupReq(group_id=group.group_id, operator_id=event["cancelled_by"]))
                for member in members:
                    await self._notify(member.user_id, "activity_cancelled")
        except Failure:
            return

    async def _notify(self, user_id: int, kind: str) -> None:
        request = pb.CreateNotificationReq(user_id=user_id, type=kind, title=kind, content=kind)
        await self._push(request, self._store.notify(request).notification_id)


def _require(*values: object) -> None:
    if not all(values):
        raise Failure


def _size(asked: int) -> int:
    return min(asked, 100) if asked > 0 else 20


def _page(items: list[Any], request: Any) -> list[Any]:
    size = _size(request.page_size)
    start = (max(request.page, 1) - 1) * size
    return items[start : start + size]


def _message(row: tuple[Any, ...]) -> pb.Message:
    message_id, group_id, sender_id, msg_type, content, image_url, created_at = row
    return pb.Message(
        message_id=message_id, group_id=group_id, sender_id=int(sender_id), msg_type=msg_type, content=content,
        image_url=image_url, status=NORMAL, created_at=created_at,
    )  # fmt: skip


async def serve(port: int, user_port: int, database: Path, redis_url: str) -> None:
    """Serve until SIGTERM."""
    with closing(Store(database)) as store:
        events = redis.asyncio.Redis.from_url(redis_url)
        platform = Platform(store, events)
        servers = []
        for listen in (port, user_port):
            server = grpc.aio.server()
            server.add_generic_rpc_handlers([platform])
            server.add_insecure_port(f"127.0.0.1:{listen}")
            await server.start()
            servers.append(server)
        following = asyncio.create_task(platform.follow_events())
        stopping = asyncio.Event()
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopping.set)
        await stopping.wait()
        await tasks.end([following])  # one cancellation may be lost: redis-py turns it into a time-out
        for server in servers:
            await server.stop(0.5)
        await events.aclose()


class Twin:
    """The tests' side of the twin."""

    def __init__(self, target: str) -> None:
        self._channel = grpc.aio.insecure_channel(target)

    async def tell(self, **what: object) -> None:
        """Inject failures. ``saves``, ``users``: the failure from now on, empty for none; ``people``: a list of
        ``[id, name, avatar]``; ``now``: the twin's time."""
        call: Any = self._channel.unary_unary(CONTROL)
        await call(json.dumps(what).encode(), wait_for_ready=True)

    async def close(self) -> None:
        await self._channel.close()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.support.twin", description=__doc__)
    parser.add_argument("--port", type=int, required=True, help="of the chat service")
    parser.add_argument("--user-port", type=int, required=True, help="of the user service")
    parser.add_argument("--database", type=Path, required=True, help="file that keeps what is stored")
    parser.add_argument("--redis", required=True, help="URL of the Redis with the topics")
    given = parser.parse_args()
    asyncio.run(serve(given.port, given.user_port, given.database, given.redis))


if __name__ == "__main__":
    main()
