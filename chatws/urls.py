"""The paths of the chat page and the probes; none of them needs Django REST framework."""

from django.urls import path

from chatws.web import pages, probes

urlpatterns = [
    path("", pages.page, name="chat"),
    path("favicon.ico", pages.favicon),
    path("health", probes.health),
    path("ws/health", probes.health),
    path("ready", probes.ready, name="ready"),
    path("startup", probes.startup, name="startup"),
    path("metrics", probes.metrics),
]
