"""The bearer token of an HTTP request (RFC 6750)."""


def bearer_token(header: str) -> str:
    """Return the token of an `Authorization` header; empty if it has none."""
    scheme, _, token = header.partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""
