"""Check the real command lines; most other tests fork their processes from one that has imported everything."""

import signal
from collections.abc import Iterator

import pytest
from django.core.management import get_commands

from tests.contract.test_revocation import closed_as_revoked, revoke, welcomed
from tests.support.chat import Chat, new_user
from tests.support.client import make_token
from tests.support.stack import SERVERS, Stack

OURS = sorted(name for name, app in get_commands().items() if app in {"chatws", "chatws.reference", "realtime"})


@pytest.fixture(scope="module")
def commands(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Start a chat with a command line for each process."""
    stack = Stack(tmp_path_factory.mktemp("commands"))
    stack.forks = False
    try:
        stack.redis.start()
        stack.manage("seed_demo", "--migrate")
        stack.start_rpc()
        stack.start_relay()
        stack.wait_until_relaying()
        yield stack
    finally:
        stack.stop()


@pytest.mark.parametrize("server", SERVERS)
async def test_chat_command_talks_and_ends(commands: Stack, server: str) -> None:
    commands.server = server
    gateway = commands.start_gateway()
    chat = Chat(commands.rpc_target)
    one, two = new_user(), new_user()
    group = await chat.group(one, two)
    speaker, listener = await welcomed(gateway, make_token(one)), await welcomed(gateway, make_token(two))
    said = await speaker.ask("send_message", {"group_id": group, "msg_type": 1, "content": f"by {server}"})
    assert said["type"] == "ack"
    assert (await listener.expect("new_message"))["data"]["content"] == f"by {server}"
    await revoke(commands, "--user", str(two))
    await closed_as_revoked(listener)
    await speaker.close()
    await chat.close()
    assert gateway.stop(signal.SIGINT) in (0, -signal.SIGINT)  # the signal itself ends uvicorn


def test_relay_and_chat_service_stop_on_a_signal(commands: Stack) -> None:
    asked = [process for process in commands.processes if process.name.startswith(("relay", "rpc")) and process.running]
    assert [process.stop() for process in asked] == [0, 0]
    commands.start_rpc()
    commands.start_relay()


@pytest.mark.parametrize("command", OURS)
def test_every_command_has_a_description(command: str, stack: Stack) -> None:
    assert stack.manage(command, "--help").startswith(f"usage: manage.py {command}")
