"""Generate random ids for connections, epochs and nodes."""

import secrets
import socket


def new_connection_id() -> str:
    """Return 128 random bits as 22 URL-safe characters."""
    return secrets.token_urlsafe(16)


def new_epoch() -> str:
    """Return 96 random bits as 16 URL-safe characters; a feed's log gets a new epoch when it was lost."""
    return secrets.token_urlsafe(12)


def new_node_name() -> str:
    """Return the host name and 32 random bits, so that processes of a host have different names."""
    return f"{socket.gethostname()}-{secrets.token_hex(4)}"
