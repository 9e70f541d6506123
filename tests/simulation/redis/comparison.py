"""Run the same commands on the model and on a real server, and compare every reply byte for byte."""

import random
import re
import socket
import time
from collections.abc import Sequence
from typing import NamedTuple, TypeAlias

import hiredis

from realtime.redis.scripts import Script
from tests.simulation.redis import NULL_ARRAY, Blocked, Model, Reply, Session, encode
from tests.support.resp import Values, words_of

SECONDS = 20.0
"""How long a reply of the real server may take before the comparison fails."""
TOLERANCE_MS = 5_000


class Earlier(NamedTuple):
    """A word that each side takes from its own earlier replies: an id that XADD made, or what DUMP returned."""

    command: str
    """XADD or DUMP."""
    back: int
    """0: the last reply."""


Word: TypeAlias = bytes | Earlier
Words: TypeAlias = Sequence[Word]

CLOCK = [
    (re.compile(rb"\$\d+\r\n[12]\d{12}-\d+\r\n"), b"<id>"),
    (re.compile(rb"[$]\d+\r\n[12]\d{9}(\d{3}|\d{6})?(\.\d+)?\r\n"), b"<time>"),
    (re.compile(rb",[12]\d{9}(\d{3}|\d{6})?(\.\d+)?\r\n"), b"<time>"),
    (re.compile(rb"([$]\d+\r\n|,)1\.\d+e\+9\r\n"), b"<time>"),
    (re.compile(rb"\r\n[12]\d{12}:"), b"<time>:"),
    (re.compile(rb":\d{4,}\r\n"), b"<near>"),
]
"""What depends on when a command runs: ids and times in any unit, and the time left."""
EXACT = frozenset({b"HINCRBY", b"XTRIM", b"XLEN"})
"""Commands whose numbers do not depend on the clock, however large."""
ANY_VALUE = frozenset({b"TIME", b"INFO", b"HELLO", b"CLIENT", b"MEMORY", b"DUMP", b"HRANDFIELD"})
"""Commands whose replies differ: only the kind and the size are compared."""
ANY_ORDER = frozenset({b"HGETALL", b"SMEMBERS", b"KEYS", b"SCAN"})
AGE = re.compile(rb":\d+\r\n")
"""In the reply of `intent_claim`: milliseconds since an intent was noted."""
NODES = re.compile(rb"(radix-tree-nodes\r\n):\d+")


class Side:
    """What one side has replied earlier."""

    def __init__(self) -> None:
        self._replies: dict[str, list[bytes]] = {"XADD": [], "DUMP": []}

    def resolve(self, words: Words) -> list[bytes]:
        """Return the words of a command as this side is to receive them."""
        return [word if isinstance(word, bytes) else self._earlier(word) for word in words]

    def note(self, words: Words, reply: bytes) -> None:
        """Remember a reply that later commands may refer to."""
        name = words[0].decode("latin-1").upper() if isinstance(words[0], bytes) else ""
        if name in self._replies and reply.startswith(b"$") and (name == "DUMP" or b"*" in words):
            self._replies[name].append(reply[reply.index(b"\r\n") + 2 : -2])

    def _earlier(self, word: Earlier) -> bytes:
        replies = self._replies[word.command]
        return replies[-1 - word.back] if word.back < len(replies) else b"0-1"


class Connection:
    """One connection to both sides."""

    def __init__(self, port: int, model: Model) -> None:
        self.pushed: list[Reply] = []
        self.session: Session = model.session(self.pushed.append)
        self._socket = socket.create_connection(("127.0.0.1", port))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket.settimeout(SECONDS)
        self._values = Values()
        self._waiting: list[bytes] = []

    def send(self, words: Sequence[bytes]) -> None:
        """Send a command to the real server."""
        packed: bytes = hiredis.pack_command(tuple(words))  # type: ignore[arg-type]  # its type allows one word only
        self._socket.sendall(packed)

    def receive(self, count: int) -> list[bytes]:
        """Return the next replies and messages of the real server."""
        while len(self._waiting) < count:
            self._waiting += self._values.feed(self._socket.recv(65_536))
        received, self._waiting = self._waiting[:count], self._waiting[count:]
        return received

    def close(self) -> None:
        self._socket.close()


class Both:
    """The model and a real server, which is emptied at the beginning."""

    def __init__(self, port: int, connections: int = 1) -> None:
        self.model = Model(random.Random(7))
        self.connections = [Connection(port, self.model) for _ in range(connections)]
        self._real, self._modelled = Side(), Side()
        self._jumped = 0.0
        self.run([b"FLUSHALL"])
        self.run([b"SCRIPT", b"FLUSH"])

    def close(self) -> None:
        """Close the connections to the real server."""
        for connection in self.connections:
            connection.close()

    def run(self, words: Words, on: int = 0, kind: bytes = b"") -> bytes:
        """Run a command on both sides; return the model's reply. Fail if the replies differ, or what was pushed.

        ``kind``: what `masked` goes by, if not the command's name.
        """
        asking = self.connections[on]
        self.model.now = time.time() + self._jumped
        reply = self.model.call(asking.session, self._modelled.resolve(words))
        modelled = encode(NULL_ARRAY if isinstance(reply, Blocked) else reply, asking.session.protocol)
        asking.send(self._real.resolve(words))
        real = b"".join(asking.receive(len(list(Values().feed(modelled)))))
        name = words[0].upper() if isinstance(words[0], bytes) else b""
        kind = kind or name
        assert masked(kind, modelled) == masked(kind, real), f"{words!r}: model {modelled!r}, real {real!r}"
        if name in (b"TTL", b"PTTL"):
            _check_near(words, modelled, real)
        self._real.note(words, real)
        self._modelled.note(words, modelled)
        self._compare_pushed()
        return modelled

    def run_script(self, name: str, keys: Words, arguments: Words) -> bytes:
        """Call a script of the project; load it if the server doesn't know it, as the project does."""
        script = Script(name)
        words = [b"EVALSHA", script._digest.encode(), b"%d" % len(keys), *keys, *arguments]
        reply = self.run(words, kind=name.encode())
        if reply.startswith(b"-NOSCRIPT"):
            self.run([b"SCRIPT", b"LOAD", script._source.encode()])
            reply = self.run(words, kind=name.encode())
        return reply

    def jump(self, seconds: float) -> None:
        """Let time pass: the model's clock jumps, and each key of the real server lives for so much less."""
        self.model.now = time.time() + self._jumped
        for key in list(self.model.dump()):
            left = self.model.ttl(key)
            if left is not None:
                self.connections[0].send([b"PEXPIRE", key, b"%d" % ((left - seconds) * 1000)])
                self.connections[0].receive(1)
        self._jumped += seconds

    def compare_all(self) -> None:
        """Compare every key of both sides."""
        self.run([b"KEYS", b"*"])
        self.model.now = time.time() + self._jumped
        for key in list(self.model.dump()):
            for words in (
                [b"TYPE", key], [b"PTTL", key], [b"GET", key], [b"HGETALL", key], [b"LRANGE", key, b"0", b"-1"],
                [b"SMEMBERS", key], [b"ZRANGE", key, b"0", b"-1", b"WITHSCORES"], [b"XRANGE", key, b"-", b"+"],
                [b"XINFO", b"STREAM", key], [b"XINFO", b"GROUPS", key],
            ):  # fmt: skip
                self.run(words)

    def _compare_pushed(self) -> None:
        for connection in self.connections:
            modelled = [encode(message, connection.session.protocol) for message in connection.pushed]
            connection.pushed.clear()
            assert modelled == connection.receive(len(modelled))


def masked(name: bytes, reply: bytes) -> bytes:
    """Return a reply without what may differ; ``name``: of its command or script."""
    if reply.startswith(b"-"):
        return reply
    if name in ANY_VALUE:
        return re.sub(rb"\r\n.*|\d+", b"", reply, flags=re.DOTALL)
    if name in ANY_ORDER:
        return _sorted(name, reply)
    reply = NODES.sub(rb"\1", reply)
    if name == b"intent_claim":
        reply = AGE.sub(b"<age>", reply)
    if name not in EXACT:
        for pattern, stand_in in CLOCK:
            reply = pattern.sub(stand_in, reply)
    return reply


def _sorted(name: bytes, reply: bytes) -> bytes:
    head, _, rest = reply.partition(b"\r\n")
    if name == b"SCAN":
        _, found = Values().feed(rest)
        return b"".join(sorted(words_of(found)))
    if reply[:1] not in b"*%~":
        return reply
    words = words_of(reply)
    if name == b"HGETALL":
        pairs = sorted(zip(words[::2], words[1::2], strict=True))
        words = [word for pair in pairs for word in pair]
    else:
        words.sort()
    joined = head + b"".join([b"$%d\r\n%b\r\n" % (len(word), word) for word in words])
    return masked(b"", joined)


def _check_near(words: Words, modelled: bytes, real: bytes) -> None:
    if modelled.startswith(b":") and real.startswith(b":"):
        assert abs(int(modelled[1:]) - int(real[1:])) <= TOLERANCE_MS, words
