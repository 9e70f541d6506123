"""The keys that verify tokens: a secret and the previous one, public keys, and a key set from a URL (JWKS).

A key verifies only the one algorithm of its own kind, regardless of a token's header.
"""

import asyncio
import json
import logging
import time
import urllib.request
from collections.abc import Sequence
from contextlib import suppress
from http.client import HTTPException
from typing import Any, NamedTuple

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from rest_framework_simplejwt.backends import TokenBackend
from rest_framework_simplejwt.exceptions import TokenError
from rest_framework_simplejwt.tokens import AccessToken

from realtime.conf import RealtimeConf
from realtime.exceptions import AuthenticationError, KeysUnavailable

logger = logging.getLogger(__name__)

REFRESH_SECONDS = 300.0
AGAIN_SECONDS = 10.0
"""Least time between two fetches of the key set."""
FETCH_SECONDS = 5.0
MAX_BYTES = 1_000_000


class Key(NamedTuple):
    """A key: its id (``""`` for none), its algorithm and the token class that verifies with it."""

    id: str
    algorithm: str
    tokens: type[AccessToken]


class Keys:
    """All keys of this process. Only `refresh` and `run` do I/O."""

    def __init__(self, conf: RealtimeConf) -> None:
        self._conf = conf
        secrets = [secret for secret in (conf.jwt_secret, conf.jwt_previous_secret) if secret]
        self._own = [Key("", "HS256", _tokens("HS256", conf, secret=secret)) for secret in secrets]
        for pem in conf.jwt_public_keys:
            public = load_pem_public_key(pem.encode())
            algorithm = algorithm_of(public)
            self._own.append(Key("", algorithm, _tokens(algorithm, conf, public=public)))
        self._fetched: list[Key] | None = None
        self._fetched_at = float("-inf")
        self._fetching = asyncio.Lock()
        self._problem = "not fetched yet"

    @property
    def are_known(self) -> bool:
        """Whether the key set has been fetched, if there is one: before that its tokens can't be verified."""
        return not self._conf.jwt_jwks_url or self._fetched is not None

    async def state(self) -> str:
        """Return ``ok``, or why the last fetch of the key set failed."""
        return self._problem or "ok"

    def for_token(self, token: str) -> Sequence[type[AccessToken]]:
        """Return the token classes whose key matches the token's header; each still has to verify the token.

        Raises:
            AuthenticationError: the header cannot be decoded.
        """
        keys = (*self._own, *(self._fetched or ()))
        if len(keys) == 1 and not keys[0].id:
            return [keys[0].tokens]  # it accepts only its own algorithm
        try:
            header = jwt.get_unverified_header(token)
        except (jwt.InvalidTokenError, ValueError, RecursionError) as error:
            raise AuthenticationError("invalid", "the token is not valid") from error
        algorithm, kid = header.get("alg"), header.get("kid") or ""
        return [key.tokens for key in keys if key.algorithm == algorithm and (not kid or key.id in (kid, ""))]

    async def refresh(self) -> bool:
        """Fetch the key set, at most once in `AGAIN_SECONDS`; return whether it was replaced.

        A call during a fetch waits for that fetch.

        Raises:
            KeysUnavailable: the key set has never been fetched.
        """
        if not self._conf.jwt_jwks_url:
            return False
        before = self._fetched
        async with self._fetching:
            if time.monotonic() - self._fetched_at >= AGAIN_SECONDS:
                self._fetched_at = time.monotonic()
                await self._fetch()
        if self._fetched is None:
            raise KeysUnavailable(f"the keys at {self._conf.jwt_jwks_url} are unavailable")
        return self._fetched is not before

    async def run(self) -> None:
        """Fetch the key set regularly; return at once if no URL is set."""
        while self._conf.jwt_jwks_url:
            with suppress(KeysUnavailable):
                await self.refresh()
            await asyncio.sleep(AGAIN_SECONDS if self._fetched is None else REFRESH_SECONDS)

    async def _fetch(self) -> None:
        url = self._conf.jwt_jwks_url
        try:
            document = await asyncio.to_thread(_read, url)
            self._fetched = list(self._parse(document))
        except (OSError, HTTPException, ValueError, RecursionError, jwt.PyJWTError) as error:
            kept = f"; keeping the {len(self._fetched)} keys fetched before" if self._fetched else ""
            logger.warning("the keys at %s are unavailable: %s%s", url, error, kept)
            self._problem = f"unavailable at {url}{kept}"
        else:
            logger.info("fetched %d keys from %s", len(self._fetched), url)
            self._problem = ""

    def _parse(self, document: Any) -> Sequence[Key]:
        if not isinstance(document, dict) or not isinstance(document.get("keys"), list):
            raise ValueError("not a key set")
        keys = []
        for raw in document["keys"]:
            try:
                key = jwt.PyJWK.from_dict(raw)
                algorithm = algorithm_of(key.key)
            except (jwt.PyJWTError, ValueError, TypeError, AttributeError):
                continue  # skip a key of an unknown kind; the set may hold usable ones
            if raw.get("use", "sig") == "sig" and raw.get("alg", algorithm) == algorithm:
                keys.append(Key(key.key_id or "", algorithm, _tokens(algorithm, self._conf, public=key.key)))
        if not keys:
            raise ValueError("the key set has no usable key")
        return keys


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


def _read(url: str) -> Any:
    with urllib.request.urlopen(url, timeout=FETCH_SECONDS) as answer:  # noqa: S310  # settings accept http(s) only
        return json.loads(answer.read(MAX_BYTES))


def _tokens(algorithm: str, conf: RealtimeConf, *, secret: str = "", public: Any = "") -> type[AccessToken]:
    backend = TokenBackend(
        algorithm,
        signing_key=secret,
        verifying_key=public,
        audience=conf.jwt_audience or None,
        issuer=conf.jwt_issuer or None,
        leeway=conf.jwt_leeway,
    )

    class GatewayToken(AccessToken):
        """An access token: `exp` is required, `jti` and `token_type` may be absent, other token types are rejected."""

        def get_token_backend(self) -> TokenBackend:
            return backend

        def verify(self) -> None:
            self.check_exp(current_time=self.current_time - backend.get_leeway())
            if self.payload.get("token_type", "access") != "access":
                raise TokenError("not an access token")

    return GatewayToken
