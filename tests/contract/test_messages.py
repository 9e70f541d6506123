"""Check valid and invalid messages over real sockets (docs/protocol.md, WebSocket)."""

import json

import pytest

from tests.conftest import Connect
from tests.support.announced import announced
from tests.support.chat import Chat, new_user
from tests.support.client import make_token
from tests.support.stack import Stack


def text(group_id: str, content: str = "hello") -> dict[str, object]:
    return {"group_id": group_id, "msg_type": 1, "content": content}


async def test_client_of_the_old_protocol_is_served(sockets: Connect, log_in: Connect, chat: Chat) -> None:
    user, other = new_user(), new_user()
    group = await chat.group(user, other)
    client = await sockets()

    pong = await client.ask("ping", message_id="p")
    assert pong == {"type": "pong", "message_id": "p", "timestamp": pong["timestamp"], "data": {}}
    old = await client.ask("auth", {"token": make_token(user)})
    assert {"type", "message_id", "timestamp", "data"} == old.keys()
    assert old["data"]["user_id"] == str(user)

    sent = await client.send("send_message", {**text(group), "image_url": ""})
    ack = await client.answer(sent)
    assert ack["type"] == "ack"
    assert ack["data"]["success"] is True
    message = await client.expect("new_message")
    assert message["message_id"] == message["data"]["message_id"] == ack["data"]["message_id"]
    assert message["data"]["group_id"] == group
    assert message["data"]["sender_id"] == user
    assert message["data"]["msg_type"] == 1
    assert message["data"]["content"] == "hello"
    assert {"sender_name", "sender_avatar", "image_url", "created_at"} <= message["data"].keys()

    image = {"group_id": group, "msg_type": 2, "content": "", "image_url": "https://pictures.example/1.png"}
    assert (await client.ask("send_message", image))["type"] == "ack"
    assert (await client.expect("new_message"))["data"]["image_url"] == image["image_url"]

    read = await client.ask("mark_read", {"group_id": group, "message_id": ack["data"]["message_id"]})
    assert (read["type"], read["data"]["message_id"]) == ("ack", ack["data"]["message_id"])

    left = await client.ask("leave_group", {"group_id": group})
    assert left["type"] == "group_left"
    joined = await client.ask("join_group", {"group_id": group})
    assert (joined["type"], joined["data"]["group_id"]) == ("group_joined", group)

    bad = await client.ask("no_such_frame")
    assert (bad["type"], bad["data"]["code"]) == ("error", 400)
    assert (await client.ask("ping"))["type"] == "pong"


async def test_every_member_receives_a_message_once(log_in: Connect, chat: Chat, stack: Stack) -> None:
    users = [new_user() for _ in range(3)]
    group = await announced(stack, await chat.group(*users), 3)
    clients = [await log_in(user) for user in users]
    for number in range(5):
        await clients[0].ask("send_message", text(group, f"number {number}"))
    for client in clients:
        heard = [await client.expect("new_message") for _ in range(5)]
        assert [frame["data"]["content"] for frame in heard] == [f"number {n}" for n in range(5)]
        assert [frame["offset"] for frame in heard] == [heard[0]["offset"] + n for n in range(5)]
        assert [frame for frame in await client.settled() if frame["type"] == "new_message"] == []


async def test_ack_follows_the_stored_message(log_in: Connect, chat: Chat) -> None:
    user = new_user()
    group = await chat.group(user)
    client = await log_in(user)
    await client.ask("send_message", text(group, "stored"))
    assert await chat.history(group) == ["stored"]


async def test_repeated_frame_gets_same_ack_and_stores_nothing(log_in: Connect, chat: Chat) -> None:
    user = new_user()
    group = await chat.group(user)
    first, second = await log_in(user), await log_in(user)
    again = {"message_id": "m-1", "timestamp": 1_700_000_000}
    answers = [await client.ask("send_message", text(group), **again) for client in (first, first, second)]
    assert len({answer["data"]["message_id"] for answer in answers}) == 1
    assert await chat.history(group) == ["hello"]
    await first.expect("new_message")
    await first.ask("send_message", text(group, "next"))
    assert (await first.expect("new_message"))["data"]["content"] == "next"


@pytest.mark.parametrize("opted_out", [{"message_id": ""}, {"timestamp": 0}])
async def test_frames_without_id_or_time_are_separate_messages(
    log_in: Connect, chat: Chat, opted_out: dict[str, object]
) -> None:
    user = new_user()
    group = await chat.group(user)
    client = await log_in(user)
    for _ in range(2):
        frame = {"type": "send_message", "message_id": "m-1", "timestamp": 5, "data": text(group), **opted_out}
        await client.raw(json.dumps(frame))
        await client.expect("ack")
    assert await chat.history(group) == ["hello", "hello"]


@pytest.mark.parametrize("kind", ["send_message", "join_group", "mark_read", "typing", "presence", "history"])
async def test_non_member_gets_403(log_in: Connect, chat: Chat, kind: str) -> None:
    group = await chat.group(new_user())
    client = await log_in(new_user())
    for asked in (group, "nosuchgroup"):
        answer = await client.ask(kind, {**text(asked), "message_id": "m", "typing": True})
        assert (answer["type"], answer["data"]["code"]) == ("error", 403)
    assert await chat.history(group) == []


async def test_left_group_delivers_nothing_until_joined_again(log_in: Connect, chat: Chat, stack: Stack) -> None:
    user, other = new_user(), new_user()
    group = await announced(stack, await chat.group(user, other), 2)
    client, speaker = await log_in(user), await log_in(other)
    await client.ask("leave_group", {"group_id": group})
    await speaker.ask("send_message", text(group, "unheard"))
    await speaker.expect("new_message")
    assert [frame for frame in await client.settled() if frame["type"] == "new_message"] == []
    joined = await client.ask("join_group", {"group_id": group})
    await speaker.ask("send_message", text(group, "heard"))
    heard = await client.expect("new_message")
    assert heard["data"]["content"] == "heard"
    assert heard["offset"] == joined["data"]["offset"] + 1


@pytest.mark.parametrize(
    ("data", "code", "field"),
    [
        ({"msg_type": 1, "content": "x"}, 400, "group_id"),
        ({"group_id": "a b", "msg_type": 1, "content": "x"}, 400, "group_id"),
        ({"group_id": "a:b", "msg_type": 1, "content": "x"}, 400, "group_id"),
        ({"group_id": "a\n", "msg_type": 1, "content": "x"}, 400, "group_id"),
        ({"group_id": 7, "msg_type": 1, "content": "x"}, 400, "group_id"),
        ({"group_id": "g", "msg_type": "1", "content": "x"}, 400, "msg_type"),
        ({"group_id": "g", "msg_type": 3, "content": "x"}, 400, "msg_type"),
        ({"group_id": "g", "msg_type": 1, "content": "  \n "}, 400, "content"),
        ({"group_id": "g", "msg_type": 1, "content": "\ud800"}, 400, "content"),
        ({"group_id": "g", "msg_type": 1, "content": "a\0b"}, 400, "content"),
        ({"group_id": "g", "msg_type": 2, "content": "\0", "image_url": "https://x.example/1"}, 400, "content"),
        (
            {"group_id": "g", "msg_type": 1, "content": "\u200b\u2060 \ufeff\u3164\ufe0f\u00ad\u2800\x07"},
            400,
            "content",
        ),
        ({"group_id": "g", "msg_type": 1, "content": " " * 5000 + "x"}, 413, "content"),
        ({"group_id": "g", "msg_type": 1, "content": "x" * 5001}, 413, "content"),
        ({"group_id": "g", "msg_type": 2, "image_url": ""}, 400, "image_url"),
        ({"group_id": "g", "msg_type": 2, "image_url": "ftp://x.example/1"}, 400, "image_url"),
        ({"group_id": "g", "msg_type": 2, "image_url": "/1.png"}, 400, "image_url"),
        ({"group_id": "g", "msg_type": 2, "image_url": "https://" + "x" * 2048}, 413, "image_url"),
    ],
)
async def test_bad_field_is_named_and_socket_stays_open(
    log_in: Connect, data: dict[str, object], code: int, field: str
) -> None:
    client = await log_in(new_user())
    answer = await client.ask("send_message", data)
    assert (answer["type"], answer["data"]["code"]) == ("error", code)
    assert field in answer["data"]["message"]
    assert (await client.ask("ping"))["type"] == "pong"


async def test_text_of_5000_characters_is_stored_as_sent(log_in: Connect, chat: Chat) -> None:
    user = new_user()
    group = await chat.group(user)
    client = await log_in(user)
    content = "  " + "字" * 4997 + "\n"
    assert (await client.ask("send_message", text(group, content)))["type"] == "ack"
    assert await chat.history(group) == [content]


@pytest.mark.parametrize("bad", ["", "x", "[]", "1", '{"type":', "\ufeff{}", "[" * 30_000, b"binary"])
async def test_invalid_frame_is_400_and_socket_stays_open(log_in: Connect, bad: str | bytes) -> None:
    client = await log_in(new_user())
    await client.raw(bad)
    answer = await client.expect("error")
    assert answer["data"]["code"] == 400
    assert (await client.ask("ping"))["type"] == "pong"


async def test_twentieth_bad_frame_closes_with_4400(log_in: Connect) -> None:
    client = await log_in(new_user())
    for _ in range(19):
        await client.ask("nonsense")
    assert (await client.ask("ping"))["type"] == "pong"
    await client.raw(b"\x00")
    assert (await client.expect("error"))["data"]["code"] == 400
    assert await client.closed() == 4400


async def test_compression_is_not_offered(log_in: Connect) -> None:
    """Reject compression, since a small frame could unpack to a large one; the tests' client offers it."""
    client = await log_in(new_user())
    assert client.socket.protocol.extensions == []


@pytest.mark.ours_only
async def test_frame_over_the_limit_closes_with_1009(log_in: Connect) -> None:
    client = await log_in(new_user())
    await client.raw(json.dumps({"type": "ping", "x": "y" * 70_000}))
    assert await client.closed() == 1009


@pytest.mark.ours_only
async def test_bad_utf_8_closes_with_1007(log_in: Connect) -> None:
    client = await log_in(new_user())
    await client.socket.send(b"\xff\xfe", text=True)
    assert await client.closed() == 1007


@pytest.mark.reference_only
async def test_chat_service_rejection_is_an_error_with_its_code(log_in: Connect, chat: Chat) -> None:
    owner = new_user()
    group = await chat.group(owner)
    client = await log_in(owner)
    await chat.disband(group, owner)
    answer = await client.ask("send_message", text(group))
    assert answer["data"]["code"] in (403, 409)
