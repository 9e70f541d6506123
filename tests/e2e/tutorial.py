"""Follow docs/tutorial.md word by word: write its files, run its commands, open its page in a Chromium.

Two things differ from a newcomer's run: free ports are used, and `make run` finds everything installed.
"""

import asyncio
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from playwright.async_api import Browser, Page, expect

from config.env import BASE_DIR
from tests.support.redis import free_port

TUTORIAL = (BASE_DIR / "docs" / "tutorial.md").read_text()
BLOCK = re.compile(r"(?:^\*\*(?P<file>\S+)\*\*\n\n)?^```(?P<kind>\w+)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
GATEWAY, SITE = "8889", "8000"
PATIENCE_SECONDS = 120
"""Seconds to wait for an expected event; it only catches a hang."""


@dataclass(frozen=True)
class Block:
    """A block of code; ``file``: its file name, if it is a file."""

    kind: str
    text: str
    file: str


@dataclass
class Followed:
    """What was measured, in seconds: `make run` until it is ready, its end after Ctrl-C, and the way back of both pages
    after it is ready again."""

    ready_seconds: float = 0.0
    stop_seconds: float = 0.0
    back_seconds: float = 0.0


def interruptible() -> None:
    """Let Ctrl-C end this process, as in a terminal: a shell's background job begins with SIGINT ignored."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


class Newcomer:
    """A newcomer in an empty folder with a clone of the project, who runs the blocks."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.home = folder / "home"
        self.ports = {GATEWAY: str(free_port()), SITE: str(free_port())}
        self.blocks = [
            Block(found["kind"], self.here(found["text"]), found["file"] or "") for found in BLOCK.finditer(TUTORIAL)
        ]
        self._terminals: list[tuple[asyncio.subprocess.Process, Path]] = []
        tools = folder / "tools"
        for made in (self.home, tools):
            made.mkdir()
        (self.home / "chatws").symlink_to(BASE_DIR)
        make = tools / "make"
        make.write_text(f'#!/bin/sh\n[ "$*" = run ] && exec {shlex.quote(sys.executable)} -m tools.run\nexit 2\n')
        make.chmod(0o755)
        self.env = {
            "PATH": f"{tools}{os.pathsep}{os.environ['PATH']}", "HOME": str(folder), "PORT": self.ports[GATEWAY],
            "CHATWS_DATA_DIR": str(folder / "data"), "CHATWS_REDIS_PORT": str(free_port()),
            "CHATWS_RPC_PORT": str(free_port()),
        }  # fmt: skip

    def here(self, text: str) -> str:
        """Return the tutorial's text with free ports."""
        for told, free in self.ports.items():
            text = re.sub(rf"\b{told}\b", free, text)
        return text

    def write(self, block: Block) -> None:
        (self.home / block.file).write_text(block.text)

    def run(self, block: Block) -> None:
        done = subprocess.run(
            ["sh", "-e"], input=block.text, cwd=self.home, env=self.env, text=True, timeout=PATIENCE_SECONDS
        )
        assert done.returncode == 0

    async def start(self, *commands: Block, says: Block) -> asyncio.subprocess.Process:
        """Run commands in a new terminal; return once they print the text of ``says``."""
        log = self.folder / f"terminal-{len(self._terminals)}.log"
        script = "".join(block.text for block in commands)
        with log.open("wb") as output:
            process = await asyncio.create_subprocess_exec(
                "sh", "-ec", script, cwd=self.home, env=self.env, stdin=subprocess.DEVNULL, stdout=output,
                stderr=subprocess.STDOUT, start_new_session=True, preexec_fn=interruptible,
            )  # fmt: skip
        self._terminals.append((process, log))
        async with asyncio.timeout(PATIENCE_SECONDS):
            while says.text.strip() not in (seen := log.read_text()):
                assert process.returncode is None, seen
                await asyncio.sleep(0.05)
        return process

    async def press_ctrl_c(self, process: asyncio.subprocess.Process) -> None:
        """Interrupt a terminal; return once all its processes have ended."""
        os.killpg(process.pid, signal.SIGINT)
        log = next(log for terminal, log in self._terminals if terminal is process)
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                await process.wait()
                while _is_there(process.pid):
                    await asyncio.sleep(0.02)
        except TimeoutError:
            raise AssertionError(f"Ctrl-C did not end it:\n{log.read_text()[-4_000:]}") from None

    async def leave(self) -> None:
        """End the processes of all terminals, finally by force."""
        try:
            for process, _ in self._terminals:
                if process.returncode is None:
                    await self.press_ctrl_c(process)
        finally:
            for process, _ in self._terminals:
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                await process.wait()


def _is_there(group: int) -> bool:
    """Return whether any process of a process group runs."""
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


async def say(page: Page, text: str) -> None:
    assert f"`{text}`" in TUTORIAL
    await page.get_by_label("Message").fill(text)
    await page.get_by_role("button", name="Send").click()


async def follow(newcomer: Newcomer, browser: Browser) -> Followed:
    """Follow every step of the tutorial and check the results that it describes."""
    found = Followed()
    prepare, gateway, ready, server, page, script, site, served, again = newcomer.blocks
    assert [block.file for block in (server, page, script)] == [
        "my-chat/server.py", "my-chat/index.html", "my-chat/app.js",
    ]  # fmt: skip
    newcomer.run(prepare)
    began = time.monotonic()
    running = await newcomer.start(gateway, says=ready)
    found.ready_seconds = time.monotonic() - began
    for block in (server, page, script):
        newcomer.write(block)
    await newcomer.start(site, says=served)

    pages = []
    for address in re.findall(r"<(http://localhost:8000/\S+)>", TUTORIAL):
        opened = await (await browser.new_context()).new_page()
        await opened.route("**/groups?*", lambda route: route.fulfill(status=502), times=1)  # a gateway that starts
        await opened.goto(newcomer.here(address))
        pages.append(opened)
    alice, bob = pages
    for opened in pages:
        await expect(opened.locator("#state")).to_have_text("online")
        await expect(opened.locator("h1")).to_have_text("Lunch")
        await expect(opened.locator("li")).to_have_count(3)
    await say(alice, "Hello from my own page")
    for opened in pages:
        await expect(opened.locator("li").last).to_have_text("Alice: Hello from my own page")

    began = time.monotonic()
    await newcomer.press_ctrl_c(running)
    found.stop_seconds = time.monotonic() - began
    for opened in pages:
        await expect(opened.locator("#state")).to_have_text(re.compile("waiting|connecting"))
    await say(bob, "Is anybody there?")
    await expect(bob.locator("li").last).to_have_text("Is anybody there? (sending)")
    first, _ = gateway.text.rsplit(again.text, 1)
    await newcomer.start(Block("sh", first, ""), again, says=ready)
    began = time.monotonic()
    for opened in pages:
        await expect(opened.get_by_text("Bob: Is anybody there?")).to_have_count(1)
        await expect(opened.locator("#state")).to_have_text("online")
        await expect(opened.locator("li")).to_have_count(5)
    found.back_seconds = time.monotonic() - began
    return found
