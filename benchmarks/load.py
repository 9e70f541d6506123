"""Build and drive the load generator `load.c`."""

import asyncio
import json
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

SOURCE = Path(__file__).with_name("load.c")


@cache
def program() -> str:
    """Build the generator if needed and return its path.

    Raises:
        subprocess.CalledProcessError: there is no C compiler, or it fails.
    """
    built = Path(tempfile.mkdtemp(prefix="bench-load-")) / "load"
    subprocess.run(["cc", "-O2", "-Wall", "-Wextra", "-Werror", "-o", str(built), str(SOURCE)], check=True)
    return str(built)


@dataclass(frozen=True)
class Report:
    """What the generator measured since the last reset: latencies in milliseconds, ``cpu`` in seconds since start."""

    received: int
    bytes: int
    unordered: int
    closed: int
    code: int
    refused: int
    ready: int
    ready_seconds: float
    acked: int
    failed: int
    cpu: float
    delivery: dict[str, float]
    ack: dict[str, float]
    becoming_ready: dict[str, float]


class Load:
    """Connections to 127.0.0.1, opened by `open`."""

    def __init__(self, port: int, path: str, connections: int, *, stalled: int = 0, **options: str | int) -> None:
        self.connections = connections
        self.listening = connections - stalled
        self._arguments = [str(port), path, str(connections), "--stalled", str(stalled)]
        for name, value in options.items():
            self._arguments += [f"--{name.replace('_', '-')}", str(value)]
        self._reports: asyncio.Queue[Report] = asyncio.Queue()
        self.done = 0
        """The number of times the generator has counted `step` deliveries."""
        self.progress = asyncio.Event()

    async def open(self, first: Sequence[str] = (), seconds: float = 120) -> Report:
        """Open all connections and return when each is ready; ``first`` holds the first frame of each."""
        arguments = list(self._arguments)
        if first:
            path = Path(program()).with_name(f"first-{id(self)}")
            path.write_text("\n".join(first) + "\n")
            arguments += ["--first", str(path)]
        self._process = await asyncio.create_subprocess_exec(
            program(), *arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, limit=1 << 20
        )
        self.pid = self._process.pid
        self._reader = asyncio.create_task(self._read())
        async with asyncio.timeout(seconds):
            return await self._reports.get()

    async def report(self) -> Report:
        self._command("report")
        async with asyncio.timeout(30):
            return await self._reports.get()

    def reset(self) -> None:
        self._command("reset")

    def send(self, rate: float, count: int) -> None:
        """Let the connections send ``rate`` frames per second; 0: each sends the next after its answer."""
        self._command(f"send {rate} {count}")

    async def wait_for_progress(self, seconds: float) -> bool:
        """Return whether another `step` of deliveries was counted in time."""
        self.progress.clear()
        try:
            async with asyncio.timeout(seconds):
                await self.progress.wait()
        except TimeoutError:
            return False
        return True

    async def close(self) -> None:
        self._process.stdin.close()  # type: ignore[union-attr]
        await self._process.wait()
        await self._reader

    def _command(self, line: str) -> None:
        self._process.stdin.write(f"{line}\n".encode())  # type: ignore[union-attr]

    async def _read(self) -> None:
        output: Any = self._process.stdout
        while line := await output.readline():
            if line == b"done\n":
                self.done += 1
                self.progress.set()
                continue
            fields = json.loads(line)
            del fields["event"]
            self._reports.put_nowait(Report(**fields))
