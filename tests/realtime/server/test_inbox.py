"""Check the queue of a connection's frames: its order and its size in memory."""

import sys

from realtime.server.inbox import Inbox


async def test_inbox_knows_the_memory_of_waiting_frames() -> None:
    inbox = Inbox()
    contents: list[str | bytes] = ["a" * 100, "\N{GRINNING FACE}" * 100, b"b" * 50]
    for content in contents:
        inbox.put_nowait({"type": "websocket.receive", "text" if isinstance(content, str) else "bytes": content})
    assert (inbox.qsize(), inbox.size) == (3, sum(map(sys.getsizeof, contents)))
    for content in contents:
        assert content in (await inbox.get()).values()
    assert (inbox.qsize(), inbox.size) == (0, 0)
