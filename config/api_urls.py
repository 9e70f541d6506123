"""All paths of the HTTP API: the chat's, the demo's login, and a JSON 404 for unknown paths."""

from django.conf import settings
from django.urls import URLPattern, URLResolver, include, path

from chatws.web.api import urls
from chatws.web.api.views import NotFoundView, StatsView

urlpatterns: list[URLPattern | URLResolver] = [
    path("", include("chatws.web.api.urls")),
    path("", include(urls.with_slash)),
    path("ws/stats", StatsView.as_view()),
]
if settings.CHATWS.demo_login:
    urlpatterns.append(path("api/", include("chatws.web.demo_login")))
urlpatterns.append(path("api/<path:rest>", NotFoundView.as_view()))
