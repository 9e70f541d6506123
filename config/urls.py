"""Every URL of the gateway. Most are imported when one of them is asked for first (docs/adr/0022)."""

from collections.abc import Sequence
from typing import Any

from django.urls import URLPattern, URLResolver, include, path
from django.urls.resolvers import RegexPattern


class Ahead(RegexPattern):
    """Matches paths that begin with ``prefix``, a regular expression, and leaves the whole path to the URLconf."""

    def __init__(self, prefix: str) -> None:
        super().__init__(f"^(?={prefix})")

    def match(self, path: str) -> tuple[str, tuple[Any, ...], dict[str, Any]] | None:
        """The whole path; what a group in the prefix caught is no argument of a view."""
        return (path, (), {}) if self.regex.match(path) else None

    def __str__(self) -> str:
        return ""


def lazily(prefix: str, urlconf: str, namespace: str) -> URLResolver:
    """The paths of a URLconf that is imported when one of them is asked for.

    The namespace is needed: to find a name without one, Django imports every URLconf that has none.
    """
    return URLResolver(Ahead(prefix), urlconf, app_name=namespace, namespace=namespace)


LAZY: Sequence[URLResolver] = (
    lazily(r"admin/", "config.admin_urls", "admin"),
    lazily(r"api/|(?:ws/)?stats\Z", "config.api_urls", "api"),
    lazily(r"docs/", "chatws.web.docs_urls", "docs"),
)
urlpatterns: list[URLPattern | URLResolver] = [path("", include("chatws.urls")), *LAZY]


def import_for(scope_path: str) -> None:
    """Import the URLconf that serves this path."""
    for resolver in not_imported(scope_path):
        _ = resolver.url_patterns


def not_imported(scope_path: str) -> list[URLResolver]:
    """The URLconfs that serve this path and aren't imported yet; at most one."""
    rest = scope_path.removeprefix("/")
    return [one for one in LAZY if "urlconf_module" not in vars(one) and one.pattern.match(rest)]
