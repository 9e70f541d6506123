"""Find the client's address behind proxies."""

from collections.abc import Iterable, Mapping
from typing import Any

from realtime.addresses import is_in, parse_address
from realtime.conf import Network


def client_address_of(scope: Mapping[str, Any], trusted: Iterable[Network]) -> str:
    """Return the address of the client of an HTTP or WebSocket scope; empty if it is not known.

    Over a Unix socket the peer has no address. It is a process of this machine, so its header is trusted.
    """
    client = scope.get("client")
    return client_address(str(client[0]) if client else "", forwarded_for(scope["headers"]), trusted)


def forwarded_for(headers: Iterable[tuple[bytes, bytes]]) -> str:
    """Return all `X-Forwarded-For` headers as one, in their order."""
    return ",".join(value.decode("latin-1") for name, value in headers if name == b"x-forwarded-for")


def client_address(peer: str, forwarded: str, trusted: Iterable[Network]) -> str:
    """Return the address of the client: the peer's, or the one that trusted proxies name in ``X-Forwarded-For``.

    An empty ``peer`` is a trusted one. The header is read from the right, up to the first address that is not a trusted
    proxy's. Empty parts are skipped. A part that is not an address comes from a client and ends the search.
    """
    proxies = list(trusted)
    known = parse_address(peer)
    address = peer if known is None else str(known)
    for part in reversed(forwarded.split(",")):
        if address and not is_in(address, proxies):
            break
        if not part.strip():
            continue
        found = parse_address(part)
        if found is None:
            break
        address = str(found)
    return address
