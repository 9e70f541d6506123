"""The paths of the documents: OpenAPI for the HTTP API, AsyncAPI for the socket and the topics, each with a page."""

from django.urls import path
from drf_spectacular.views import SpectacularAPIView, SpectacularSwaggerSplitView

from chatws.web.api import documented  # noqa: F401  # adds the views' descriptions
from chatws.web.asyncapi import views

urlpatterns = [
    path("docs/openapi.yaml", SpectacularAPIView.as_view(urlconf="chatws.web.api.urls"), name="openapi"),
    path(
        "docs/api",
        SpectacularSwaggerSplitView.as_view(url_name="docs:openapi", template_name="chatws/api_docs.html"),
        name="api",
    ),
    path("docs/asyncapi.yaml", views.asyncapi, name="asyncapi"),
    path("docs/socket", views.socket),
]
