"""The settings of the test suite and the processes it starts: development settings with fixed secrets."""

import os

os.environ.setdefault("DJANGO_SECRET_KEY", "test-" * 8)
os.environ.setdefault("CHATWS_JWT_SECRET", "test-jwt-" * 5)

from config.settings.local import *  # noqa: F403

PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
WHITENOISE_AUTOREFRESH = True  # the test runner turns DEBUG off; nothing is collected for tests
