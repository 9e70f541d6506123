"""The documents of the interfaces: OpenAPI of the HTTP API, AsyncAPI of the socket and the topics, each with a page."""

from django.urls import path
from drf_spectacular.views import SpectacularAPIView, SpectacularSwaggerSplitView

from chatws.web.api import documented  # noqa: F401  # what the document says of each view
from chatws.web.asyncapi import views

urlpatterns = [
    path("docs/openapi.yaml", SpectacularAPIView.as_view(urlconf="chatws.web.api.urls"), name="openapi"),
    path(
        "docs/api", SpectacularSwaggerSplitView.as_view(url_name="docs:openapi", template_name="chatws/api_docs.html")
    ),
    path("docs/asyncapi.yaml", views.asyncapi),
    path("docs/socket", views.socket),
]
