"""`python -m tests.simulation.contract_application` is our server with an application that does what frames tell it to.

A connection's frame names what the application does there; ``codes`` answers with the codes of all connections that
ended, by the name that each connection gave itself.
"""

import json
from contextlib import suppress
from typing import Any

codes: dict[str, int] = {}


async def application(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """Serve one connection."""
    if scope["type"] == "http":
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]})
        await send({"type": "http.response.body"})
        return
    if scope["type"] != "websocket":
        await receive()  # the lifespan
        await receive()
        return
    await receive()
    await send({"type": "websocket.accept", "subprotocol": None})
    name = ""
    while (message := await receive())["type"] == "websocket.receive":
        what, _, content = (message.get("text") or "").partition(" ")
        if what == "name":
            name = content
        elif what == "close":
            await send({"type": "websocket.close", "code": int(content)})
            await _say(send, "behind the close frame")
        elif what == "burst":
            for number in range(int(content)):
                await _say(send, f"{number} ".ljust(1_000, "x"))
        elif what == "codes":
            await _say(send, json.dumps(codes))
        elif what == "fail":
            raise ValueError("the application fails")
        else:
            await _say(send, message.get("text"))
    codes[name] = message["code"]


async def _say(send: Any, text: str | None) -> None:
    with suppress(Exception):  # servers differ in what they raise once the connection is closing
        await send({"type": "websocket.send", "text": text})


if __name__ == "__main__":
    from realtime.server.__main__ import CommandLine

    CommandLine.load_asgi_app = lambda self, path: application
    CommandLine.entrypoint()
