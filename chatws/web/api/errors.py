"""Answer failed API requests with ``{"code", "message", "data": null}``; ``code`` is the HTTP status."""

import logging
from collections.abc import Mapping
from typing import Any

from django.core.exceptions import PermissionDenied
from django.http import Http404
from rest_framework.exceptions import APIException, ValidationError
from rest_framework.response import Response

from chatws.chat_service.port import OVERLOADED, RETRY_AFTER_SECONDS, UNAVAILABLE, ChatServiceError
from realtime.auth.logins import TooManyLogins
from realtime.exceptions import RedisUnavailable, TransientError

logger = logging.getLogger(__name__)


def answer_error(error: Exception, context: Mapping[str, Any]) -> Response:
    """Return the answer to a request that failed; Django REST framework's `EXCEPTION_HANDLER`."""
    code, message, headers = 500, "an error of ours", {}
    if isinstance(error, ChatServiceError):
        code, message = error.code, str(error)
    elif isinstance(error, RedisUnavailable):
        code, message = 503, f"Redis is unavailable: {error}"
    elif isinstance(error, TransientError):
        code, message = 503, str(error)
    elif isinstance(error, TooManyLogins):
        code, message = OVERLOADED, str(error)
    elif isinstance(error, Http404):
        code, message = 404, str(error) or "not found"
    elif isinstance(error, PermissionDenied):
        code, message = 403, str(error)
    elif isinstance(error, APIException):
        code, message = error.status_code, _message(error)
        if challenge := getattr(error, "auth_header", None):
            headers["WWW-Authenticate"] = challenge
    else:
        logger.error("a request failed: %s", context["request"].path, exc_info=error)
    if code in (OVERLOADED, UNAVAILABLE):
        headers["Retry-After"] = str(getattr(error, "retry_after", None) or RETRY_AFTER_SECONDS)
    return Response({"code": code, "message": message, "data": None}, status=code, headers=headers)


def _message(error: APIException) -> str:
    """Return the error's text; for an invalid field it begins with the field's name."""
    detail: Any = error.detail
    where = []
    while isinstance(detail, dict | list) and detail:
        if isinstance(detail, dict):
            name, detail = next(iter(detail.items()))
            where.append(str(name))
        else:
            detail = next(one for one in detail if one)
    fields = [name for name in where if name != "non_field_errors"]
    return f"{'.'.join(fields)}: {detail}" if fields and isinstance(error, ValidationError) else str(detail)
