"""Every URL of the gateway."""

from django.conf import settings
from django.contrib import admin
from django.urls import URLPattern, URLResolver, include, path

from chatws.api.views import NotFoundView

urlpatterns: list[URLPattern | URLResolver] = [
    path("admin/", admin.site.urls),
    path("", include("chatws.urls")),
]
if settings.CHATWS.demo_login:
    urlpatterns.append(path("api/", include("chatws.demo_login")))
urlpatterns.append(path("api/<path:rest>", NotFoundView.as_view()))
