"""Random names: connections, epochs, nodes."""

import secrets
import socket


def new_connection_id() -> str:
    """128 random bits as 22 URL-safe characters."""
    return secrets.token_urlsafe(16)


def new_epoch() -> str:
    """96 random bits as 16 URL-safe characters; names one life of a feed's log."""
    return secrets.token_urlsafe(12)


def new_node_name() -> str:
    """Host name and 32 random bits: unlike any earlier process of the same host."""
    return f"{socket.gethostname()}-{secrets.token_hex(4)}"
