"""The Django app `chatws`."""

from django.apps import AppConfig


class ChatwsConfig(AppConfig):
    name = "chatws"
    verbose_name = "Chat gateway"
