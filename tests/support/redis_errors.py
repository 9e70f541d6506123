"""Run a proxy before Redis that answers errors in its place: to all commands, or to those that write."""

import asyncio
import socket
from collections import Counter, deque
from collections.abc import Callable
from contextlib import suppress
from typing import Self

from tests.support.resp import Values, words_of

READS = frozenset(
    b"AUTH CLIENT CONFIG DISCARD ECHO EXEC EXISTS GET HELLO HEXISTS HGET HGETALL HLEN HMGET INFO LRANGE MULTI PING "
    b"PSUBSCRIBE PUBSUB SCRIPT SELECT SMEMBERS SUBSCRIBE TIME TTL TYPE UNSUBSCRIBE XINFO XLEN XPENDING XRANGE XREAD "
    b"XREVRANGE ZRANGE ZRANGEBYSCORE ZSCORE".split()
)
"""Commands that write nothing. PUBLISH isn't one of them: a Redis that lacks replicas refuses it."""

EVERYTHING = "everything"
WRITES = "writes"

KINDS = {
    "MISCONF": (WRITES, "MISCONF Redis is configured to save RDB snapshots, but it's currently unable to persist"),
    "NOREPLICAS": (WRITES, "NOREPLICAS Not enough good replicas to write."),
    "OOM": (WRITES, "OOM command not allowed when used memory > 'maxmemory'."),
    "READONLY": (WRITES, "READONLY You can't write against a read only replica."),
    "LOADING": (EVERYTHING, "LOADING Redis is loading the dataset in memory"),
    "BUSY": (EVERYTHING, "BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE."),
    "MASTERDOWN": (EVERYTHING, "MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'."),
    "TRYAGAIN": (WRITES, "TRYAGAIN Multiple keys request during rehashing of slot"),
    "CLUSTERDOWN": (EVERYTHING, "CLUSTERDOWN The cluster is down"),
    "NOAUTH": (EVERYTHING, "NOAUTH Authentication required."),
    "max clients": (EVERYTHING, "ERR max number of clients reached"),
    "NOPERM": (EVERYTHING, "NOPERM this user has no permissions to run the command"),
    "NOSCRIPT": (WRITES, "NOSCRIPT No matching script. Please use EVAL."),
    "UNBLOCKED": (EVERYTHING, "UNBLOCKED force unblock from blocking operation, instance state changed"),
    "ERR": (EVERYTHING, "ERR something that nobody has seen before"),
}
"""What Redis answers for a while, by name: to which commands, and the text. The first eleven are judged in proofs."""
ELEVEN = tuple(KINDS)[:11]

Picks = Callable[[list[bytes]], bool]


class ErrorProxy:
    """Forward a port to Redis on 127.0.0.1, and answer errors in its place while told to; an async context manager.

    Replies keep their order, in pipelines and beside published messages. In a transaction a refused command is refused
    when it is queued, and EXEC is answered by EXECABORT, as Redis does.
    """

    def __init__(self, target: int) -> None:
        self.target = target
        self.port = 0
        self.connections = 0
        """How many have been accepted."""
        self.refused: Counter[str] = Counter()
        """Refused commands, by name."""
        self.news = asyncio.Event()
        """Set by each refused command and each connection."""
        self._text = ""
        self._picks: Picks = lambda words: False
        self._links: set[Link] = set()

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, backlog=1_000)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *error: object) -> None:
        self._server.close()
        self.reset()
        while self._links:
            await asyncio.sleep(0.01)

    def answer(self, text: str, picks: Picks) -> None:
        """Answer this error to each command that ``picks`` returns true for, on every connection."""
        self._text, self._picks = text, picks

    def answer_kind(self, name: str) -> None:
        """Answer as `KINDS` says; too many clients concern new connections, so present ones are closed."""
        which, text = KINDS[name]
        self.answer(text, is_write if which == WRITES else lambda words: True)
        if name == "max clients":
            self.reset()

    def restore(self) -> None:
        """Pass everything on again."""
        self._picks = lambda words: False

    def age(self) -> None:
        """Answer READONLY on the present connections only, for ever: Redis failed over behind its address."""
        for link in self._links:
            link.is_stale = True

    def reset(self) -> None:
        """Break every connection with a TCP reset."""
        for link in list(self._links):
            link.reset()

    def error_for(self, words: list[bytes], *, is_stale: bool) -> str:
        """Return the error for a command; empty if it is to be passed on."""
        text = ""
        if is_stale and is_write(words):
            _, text = KINDS["READONLY"]
        elif self._picks(words):
            text = self._text
        if text:
            self.refused[words[0].upper().decode()] += 1
            self.news.set()
        return text

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.news.set()
        try:
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self.target)
        except OSError:
            writer.transport.abort()
            return
        link = Link(self, writer, far_writer)
        self._links.add(link)
        pumps = [asyncio.create_task(link.forward(reader)), asyncio.create_task(link.reply(far_reader))]
        await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        for end in (writer, far_writer):
            end.transport.abort()
        for pump in pumps:
            pump.cancel()
        await asyncio.wait(pumps)
        self._links.discard(link)


class Link:
    """One connection through the proxy."""

    def __init__(self, proxy: ErrorProxy, near: asyncio.StreamWriter, far: asyncio.StreamWriter) -> None:
        self.is_stale = False
        self._proxy = proxy
        self._near = near
        self._far = far
        self._due: deque[tuple[int, str]] = deque()
        """For each command: how many replies Redis still gives, and the error in their place, if any."""
        self._in_transaction = self._is_aborted = False

    def reset(self) -> None:
        with suppress(OSError):
            raw = self._near.get_extra_info("socket")
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")
        self._near.transport.abort()
        self._far.transport.abort()

    async def forward(self, reader: asyncio.StreamReader) -> None:
        commands = Values()
        with suppress(OSError):
            while data := await reader.read(65_536):
                for command in commands.feed(data):
                    self._command(command, words_of(command))
                await self._far.drain()

    async def reply(self, reader: asyncio.StreamReader) -> None:
        replies = Values()
        with suppress(OSError):
            while data := await reader.read(65_536):
                for reply in replies.feed(data):
                    self._reply(reply)
                await self._near.drain()

    def _command(self, command: bytes, words: list[bytes]) -> None:
        name = words[0].upper()
        text = "" if self._in_transaction and name == b"EXEC" else self._proxy.error_for(words, is_stale=self.is_stale)
        if name == b"MULTI" and not text:
            self._in_transaction, self._is_aborted = True, False
        elif name in (b"EXEC", b"DISCARD") and self._in_transaction:
            self._in_transaction = False
            if self._is_aborted:
                _write(self._far, b"*1\r\n$7\r\nDISCARD\r\n")
                self._due.append((1, "EXECABORT Transaction discarded because of previous errors."))
                return
        elif text and self._in_transaction:
            self._is_aborted = True
        if text:
            self._due.append((0, text))
            self._give_errors()
            return
        _write(self._far, command)
        self._due.append((len(words) - 1 if name.endswith(b"SUBSCRIBE") and len(words) > 1 else 1, ""))

    def _reply(self, reply: bytes) -> None:
        if not self._due or (reply[:1] in b"*>" and words_of(reply)[:1] == [b"message"]):
            _write(self._near, reply)
            return
        replies, text = self._due.popleft()
        if not text:
            _write(self._near, reply)
        if replies > 1:
            self._due.appendleft((replies - 1, text))
        elif text:
            self._due.appendleft((0, text))
        self._give_errors()

    def _give_errors(self) -> None:
        while self._due and not self._due[0][0]:
            _, text = self._due.popleft()
            _write(self._near, f"-{text}\r\n".encode())


def _write(writer: asyncio.StreamWriter, data: bytes) -> None:
    if not writer.is_closing():
        writer.write(data)


def is_write(words: list[bytes]) -> bool:
    """Return whether a command writes; a script counts as one, as Redis sees it."""
    return words[0].upper() not in READS


def is_any_of(*names: str) -> Picks:
    """Return a choice of commands by their names."""
    wanted = {name.encode() for name in names}
    return lambda words: words[0].upper() in wanted
