"""Serve an application below a path of its host (`CHATWS_URL_PREFIX`), whether or not the proxy strips that path."""

from collections.abc import Awaitable, Callable
from typing import Any

Application = Callable[[dict[str, Any], Any, Any], Awaitable[None]]


def below(prefix: str, inner: Application) -> Application:
    """Return an application that takes ``prefix`` off the path of each scope; without one, the server's root path.

    ``inner`` sees paths as without a prefix. The `root_path` of its HTTP scopes is the prefix; `with_root` puts both
    together again for Django. A path without the prefix is served as well: a probe or a proxy may come without it.
    """

    async def application(scope: dict[str, Any], receive: Any, send: Any) -> None:
        if scope["type"] != "lifespan":
            root = prefix or scope.get("root_path", "").rstrip("/")
            path = scope["path"]
            if root and (path == root or path.startswith(f"{root}/")):
                path = path.removeprefix(root)
            # Channels would look for the root path at the beginning of a WebSocket's path.
            scope |= {"path": path or "/", "root_path": root if scope["type"] == "http" else ""}
        await inner(scope, receive, send)

    return application


def with_root(scope: dict[str, Any]) -> dict[str, Any]:
    """Return an HTTP scope as ASGI has it: its path begins with its root path."""
    return {**scope, "path": scope.get("root_path", "") + scope["path"]}
