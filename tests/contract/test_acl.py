"""Run the whole chat as a Redis user with only the permissions in docs/operations.md."""

import re
from pathlib import Path

import pytest
import redis as redis_py

from config.env import BASE_DIR
from tests.contract.test_revocation import closed_as_revoked, revoke, welcomed
from tests.support.chat import Chat, new_user
from tests.support.client import connect, make_token
from tests.support.stack import Stack


def rules(prefix: str = "chatws") -> list[str]:
    """Return the user's rules from the document, for a deployment with this `CHATWS_PREFIX`."""
    text = Path(BASE_DIR / "docs/operations.md").read_text()
    found = re.search(r"ACL SETUSER chatws on >\S+ (.*?)\n\n", text, re.DOTALL)
    assert found
    return [re.sub(r"\A([~&])chatws:", rf"\g<1>{prefix}:", rule) for rule in found[1].replace("\\\n", " ").split()]


@pytest.mark.ours_only
async def test_documented_redis_acl_is_sufficient(tmp_path_factory: pytest.TempPathFactory) -> None:
    stack = Stack(tmp_path_factory.mktemp("acl"), CHATWS_MESSAGE_PUBLISHER="rpc")
    stack.env["REDIS_URL"] = f"redis://chatws:pass@127.0.0.1:{stack.redis.port}/0"
    try:
        stack.redis.start()
        with redis_py.Redis.from_url(stack.redis.url) as admin:
            admin.execute_command("ACL", "SETUSER", "chatws", "on", ">pass", *rules())
            stack.migrate()
            stack.start_rpc()
            stack.start_relay()
            gateway = stack.start_gateway()
            stack.wait_until_relaying()
            chat = Chat(stack.rpc_target)
            one, two = new_user(), new_user()
            group = await chat.group(one, two)
            token = make_token(two)
            speaker, listener = await welcomed(gateway, make_token(one)), await welcomed(gateway, token)
            sent = await speaker.ask("send_message", {"group_id": group, "msg_type": 1, "content": "with little"})
            assert sent["type"] == "ack"
            heard = await listener.expect("new_message")
            await listener.close()
            await speaker.ask("send_message", {"group_id": group, "msg_type": 1, "content": "missed"})
            place = {"epoch": heard["epoch"], "offset": heard["offset"]}
            back = await connect(gateway.ws)
            await back.ask("auth", {"token": token, "resume": {f"group:{group}": place}})
            assert (await back.expect("new_message"))["data"]["content"] == "missed"
            admin.xadd("chat.message.new", {"payload": "not JSON"})
            stack.break_subscriptions()
            await revoke(stack, "--user", str(two))
            await closed_as_revoked(back)
            stack.manage("dead_letters", "list")
            stack.manage("erase_user", str(two))
            refused = [one for one in admin.acl_log() if one["username"] == "chatws"]
            assert [(one["reason"], one["object"]) for one in refused] == []
            log = "".join(path.read_text() for path in stack.folder.glob("*.log"))
            assert "NOPERM" not in log
            await speaker.close()
            await chat.close()
    finally:
        stack.stop()
