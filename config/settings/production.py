"""The production settings: no embedded service and no default secret. The process exits if a setting is missing."""

import sys

from config.settings.base import *  # noqa: F403
from config.settings.base import ALLOWED_HOSTS, ALLOWED_ORIGINS, ENV, LOGGING

SHORTEST_SECRET = 32

_secrets = [("DJANGO_SECRET_KEY", ENV.django_secret_key)]
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

DEBUG = False
LOGGING["handlers"]["stderr"]["formatter"] = ENV.chatws_log_format or "json"
SECURE_SSL_REDIRECT = True
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if ENV.chatws_behind_tls_proxy else None
SECURE_HSTS_SECONDS = 365 * 86_400
SECURE_HSTS_INCLUDE_SUBDOMAINS = True
SECURE_HSTS_PRELOAD = True
SESSION_COOKIE_SECURE = True
CSRF_COOKIE_SECURE = True
SECURE_REFERRER_POLICY = "same-origin"
CSRF_TRUSTED_ORIGINS = [f"https://{'*' if _host.startswith('.') else ''}{_host}" for _host in ALLOWED_HOSTS]
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "whitenoise.storage.CompressedManifestStaticFilesStorage"},
}
