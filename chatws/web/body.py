"""Refuse HTTP requests with too large a body, on any ASGI server.

Our own server refuses them before (`realtime.server.http`). Here it is for servers that pass a body on as it arrives.
"""

from collections.abc import Awaitable, Callable
from typing import Any

Application = Callable[[dict[str, Any], Any, Any], Awaitable[None]]
REFUSED = b"Request Entity Too Large\n"


def limited(inner: Application, most: int) -> Application:
    """Return an application that serves requests by ``inner``, and those with more than ``most`` bytes by a 413."""

    async def application(scope: dict[str, Any], receive: Any, send: Any) -> None:
        declared = dict(scope["headers"]).get(b"content-length", b"")
        if declared.isdigit() and (len(declared) > 18 or int(declared) > most):
            await _refuse(send)
            return
        received, is_refused = 0, False

        async def receive_limited() -> Any:
            nonlocal received, is_refused
            message = await receive()
            received += len(message.get("body", b""))
            if received > most and not is_refused:
                is_refused = True
                await _refuse(send)
            return {"type": "http.disconnect"} if is_refused else message

        await inner(scope, receive_limited, send)

    return application


async def _refuse(send: Any) -> None:
    headers = [(b"content-type", b"text/plain"), (b"content-length", b"%d" % len(REFUSED)), (b"connection", b"close")]
    await send({"type": "http.response.start", "status": 413, "headers": headers})
    await send({"type": "http.response.body", "body": REFUSED})
