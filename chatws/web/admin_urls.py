"""The paths of a process that serves only the admin, besides the admin's own: its probes and the icon."""

from django.urls import path

from chatws.web import pages, probes

urlpatterns = [
    path("favicon.ico", pages.favicon),
    path("health", probes.health),
    path("ready", probes.health),
    path("startup", probes.health),
    path("metrics", probes.metrics),
]
