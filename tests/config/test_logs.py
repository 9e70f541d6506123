"""Check log lines as a collector reads them: one JSON object each, which names its connection."""

import json
import subprocess
import sys
from pathlib import Path

from config.env import BASE_DIR
from tests.support.chat import Chat, new_user
from tests.support.client import connect, make_token
from tests.support.stack import Stack
from tests.support.waiting import LIMIT, until_logged

SPEAK = """
import django; django.setup()
import logging
from realtime.observability import log_context
log = logging.getLogger("realtime.somewhere")
log.warning("about nobody")
log_context.connection_id.set("c-1"); log_context.user_id.set(2**64 - 1)
try:
    raise ValueError("of a \\N{SNOWMAN}")
except ValueError:
    log.exception("about %s", "somebody")
"""


def said(stack: Stack, form: str) -> list[str]:
    env = {**stack.env, "CHATWS_LOG_FORMAT": form}
    done = subprocess.run(
        [sys.executable, "-c", SPEAK], cwd=BASE_DIR, env=env, capture_output=True, text=True, check=True
    )
    return done.stderr.splitlines()


def test_json_log_line_names_connection_and_user(stack: Stack) -> None:
    nobody, somebody = map(json.loads, said(stack, "json"))
    assert nobody.keys() == {"time", "level", "logger", "message"}
    assert (nobody["level"], nobody["logger"], nobody["message"]) == ("WARNING", "realtime.somewhere", "about nobody")
    assert (somebody["connection_id"], somebody["user_id"]) == ("c-1", str(2**64 - 1))
    assert somebody["exception"].endswith("ValueError: of a \N{SNOWMAN}")


def test_text_format_writes_one_line(stack: Stack) -> None:
    assert "WARNING realtime.somewhere: about nobody" in said(stack, "line")[0]


async def test_every_gateway_log_line_is_json(stack: Stack) -> None:
    gateway = stack.start_gateway(CHATWS_LOG_FORMAT="json")
    client = await connect(gateway.ws)
    await client.ask("auth", {"token": make_token(new_user())})
    await client.close()
    gateway.stop(seconds=LIMIT)
    lines = gateway.log.read_text().splitlines()
    assert lines
    assert all(json.loads(line)["message"] for line in lines)


async def test_no_log_contains_tokens_or_message_texts(tmp_path: Path) -> None:
    stack = Stack(tmp_path, CHATWS_LOG_LEVEL="DEBUG")
    try:
        gateway = stack.start()
        chat = Chat(stack.rpc_target)
        user = new_user()
        group = await chat.group(user)
        token, bad = make_token(user), make_token(user) + "x"
        for given in (token, bad):
            client = await connect(f"{gateway.ws}?token={given}")
            await client.recv()
            await client.close()
        client = await connect(gateway.ws)
        await client.ask("auth", {"token": token})
        said = {"group_id": group, "msg_type": 1, "content": "the secret"}
        await client.ask("send_message", said)
        await client.expect("new_message")
        for wrong in ('{"type": "send_message", "data": "the secret"}', "the secret", '{"type": "auth", "data": '):
            await client.raw(wrong + token)
            await client.expect("error")
        stack.add_entry("chat.message.new", {"group_id": group, "content": "the secret"})  # a dead letter
        next(process for process in stack.processes if process.name.startswith("rpc")).kill()
        assert (await client.ask("send_message", said))["data"]["code"] == 503
        await client.close()
        await chat.close()
        relay = next(process for process in stack.processes if process.name.startswith("relay"))
        await until_logged(relay.log, "chat.message.new.dlq")
        for process in stack.processes:
            log = process.log.read_text()
            assert len(log) > 100
            for secret in ("the secret", token, token.rpartition(".")[2]):
                assert secret not in log, process.name
    finally:
        stack.stop()
