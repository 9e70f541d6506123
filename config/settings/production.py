"""The production settings: no embedded service and no default secret. The process exits if a setting is missing."""

import sys

from config.settings.base import *  # noqa: F403
from config.settings.base import ALLOWED_HOSTS, ALLOWED_ORIGINS, ENV, LOGGING

SHORTEST_SECRET = 32
SHORTEST_KEY, FEWEST_CHARACTERS = 50, 5
"""What Django's deployment check (`security.W009`) demands of its own key."""
YEAR = 31_536_000

_key = ENV.django_secret_key
if len(_key) < SHORTEST_KEY or len(set(_key)) < FEWEST_CHARACTERS or _key.startswith("django-insecure-"):
    sys.exit(f"DJANGO_SECRET_KEY: production needs a secret of at least {SHORTEST_KEY} random characters")

_secrets = []
if ENV.chatws_jwt_secret or not (ENV.chatws_jwt_public_keys or ENV.chatws_jwt_jwks_url):
    _secrets.append(("CHATWS_JWT_SECRET", ENV.chatws_jwt_secret))
if ENV.chatws_jwt_previous_secret:
    _secrets.append(("CHATWS_JWT_PREVIOUS_SECRET", ENV.chatws_jwt_previous_secret))
for _name, _secret in _secrets:
    if not _secret:
        sys.exit(f"{_name}: production needs a secret of at least {SHORTEST_SECRET} bytes")
    if len(_secret.encode()) < SHORTEST_SECRET and not ENV.chatws_allow_short_secrets:
        sys.exit(
            f"{_name}: {len(_secret.encode())} bytes, at least {SHORTEST_SECRET} are needed"
            " (CHATWS_ALLOW_SHORT_SECRETS=1 overrides this)"
        )
for _name, _value, _what in (
    ("REDIS_URL", ENV.redis_url, "the Redis to use"),
    ("DATABASE_URL", ENV.database_url, "the database to use"),
    ("CHATWS_RPC_TARGET", ENV.chatws_rpc_target, "the chat service to use"),
):
    if not _value:
        sys.exit(f"{_name}: production needs {_what}; there is no embedded one")
if not ALLOWED_HOSTS:
    sys.exit("CHATWS_ALLOWED_HOSTS: production needs the host names that are served")
if any("*" in _host for _host in ALLOWED_HOSTS):
    sys.exit("CHATWS_ALLOWED_HOSTS: production accepts no wildcard")
if "*" in ALLOWED_ORIGINS:
    sys.exit("CHATWS_ALLOWED_ORIGINS: production accepts no wildcard")
if ENV.chatws_jwt_secret == ENV.django_secret_key:
    sys.exit("CHATWS_JWT_SECRET: it is DJANGO_SECRET_KEY; who issues tokens could also log in to the admin")
if ENV.chatws_jwt_previous_secret and ENV.chatws_jwt_previous_secret == ENV.chatws_jwt_secret:
    sys.exit(
        "CHATWS_JWT_PREVIOUS_SECRET: it is CHATWS_JWT_SECRET; during a rotation one is the old, one the new secret"
    )
if ENV.chatws_demo_login and not ENV.chatws_jwt_secret:
    sys.exit("CHATWS_DEMO_LOGIN: it signs tokens with CHATWS_JWT_SECRET, which is not set")
if ENV.chatws_hsts_preload and not (ENV.chatws_hsts_subdomains and ENV.chatws_hsts_seconds >= YEAR):
    sys.exit(f"CHATWS_HSTS_PRELOAD: it needs CHATWS_HSTS_SUBDOMAINS=1 and CHATWS_HSTS_SECONDS={YEAR} or more")
if ENV.chatws_hsts_subdomains and not ENV.chatws_hsts_seconds:
    sys.exit("CHATWS_HSTS_SUBDOMAINS: it needs CHATWS_HSTS_SECONDS")

DEBUG = False
IS_PRODUCTION = True
LOGGING["handlers"]["stderr"]["formatter"] = ENV.chatws_log_format or "json"
SECURE_SSL_REDIRECT = True
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if ENV.chatws_behind_tls_proxy else None
SECURE_HSTS_SECONDS = ENV.chatws_hsts_seconds
SECURE_HSTS_INCLUDE_SUBDOMAINS = ENV.chatws_hsts_subdomains
SECURE_HSTS_PRELOAD = ENV.chatws_hsts_preload
# HSTS can't be taken back and reaches other services of the host: its owner decides, often in the proxy.
SILENCED_SYSTEM_CHECKS = ["security.W004", "security.W005", "security.W021"]
SESSION_COOKIE_SECURE = True
CSRF_COOKIE_SECURE = True
SECURE_REFERRER_POLICY = "same-origin"
CSRF_TRUSTED_ORIGINS = [f"https://{'*' if _host.startswith('.') else ''}{_host}" for _host in ALLOWED_HOSTS]
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "whitenoise.storage.CompressedManifestStaticFilesStorage"},
}
