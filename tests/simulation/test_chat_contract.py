"""The simulated chat service answers each call as the reference does, and in platform mode as the recorded one did."""

import json
from typing import Any

import grpc
import pytest
from google.protobuf.json_format import MessageToDict

from tests.simulation.chat_service.rules import REQUESTS
from tests.simulation.chat_service.service import ChatService, Refusal
from tests.simulation.network import Network
from tests.simulation.scheduler import START, Scheduler
from tests.support.chat import Chat, new_user
from tests.support.test_twin import LONG, PEOPLE, RECORDED, times_of

CALLS: list[tuple[str, dict[str, Any], str]] = [
    ("CreateGroup", {"name": "", "owner_id": "a"}, ""),
    ("CreateGroup", {"name": "Chess"}, ""),
    ("CreateGroup", {"name": "Chess", "owner_id": "a", "activity_id": "act", "cover_url": "https://c.example/"}, "g1"),
    ("CreateGroup", {"name": "Small", "owner_id": "b", "max_members": 2}, "g2"),
    ("CreateGroup", {"name": "Gone", "owner_id": "a"}, "g3"),
    ("GetGroupInfo", {"group_id": "g1"}, ""),
    ("GetGroupInfo", {"group_id": "nope"}, ""),
    ("GetGroupInfo", {}, ""),
    ("GetGroupByActivityId", {"activity_id": "act"}, ""),
    ("GetGroupByActivityId", {"activity_id": "other"}, ""),
    ("AddGroupMember", {"group_id": "g1", "user_id": "b"}, ""),
    ("AddGroupMember", {"group_id": "g1", "user_id": "b"}, ""),
    ("AddGroupMember", {"group_id": "g1", "user_id": "c", "role": 1}, ""),
    ("AddGroupMember", {"group_id": "g3", "user_id": "b"}, ""),
    ("AddGroupMember", {"group_id": "g2", "user_id": "a"}, ""),
    ("AddGroupMember", {"group_id": "g2", "user_id": "c"}, ""),
    ("AddGroupMember", {"group_id": "nope", "user_id": "c"}, ""),
    ("GetGroupMembers", {"group_id": "g1"}, ""),
    ("GetGroupMembers", {"group_id": "g1", "page": 2, "page_size": 2}, ""),
    ("GetGroupMembers", {"group_id": "g1", "page": 9, "page_size": 2}, ""),
    ("GetGroupMembers", {"group_id": "nope"}, ""),
    ("GetUserGroups", {"user_id": "a"}, ""),
    ("GetUserGroups", {"user_id": "a", "page": 2, "page_size": 2}, ""),
    ("GetUserGroups", {"user_id": "other"}, ""),
    ("GetUserGroups", {}, ""),
    *[
        (
            "SaveMessage",
            {"message_id": f"m{n}", "group_id": "g1", "sender_id": "ab"[n % 2], "msg_type": 1, "content": f"n {n}"},
            "",
        )
        for n in range(1, 26)
    ],
    ("SaveMessage", {"message_id": "m1", "group_id": "g1", "sender_id": "a", "msg_type": 1, "content": "again"}, ""),
    ("SaveMessage", {"message_id": "x1", "group_id": "g1", "sender_id": "d", "msg_type": 1, "content": "hi"}, ""),
    ("SaveMessage", {"message_id": "x2", "group_id": "nope", "sender_id": "a", "msg_type": 1, "content": "hi"}, ""),
    ("SaveMessage", {"message_id": "x3", "group_id": "g1", "sender_id": "a", "msg_type": 1}, ""),
    ("SaveMessage", {"message_id": "x4", "group_id": "g1", "sender_id": "a", "msg_type": 2, "content": "hi"}, ""),
    ("SaveMessage", {"message_id": "i1", "group_id": "g1", "sender_id": "c", "msg_type": 2, "image_url": "u"}, ""),
    ("GetMessageHistory", {"group_id": "g1"}, ""),
    ("GetMessageHistory", {"group_id": "g1", "before_id": "m5", "limit": 3}, ""),
    ("GetMessageHistory", {"group_id": "g1", "before_id": "m4", "limit": 3}, ""),
    ("GetMessageHistory", {"group_id": "g1", "before_id": "nope"}, ""),
    ("GetMessageHistory", {"group_id": "g2", "before_id": "m4"}, ""),
    ("GetMessageHistory", {"group_id": "g1", "limit": 1000}, ""),
    ("GetUserGroups", {"user_id": "b"}, ""),
    ("GetOfflineMessages", {"user_id": "c"}, ""),
    ("GetOfflineMessages", {"user_id": "c", "after_time": 2**40}, ""),
    ("MarkRead", {"user_id": "b", "group_id": "g1", "message_id": "m7"}, ""),
    ("MarkRead", {"user_id": "b", "group_id": "g1", "message_id": "m3"}, ""),
    ("MarkRead", {"user_id": "b", "group_id": "g1", "message_id": "nope"}, ""),
    ("MarkRead", {"user_id": "d", "group_id": "g1", "message_id": "m7"}, ""),
    ("GetGroupCursors", {"group_id": "g1", "user_ids": ["b", "c"]}, ""),
    ("GetUserCursors", {"user_id": "b", "group_ids": ["g1", "g2"]}, ""),
    ("GetUserCursors", {"user_id": "c", "group_ids": ["g1", "g2"]}, ""),
    ("RemoveGroupMember", {"group_id": "g1", "user_id": "a", "operator_id": "a"}, ""),
    ("RemoveGroupMember", {"group_id": "g1", "user_id": "d", "operator_id": "a"}, ""),
    ("RemoveGroupMember", {"group_id": "g1", "user_id": "b"}, ""),
    ("RemoveGroupMember", {"group_id": "g1", "user_id": "b", "operator_id": "a"}, ""),
    ("SaveMessage", {"message_id": "x5", "group_id": "g1", "sender_id": "b", "msg_type": 1, "content": "late"}, ""),
    ("SaveMessage", {"message_id": "m1", "group_id": "g1", "sender_id": "b", "msg_type": 1, "content": "again"}, ""),
    ("AddGroupMember", {"group_id": "g1", "user_id": "b"}, ""),
    ("GetGroupMembers", {"group_id": "g1"}, ""),
    ("DisbandGroup", {"group_id": "g3", "operator_id": "b"}, ""),
    ("DisbandGroup", {"group_id": "g3", "operator_id": "a"}, ""),
    ("DisbandGroup", {"group_id": "g3", "operator_id": "a"}, ""),
    ("AddGroupMember", {"group_id": "g3", "user_id": "c"}, ""),
    ("SaveMessage", {"message_id": "x6", "group_id": "g3", "sender_id": "a", "msg_type": 1, "content": "hi"}, ""),
    ("GetGroupInfo", {"group_id": "g3"}, ""),
    ("GetGroupMembers", {"group_id": "g3"}, ""),
    ("GetUserGroups", {"user_id": "a"}, ""),
    ("CreateNotification", {"user_id": "a", "type": "news", "title": "One", "content": "first"}, "n1"),
    ("CreateNotification", {"user_id": "a", "type": "news", "title": "Two"}, "n2"),
    ("CreateNotification", {"user_id": "a", "type": "news"}, ""),
    ("MarkNotificationRead", {"user_id": "a", "notification_ids": ["n1", "nope"]}, ""),
    ("MarkNotificationRead", {"user_id": "a"}, ""),
    ("GetNotifications", {"user_id": "a", "is_read": -1}, ""),
    ("GetNotifications", {"user_id": "a", "is_read": 0}, ""),
    ("GetNotifications", {"user_id": "a", "is_read": 1}, ""),
    ("GetUnreadCount", {"user_id": "a"}, ""),
    ("MarkAllRead", {"user_id": "a"}, ""),
    ("GetUnreadCount", {"user_id": "a"}, ""),
]
PATHS = {path.rpartition("/")[2]: path for path in REQUESTS}
USER_FIELDS = ("owner_id", "user_id", "sender_id", "operator_id", "activity_id", "user_ids")


class Names:
    """The ids that a run uses for the names in `CALLS`; messages have ids of this run, so that none is stored yet."""

    def __init__(self) -> None:
        self.ids = {name: new_user() for name in ("a", "b", "c", "d", "act", "other")}
        self.made: dict[str, str] = {}

    def request(self, method: str, fields: dict[str, Any]) -> Any:
        return REQUESTS[PATHS[method]][1](**{name: self._value(name, value) for name, value in fields.items()})

    def _value(self, field: str, value: Any) -> Any:
        if isinstance(value, list):
            return [self._value(field, one) for one in value]
        if field in USER_FIELDS:
            return self.ids[value]
        if field in ("message_id", "before_id") and value:
            return f"{value}-{self.ids['a']}"
        return self.made.get(value, value) if isinstance(value, str) else value

    def readable(self, answer: Any) -> Any:
        """Return an answer with the names in the place of the ids, and without its times."""
        text = json.dumps(answer if isinstance(answer, list) else _timeless(MessageToDict(answer)))
        for name, made in self.made.items():
            text = text.replace(made, name)
        for name, number in self.ids.items():
            text = text.replace(str(number), name)
        return _sorted(json.loads(text))


def _sorted(answer: Any) -> Any:
    """Return an answer with its read cursors in one order: the reference promises none."""
    if isinstance(answer, dict) and "cursors" in answer:
        answer["cursors"].sort(key=lambda cursor: (cursor["groupId"], cursor["userId"]))
    return answer


def _timeless(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _timeless(one) for name, one in value.items() if not name.endswith("At")}
    return [_timeless(one) for one in value] if isinstance(value, list) else value


@pytest.mark.database
@pytest.mark.reference_only
async def test_simulated_service_answers_as_the_reference(chat: Chat) -> None:
    scheduler = Scheduler(1)
    service = ChatService(scheduler, Network(scheduler))
    real, simulated = Names(), Names()
    for method, fields, name in CALLS:
        scheduler.run(scheduler.now + 0.01)
        stub = chat.ext if hasattr(chat.ext, method) else chat.stub
        try:
            response = await getattr(stub, method)(real.request(method, fields))
            expected = real.readable(response)
        except grpc.aio.AioRpcError as error:
            expected = real.readable([error.code().name, error.details()])
        try:
            answer = service.serve(PATHS[method], simulated.request(method, fields))
            found = simulated.readable(answer)
        except Refusal as refusal:
            found = simulated.readable([refusal.status.name, refusal.details])
        else:
            for names, made in ((real, response), (simulated, answer)):
                if name:
                    [(field, value)] = made.ListFields()
                    names.made[name] = value
                    assert field.name in ("group_id", "notification_id")
        if not name:
            assert found == expected, (method, fields)


def test_platform_mode_answers_every_recorded_call() -> None:
    times, names = times_of(RECORDED), dict[str, str]()
    scheduler = Scheduler(1)
    service = ChatService(scheduler, Network(scheduler), platform=True)
    for user_id, name, avatar in PEOPLE:
        service.store.names[int(str(user_id))] = str(name), str(avatar)
    now = min(times.values())
    for number, recorded in enumerate(RECORDED, 1):
        request = dict(recorded["request"])
        made = {
            "SaveMessage": request.get("message_id"), "CreateGroup": recorded.get("answer", {}).get("group_id"),
            "AddGroupMember": f"{request.get('group_id')} {request.get('user_id')}", "CreateNotification": "GROUP2",
        }.get(recorded["call"])  # fmt: skip
        now = times.get(made, now) if made is not None else now
        scheduler.run(scheduler.now + 0.001)
        service.wall_offset = now + 0.5 - START - scheduler.now
        if long := LONG.fullmatch(request.get("content", "")):
            request["content"] = long[1] * int(long[2])
        if "group_id" in request:
            request["group_id"] = names.get(request["group_id"], request["group_id"])
        if "notification_ids" in request:
            request["notification_ids"] = [names.get(one, one) for one in request["notification_ids"]]
        path = f"/chat.ChatService/{recorded['call']}"
        try:
            answer = MessageToDict(service.serve(path, REQUESTS[path][1](**request)), preserving_proto_field_name=True)
        except Refusal as refusal:
            assert (refusal.status.name, refusal.details) == (recorded.get("status"), recorded.get("details")), number
            continue
        if recorded["call"].startswith("Create"):
            [(name, placeholder)] = recorded["answer"].items()
            names[placeholder] = answer[name]
        text = json.dumps(recorded["answer"])
        for placeholder in sorted(names, key=len, reverse=True):
            text = text.replace(json.dumps(placeholder), json.dumps(names[placeholder]))
        assert answer == json.loads(text), (number, recorded)
