"""The gateway's own paths."""

from django.urls import path

from chatws import views

urlpatterns = [
    path("", views.page, name="chat"),
    path("favicon.ico", views.favicon),
    path("health", views.health),
    path("ws/health", views.health),
    path("ready", views.ready),
    path("metrics", views.metrics),
    path("stats", views.stats),
    path("ws/stats", views.stats),
    path("api/users/status", views.user_status),
    path("api/users/<user_id>/groups", views.user_groups),
    path("api/messages", views.messages),
]
