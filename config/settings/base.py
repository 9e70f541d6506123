"""The settings shared by development, tests and production; `config/env.py` reads the environment."""

import sys
from datetime import timedelta
from typing import Any

from django.core.exceptions import ImproperlyConfigured

from chatws.conf import ChatConf
from config import addresses
from config import env as environment
from realtime.conf import RealtimeConf

try:
    ENV = environment.read()
    PUBLIC_KEYS = environment.public_keys_of(ENV.chatws_jwt_public_keys)
    JWKS_URL = addresses.key_set_of(ENV.chatws_jwt_jwks_url)
    URL_PREFIX = addresses.prefix_of(ENV.chatws_url_prefix)
    ALLOWED_HOSTS = addresses.hosts_of(ENV.chatws_allowed_hosts)
    ALLOWED_ORIGINS = addresses.origins_of(ENV.chatws_allowed_origins)
    DATABASE = addresses.database_of(ENV.database_url, ENV.data_dir / "db.sqlite3")
    addresses.check_redis(ENV.redis_address)
    TRUSTED_PROXIES = environment.networks_of(ENV.chatws_trusted_proxies)
except ImproperlyConfigured as _error:
    sys.exit(str(_error))  # one line instead of a traceback, in every process
BASE_DIR = environment.BASE_DIR
DATA_DIR = ENV.data_dir

INSTALLED_APPS = [
    "config.apps.AdminConfig",
    "realtime",  # before `auth`: its `createsuperuser` replaces Django's
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "channels",
    "rest_framework",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "chatws",
    "chatws.reference",
]

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "chatws.web.csp.content_security_policy",
]

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    },
]

ADMIN = ENV.chatws_admin
AUTHENTICATION_BACKENDS = ["chatws.web.logins.LimitedBackend"]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": 12}},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
    {"NAME": "django.contrib.auth.password_validation.NumericPasswordValidator"},
]
IS_PRODUCTION = False
ROOT_URLCONF = "config.urls"
ASGI_APPLICATION = "config.asgi.application"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
LANGUAGE_CODE = "en"
TIME_ZONE = "UTC"
USE_I18N = True
USE_TZ = True
FORCE_SCRIPT_NAME = URL_PREFIX or None
STATIC_URL = f"{URL_PREFIX}/static/"
SESSION_COOKIE_PATH = CSRF_COOKIE_PATH = URL_PREFIX or "/"
STATIC_ROOT = BASE_DIR / "staticfiles"
X_FRAME_OPTIONS = "DENY"
PROBES = ("/health", "/ws/health", "/ready", "/startup", "/metrics")
"""Paths that monitoring requests from inside, by address and without TLS."""
DATA_UPLOAD_MAX_MEMORY_SIZE = ENV.chatws_max_body_bytes

DATABASES = {"default": DATABASE}
if DATABASES["default"]["ENGINE"].endswith("sqlite3"):
    DATABASES["default"]["OPTIONS"] = {
        "timeout": 20,
        # Python caches 128. Batches of different sizes are different statements, and the relay grew by 50 MB.
        "cached_statements": 16,
        "transaction_mode": "IMMEDIATE",  # several processes write: without it a third of the writes fail as locked
        "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;",
    }
else:
    # libpq's: without them a connection whose other end is gone is waited for many minutes
    DATABASES["default"]["OPTIONS"] = {
        "connect_timeout": 5, "tcp_user_timeout": 10_000, **DATABASES["default"].get("OPTIONS", {}),
    }  # fmt: skip
    if ENV.chatws_database_pooler:  # the next transaction may run on another connection of the pooler
        DATABASES["default"]["DISABLE_SERVER_SIDE_CURSORS"] = True
        DATABASES["default"]["OPTIONS"]["prepare_threshold"] = None

CHANNEL_LAYERS = {
    "default": {
        "BACKEND": "realtime.layers.redis_pubsub.RedisPubSubLayer",
        "CONFIG": {"hosts": [ENV.redis_address], "prefix": f"{ENV.chatws_prefix}:layer"},
    }
}

SECRET_KEY = ENV.django_secret_key

REALTIME = RealtimeConf(
    redis_url=ENV.redis_address,
    prefix=ENV.chatws_prefix,
    redis_replicas=ENV.chatws_redis_replicas,
    jwt_secret=ENV.chatws_jwt_secret,
    jwt_previous_secret=ENV.chatws_jwt_previous_secret,
    jwt_public_keys=PUBLIC_KEYS,
    jwt_jwks_url=JWKS_URL,
    jwt_issuer=ENV.chatws_jwt_issuer,
    jwt_audience=ENV.chatws_jwt_audience,
    jwt_leeway=ENV.chatws_jwt_leeway,
    query_token=ENV.chatws_query_token,
    tracing=ENV.chatws_tracing,
    start_timeout=ENV.chatws_start_timeout,
    request_seconds=ENV.chatws_request_seconds,
    keep_alive_seconds=ENV.chatws_keep_alive_seconds,
    write_seconds=ENV.chatws_write_seconds,
    max_body_bytes=ENV.chatws_max_body_bytes,
    probe_paths=(*PROBES, *(f"{URL_PREFIX}{_path}" for _path in PROBES)),
    auth_timeout=ENV.chatws_auth_timeout,
    presence_lease=ENV.chatws_presence_lease,
    allowed_origins=ALLOWED_ORIGINS,
    feed_publications=ENV.chatws_feed_publications,
    feed_bytes=ENV.chatws_feed_bytes,
    feed_seconds=ENV.chatws_feed_seconds,
    id_seconds=ENV.chatws_id_seconds,
    trusted_proxies=TRUSTED_PROXIES,
    proxy_protocol=ENV.chatws_proxy_protocol,
    drain_seconds=ENV.chatws_drain_seconds,
    drain_delay=ENV.chatws_drain_delay,
    drain_per_second=ENV.chatws_drain_per_second,
    drain_retry_seconds=ENV.chatws_drain_retry_seconds,
    max_frame_bytes=ENV.chatws_max_frame_bytes,
    waiting_frames=ENV.chatws_waiting_frames,
    waiting_bytes=ENV.chatws_waiting_bytes,
    bad_frames_per_minute=ENV.chatws_bad_frames_per_minute,
    outbox_bytes=ENV.chatws_outbox_bytes,
    max_connections=ENV.chatws_max_connections,
    max_memory_bytes=ENV.chatws_max_memory_bytes,
    connections_per_address=ENV.chatws_connections_per_address,
    connections_per_user=ENV.chatws_connections_per_user,
    accepts_per_second=ENV.chatws_accepts_per_second,
    accepts_per_address=ENV.accepts_per_address,
    frames_per_second=ENV.chatws_frames_per_second,
    bytes_per_second=ENV.chatws_bytes_per_second,
    sends_per_second=ENV.chatws_sends_per_second,
    burst_seconds=ENV.chatws_burst_seconds,
    ephemeral_per_second=ENV.chatws_ephemeral_per_second,
    refusals_per_minute=ENV.chatws_refusals_per_minute,
    groups_per_connection=ENV.chatws_groups_per_connection,
    audit_unauthenticated_per_minute=ENV.chatws_audit_unauthenticated_per_minute,
    audit_per_user_per_hour=ENV.chatws_audit_per_user_per_hour,
    consumer_group=ENV.chatws_consumer_group or ENV.chatws_prefix,
    dead_letter_bytes=ENV.chatws_dead_letter_bytes,
)
PUBLISHES_MESSAGES = ENV.chatws_message_publisher == "gateway"
CHATWS = ChatConf(
    url_prefix=URL_PREFIX,
    rpc_target=ENV.rpc_target,
    user_rpc_target=ENV.chatws_user_rpc_target,
    rpc_tls_ca=ENV.chatws_rpc_tls_ca,
    membership_seconds=ENV.chatws_membership_seconds,
    owns_topics=ENV.owns(ENV.uses_reference_rpc),
    is_owner_known=ENV.chatws_own_topics is not None,
    owns_messages=ENV.owns(ENV.uses_reference_rpc or PUBLISHES_MESSAGES),
    publishes_messages=PUBLISHES_MESSAGES,
    max_image_url=ENV.chatws_max_image_url or (512 if PUBLISHES_MESSAGES else 2_048),
    demo_login=ENV.uses_reference_rpc if ENV.chatws_demo_login is None else ENV.chatws_demo_login,
    http_threads=ENV.chatws_http_threads,
    logins_per_name=ENV.chatws_logins_per_name,
    logins_per_address=ENV.chatws_logins_per_address,
    status_for=ENV.chatws_status_for,
    public_status=bool(ENV.chatws_public_status),
    metrics_token=ENV.chatws_metrics_token,
    image_sources=ENV.chatws_image_sources,
)
REST_FRAMEWORK = {
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_PARSER_CLASSES": ["rest_framework.parsers.JSONParser"],
    "DEFAULT_AUTHENTICATION_CLASSES": [],
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
    "EXCEPTION_HANDLER": "chatws.web.api.errors.answer_error",
}
SPECTACULAR_SETTINGS = {
    "TITLE": "chatws",
    "DESCRIPTION": "The HTTP API of the chat gateway. Every error is answered with `code`, `message` and `data`. "
    "docs/protocol.md (HTTP) also describes `/health`, `/ws/health`, `/ready`, `/startup` and `/metrics`, which are "
    "for operators, and `/ws/stats`, another name of `/stats`.",
    "VERSION": "1",
    "LICENSE": {"name": "MIT"},
    "SERVERS": [{"url": URL_PREFIX or "/"}],
    "SERVE_INCLUDE_SCHEMA": False,
    "COMPONENT_SPLIT_REQUEST": True,
    "ENUM_GENERATE_CHOICE_DESCRIPTION": False,
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
    "SWAGGER_UI_SETTINGS": {"persistAuthorization": True, "validatorUrl": None, "deepLinking": True},
}
SIMPLE_JWT = {  # for the tokens of the demo's login
    "ACCESS_TOKEN_LIFETIME": timedelta(hours=1),
    "SIGNING_KEY": REALTIME.jwt_secret,
    "ISSUER": REALTIME.jwt_issuer or None,
    "AUDIENCE": REALTIME.jwt_audience or None,
}

LOGGING: dict[str, Any] = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {
        "line": {"format": "%(asctime)s %(levelname)-7s %(name)s: %(message)s"},
        "json": {
            "()": "pythonjsonlogger.json.JsonFormatter",
            "fmt": "%(levelname)s %(name)s %(message)s",
            "rename_fields": {"levelname": "level", "name": "logger", "exc_info": "exception"},
            "timestamp": "time",
        },
    },
    "filters": {
        "connection": {"()": "realtime.observability.log_context.ConnectionFilter"},
        "limit": {"()": "realtime.observability.log_limit.LogLimit"},
        "said_in_the_answer": {
            "()": "django.utils.log.CallbackFilter",
            "callback": lambda record: getattr(record, "status_code", None) != 503,
        },
    },
    "handlers": {
        "stderr": {
            "class": "logging.StreamHandler",
            "formatter": ENV.chatws_log_format or "line",
            "filters": ["limit", "connection"],
        }
    },
    "root": {"handlers": ["stderr"], "level": ENV.chatws_log_level},
    "loggers": {
        "django": {"handlers": [], "level": "INFO", "propagate": True},
        "django.request": {"level": "ERROR", "filters": ["said_in_the_answer"]},
        "daphne": {"level": "WARNING"},
    },
}
