"""`make fuzz FRAMES=`: frames of every kind of nonsense, from Hypothesis, against a real gateway.

Never an answer 500, a traceback, a dead process or growing memory; every answer is a frame of ours, and the gateway
goes on serving a well-behaved client. How long that client waits is judged by the command alone.

python -m tests.abuse.fuzz --frames 1000000 --seed 7
"""

import argparse
import asyncio
import json
import os
import random
import sys
import tempfile
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings.test")

import django

django.setup()

from hypothesis import HealthCheck, Phase, given, seed, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402

from tests.abuse.beside import SLOWEST_SECONDS  # noqa: E402
from tests.support.chat import Chat, new_user  # noqa: E402
from tests.support.client import make_token  # noqa: E402
from tests.support.raw import BINARY, CLOSE, TEXT, RawSocket, raw_socket  # noqa: E402
from tests.support.stack import Gateway, Stack  # noqa: E402

DRAWN, VARIANTS = 10, 4
"""Frames of one example that Hypothesis draws, and how many are made of each by changing it here and there."""
EACH = DRAWN * (1 + VARIANTS)
PIECES = [
    '"', "{", "}", "[", ",", ":", "\\", "\\u0000", "\\ud800", "null", "-1", "1e999", "\0", "𝄞",
    '"type":"ping",', '"data":{}',
]  # fmt: skip
TYPES = [
    "ping", "auth", "send_message", "mark_read", "join_group", "leave_group", "typing", "presence", "history",
    "new_message",
]  # fmt: skip
FIELDS = [
    "token", "resume", "group_id", "message_id", "msg_type", "content", "image_url", "type", "data", "timestamp",
    "feed", "epoch", "offset", "typing", "before_id", "limit",
]  # fmt: skip
OURS = {1011, 4500, 4501, 4502, 4503, 4508, 4529}
"""Close codes that say that something of ours went wrong; others answer the frame."""
GROWTH = 40_000_000
"""Bytes that a gateway may take while it gets to know what nonsense there is."""
STOP_SECONDS = 120.0
"""Most seconds to wait for the gateway's end; it only catches a hang."""
UNLIMITED = {
    "CHATWS_FRAMES_PER_SECOND": "0", "CHATWS_BYTES_PER_SECOND": "0", "CHATWS_SENDS_PER_SECOND": "0",
    "CHATWS_CONNECTIONS_PER_USER": "0", "CHATWS_ACCEPTS_PER_SECOND": "0",
    "CHATWS_BAD_FRAMES_PER_MINUTE": "1000000000",
}  # fmt: skip

texts = st.text(max_size=30) | st.sampled_from(
    ["", "\0", "\ud800".encode("utf-8", "surrogatepass").decode("latin-1"), "𝄞" * 9]
)
numbers = st.integers() | st.floats() | st.sampled_from([0, -1, 2**31, 2**53, 2**63, 2**64, 10**400, 1e308])
scalars = st.none() | st.booleans() | numbers | texts
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(FIELDS) | texts, inner, max_size=4),
    max_leaves=8,
)  # fmt: skip


def frames(group: str, token: str) -> st.SearchStrategy[tuple[int, bytes]]:
    """Opcode and payload: near what is right, and far from it."""
    groups = st.just(group) | texts | values
    data = st.fixed_dictionaries(
        {},
        optional={
            "token": st.just(token) | texts | values, "group_id": groups,
            "msg_type": st.sampled_from([1, 2, 3, 0, -1]) | values,
            "content": texts | values, "image_url": st.just("https://a.example/b.png") | texts | values,
            "message_id": texts | values,
            "resume": st.dictionaries(
                st.just(f"group:{group}") | texts,
                st.fixed_dictionaries({}, optional={"epoch": texts | values, "offset": numbers | values}), max_size=3,
            ) | values,
        },
    )  # fmt: skip
    near = st.fixed_dictionaries(
        {"type": st.sampled_from(TYPES)},
        optional={"message_id": texts | values, "timestamp": numbers | values, "data": data | values},
    )
    as_text = st.one_of(near, values).map(lambda value: json.dumps(value).encode())
    broken = st.tuples(as_text, st.integers(0, 200), st.text(max_size=3)).map(
        lambda t: b"".join(
            part.decode(errors="ignore").encode() for part in (t[0][: t[1]], t[2].encode(), t[0][t[1] :])
        )
    )
    deep = st.integers(1, 30_000).map(lambda depth: b'{"type":"ping","data":' + b"[" * depth)
    right = st.one_of(
        st.fixed_dictionaries({
            "type": st.just("send_message"),
            "data": st.fixed_dictionaries(
                {"group_id": st.just(group) | texts, "msg_type": st.sampled_from([1, 2, 9]), "content": texts},
                optional={"image_url": texts},
            ),
        }),
        st.sampled_from([
            {"type": "auth", "data": {"token": token}}, {"type": "join_group", "data": {"group_id": group}},
            {"type": "leave_group", "data": {"group_id": group}}, {"type": "ping"},
            {"type": "mark_read", "data": {"group_id": group, "message_id": "m"}},
            {"type": "typing", "data": {"group_id": group, "typing": True}},
            {"type": "presence", "data": {"group_id": group}},
            {"type": "history", "data": {"group_id": group, "before_id": "m", "limit": 5}},
        ]),
    ).map(lambda value: json.dumps(value).encode())  # fmt: skip
    some = st.tuples(st.just(TEXT), st.one_of(as_text, as_text, as_text, right, broken, broken, deep))
    return some | st.tuples(st.just(BINARY), st.binary(max_size=60))


ENDS = st.tuples(st.just(TEXT), st.binary(max_size=60)) | st.tuples(st.integers(0, 15), st.binary(max_size=130))
"""Frames of which most end a connection."""


def varied(rng: random.Random, frame: tuple[int, bytes]) -> tuple[int, bytes]:
    """The frame with something cut out, said twice, put in or exchanged; text stays UTF-8."""
    opcode, payload = frame
    text = payload.decode(errors="replace")
    for _ in range(rng.randint(1, 3)):
        a, b = sorted((rng.randint(0, len(text)), rng.randint(0, len(text))))
        how = rng.randrange(4)
        if how == 0:
            text = text[:a] + text[b:]
        elif how == 1:
            text = text[:b] + text[a:]
        elif how == 2:
            text = text[:a] + rng.choice(PIECES) + text[a:]
        else:
            text = text[:a] + rng.choice(PIECES) + text[b:]
    return opcode, text[:60_000].encode()


@dataclass
class Fuzz:
    """What was sent and what came of it."""

    gateway: Gateway
    sent: int = 0
    answers: Counter[str] = field(default_factory=Counter)
    closes: Counter[int] = field(default_factory=Counter)
    slowest: float = 0.0
    watched: int = 0
    """Answers to the well-behaved client, and the seconds that the slowest took."""

    async def example(self, user: int, some: list[tuple[int, bytes]], last: tuple[int, bytes]) -> None:
        """Send frames, of which none ends a connection, then one that may; whatever comes back is looked at."""
        async with raw_socket(self.gateway.port, user) as raw:
            for opcode, payload in some:
                raw.send(opcode, payload)
            assert await self._is_served(raw), "a frame that is wrong in its meaning ended the connection"
            with suppress(ConnectionError):
                raw.send(*last)
                await self._is_served(raw)
        self.sent += len(some) + 1

    async def _is_served(self, raw: RawSocket) -> bool:
        """Read what comes before the answer to a ping that is sent now; whether that came."""
        raw.send(TEXT, b'{"type":"ping","message_id":"the end"}')
        while True:
            try:
                opcode, payload = await raw.frame()
            except (asyncio.IncompleteReadError, ConnectionError):
                self.closes[1006] += 1
                return False
            if opcode == CLOSE:
                code = int.from_bytes(payload[:2]) if payload else 1005
                assert code not in OURS, code
                self.closes[code] += 1
                return False
            if opcode != TEXT:
                continue
            frame = json.loads(payload)
            if frame["type"] == "pong" and frame["message_id"] == "the end":
                return True
            kind = frame["type"]
            if kind == "error":
                kind = f"error {frame['data']['code']}"
                assert frame["data"]["code"] != 500, frame
            self.answers[kind] += 1

    async def watch(self, user: int) -> None:
        """A well-behaved client, which is answered all the while."""
        async with raw_socket(self.gateway.port, user) as raw:
            while True:
                began = time.monotonic()
                raw.send(TEXT, b'{"type":"ping"}')
                await raw.until("pong")
                self.slowest = max(self.slowest, time.monotonic() - began)
                self.watched += 1
                await asyncio.sleep(0.2)

    @property
    def rss(self) -> int:
        """Bytes of memory that the gateway holds."""
        pages = int(Path(f"/proc/{self.gateway.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")


def run(count: int, number: int, folder: Path) -> tuple[Fuzz, list[int]]:
    """Send so many frames; what was seen, and the gateway's memory along the way. Raises on a broken promise."""
    stack = Stack(folder, **UNLIMITED)
    memory: list[int] = []
    with asyncio.Runner() as runner:
        try:
            fuzz = Fuzz(stack.start())
            user = new_user()
            group = runner.run(_group(stack, user))
            token = make_token(user, 86_400)
            watching = runner.get_loop().create_task(fuzz.watch(new_user()))

            @seed(number)
            @settings(
                max_examples=max(count // EACH, 1), deadline=None, database=None, phases=[Phase.generate],
                suppress_health_check=list(HealthCheck),
            )  # fmt: skip
            @given(st.lists(frames(group, token), min_size=DRAWN, max_size=DRAWN), st.integers(0, 2**32), ENDS)
            def examples(drawn: list[tuple[int, bytes]], dice: int, last: tuple[int, bytes]) -> None:
                before = fuzz.sent // 1_000
                rng = random.Random(dice)
                some = [varied(rng, frame) if variant else frame for frame in drawn for variant in range(1 + VARIANTS)]
                rng.shuffle(some)
                runner.run(fuzz.example(user, some[1:], last))
                assert not watching.done(), watching.result()
                if fuzz.sent // 1_000 > before:
                    memory.append(fuzz.rss)

            examples()
            watching.cancel()
            assert fuzz.gateway.running
            runner.run(asyncio.to_thread(fuzz.gateway.stop, seconds=STOP_SECONDS))
            log = fuzz.gateway.log.read_text()
            assert "Traceback" not in log, log[-4_000:]
            assert max(memory) - memory[0] < GROWTH, f"the gateway's memory along the way: {memory}"
            assert fuzz.watched > 0, "the well-behaved client was not answered"
        except Exception as error:
            for process in stack.processes:
                if "Traceback" in (log := process.log.read_text()):
                    error.add_note(f"{process.name} said: … {log[log.index('Traceback') :][:4_000]}")
            raise
        finally:
            stack.stop()
    return fuzz, memory


async def _group(stack: Stack, user: int) -> str:
    chat = Chat(stack.rpc_target)
    try:
        group = await chat.group(new_user(), user)
        await chat.say(group, user, "to be read", "m")
        return group
    finally:
        await chat.close()


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m tests.abuse.fuzz", description=__doc__)
    parser.add_argument("--frames", type=int, default=100_000, help="how many (default: 100,000)")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        fuzz, memory = run(options.frames, options.seed, Path(folder))
    sys.stdout.write(table(fuzz, memory, time.monotonic() - began))
    if fuzz.slowest >= SLOWEST_SECONDS:
        sys.exit(f"a well-behaved client waited for {fuzz.slowest:.1f} s")


def table(fuzz: Fuzz, memory: list[int], seconds: float) -> str:
    """The run in Markdown."""
    sizes = memory[0], max(memory), memory[-1]
    out: list[tuple[str, Any]] = [
        ("frames sent", f"{fuzz.sent:,}"), ("seconds", f"{seconds:.0f}"),
        *((f"answers: {kind}", f"{number:,}") for kind, number in fuzz.answers.most_common()),
        *((f"connections ended: {code}", f"{number:,}") for code, number in fuzz.closes.most_common()),
        ("memory of the gateway: first, highest, last", ", ".join(f"{size / 1e6:.0f} MB" for size in sizes)),
        ("slowest answer to a well-behaved client", f"{fuzz.slowest * 1000:.0f} ms"),
    ]  # fmt: skip
    return "".join(f"| {name} | {value} |\n" for name, value in out)


if __name__ == "__main__":
    main()
