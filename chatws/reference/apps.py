"""The Django app `chatws.reference`, the reference chat service."""

from django.apps import AppConfig


class ReferenceConfig(AppConfig):
    name = "chatws.reference"
    label = "reference"
    verbose_name = "Reference chat service"
