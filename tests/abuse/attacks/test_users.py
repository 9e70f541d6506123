"""Attack as a user with a valid token: many connections, and a return after a removal."""

import asyncio
import time

import pytest

from tests.abuse.attacks.closing import PATIENCE_SECONDS
from tests.abuse.beside import unharmed
from tests.contract.test_revocation import welcomed, with_token
from tests.support.chat import Chat, new_user
from tests.support.client import Client, Frame, make_token
from tests.support.stack import Gateway, Stack

pytestmark = pytest.mark.ours_only


async def test_fifty_connections_of_a_user_are_limited_to_twenty(attacked: tuple[Stack, Gateway]) -> None:
    stack, gateway = attacked
    chat = Chat(stack.rpc_target)
    user, other = new_user(), new_user()
    group = await chat.group(user, other)
    async with unharmed(gateway, 60):
        clients = await asyncio.gather(*(with_token(gateway, make_token(user)) for _ in range(50)))
        gone = await first_closed(clients, 30)
        assert {client.socket.close_code for client in gone} == {4409}
        staying = [client for client in clients if client not in gone]
        began = time.monotonic()
        answers = [one for some in await asyncio.gather(*(flood(client, group) for client in staying)) for one in some]
        acked = sum(answer["type"] == "ack" for answer in answers)
        assert 50 <= acked <= 51 + 10 * (time.monotonic() - began)  # a burst of five seconds, then ten per second
        assert {answer["data"]["code"] for answer in answers if answer["type"] == "error"} == {429}
        for client in staying:
            await client.close()
    await chat.close()


async def flood(client: Client, group: str) -> list[Frame]:
    """Send ten messages at once and return the answers."""
    sent = [
        await client.send("send_message", {"group_id": group, "msg_type": 1, "content": f"{id(client)} {number}"})
        for number in range(10)
    ]
    return [await client.answer(message_id) for message_id in sent]


async def first_closed(clients: list[Client], count: int) -> list[Client]:
    """Return the clients that the gateway has closed, once there are so many."""
    closing = {asyncio.create_task(client.socket.wait_closed()): client for client in clients}
    gone: set[asyncio.Task[None]] = set()
    async with asyncio.timeout(PATIENCE_SECONDS):
        while len(gone) < count:
            done, _ = await asyncio.wait(closing.keys() - gone, return_when=asyncio.FIRST_COMPLETED)
            gone |= done
    for task in closing.keys() - gone:
        task.cancel()
    return [closing[task] for task in gone]


async def test_removed_member_cannot_return_by_retrying(attacked: tuple[Stack, Gateway]) -> None:
    stack, gateway = attacked
    chat = Chat(stack.rpc_target)
    owner, removed = new_user(), new_user()
    group = await chat.group(owner, removed)
    client = await welcomed(gateway, make_token(removed))
    speaker = await welcomed(gateway, make_token(owner))
    await chat.remove(group, removed, owner)
    await client.expect("group_left")
    async with unharmed(gateway):
        for number in range(10):
            said = await speaker.ask("send_message", {"group_id": group, "msg_type": 1, "content": f"secret {number}"})
            assert said["type"] == "ack"
            joined = await client.ask("join_group", {"group_id": group})
            sent = await client.ask("send_message", {"group_id": group, "msg_type": 1, "content": "let me in"})
            assert [joined["data"]["code"], sent["data"]["code"]] == [403, 403]
            again = await welcomed(gateway, make_token(removed))
            assert f"group:{group}" not in [place["feed"] for place in again.seen[0]["data"].get("feeds", [])]
            await again.close()
    assert "secret" not in str(await client.settled())
    for one in (client, speaker):
        await one.close()
    await chat.close()
