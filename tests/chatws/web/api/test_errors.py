"""Check that an error in a view becomes a body that names it."""

import logging
from types import SimpleNamespace

import pytest
from django.core.exceptions import PermissionDenied
from django.http import Http404
from rest_framework.exceptions import APIException, NotFound, ValidationError

from chatws.chat_service.port import error_of
from chatws.web.api.errors import answer_error
from realtime.exceptions import RedisConnectionLost, TransientError

CONTEXT = {"request": SimpleNamespace(path="/api/x")}


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (error_of(409, "disbanded"), 409, "disbanded"),
        (error_of(503, "away"), 503, "away"),
        (TransientError("no keys yet"), 503, "no keys yet"),
        (RedisConnectionLost("refused"), 503, "Redis is unavailable: refused"),
        (Http404(), 404, "not found"),
        (NotFound("nothing"), 404, "nothing"),
        (PermissionDenied("no"), 403, "no"),
        (APIException("odd"), 500, "odd"),
        (ValidationError({"a": {"b": ["wrong"]}}), 400, "a.b: wrong"),
        (ValidationError({"ids": [[], ["too long"]]}), 400, "ids: too long"),
        (ValidationError({"non_field_errors": ["both are wrong"]}), 400, "both are wrong"),
    ],
)
def test_each_error_has_a_code_and_message(error: Exception, code: int, message: str) -> None:
    answer = answer_error(error, CONTEXT)
    assert answer.data == {"code": code, "message": message, "data": None}
    assert answer.status_code == code
    assert ("Retry-After" in answer.headers) == (code == 503)


def test_internal_error_is_logged_but_not_shown(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.ERROR):
        answer = answer_error(RuntimeError("a password"), CONTEXT)
    assert answer.data == {"code": 500, "message": "an error of ours", "data": None}
    assert "/api/x" in caplog.text
    assert "a password" in caplog.text
