"""Read token, origin and address of a handshake into `scope["user"]` and `scope["handshake"]`.

The middleware never refuses a handshake: the connection is accepted, told why, and closed, so that a browser sees the
reason.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl

from django.conf import settings
from django.http.request import split_domain_port, validate_host

from realtime.auth.principal import Principal
from realtime.conf import RealtimeConf
from realtime.connection.origins import is_listed, normalised
from realtime.connection.proxies import client_address_of
from realtime.exceptions import AuthenticationError, TransientError

MAX_USER_AGENT = 256
"""Most characters of a user agent that are kept, in this process and in the audit."""
Scope = dict[str, Any]
Application = Callable[[Scope, Any, Any], Awaitable[None]]
Authenticate = Callable[[str], Awaitable[Principal]]
"""Raises `AuthenticationError` or `TransientError`."""


@dataclass(frozen=True, slots=True)
class Handshake:
    """What the HTTP request says. ``auth_method``: how a token came (empty: none), then its principal or failure."""

    auth_method: str = ""
    principal: Principal | None = None
    failure: AuthenticationError | TransientError | None = None
    subprotocol: str | None = None
    origin_allowed: bool = True
    address: str = ""
    user_agent: str = ""


class JWTAuthMiddleware:
    """Resolves the JWT user of a WebSocket handshake, from a token in header, subprotocol or query."""

    def __init__(self, inner: Application, authenticate: Authenticate, conf: RealtimeConf) -> None:
        self._inner = inner
        self._authenticate = authenticate
        self._conf = conf

    async def __call__(self, scope: Scope, receive: Any, send: Any) -> None:
        handshake = await read_handshake(scope, self._authenticate, self._conf)
        # Not a copy, and without the headers: a socket's scope stays as long as the socket.
        scope |= {"handshake": handshake, "user": handshake.principal, "query_string": b"", "headers": ()}
        await self._inner(scope, receive, send)


async def read_handshake(scope: Scope, authenticate: Authenticate, conf: RealtimeConf) -> Handshake:
    """Return the handshake of a WebSocket scope. A token that is not accepted is in ``failure``; nothing is raised."""
    headers: dict[bytes, bytes] = dict(scope["headers"])
    auth_method, token, subprotocol = _find_token(headers, scope, conf)
    principal, failure = None, None
    if auth_method:
        try:
            principal = await authenticate(token)
        except (AuthenticationError, TransientError) as error:
            failure = error
    return Handshake(
        auth_method=auth_method,
        principal=principal,
        failure=failure,
        subprotocol=subprotocol,
        origin_allowed=origin_allowed(_latin(headers, b"origin"), _latin(headers, b"host"), conf.allowed_origins),
        address=client_address_of(scope, conf.trusted_proxies),
        user_agent=_latin(headers, b"user-agent")[:MAX_USER_AGENT],
    )


def origin_allowed(origin: str, host: str, allowed: tuple[str, ...]) -> bool:
    """Return whether a page of this origin may open a socket.

    Allowed are: no origin, one of the setting, and the request's own host if Django serves that name.
    """
    if not origin or is_listed(origin, allowed):
        return True
    try:
        own = normalised(f"{origin.partition(':')[0]}://{host}")  # the scheme is the proxy's business
        is_own = normalised(origin) == own
    except ValueError:
        return False
    # An attacker's host name may point to this server as well.
    return is_own and validate_host(split_domain_port(host)[0], settings.ALLOWED_HOSTS)


def _find_token(headers: dict[bytes, bytes], scope: Scope, conf: RealtimeConf) -> tuple[str, str, str | None]:
    """Return how the first token comes, the token, and the subprotocol to answer with. An empty token is none."""
    offered = list(scope.get("subprotocols") or ())
    subprotocol = "bearer" if "bearer" in offered else None
    scheme, _, token = _latin(headers, b"authorization").partition(" ")
    if scheme.lower() == "bearer" and token.strip():
        return "header", token.strip(), subprotocol
    if offered[:1] == ["bearer"] and len(offered) > 1 and offered[1].strip():
        return "subprotocol", offered[1], subprotocol
    if conf.query_token:
        for name, value in parse_qsl(scope.get("query_string", b"").decode("latin-1")):
            if name == "token" and value.strip():
                return "query", value, subprotocol
    return "", "", subprotocol


def _latin(headers: dict[bytes, bytes], name: bytes) -> str:
    return headers.get(name, b"").decode("latin-1")
