"""Add a Content-Security-Policy to every page; Django 5.2 has no support for it."""

from collections.abc import Callable
from typing import Any

from asgiref.sync import iscoroutinefunction
from django.http import HttpRequest, HttpResponse
from django.utils.decorators import sync_and_async_middleware


def policy(images: str = "") -> str:
    """Return the header's value; ``images``: allowed sources of images besides the page's own host."""
    sources = images.replace("'none'", "").strip()
    return "; ".join(
        [
            "default-src 'none'",
            "script-src 'self'",
            "style-src 'self'",
            "connect-src 'self'",
            f"img-src 'self' data: {sources}".strip(),
            "form-action 'self'",
            "base-uri 'none'",
            "frame-ancestors 'none'",
        ]
    )


POLICY = policy()


@sync_and_async_middleware
def content_security_policy(get_response: Callable[[HttpRequest], Any]) -> Callable[[HttpRequest], Any]:
    """Add the header unless the view has set it."""
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
