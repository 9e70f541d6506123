"""Read IP addresses in the forms that proxies write, and group addresses for limits."""

import ipaddress
import re
from collections.abc import Iterable

from realtime.conf import Network

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

IN_BRACKETS = re.compile(r"\[([^\[\]]*)\](?::\d{1,5})?")
WITH_PORT = re.compile(r"([0-9.]+):\d{1,5}")
CUSTOMER_PREFIX = 64
"""Prefix length of the IPv6 network that a provider gives to one customer at least."""
NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
"""RFC 6052: the last 32 bits are an IPv4 address."""


def parse_address(text: str) -> Address | None:
    """Return the address in ``text``; None if there is none, as in `unknown` or an obfuscated name (RFC 7239).

    It may have quotes, spaces, a port, brackets (IPv6) or a zone, which are dropped. An IPv4-mapped IPv6 address is
    returned as IPv4.
    """
    text = text.strip(" \t\"'")
    if found := IN_BRACKETS.fullmatch(text) or WITH_PORT.fullmatch(text):
        text = found[1]
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address


def is_in(text: str, networks: Iterable[Network]) -> bool:
    """Return whether ``text`` is an address in one of the networks."""
    address = parse_address(text)
    return address is not None and any(address in network for network in networks)


def limit_key(text: str) -> str:
    """Return the key under which an address is limited: IPv4 by address, IPv6 by its /64 network.

    The key of anything else is the text itself.
    """
    address = parse_address(text)
    if address is None:
        return text
    if isinstance(address, ipaddress.IPv4Address):
        return str(address)
    if address in NAT64:
        return str(ipaddress.IPv4Address(int(address) & 0xFFFF_FFFF))
    return str(ipaddress.IPv6Network((address, CUSTOMER_PREFIX), strict=False))
