"""The documents of the interfaces: OpenAPI of the HTTP API, as a file and as a page on which to try it."""

from django.urls import path
from drf_spectacular.views import SpectacularAPIView, SpectacularSwaggerSplitView

urlpatterns = [
    path("docs/openapi.yaml", SpectacularAPIView.as_view(urlconf="chatws.api.urls"), name="openapi"),
    path(
        "docs/api",
        SpectacularSwaggerSplitView.as_view(url_name="openapi", template_name="chatws/api_docs.html"),
    ),
]
