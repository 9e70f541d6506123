"""The paths of Django's admin. Importing this module imports and registers every app's admin pages."""

from django.conf import settings
from django.contrib import admin
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.urls import URLPattern, URLResolver, include, path

from chatws import services
from chatws.web import probes
from realtime.auth.logins import TooManyLogins


def login(request: HttpRequest) -> HttpResponse:
    """Serve the admin's login; answer 429 if a limit refuses the attempt."""
    try:
        return admin.site.login(request)
    except TooManyLogins as error:
        headers = {"Retry-After": str(error.retry_after)}
        return HttpResponse(f"{error}\n", content_type="text/plain", status=429, headers=headers)


def gateway(request: HttpRequest) -> JsonResponse:
    """Return the states of `/ready`, which shows them only to operators: the admin's index asks from any address."""
    return JsonResponse(probes.states_of(services.of(request)))


admin.autodiscover()
urlpatterns: list[URLPattern | URLResolver] = [
    path("admin/login/", login),
    *([path("admin/gateway", admin.site.admin_view(gateway), name="gateway")] if settings.ADMIN == "on" else []),
    path("admin/", include(admin.site.get_urls())),
]
