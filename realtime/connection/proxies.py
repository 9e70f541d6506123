"""The client's address, where a proxy stands before the gateway."""

import ipaddress
from collections.abc import Iterable

from realtime.conf import Network


def forwarded_for(headers: Iterable[tuple[bytes, bytes]]) -> str:
    """All `X-Forwarded-For` headers as one, in their order."""
    return ",".join(value.decode("latin-1") for name, value in headers if name == b"x-forwarded-for")


def client_address(peer: str, forwarded: str, trusted: Iterable[Network]) -> str:
    """Whose connection it is: the peer, or what trusted proxies say of it in ``X-Forwarded-For``.

    Read from the right: the first address that isn't a proxy's. What isn't an address at all, a client made up.
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
