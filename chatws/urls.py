"""The gateway's own paths."""

from django.urls import include, path

from chatws import views
from chatws.api.views import StatsView

urlpatterns = [
    path("", views.page, name="chat"),
    path("favicon.ico", views.favicon),
    path("health", views.health),
    path("ws/health", views.health),
    path("ready", views.ready),
    path("metrics", views.metrics),
    path("ws/stats", StatsView.as_view()),
    path("", include("chatws.api.urls")),
    path("", include("chatws.docs_urls")),
]
