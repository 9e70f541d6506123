"""The Django app of the chat gateway."""

from django.apps import AppConfig


class ChatwsConfig(AppConfig):
    name = "chatws"
    verbose_name = "Chat gateway"
