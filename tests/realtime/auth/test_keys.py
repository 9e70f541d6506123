"""Check the keys of tokens: public keys, key sets, rotation, and the claims that settings require."""

import asyncio
import base64
import hashlib
import hmac
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from http.server import BaseHTTPRequestHandler
from typing import Any

import jwt
import pytest
from django.conf import settings

from realtime.aio import tasks
from realtime.auth import key_set
from realtime.auth import keys as keys_module
from realtime.auth.keys import Keys
from realtime.auth.tokens import authenticate, resolve
from realtime.exceptions import AuthenticationError, KeysUnavailable
from tests.support.key_set import KeySet, PrivateKey, jwk, new_key, pem
from tests.support.waiting import until, until_answer

ALGORITHMS = ["RS256", "ES256", "EdDSA"]
CONF = replace(settings.REALTIME, jwt_secret="")


def token(key: Any, algorithm: str, kid: str = "", **claims: Any) -> str:
    given = {"userId": 42, "exp": int(time.time()) + 600, **claims}
    return jwt.encode(given, key, algorithm, headers={"kid": kid} if kid else None)


def refused(text: str, keys: Keys) -> str:
    with pytest.raises(AuthenticationError) as caught:
        authenticate(text, keys)
    return caught.value.reason


def counts(text: str, keys: Keys) -> bool:
    """Return whether the known keys accept a token; `resolve` would fetch them again."""
    try:
        return authenticate(text, keys).user_id == 42
    except AuthenticationError:
        return False


@pytest.fixture(scope="module")
def private() -> dict[str, PrivateKey]:
    return {algorithm: new_key(algorithm) for algorithm in ALGORITHMS}


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_public_key_verifies_tokens_of_its_algorithm(algorithm: str, private: dict[str, PrivateKey]) -> None:
    keys = Keys(replace(CONF, jwt_public_keys=(pem(private[algorithm]),)))
    assert authenticate(token(private[algorithm], algorithm), keys).user_id == 42
    assert authenticate(token(private[algorithm], algorithm, kid="7"), keys).user_id == 42
    assert refused(token(new_key(algorithm), algorithm), keys) == "invalid"


def test_secret_and_public_keys_are_accepted_together(private: dict[str, PrivateKey]) -> None:
    signing = [*private.items(), ("RS256", new_key("RS256"))]
    keys = Keys(replace(CONF, jwt_secret="s" * 40, jwt_public_keys=tuple(pem(key) for _, key in signing)))
    assert authenticate(token("s" * 40, "HS256"), keys).user_id == 42
    for algorithm, key in signing:
        assert authenticate(token(key, algorithm), keys).user_id == 42


def test_public_key_is_never_used_as_a_secret(private: dict[str, PrivateKey]) -> None:
    """Sign with HS256 and the public key as the secret, which everybody may know."""
    text = pem(private["RS256"])
    keys = Keys(replace(CONF, jwt_public_keys=(text,)))
    head, claims, _ = token("s" * 40, "HS256").split(".")

    signature = hmac.digest(text.encode(), f"{head}.{claims}".encode(), hashlib.sha256)
    forged = f"{head}.{claims}.{base64.urlsafe_b64encode(signature).rstrip(b'=').decode()}"
    assert refused(forged, keys) == "invalid"


@pytest.mark.parametrize("algorithm", ["none", "HS384", "RS512", "PS256", "hs256"])
def test_other_algorithm_is_rejected_with_any_key(algorithm: str, private: dict[str, PrivateKey]) -> None:
    keys = Keys(replace(CONF, jwt_secret="s" * 64, jwt_public_keys=(pem(private["RS256"]),)))
    if algorithm == "hs256":
        _, claims, signature = token("s" * 64, "HS256").split(".")
        head = base64.urlsafe_b64encode(b'{"alg":"hs256","typ":"JWT"}').rstrip(b"=").decode()
        text = f"{head}.{claims}.{signature}"
    else:
        key = None if algorithm == "none" else "s" * 64 if algorithm == "HS384" else private["RS256"]
        text = token(key, algorithm)
    assert refused(text, keys) == "invalid"


def test_old_and_new_secret_are_accepted() -> None:
    keys = Keys(replace(CONF, jwt_secret="new-" * 10, jwt_previous_secret="old-" * 10))
    assert authenticate(token("new-" * 10, "HS256"), keys).user_id == 42
    assert authenticate(token("old-" * 10, "HS256"), keys).user_id == 42
    assert refused(token("old-" * 10, "HS256", exp=1), keys) == "expired"
    assert refused(token("other" * 8, "HS256"), keys) == "invalid"


def test_no_key_accepts_no_token() -> None:
    assert refused(token("s" * 40, "HS256"), Keys(CONF)) == "invalid"


@pytest.mark.parametrize(
    ("claims", "reason"),
    [
        ({"iss": "us", "aud": "chat"}, ""),
        ({"iss": "us", "aud": ["other", "chat"]}, ""),
        ({"iss": "them", "aud": "chat"}, "invalid"),
        ({"aud": "chat"}, "invalid"),
        ({"iss": "us", "aud": "other"}, "invalid"),
        ({"iss": "us"}, "invalid"),
    ],
)
def test_settings_require_issuer_and_audience(claims: dict[str, Any], reason: str) -> None:
    keys = Keys(replace(CONF, jwt_secret="s" * 40, jwt_issuer="us", jwt_audience="chat"))
    text = token("s" * 40, "HS256", **claims)
    if reason:
        assert refused(text, keys) == reason
    else:
        assert authenticate(text, keys).user_id == 42


def test_leeway_allows_clock_skew() -> None:
    strict, lenient = (Keys(replace(CONF, jwt_secret="s" * 40, jwt_leeway=leeway)) for leeway in (0, 1_000))
    late = token("s" * 40, "HS256", exp=int(time.time()) - 500)
    early = token("s" * 40, "HS256", nbf=int(time.time()) + 500)
    assert (refused(late, strict), refused(early, strict)) == ("expired", "invalid")
    assert authenticate(late, lenient).user_id == authenticate(early, lenient).user_id == 42
    assert refused(token("s" * 40, "HS256", exp=int(time.time()) - 1_500), lenient) == "expired"


async def test_unknown_key_id_fetches_the_key_set_again(
    private: dict[str, PrivateKey], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keys_module, "AGAIN_SECONDS", 1e6)
    with KeySet(jwk(private["RS256"], "RS256", kid="first", use="sig")) as endpoint:
        keys = Keys(replace(CONF, jwt_jwks_url=endpoint.url))
        assert (await resolve(token(private["RS256"], "RS256", kid="first"), keys)).user_id == 42
        endpoint.document["keys"].append(jwk(private["ES256"], "ES256", kid="second"))
        new = token(private["ES256"], "ES256", kid="second")
        with pytest.raises(AuthenticationError):
            await resolve(new, keys)
        assert endpoint.asked == 1, "whoever sends strange tokens doesn't make us ask each time"
        monkeypatch.setattr(keys_module, "AGAIN_SECONDS", 0)
        assert (await resolve(new, keys)).user_id == 42
        endpoint.close()
        assert (await resolve(new, keys)).user_id == 42
        with pytest.raises(AuthenticationError):
            await resolve(token(private["EdDSA"], "EdDSA", kid="third"), keys)
        assert (await resolve(token(private["RS256"], "RS256", kid="first"), keys)).user_id == 42


async def test_key_removed_from_the_set_is_forgotten(
    private: dict[str, PrivateKey], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keys_module, "AGAIN_SECONDS", 0)
    monkeypatch.setattr(keys_module, "REFRESH_SECONDS", 0.05)
    leaving, staying = (token(private[algorithm], algorithm, kid=algorithm) for algorithm in ("RS256", "ES256"))
    shown = [jwk(private[algorithm], algorithm, kid=algorithm) for algorithm in ("RS256", "ES256")]
    with KeySet(*shown) as endpoint:
        keys = Keys(replace(CONF, jwt_jwks_url=endpoint.url))
        running = asyncio.create_task(keys.run())
        await until(lambda: counts(leaving, keys), what="the key is known")
        endpoint.document = {"keys": shown[1:]}
        await until(lambda: not counts(leaving, keys), what="the key is forgotten")
        assert counts(staying, keys)
        await tasks.end([running])


async def test_concurrent_tokens_share_one_key_set_fetch(private: dict[str, PrivateKey]) -> None:
    with KeySet(jwk(private["ES256"], "ES256", kid="one")) as endpoint:
        keys = Keys(replace(CONF, jwt_jwks_url=endpoint.url))
        good = token(private["ES256"], "ES256", kid="one")
        principals = await asyncio.gather(*(resolve(good, keys) for _ in range(20)))
        assert {principal.user_id for principal in principals} == {42}
        assert endpoint.asked == 1


async def test_unfetched_key_set_raises_keys_unavailable(private: dict[str, PrivateKey]) -> None:
    endpoint = KeySet()
    endpoint.close()
    keys = Keys(replace(CONF, jwt_jwks_url=endpoint.url))
    with pytest.raises(KeysUnavailable) as caught:
        await resolve(token(private["RS256"], "RS256"), keys)
    assert endpoint.url not in str(caught.value), "clients receive the text"
    assert not keys.are_known
    assert endpoint.url in await keys.state()
    assert "refused" in await keys.state()


async def test_keys_are_known_once_the_key_set_was_fetched(
    private: dict[str, PrivateKey], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keys_module, "AGAIN_SECONDS", 0)
    assert Keys(CONF).are_known
    with KeySet(jwk(private["ES256"], "ES256", kid="one")) as endpoint:
        keys = Keys(replace(CONF, jwt_jwks_url=endpoint.url))
        assert (keys.are_known, await keys.state()) == (False, "not fetched yet")
        await keys.refresh()
        assert (keys.are_known, await keys.state()) == (True, "ok")
    await keys.refresh()
    assert keys.are_known, "the last good set stays valid"
    assert (await keys.state()).endswith("; keeping the 1 keys fetched before")


async def test_key_set_accepts_only_public_signature_keys(private: dict[str, PrivateKey]) -> None:
    secret = base64.urlsafe_b64encode(b"s" * 40).decode().rstrip("=")
    with KeySet(
        {"kty": "oct", "kid": "shared", "k": secret, "alg": "HS256"},
        jwk(private["EdDSA"], "EdDSA", kid="encrypts", use="enc"),
        jwk(private["ES256"], "ES256", kid="signs"),
        {"kty": "of the future"},
    ) as endpoint:
        keys = Keys(replace(CONF, jwt_jwks_url=endpoint.url))
        assert (await resolve(token(private["ES256"], "ES256", kid="signs"), keys)).user_id == 42
        assert refused(token("s" * 40, "HS256", kid="shared"), keys) == "invalid"
        assert refused(token(private["EdDSA"], "EdDSA", kid="encrypts"), keys) == "invalid"


@pytest.mark.parametrize("document", [[], {}, {"keys": []}, {"keys": "x"}, {"keys": [{"kty": "oct", "k": "eA"}]}])
async def test_invalid_key_set_keeps_the_previous_keys(
    document: Any, private: dict[str, PrivateKey], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(keys_module, "AGAIN_SECONDS", 0)
    with KeySet(jwk(private["ES256"], "ES256", kid="signs")) as endpoint:
        keys = Keys(replace(CONF, jwt_jwks_url=endpoint.url))
        await keys.refresh()
        endpoint.document = document
        assert not await keys.refresh()
        assert endpoint.url in caplog.text
        assert "keeping the 1 keys fetched before" in caplog.text
        assert authenticate(token(private["ES256"], "ES256", kid="signs"), keys).user_id == 42


def cut_short(request: BaseHTTPRequestHandler) -> None:
    request.send_response(200)
    request.send_header("Content-Length", "100000")
    request.end_headers()
    request.wfile.write(b'{"keys": [{"kty": "EC"')


def no_http(request: BaseHTTPRequestHandler) -> None:
    request.wfile.write(b"\x00\xff no HTTP at all\r\n\r\n")


def refused_answer(request: BaseHTTPRequestHandler) -> None:
    request.send_error(403)


def with_body(body: bytes) -> Callable[[BaseHTTPRequestHandler], None]:
    def answer(request: BaseHTTPRequestHandler) -> None:
        request.send_response(200)
        request.end_headers()
        with suppress(OSError):  # the client leaves once it has read enough
            request.wfile.write(body)

    return answer


def redirect_to(url: str) -> Callable[[BaseHTTPRequestHandler], None]:
    def answer(request: BaseHTTPRequestHandler) -> None:
        request.send_response(302)
        request.send_header("Location", url)
        request.end_headers()

    return answer


def elsewhere(request: BaseHTTPRequestHandler) -> None:
    """Redirect to a host that anybody could answer for; it has a good key set."""
    if request.headers["Host"].startswith("localhost"):
        with_body(GOOD_SET)(request)
    else:
        redirect_to(f"http://localhost:{request.connection.getsockname()[1]}/jwks.json")(request)


GOOD_SET = b'{"keys": [{"kty": "OKP", "crv": "Ed25519", "x": "' + b"A" * 43 + b'"}]}'

BAD_ANSWERS = {
    "cut short": cut_short,
    "no HTTP": no_http,
    "403": refused_answer,
    "empty": with_body(b""),
    "HTML": with_body(b"<html>"),
    "no UTF-8": with_body(b'{"keys": "\xff"}'),
    "deep": with_body(b"[" * 200_000),
    "huge": with_body(b" " * 3_000_000 + GOOD_SET),
    "elsewhere": elsewhere,
    "a file": redirect_to("file:///etc/passwd"),
    "itself": redirect_to("/jwks.json"),
}


@pytest.mark.parametrize("what", BAD_ANSWERS)
async def test_bad_answer_keeps_the_last_keys_and_is_logged_once(
    what: str, private: dict[str, PrivateKey], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(keys_module, "AGAIN_SECONDS", 0)
    good = token(private["ES256"], "ES256", kid="one")
    with KeySet(jwk(private["ES256"], "ES256", kid="one")) as endpoint:
        keys = Keys(replace(CONF, jwt_jwks_url=endpoint.url))
        await keys.refresh()
        assert endpoint.agent.startswith("chatws")
        endpoint.answer = BAD_ANSWERS[what]
        for _ in range(3):
            assert not await keys.refresh()
        assert counts(good, keys)
        assert sum("unavailable" in record.message for record in caplog.records) == 1
        endpoint.answer, before = None, endpoint.asked
        endpoint.document["keys"].append(jwk(private["RS256"], "RS256", kid="two"))
        assert await keys.refresh()
        assert endpoint.asked > before
        assert counts(token(private["RS256"], "RS256", kid="two"), keys)


async def test_task_survives_any_error_of_a_fetch(
    private: dict[str, PrivateKey], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keys_module, "AGAIN_SECONDS", 0.01)
    failures = iter([AttributeError("of a parser"), KeyError("kty"), MemoryError()])

    def fetch(url: str) -> list[tuple[str, str, Any]]:
        for failure in failures:
            raise failure
        return [("one", "ES256", private["ES256"].public_key())]

    monkeypatch.setattr(key_set, "fetch", fetch)
    keys = Keys(replace(CONF, jwt_jwks_url="http://127.0.0.1/"))
    running = asyncio.create_task(keys.run())
    await until(lambda: counts(token(private["ES256"], "ES256", kid="one"), keys), what="the keys are known")
    assert not running.done()
    await tasks.end([running])


async def test_hanging_endpoint_is_asked_by_one_thread(
    private: dict[str, PrivateKey], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keys_module, "AGAIN_SECONDS", 0)
    monkeypatch.setattr(keys_module, "ANSWER_SECONDS", 0.05)
    answered = threading.Event()

    def hang(request: BaseHTTPRequestHandler) -> None:
        answered.wait(60)

    with KeySet(jwk(private["ES256"], "ES256", kid="one")) as endpoint:
        endpoint.answer = hang
        keys = Keys(replace(CONF, jwt_jwks_url=endpoint.url))

        async def refuses() -> int:
            with pytest.raises(KeysUnavailable):
                await keys.refresh()
            return endpoint.asked

        await until_answer(refuses, bool, "it is asked")
        for _ in range(3):
            assert await refuses() == 1
        endpoint.answer = None
        answered.set()
        monkeypatch.setattr(keys_module, "ANSWER_SECONDS", 10)

        async def known() -> bool:
            with suppress(KeysUnavailable):  # the first request ended without an answer
                await keys.refresh()
            return keys.are_known

        await until_answer(known, bool, "the keys are fetched")


def test_answer_that_drips_is_given_up(private: dict[str, PrivateKey], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(key_set, "FETCH_SECONDS", 0.3)
    ended = threading.Event()

    def drip(request: BaseHTTPRequestHandler) -> None:
        request.send_response(200)
        request.end_headers()
        with suppress(OSError):
            for _ in range(500):
                if not ended.wait(0.02):
                    request.wfile.write(b" ")

    with KeySet() as endpoint:
        endpoint.answer = drip
        with pytest.raises(TimeoutError):
            key_set.fetch(endpoint.url)
        ended.set()


async def test_unusable_keys_do_not_spoil_the_others(private: dict[str, PrivateKey]) -> None:
    good = jwk(private["ES256"], "ES256", kid=7, use=None, alg=None)
    bad: list[Any] = [
        None, 7, "key", [], {}, {"kty": "RSA", "n": "AQAB", "e": "AQAB"}, {"kty": "EC", "crv": "P-256", "x": 1},
        {"kty": "OKP", "crv": "X25519", "x": "AAAA"}, {"kty": ["EC"]}, {**good, "crv": "P-999"},
    ]  # fmt: skip
    with KeySet(*bad, good, *bad) as endpoint:
        keys = Keys(replace(CONF, jwt_jwks_url=endpoint.url))
        text = token(private["ES256"], "ES256", kid="7")
        assert (await resolve(text, keys)).user_id == 42
