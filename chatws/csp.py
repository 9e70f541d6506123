"""The Content-Security-Policy that every page is sent with; Django 5.2 has none of its own."""

from collections.abc import Callable
from typing import Any

from asgiref.sync import iscoroutinefunction
from django.http import HttpRequest, HttpResponse
from django.utils.decorators import sync_and_async_middleware

POLICY = "; ".join(
    [
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "connect-src 'self'",
        "img-src 'self' data:",
        "form-action 'self'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
    ]
)


@sync_and_async_middleware
def content_security_policy(get_response: Callable[[HttpRequest], Any]) -> Callable[[HttpRequest], Any]:
    """Adds the header where the view has set none."""
    if iscoroutinefunction(get_response):

        async def serve_later(request: HttpRequest) -> HttpResponse:
            return _add(await get_response(request))

        return serve_later

    def serve(request: HttpRequest) -> HttpResponse:
        return _add(get_response(request))

    return serve


def _add(response: HttpResponse) -> HttpResponse:
    response.headers.setdefault("Content-Security-Policy", POLICY)
    return response
