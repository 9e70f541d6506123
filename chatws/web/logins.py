"""Django's check of name and password, within the limits of `realtime.auth.logins`; log and count every attempt."""

import logging
from typing import Any

from asgiref.sync import async_to_sync
from django.contrib.auth.backends import ModelBackend
from django.contrib.auth.models import User
from django.http import HttpRequest

from realtime import conf
from realtime.addresses import limit_key
from realtime.auth.logins import Logins, TooManyLogins
from realtime.connection.proxies import client_address_of
from realtime.exceptions import TransientError
from realtime.observability import metrics

logger = logging.getLogger(__name__)


class LimitedBackend(ModelBackend):
    """Django's check of name and password, within the limits. Without an ASGI request, as in a command, there are none.

    Raises:
        TooManyLogins: this attempt is refused.
    """

    def authenticate(
        self, request: HttpRequest | None, username: str | None = None, password: str | None = None, **kwargs: Any
    ) -> User | None:
        scope = getattr(request, "scope", None)
        if scope is None or username is None:
            return super().authenticate(request, username, password, **kwargs)
        logins: Logins = scope["logins"]
        address = limit_key(client_address_of(scope, conf.get().trusted_proxies))
        _run(logins.begin, username, address)
        user = super().authenticate(request, username, password, **kwargs)
        if user is not None:
            metrics.logins.labels("ok").inc()
            _run(logins.succeeded, username, address)
        else:
            metrics.logins.labels("failed").inc()
            logger.warning("a login failed: name %.64r from %s", username, address)
        return user


def _run(step: Any, name: str, address: str) -> None:
    try:
        async_to_sync(step)(name, address)
    except TooManyLogins:
        metrics.logins.labels("refused").inc()
        logger.warning("a login was refused after too many failures: name %.64r from %s", name, address)
        raise
    except TransientError as error:
        logger.warning("logins are not limited now: %s", error)
