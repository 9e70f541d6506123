"""Every path of the HTTP API: the chat's, the demo's log-in, and an answer in JSON for paths that don't exist."""

from django.conf import settings
from django.urls import URLPattern, URLResolver, include, path

from chatws.api import urls
from chatws.api.views import NotFoundView, StatsView

urlpatterns: list[URLPattern | URLResolver] = [
    path("", include("chatws.api.urls")),
    path("", include(urls.with_slash)),
    path("ws/stats", StatsView.as_view()),
]
if settings.CHATWS.demo_login:
    urlpatterns.append(path("api/", include("chatws.demo_login")))
urlpatterns.append(path("api/<path:rest>", NotFoundView.as_view()))
