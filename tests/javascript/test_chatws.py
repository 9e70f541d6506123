"""Check the browser client: its package, and its behaviour in Node against a real gateway."""

import asyncio
import gzip
import json
import os
import signal
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from config.env import BASE_DIR
from tests.javascript.control import NODE, Control
from tests.support.chat import Chat
from tests.support.stack import Gateway, Stack
from tests.support.waiting import LIMIT
from tests.support.wire import CheckedProxy
from tools.npm import NPM

HERE = Path(__file__).parent
PACKAGE = BASE_DIR / "chatws/static/chatws/client"
MAX_BYTES = 9_000


@pytest.fixture
async def control(stack: Stack, chat: Chat, gateway: Gateway) -> AsyncIterator[Control]:
    async with CheckedProxy(gateway.port) as proxy, Control(stack, chat, proxy) as control:
        yield control


@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", sorted(path.name for path in HERE.glob("*.test.js")))
async def test_javascript_tests_pass_in_node(control: Control, name: str) -> None:
    environment = {"PATH": os.environ["PATH"], **control.environment}
    command = [str(NODE), "--test", "--test-reporter=tap", "--test-timeout=150000", str(HERE / name)]
    node = await asyncio.create_subprocess_exec(
        *command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True
    )
    try:
        output, _ = await node.communicate()
    finally:
        if node.returncode is None:
            os.killpg(node.pid, signal.SIGKILL)  # Node runs the file in its own process
            await node.wait()
    assert node.returncode == 0, output.decode()
    assert "# skipped 0" in output.decode()


def test_module_stays_small() -> None:
    """Measure the shipped file, comments included."""
    assert len(gzip.compress((PACKAGE / "chatws.js").read_bytes(), mtime=0)) < MAX_BYTES


def test_npm_package_contains_module_types_and_readme(tmp_path: Path) -> None:
    command = [str(NODE), str(NPM), "pack", "--dry-run", "--json", "--offline"]
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "npm_config_cache": str(tmp_path)}
    done = subprocess.run(command, cwd=PACKAGE, env=environment, capture_output=True, text=True, timeout=LIMIT)
    assert done.returncode == 0, done.stderr
    [packed] = json.loads(done.stdout)
    files = {entry["path"] for entry in packed["files"]}
    assert files == {
        "chatws.js", "chatws.d.ts", "history.js", "history.d.ts", "package.json", "README.md", "LICENSE",
    }  # fmt: skip
    described = json.loads((PACKAGE / "package.json").read_text())
    targets = {path.removeprefix("./") for name in (".", "./history") for path in described["exports"][name].values()}
    assert targets <= files
    assert (PACKAGE / "LICENSE").read_text() == (BASE_DIR / "LICENSE").read_text()


def test_package_is_imported_by_its_name(tmp_path: Path) -> None:
    (tmp_path / "node_modules").mkdir()
    (tmp_path / "node_modules/chatws").symlink_to(PACKAGE)
    script = tmp_path / "main.mjs"
    script.write_text(
        'import { ChatClient } from "chatws"; import "chatws/history"; '
        'console.log(new ChatClient("http://h/ws", {}).state);'
    )
    done = subprocess.run([str(NODE), str(script)], capture_output=True, text=True, timeout=LIMIT)
    assert done.stdout.strip() == "stopped", done.stderr
