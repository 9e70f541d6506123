"""Serve the AsyncAPI document as YAML and as a page."""

from functools import cache

import yaml
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from chatws.web.asyncapi.document import document
from chatws.web.asyncapi.reference import Section, sections


@cache
def as_yaml() -> str:
    """Return the document; docs/asyncapi.yaml contains the same text."""
    text: str = yaml.safe_dump(document(), sort_keys=False, allow_unicode=True, width=120)
    return text


@cache
def _sections() -> tuple[Section, ...]:
    return sections(document())


@require_safe
def asyncapi(request: HttpRequest) -> HttpResponse:
    """Serve the YAML."""
    return HttpResponse(as_yaml(), content_type="application/yaml; charset=utf-8")


@require_safe
def socket(request: HttpRequest) -> HttpResponse:
    """Serve the page."""
    return render(request, "chatws/socket_docs.html", {"sections": _sections()})
