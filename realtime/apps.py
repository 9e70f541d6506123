"""The Django app `realtime`."""

from django.apps import AppConfig


class RealtimeConfig(AppConfig):
    name = "realtime"
    verbose_name = "Real-time delivery"

    def ready(self) -> None:
        from realtime import checks  # noqa: F401
