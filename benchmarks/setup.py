"""Start a server under test with its connections, and find the peers that are installed here."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from typing import Any

from benchmarks.load import Load
from benchmarks.machine import Bench
from benchmarks.servers import Nchan, NodeWs, Server, Tutorial

Make = Callable[[Bench], Server]

TUTORIAL = "tutorial, core layer"


def peers() -> dict[str, Make]:
    """Return the peers that are installed here; print why another is left out."""
    found: dict[str, Make] = {
        name: (lambda bench, name=name: Tutorial(bench, name))  # type: ignore[misc]
        for name in Tutorial.layers
    }
    for name, kind in (("Node ws", NodeWs), ("nchan", Nchan)):
        problem = kind.install()
        if problem:
            print(f"left out: {name}: {problem}")
        else:
            found[name] = kind
    return found


@asynccontextmanager
async def opened(
    make: Make, connections: int, *, users: Iterable[int] | None = None, stalled: int = 0, **options: Any
) -> AsyncIterator[tuple[Any, Load, Bench]]:
    """Start a server and open so many connections; yield one second after the last is ready."""
    with Bench() as bench:
        server = make(bench)
        if server.ready:
            options["ready"] = server.ready
        load = Load(server.port, server.path, connections, stalled=stalled, **{"at_once": 50, **options})
        first = server.first(list(users or range(1, connections + 1)))
        report = await load.open(first)
        assert report.refused == 0, f"{server.name}: {report.refused} of {connections} were refused"
        await asyncio.sleep(1)
        try:
            yield server, load, bench
        finally:
            await load.close()
            await server.close()
