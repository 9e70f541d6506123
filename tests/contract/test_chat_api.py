"""Compare the HTTP API with each recorded answer of the Go platform's chat-api, key by key and type by type.

docs/beside-the-go-platform.md names each difference and its reason.
"""

import time
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from config.env import BASE_DIR
from tests.support.chat import Chat, new_user
from tests.support.client import bearer

GROUP = {
    "group_id": str, "activity_id": int, "name": str, "owner_id": int, "member_count": int, "status": int,
    "created_at": str,
}  # fmt: skip
MEMBER = {"user_id": int, "username": str, "avatar": str, "role": str, "joined_at": str}
OWN_GROUP = {
    "group_id": str, "activity_id": int, "name": str, "owner_id": int, "member_count": int, "status": int, "role": str,
    "joined_at": str, "last_message": str, "last_message_at": str, "last_sender_name": str,
}  # fmt: skip
MESSAGE = {
    "message_id": str, "group_id": str, "sender_id": int, "sender_name": str, "sender_avatar": str, "msg_type": int,
    "content": str, "image_url": str, "created_at": str,
}  # fmt: skip
NOTIFICATION = {
    "notification_id": str, "type": str, "title": str, "content": str, "is_read": bool, "created_at": str,
}  # fmt: skip
PAGE = {"total": int, "page": int, "page_size": int}
MEMBERS = {"members": [MEMBER], **PAGE}
GROUPS = {"groups": [OWN_GROUP], **PAGE}
HISTORY = {"messages": [MESSAGE], "has_more": bool}
NOTIFICATIONS = {"notifications": [NOTIFICATION], "unread_count": int, **PAGE}
STATUS = {"is_online": bool, "last_seen": int, "last_online_at": int, "last_offline_at": int}


@dataclass(frozen=True)
class Recorded:
    """A request to chat-api. ``data``: the shape of its answer with 200 and code 0; otherwise ``status``: ours.

    ``differs``: the docs' text about a difference between our answer and the recorded one.
    """

    path: str
    data: Any = None
    status: int = 200
    body: Any = None
    method: str = "GET"
    user: str = "member"
    differs: str = ""


RECORDED = [
    Recorded("groups/{group}", GROUP, user="owner"),
    Recorded("groups/{group}/members", MEMBERS, user="owner"),
    Recorded("groups/{group}/members?page=2&page_size=1", MEMBERS, user="owner"),
    Recorded("groups/nope", status=403, user="owner", differs="1010"),
    Recorded("groups/nope/members", status=403, user="owner", differs="a group that isn't there"),
    Recorded("groups/{disbanded}", status=403, user="owner", differs="1010"),
    Recorded("users/{owner}/groups", GROUPS, user="owner"),
    Recorded("users/{member}/groups?page=1&page_size=1", GROUPS),
    Recorded("users/{member}/groups?page=0&page_size=1000", GROUPS),
    Recorded("users/abc/groups", status=400, differs="1001"),
    Recorded("messages?group_id={group}&limit=2", HISTORY, user="owner"),
    Recorded("messages?group_id={group}&before_id={message}&limit=2", HISTORY, user="owner"),
    Recorded("messages?group_id={group}&before_id=nope&limit=1", status=404, user="owner", differs="`before_id`"),
    Recorded("messages?group_id={group}&limit=0", HISTORY, user="owner"),
    Recorded("messages", status=400, user="owner", differs="1001"),
    Recorded("messages/offline?user_id={member}&after_time={before}", {"messages": [MESSAGE]}),
    Recorded("messages/offline?user_id={member}", {"messages": [MESSAGE]}, differs="`after_time`"),
    Recorded("messages/offline?user_id={member}&after_time=0", {"messages": [MESSAGE]}, differs="`after_time`"),
    Recorded("messages/offline?user_id={member}&after_time=abc", status=400, differs="1001"),
    Recorded("notifications?user_id={member}", NOTIFICATIONS),
    Recorded("notifications?user_id={member}&page=2&page_size=1", {"notifications": [], "unread_count": int, **PAGE}),
    Recorded("notifications", status=400, differs="1001"),
    Recorded("notifications/unread-count?user_id={member}", {"count": int}),
    Recorded(
        "notifications/read", {"updated_count": int}, method="POST",
        body={"user_id": "{member}", "notification_ids": ["nope"]},
    ),
    Recorded(
        "notifications/read", status=400, method="POST", body={"user_id": "{member}", "notification_ids": []},
        differs="`notification_ids`",
    ),
    Recorded("notifications/read", status=400, method="POST", body={"user_id": "{member}"}, differs="1001"),
    Recorded("notifications/read-all", {"updated_count": int}, method="POST", body={"user_id": "{member}"}),
    Recorded("notifications/read-all", status=400, method="POST", differs="1001"),
    Recorded("users/status?user_id={member}", STATUS),
    Recorded("users/status?user_id=999", STATUS),
    Recorded("users/status", status=400, differs="1001"),
    Recorded("users/{member}/groups", status=401, user="nobody", differs="401"),
    Recorded("users/{member}/groups/", GROUPS),
    Recorded("groups/{group}", status=405, method="POST", differs="405"),
]  # fmt: skip


@pytest.fixture
async def names(chat: Chat) -> dict[str, Any]:
    """Return the values for the names in braces: a chat group of two with messages, a disbanded one, a notification."""
    owner, member = new_user(), new_user()
    group, disbanded = await chat.group(owner, member, name="Chess"), await chat.group(owner, member, name="Tea")
    await chat.disband(disbanded, owner)
    for number in range(3):
        await chat.say(group, (owner, member)[number % 2], f"message {number}", f"{group}-{number}")
    await chat.notify(member, "Title")
    return {
        "owner": owner, "member": member, "group": group, "disbanded": disbanded, "message": f"{group}-2",
        "before": int(time.time()) - 60,
    }  # fmt: skip


def mismatches(shape: Any, found: Any, place: str = "data") -> list[str]:
    """Return the places where an answer does not match a shape; additional keys are allowed."""
    if isinstance(shape, dict):
        missing = [f"{place}.{key} is missing" for key in shape if key not in found]
        present = [key for key in shape if key in found]
        return missing + [
            problem for key in present for problem in mismatches(shape[key], found[key], f"{place}.{key}")
        ]
    if isinstance(shape, list):
        if bool(shape) != bool(found):
            return [f"{place} has {len(found)} entries"]
        return [problem for one in found for problem in mismatches(shape[0], one, f"{place}[]")]
    return [] if type(found) is shape else [f"{place} is {found!r}"]


@pytest.mark.reference_only
@pytest.mark.parametrize("recorded", RECORDED, ids=lambda recorded: f"{recorded.method} {recorded.path}")
async def test_recorded_answer_matches_or_its_difference_is_documented(
    http: httpx.AsyncClient, names: dict[str, Any], recorded: Recorded
) -> None:
    body = {
        key: names[value.strip("{}")] if isinstance(value, str) else value
        for key, value in (recorded.body or {}).items()
    }
    headers = {} if recorded.user == "nobody" else bearer(names[recorded.user])
    path = f"/api/{recorded.path.format(**names)}"
    answer = await http.request(
        recorded.method, path, headers=headers, json=body if recorded.body is not None else None
    )
    assert answer.status_code == recorded.status
    found = answer.json()
    if recorded.data is not None:
        assert (found["code"], found["message"]) == (0, "success")
        assert mismatches(recorded.data, found["data"]) == []
    else:
        assert found["code"] == recorded.status
        assert found["message"]
    if recorded.differs:
        page = (BASE_DIR / "docs/beside-the-go-platform.md").read_text()
        table = page.partition("## The HTTP API")[2].partition("\n## ")[0]
        assert recorded.differs in table
