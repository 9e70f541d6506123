"""All URLs of the gateway. Most are imported at the first request for one of them (docs/adr/0022)."""

from collections.abc import Sequence
from typing import Any

from django.conf import settings
from django.urls import URLPattern, URLResolver, include, path
from django.urls.resolvers import RegexPattern


class Ahead(RegexPattern):
    """Matches paths that begin with ``prefix``, a regular expression, and leaves the whole path to the URLconf."""

    def __init__(self, prefix: str) -> None:
        super().__init__(f"^(?={prefix})")

    def match(self, path: str) -> tuple[str, tuple[Any, ...], dict[str, Any]] | None:
        """Return the whole path on a match, without arguments for the view."""
        return (path, (), {}) if self.regex.match(path) else None

    def __str__(self) -> str:
        return ""


def lazily(prefix: str, urlconf: str, namespace: str) -> URLResolver:
    """Return a resolver for a URLconf that is imported at the first request for one of its paths.

    The namespace is required: to reverse a name without one, Django imports every URLconf without a namespace.
    """
    return URLResolver(Ahead(prefix), urlconf, app_name=namespace, namespace=namespace)


ADMIN = lazily(r"admin/", "config.admin_urls", "admin")
OF_GATEWAY = (
    lazily(r"api/|(?:ws/)?stats\Z", "config.api_urls", "api"),
    lazily(r"docs/", "chatws.web.docs_urls", "docs"),
)
LAZY: Sequence[URLResolver] = {"on": (ADMIN, *OF_GATEWAY), "off": OF_GATEWAY, "only": (ADMIN,)}[settings.ADMIN]
EAGER = "chatws.web.admin_urls" if settings.ADMIN == "only" else "chatws.urls"
urlpatterns: list[URLPattern | URLResolver] = [path("", include(EAGER)), *LAZY]


def import_for(scope_path: str) -> None:
    """Import the URLconf that serves this path."""
    for resolver in not_imported(scope_path):
        _ = resolver.url_patterns


def not_imported(scope_path: str) -> list[URLResolver]:
    """Return the URLconfs that serve this path and have not been imported yet; at most one."""
    rest = scope_path.removeprefix("/")
    return [one for one in LAZY if "urlconf_module" not in vars(one) and one.pattern.match(rest)]
