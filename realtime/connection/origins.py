"""Normalise the origins of web pages (RFC 6454) and look them up among the allowed ones."""

import re
from collections.abc import Collection
from ipaddress import IPv6Address
from urllib.parse import urlsplit

DEFAULT_PORTS = {"http": 80, "https": 443}
ANY = "*"
_HOST = re.compile(r"(?:\*\.)?[a-z0-9_-]+(?:\.[a-z0-9_-]+)*\.?")


def normalised(origin: str) -> str:
    """Return an origin as browsers write it: in lower case, without a default port and a final slash.

    The host may begin with a wildcard label, as in ``https://*.example.com``.

    Raises:
        ValueError: the text is no origin, or its host is not ASCII; the text of the error says why.
    """
    parts = urlsplit(origin.strip().lower())
    if parts.scheme == "file" and not parts.netloc:
        return "file://"
    host = parts.hostname
    if not parts.scheme or not host:
        raise ValueError("it is not scheme://host or scheme://host:port")
    if parts.path.strip("/") or parts.query or parts.fragment or "@" in parts.netloc:
        raise ValueError("an origin has no user, path or query")
    if ":" in host:
        host = f"[{IPv6Address(host)}]"
    elif not _HOST.fullmatch(host):
        raise ValueError("the host has characters that no host name has")
    is_default = parts.port is None or parts.port == DEFAULT_PORTS.get(parts.scheme)
    return f"{parts.scheme}://{host}" if is_default else f"{parts.scheme}://{host}:{parts.port}"


def is_listed(origin: str, allowed: Collection[str]) -> bool:
    """Return whether an origin is among the allowed ones, which are normalised; `*` allows any.

    The wildcard of ``https://*.example.com`` matches one label. The origin ``null`` of sandboxed and local pages is
    never listed: every site can make such a page.
    """
    if ANY in allowed:
        return True
    try:
        origin = normalised(origin.replace(ANY, " "))  # a wildcard is for the setting only
    except ValueError:
        return False
    scheme, _, host = origin.partition("://")
    return origin in allowed or f"{scheme}://*.{host.partition('.')[2]}" in allowed
