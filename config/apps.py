"""Django's admin as an app that imports its pages at the first request for one."""

from typing import Any

from django.contrib.admin.apps import SimpleAdminConfig
from django.contrib.admin.checks import check_admin_app, check_dependencies
from django.core import checks


class AdminConfig(SimpleAdminConfig):
    """The admin app without autodiscovery: `config.admin_urls` imports the apps' `admin` modules later."""

    def ready(self) -> None:
        checks.register(check_dependencies, checks.Tags.admin)
        checks.register(_check_pages, checks.Tags.admin)


def _check_pages(app_configs: Any, **options: Any) -> list[checks.CheckMessage]:
    """Run Django's check of the admin after importing the pages, because it checks only registered ones."""
    from config import admin_urls  # noqa: F401

    messages: list[checks.CheckMessage] = check_admin_app(app_configs, **options)
    return messages
