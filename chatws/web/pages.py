"""The chat page and its icon."""

from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.templatetags.static import static
from django.views.decorators.http import require_safe

from chatws import conf
from chatws.web import csp


@require_safe
async def page(request: HttpRequest) -> HttpResponse:
    """Serve the chat page."""
    here = conf.get()
    response = render(request, "chatws/chat.html", {"demo_login": here.demo_login})
    response.headers["Content-Security-Policy"] = csp.policy(here.image_sources)
    return response


@require_safe
async def favicon(request: HttpRequest) -> HttpResponse:
    """Redirect to the icon: browsers request this path for pages that name no icon."""
    return HttpResponseRedirect(static("chatws/icon.svg"))  # not `redirect`: it would try to resolve a view's name
