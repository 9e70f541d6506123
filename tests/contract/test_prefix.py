"""Two deployments on one Redis, with two prefixes, never meet: each may touch nothing that begins with the other's."""

import asyncio
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis as redis_py

from config.env import BASE_DIR
from tests.contract.test_acl import rules
from tests.contract.test_revocation import closed_as_revoked, revoke, welcomed
from tests.support.chat import new_user
from tests.support.client import make_token
from tests.support.scrape import get_json
from tests.support.stack import Stack

BLUE = "blue.2"
FIXED = ("chat.", "notification:push", "verify:progress", "user:status:")
"""What the names of keys begin with that other programs use."""

pytestmark = pytest.mark.ours_only


@pytest.fixture
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Stack, Stack]]:
    """Start two deployments of one chat service, each as a user of Redis that may use only its own names."""
    one = Stack(tmp_path_factory.mktemp("one"), CHATWS_MESSAGE_PUBLISHER="rpc", CHATWS_PUBLIC_STATUS="1")
    blue = Stack(tmp_path_factory.mktemp("blue"), **{**one.env, "CHATWS_PREFIX": BLUE})
    blue.env |= {"CHATWS_DATA_DIR": str(blue.folder), "HOME": str(blue.folder)}
    try:
        one.redis.start()
        with redis_py.Redis.from_url(one.redis.url) as admin:
            for stack, name, prefix in ((one, "one", "chatws"), (blue, "blue", BLUE)):
                admin.execute_command("ACL", "SETUSER", name, "on", ">pass", *rules(prefix))
                stack.env["REDIS_URL"] = f"redis://{name}:pass@127.0.0.1:{one.redis.port}/0"
        one.migrate()
        one.start_rpc()
        blue.migrate()
        for stack in (one, blue):
            stack.start_relay()
            stack.start_gateway()
            stack.wait_until_relaying()
        yield one, blue
    finally:
        blue.stop()
        one.stop()


async def test_deployments_with_two_prefixes_never_meet(both: tuple[Stack, Stack]) -> None:
    one, blue = both
    chat, user, other = one.chat(), new_user(), new_user()
    group = await chat.group(user, other)
    speaker, listener = await welcomed(one.gateway, make_token(user)), await welcomed(blue.gateway, make_token(other))
    sent = await speaker.ask("send_message", {"group_id": group, "msg_type": 1, "content": "to both"})
    assert sent["type"] == "ack"
    heard = await listener.expect("new_message")
    assert heard["data"]["content"] == "to both"
    assert heard["epoch"] != (await speaker.expect("new_message"))["epoch"], "each has a log of its own"
    for stack in both:
        _, stats = await asyncio.to_thread(get_json, f"{stack.gateway.http}/stats")
        assert stats["connections"] == 1, "each counts its own"
    await revoke(one, "--user", str(other))
    await revoke(one, "--user", str(user))
    await closed_as_revoked(speaker)
    assert (await listener.ask("ping", {}))["type"] == "pong", "revoked in the other deployment only"
    with redis_py.Redis.from_url(one.redis.url) as admin:
        assert [(one["reason"], one["object"]) for one in admin.acl_log()] == []
        names = {name.decode() for name in admin.scan_iter()}
        groups = {group["name"] for group in admin.xinfo_groups("chat.message.new")}
    strangers = {name for name in names if not name.startswith(("chatws:", f"{BLUE}:", *FIXED))}
    assert strangers == set()
    assert {f"{BLUE}:nodes", "chatws:nodes", f"{BLUE}:audit"} <= names
    assert groups == {b"chatws", BLUE.encode()}
    await listener.close()
    await chat.close()


@pytest.mark.parametrize("prefix", ["with space", "a:b", "{a}", "x" * 33])
def test_prefix_that_cannot_be_used_is_refused(stack: Stack, prefix: str) -> None:
    with pytest.raises(AssertionError, match="CHATWS_PREFIX"):
        stack.manage("check", CHATWS_PREFIX=prefix)


def test_every_key_is_made_in_one_module() -> None:
    """A name that begins with the default prefix elsewhere would be the same in every deployment."""
    made = BASE_DIR / "realtime/redis/keys.py"
    code = [*BASE_DIR.glob("chatws/**/*.py"), *BASE_DIR.glob("realtime/**/*.py"), *BASE_DIR.glob("realtime/**/*.lua")]
    named = [str(path.relative_to(BASE_DIR)) for path in map(Path, code) if path != made and _names_a_key(path)]
    assert named == []


def _names_a_key(path: Path) -> bool:
    return re.search(r"""["'{]chatws:\S""", path.read_text()) is not None
