"""The development settings, used by `make run`. Missing secrets are created in the data folder."""

from dataclasses import replace

from config import env as environment
from config.settings.base import *  # noqa: F403
from config.settings.base import ALLOWED_HOSTS, CHATWS, DATA_DIR, ENV, REALTIME, SIMPLE_JWT

DEBUG = True
ALLOWED_HOSTS = ALLOWED_HOSTS or ["localhost", "127.0.0.1", "[::1]"]
SECRET_KEY = ENV.django_secret_key or environment.development_secret(DATA_DIR, "django-secret-key")
REALTIME = replace(REALTIME, jwt_secret=ENV.chatws_jwt_secret or environment.development_secret(DATA_DIR, "jwt-secret"))
SIMPLE_JWT = {**SIMPLE_JWT, "SIGNING_KEY": REALTIME.jwt_secret}
CHATWS = replace(CHATWS, public_status=ENV.chatws_public_status is not False)
WHITENOISE_USE_FINDERS = True
