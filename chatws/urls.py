"""The chat page, and what a supervisor asks for: no path here needs Django REST framework."""

from django.urls import path

from chatws import views

urlpatterns = [
    path("", views.page, name="chat"),
    path("favicon.ico", views.favicon),
    path("health", views.health),
    path("ws/health", views.health),
    path("ready", views.ready, name="ready"),
    path("metrics", views.metrics),
]
