"""Send files and other streams part by part: each part is read when the client has taken the one before.

Django reads all of a synchronous stream into memory before it sends the first byte by ASGI.
"""

from collections.abc import AsyncIterator, Iterator
from typing import Any, cast

from asgiref.sync import sync_to_async
from django.core.handlers.asgi import ASGIHandler
from django.http import FileResponse, StreamingHttpResponse

PART_BYTES = 65_536
"""A part is at least so large, unless it is the last."""


class StreamingHandler(ASGIHandler):
    """Django's handler, without its memory for whole streams."""

    async def send_response(self, response: Any, send: Any) -> None:
        """Send a response; read a synchronous stream in turn with the client."""
        if isinstance(response, StreamingHttpResponse) and not response.is_async:
            parts = _file_parts if isinstance(response, FileResponse) else _parts
            response.streaming_content = parts(cast(Iterator[bytes], response.streaming_content))
        await super().send_response(response, send)


async def _parts(stream: Iterator[bytes]) -> AsyncIterator[bytes]:
    """Read the parts in the request's thread, where it may use the database."""
    while part := await sync_to_async(_next_part)(stream):
        yield part


async def _file_parts(stream: Iterator[bytes]) -> AsyncIterator[bytes]:
    """Read the parts of a file here: that takes less time than the way to a thread."""
    while part := _next_part(stream):
        yield part


def _next_part(stream: Iterator[bytes]) -> bytes:
    """Return the next part; empty at the end."""
    parts, size = [], 0
    for part in stream:
        parts.append(part)
        size += len(part)
        if size >= PART_BYTES:
            break
    return b"".join(parts)
