"""A chat in a terminal: typed or piped lines become messages, and received messages are printed."""

import asyncio
import os
import re
import sys
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import suppress
from typing import Any

from chatws.client.client import ChatClient
from chatws.client.connection import ABNORMAL
from chatws.client.events import Closed, Connected, Disconnected, Event, Frame, Lost, Received, Refused

HELP = """\
/groups            your groups
/go NUMBER or ID   open a group and show its last messages
/history [COUNT]   the last messages of the group (20)
/who               members of the group who are online
/quit              end, like Ctrl-C
Anything else is sent to the group; begin with // to send a text that begins with /."""
CHOOSE = "-- choose a group first: /go NUMBER"
LEFT_TO_SEND_SECONDS = 10.0
MAX_AT_ONCE = 100


class Unreachable(Exception):
    """The first connection failed; the text has the address and the reason."""


def plain(text: str) -> str:
    """Return a text without control characters, which could move the cursor or colour the screen."""
    return "".join(character if character.isprintable() else " " for character in text)


def number(text: str) -> int:
    """Return the number in a typed text; 0 if it is not one."""
    return int(text) if re.fullmatch(r"\s*[0-9]{1,6}\s*", text) else 0


def clock(seconds: object) -> str:
    """Return the local time of day; ``--:--`` if it is no time that there is."""
    try:
        return time.strftime("%H:%M", time.localtime(float(seconds)))  # type: ignore[arg-type]  # whatever was sent
    except (TypeError, ValueError, OverflowError, OSError):
        return "--:--"


async def lines(descriptor: int) -> AsyncIterator[str]:
    """Yield the lines of a terminal, a pipe or a file as they arrive."""
    rest = b""
    while chunk := await _read(descriptor):
        *whole, rest = (rest + chunk).split(b"\n")
        for line in whole:
            yield line.decode(errors="replace").rstrip("\r")
    if rest:
        yield rest.decode(errors="replace")


async def _read(descriptor: int) -> bytes:
    loop = asyncio.get_running_loop()
    there: asyncio.Future[bytes] = loop.create_future()

    def read() -> None:
        loop.remove_reader(descriptor)
        there.set_result(os.read(descriptor, 65_536))

    try:
        loop.add_reader(descriptor, read)
    except PermissionError:  # a file, which never blocks
        return os.read(descriptor, 65_536)
    try:
        return await there
    finally:
        loop.remove_reader(descriptor)


class Terminal:
    """A client in a terminal. ``names`` returns the user's groups, id to name; it is called for each connection."""

    def __init__(self, client: ChatClient, names: Callable[[str], dict[str, str]], group: str = "") -> None:
        self._client = client
        self._names = names
        self._groups: dict[str, str] = {}
        self._group = group
        self._me = ""
        self._arrived = asyncio.Event()
        self._doing: set[asyncio.Task[None]] = set()
        self.unsent = 0
        """After the end, the number of messages without a reply."""

    async def run(self, descriptor: int) -> None:
        """Run until the input ends or contains /quit. Raises `Closed`, `Unreachable`."""
        async with self._client:
            tasks = [asyncio.create_task(self._listen()), asyncio.create_task(self._talk(descriptor))]
            try:
                done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            finally:
                self.unsent = sum(frame["type"] == "send_message" for frame in self._client.pending)
                for task in tasks:
                    task.cancel()
                await asyncio.wait(tasks)
        for task in done:
            task.result()

    async def _talk(self, descriptor: int) -> None:
        await self._arrived.wait()
        async for line in lines(descriptor):
            if line.strip() == "/quit":
                break
            self._obey(line)
            await asyncio.sleep(0)  # lets the message enter the client's queue, so that the order is kept
            if len(self._doing) >= MAX_AT_ONCE:
                await asyncio.wait(self._doing, return_when=asyncio.FIRST_COMPLETED)
        if self._doing:
            await asyncio.wait(self._doing, timeout=LEFT_TO_SEND_SECONDS)

    async def _listen(self) -> None:
        async for event in self._client:
            try:
                await self._show(event)
            except (KeyError, TypeError, ValueError, AttributeError) as error:  # odd values of another service
                say(f"-- something that can't be shown arrived ({type(error).__name__})")

    async def _show(self, event: Event) -> None:
        match event:
            case Connected(welcome):
                await self._arrive(welcome["data"])
            case Disconnected(code, message):
                if not self._arrived.is_set() and code == ABNORMAL:
                    raise Unreachable(message)
                say(f"-- offline ({message or code}); your messages are sent when the connection is back")
            case Lost(feed) if feed.startswith("group:"):
                say(f"-- messages are missing in {self._name(feed.removeprefix('group:'))}: see /history")
            case Received({"type": "new_message", "data": message}):
                self._message(message, self._group)
                if message["group_id"] == self._group:
                    self._begin(self._client.mark_read(self._group, message["message_id"]))
            case Received({"type": "notification", "data": data}):
                say(f"-- {plain(data['title'])}: {plain(data['content'])}")
            case Received({"type": "membership", "data": data}):
                say(f"-- you were {data['change']}: {data['group_id']}")
            case Received({"type": "error", "message_id": "" | "auth", "data": data}):
                say(f"-- {data['code']} {plain(data['message'])}")
            case _:
                pass

    async def _arrive(self, welcome: Frame) -> None:
        self._me = str(welcome["user_id"])
        known = await asyncio.to_thread(self._names, self._me)
        self._groups = known or {group_id: group_id for group_id in welcome.get("groups", ())}
        if self._arrived.is_set():
            say("-- online again")
            return
        say(f"-- online at {self._client.url} as {self._me}; /help lists the commands")
        self._list()
        if self._group:
            self._go(self._group)
        self._arrived.set()

    def _obey(self, line: str) -> None:
        command, _, rest = line.strip().partition(" ")
        match command:
            case "":
                return
            case "/help":
                say(HELP)
            case "/groups":
                self._list()
            case "/go":
                self._go(rest.strip())
            case "/history" | "/who" if not self._group:
                say(CHOOSE)
            case "/history":
                self._begin(self._history(number(rest) or 20))
            case "/who":
                self._begin(self._who())
            case _ if command.startswith("/") and not command.startswith("//"):
                say(f"-- unknown: {command}; /help lists the commands")
            case _ if not self._group:
                say(CHOOSE)
            case _:
                self._begin(self._client.send_message(self._group, line.removeprefix("/")))

    def _list(self) -> None:
        for position, (group_id, name) in enumerate(self._groups.items(), 1):
            say(f"{position:3} {plain(name)}" + (f"  ({group_id})" if name != group_id else ""))
        if not self._groups:
            say("-- you are in no group")

    def _go(self, which: str) -> None:
        ids = list(self._groups)
        if which not in ids and 0 < number(which) <= len(ids):
            which = ids[number(which) - 1]
        self._group = which
        say(f"-- in {self._name(which)}")
        self._begin(self._history(20))

    async def _history(self, count: int) -> None:
        answer = await self._client.history(self._group, limit=min(max(count, 1), 100))
        for message in reversed(answer["messages"]):
            if isinstance(message, dict):
                self._message(message, self._group)
        if answer["messages"]:
            await self._client.mark_read(self._group, answer["messages"][0]["message_id"])

    async def _who(self) -> None:
        users = (await self._client.presence(self._group))["users"]
        online = [str(user["user_id"]) for user in users if user["connections"]]
        say(f"-- online in {self._name(self._group)}: {', '.join(online) or 'nobody'}")

    def _message(self, message: Frame, here: str) -> None:
        group_id, content = str(message.get("group_id", "")), message.get("content")
        sender = str(message.get("sender") or message.get("sender_id") or "?")
        who = "you" if sender == self._me else plain(str(message.get("sender_name") or sender))
        where = "" if group_id == here else f"[{self._name(group_id)}] "
        text = plain(str(message.get("image_url") or "")) if message.get("msg_type") == 2 else str(content or "")
        first, *more = text.split("\n")
        said = [f"{clock(message.get('created_at'))} {where}{who}: {plain(first)}"]
        say("\n".join([*said, *(f"      {plain(line)}" for line in more)]))

    def _name(self, group_id: str) -> str:
        return plain(self._groups.get(group_id, group_id))

    def _begin(self, doing: Coroutine[Any, Any, object]) -> None:
        task = asyncio.create_task(self._telling(doing))
        self._doing.add(task)
        task.add_done_callback(self._doing.discard)

    async def _telling(self, doing: Coroutine[Any, Any, object]) -> None:
        with suppress(Closed):  # `run` raises it
            try:
                await doing
            except Refused as error:
                say(f"-- refused: {error}")


def say(text: str) -> None:
    """Print a line to standard output."""
    print(text, flush=True)  # noqa: T201


def complain(text: str) -> None:
    """Print a line to standard error."""
    print(text, file=sys.stderr, flush=True)  # noqa: T201
