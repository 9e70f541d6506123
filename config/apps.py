"""Django's admin as an app whose pages are imported when somebody asks for one."""

from typing import Any

from django.contrib.admin.apps import SimpleAdminConfig
from django.contrib.admin.checks import check_admin_app, check_dependencies
from django.core import checks


class AdminConfig(SimpleAdminConfig):
    """The admin app; `config.admin_urls` discovers the apps' `admin` modules, not the start of each process."""

    def ready(self) -> None:
        checks.register(check_dependencies, checks.Tags.admin)
        checks.register(_check_pages, checks.Tags.admin)


def _check_pages(app_configs: Any, **options: Any) -> list[checks.CheckMessage]:
    """Django's check of the admin, after the admin's pages are imported: it checks those that are registered."""
    from config import admin_urls  # noqa: F401

    messages: list[checks.CheckMessage] = check_admin_app(app_configs, **options)
    return messages
