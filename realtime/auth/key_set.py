"""Fetch a key set (JWKS) from a URL, within bounds of size and time, and read its usable keys."""

import json
import logging
import time
import urllib.request
from collections.abc import Iterator
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

logger = logging.getLogger(__name__)

FETCH_SECONDS = 5.0
"""Longest wait for one part of the answer, and for the answer's end once it has begun."""
MAX_BYTES = 1_000_000
USER_AGENT = "chatws (key set)"  # some endpoints refuse urllib's own name


def fetch(url: str) -> list[tuple[str, str, Any]]:
    """Return the usable keys at a URL, each with its id, its algorithm and its public key.

    Raises:
        OSError, HTTPException: the URL can't be read in time.
        ValueError, RecursionError: the answer is too long, is no key set, or has no usable key.
    """
    keys = list(_usable(json.loads(_read(url))))
    if not keys:
        raise ValueError("the key set has no usable key")
    return keys


def shown(url: str) -> str:
    """Return a URL for messages: without user, password and query."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def algorithm_of(key: object) -> str:
    """Return the algorithm that a public key verifies.

    Raises:
        ValueError: the key is of a kind or size that is not accepted.
    """
    if isinstance(key, rsa.RSAPublicKey) and key.key_size >= 2048:
        return "RS256"
    if isinstance(key, ec.EllipticCurvePublicKey) and isinstance(key.curve, ec.SECP256R1):
        return "ES256"
    if isinstance(key, ed25519.Ed25519PublicKey):
        return "EdDSA"
    raise ValueError("not a public key for RS256 (2048 bits or more), ES256 (P-256) or EdDSA (Ed25519)")


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follow redirects, but not from https to an address that anybody on the way could answer for."""

    def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Any:
        before, after = urlsplit(req.full_url), urlsplit(newurl)
        if after.scheme != "https" and (before.scheme, before.hostname) != (after.scheme, after.hostname):
            raise URLError(f"redirected to {shown(newurl)}, which is not https")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _read(url: str) -> bytearray:
    request = urllib.request.Request(url, headers={"User-Agent": USER_AGENT, "Accept": "application/json"})  # noqa: S310  # settings accept http(s) only
    body = bytearray()
    try:
        opened = urllib.request.build_opener(_Redirects).open(request, timeout=FETCH_SECONDS)
    except HTTPError as error:
        error.close()  # it holds the connection
        raise
    with opened as answer:
        deadline = time.monotonic() + FETCH_SECONDS
        while part := answer.read1(65_536):
            body += part
            if len(body) > MAX_BYTES:
                raise ValueError(f"the answer is longer than {MAX_BYTES} bytes")
            if time.monotonic() > deadline:
                raise TimeoutError("the answer did not end in time")
    return body


def _usable(document: Any) -> Iterator[tuple[str, str, Any]]:
    if not isinstance(document, dict) or not isinstance(document.get("keys"), list):
        raise ValueError("not a key set")
    for raw in document["keys"]:
        try:
            key = jwt.PyJWK.from_dict(raw).key
            algorithm = algorithm_of(key)
        except Exception as error:  # whatever one key is made of, the set may hold usable ones
            logger.debug("a key of the key set is not usable: %s", error)
        else:
            if (raw.get("use") or "sig") == "sig" and (raw.get("alg") or algorithm) == algorithm:
                kid = raw.get("kid")
                yield "" if kid is None else str(kid), algorithm, key
