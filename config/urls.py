"""Every URL of the gateway."""

from django.conf import settings
from django.contrib import admin
from django.urls import include, path

urlpatterns = [
    path("admin/", admin.site.urls),
    path("", include("chatws.urls")),
]
if settings.CHATWS.demo_login:
    urlpatterns.append(path("api/", include("chatws.demo_login")))
