"""Find the client's address behind proxies."""

import ipaddress
from collections.abc import Iterable

from realtime.conf import Network


def forwarded_for(headers: Iterable[tuple[bytes, bytes]]) -> str:
    """Return all `X-Forwarded-For` headers as one, in their order."""
    return ",".join(value.decode("latin-1") for name, value in headers if name == b"x-forwarded-for")


def client_address(peer: str, forwarded: str, trusted: Iterable[Network]) -> str:
    """Return the address of the client: the peer's, or the one that trusted proxies name in ``X-Forwarded-For``.

    The header is read from the right, up to the first address that is not a trusted proxy's. A part that is not an
    address comes from a client and ends the search.
    """
    proxies = list(trusted)
    address = peer
    for part in reversed(forwarded.split(",")):
        if not _is_in(address, proxies):
            break
        try:
            address = str(ipaddress.ip_address(part.strip()))
        except ValueError:
            break
    return address


def _is_in(address: str, networks: Iterable[Network]) -> bool:
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return False
    return any(parsed in network for network in networks)
