"""The keys that verify tokens: a secret and the previous one, public keys, and a key set from a URL (JWKS).

A key verifies only the one algorithm of its own kind, regardless of a token's header.
"""

import asyncio
import logging
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import Any

import jwt
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from realtime.aio import tasks
from realtime.auth import key_set
from realtime.conf import RealtimeConf
from realtime.exceptions import AuthenticationError, KeysUnavailable
from realtime.observability import metrics

logger = logging.getLogger(__name__)

REFRESH_SECONDS = 300.0
AGAIN_SECONDS = 10.0
"""Least time between two fetches of the key set."""
ANSWER_SECONDS = 10.0
"""How long a fetch is waited for. It may go on in its thread, but no second one begins meanwhile."""


class _Signatures(jwt.PyJWS):
    def _validate_kid(self, kid: Any) -> None:
        """Accept any key id: some issuers number their keys."""


class _Tokens(jwt.PyJWT):
    def __init__(self) -> None:
        super().__init__()
        self._jws = _Signatures()

    def _decode_payload(self, decoded: dict[str, Any]) -> dict[str, Any]:
        """Return the claims; one that is null counts as absent, as issuers write it that have no value."""
        claims = super()._decode_payload(decoded)
        return {name: value for name, value in claims.items() if value is not None}


_tokens = _Tokens()


class Key:
    """A key: its id (``""`` for none) and the one algorithm that it verifies."""

    __slots__ = ("_conf", "_key", "algorithm", "id")

    def __init__(self, kid: str, algorithm: str, key: Any, conf: RealtimeConf) -> None:
        self.id = kid
        self.algorithm = algorithm
        self._key = key
        self._conf = conf

    def claims(self, token: str) -> dict[str, Any]:
        """Verify the signature and the claims that are ours to read, and return all claims.

        These are ``exp``, which is required, ``nbf`` and ``iat``, and ``iss`` and ``aud`` where settings name them.

        Raises what PyJWT raises, and `ValueError` for a token that is no text.
        """
        conf = self._conf
        return _tokens.decode(
            token,
            self._key,
            algorithms=[self.algorithm],
            audience=conf.jwt_audience or None,
            issuer=conf.jwt_issuer or None,
            leeway=conf.jwt_leeway,
            options={
                "require": ["exp"], "verify_aud": bool(conf.jwt_audience), "verify_sub": False, "verify_jti": False,
            },
        )  # fmt: skip


class Keys:
    """All keys of this process. Only `refresh` and `run` do I/O."""

    def __init__(self, conf: RealtimeConf) -> None:
        self._conf = conf
        secrets = [secret for secret in (conf.jwt_secret, conf.jwt_previous_secret) if secret]
        self._own = [Key("", "HS256", secret, conf) for secret in secrets]
        for pem in conf.jwt_public_keys:
            public = load_pem_public_key(pem.encode())
            self._own.append(Key("", key_set.algorithm_of(public), public, conf))
        self._fetched: list[Key] | None = None
        self._fetched_at = float("-inf")
        self._fetching = asyncio.Lock()
        self._reading: asyncio.Task[list[tuple[str, str, Any]]] | None = None
        self._problem = ""
        """Why the last fetch failed; empty if it did not."""

    @property
    def are_known(self) -> bool:
        """Whether the key set has been fetched, if there is one: before that its tokens can't be verified."""
        return not self._conf.jwt_jwks_url or self._fetched is not None

    async def state(self) -> str:
        """Return ``ok``, or why the last fetch of the key set failed."""
        if self._problem:
            return f"unavailable at {key_set.shown(self._conf.jwt_jwks_url)}: {self._problem}{self._kept()}"
        return "ok" if self.are_known else "not fetched yet"

    def for_token(self, token: str) -> Sequence[Key]:
        """Return the keys that match the token's header; each still has to verify the token.

        Raises:
            AuthenticationError: the header cannot be decoded.
        """
        keys = (*self._own, *(self._fetched or ()))
        if len(keys) == 1 and not keys[0].id:
            return keys  # it accepts only its own algorithm
        try:
            header = _tokens._jws.get_unverified_header(token)
        except (jwt.InvalidTokenError, ValueError, RecursionError) as error:
            raise AuthenticationError("invalid", "the token is not valid") from error
        algorithm, kid = header.get("alg"), header.get("kid")
        return [
            key for key in keys if key.algorithm == algorithm and (kid in (None, "") or key.id in (str(kid), ""))
        ]  # fmt: skip

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
            raise KeysUnavailable("the keys that verify tokens are unavailable")
        return self._fetched is not before

    async def run(self) -> None:
        """Fetch the key set regularly; return at once if no URL is set."""
        while self._conf.jwt_jwks_url:
            with suppress(KeysUnavailable):
                await self.refresh()
            await asyncio.sleep(AGAIN_SECONDS if self._problem else REFRESH_SECONDS)

    async def _fetch(self) -> None:
        where = key_set.shown(self._conf.jwt_jwks_url)
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                fetched = await self._read()
        except Exception as error:  # whatever the endpoint answers, the last good set stays valid
            problem = " ".join(str(error).split())[:200] or type(error).__name__
            if problem != self._problem:  # it is tried every few seconds, and said once
                logger.warning("the keys at %s are unavailable: %s%s", where, problem, self._kept())
            self._problem = problem
            metrics.key_set_fetches.labels("failed").inc()
        else:
            if self._problem or self._fetched is None:
                logger.info("fetched %d keys from %s", len(fetched), where)
            self._problem = ""
            self._fetched = list(self._keys(fetched))
            metrics.key_set_fetches.labels("ok").inc()
            metrics.key_set_fetched.set_to_current_time()

    def _kept(self) -> str:
        return f"; keeping the {len(self._fetched)} keys fetched before" if self._fetched else ""

    async def _read(self) -> list[tuple[str, str, Any]]:
        """Wait for the fetch that runs already, or begin one."""
        if self._reading is None or self._reading.done():
            self._reading = tasks.start(asyncio.to_thread(key_set.fetch, self._conf.jwt_jwks_url), "reading keys")
        return await asyncio.shield(self._reading)

    def _keys(self, fetched: Iterable[tuple[str, str, Any]]) -> Iterable[Key]:
        return (Key(kid, algorithm, public, self._conf) for kid, algorithm, public in fetched)
