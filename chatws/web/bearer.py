"""The bearer token of an HTTP request (RFC 6750)."""


def bearer_token(header: str) -> str:
    """The token of an `Authorization` header; empty if it holds none."""
    scheme, _, token = header.partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""
