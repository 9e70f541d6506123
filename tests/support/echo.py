"""`python -m tests.support.echo` is our server with an application that sends every WebSocket message back."""

from typing import Any

from realtime.server.__main__ import CommandLine


async def echo(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """Answer HTTP with 200, and each message with itself."""
    if scope["type"] == "http":
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]})
        await send({"type": "http.response.body"})
        return
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.accept"})
    while (message := await receive())["type"] not in ("websocket.disconnect", "lifespan.shutdown"):
        if message["type"] == "websocket.receive":
            await send({**message, "type": "websocket.send"})


if __name__ == "__main__":
    CommandLine.load_asgi_app = lambda self, path: echo
    CommandLine.entrypoint()
