"""`manage.py interface_docs`: write the interface documents in docs/ from the code's types, or check them."""

import argparse
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from drf_spectacular.generators import SchemaGenerator
from drf_spectacular.renderers import OpenApiYamlRenderer

from chatws.web.api import documented  # noqa: F401  # adds the views' descriptions
from chatws.web.asyncapi.document import document
from chatws.web.asyncapi.reference import markdown
from chatws.web.asyncapi.views import as_yaml

DOCS = Path(__file__).resolve().parents[3] / "docs"
BEGIN, END = "<!-- made by manage.py interface_docs -->\n", "<!-- end -->\n"


class Command(BaseCommand):
    help = "Write docs/openapi.yaml, docs/asyncapi.yaml and the reference in docs/protocol.md from the code's types."

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--check", action="store_true", help="write nothing; fail if a document is out of date")

    def handle(self, *args: Any, check: bool, **options: Any) -> None:
        texts = {"openapi.yaml": openapi(), "asyncapi.yaml": as_yaml(), "protocol.md": protocol()}
        stale = [name for name, text in texts.items() if not is_current(DOCS / name, text)]
        if check and stale:
            raise CommandError(f"out of date in docs/: {', '.join(stale)}; run `make docs`")
        for name in stale:
            (DOCS / name).write_text(texts[name])
            self.stdout.write(f"wrote docs/{name}")


def openapi() -> str:
    """Return the OpenAPI document of the HTTP API."""
    generator: Any = SchemaGenerator
    renderer: Any = OpenApiYamlRenderer()
    rendered: bytes = renderer.render(generator(urlconf="chatws.web.api.urls").get_schema(request=None, public=True))
    return rendered.decode()


def protocol() -> str:
    """Return docs/protocol.md with a current reference part."""
    before, begin, rest = (DOCS / "protocol.md").read_text().partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise CommandError(f"docs/protocol.md: no part between {BEGIN.strip()} and {END.strip()}")
    return f"{before}{BEGIN}\n{markdown(document())}\n{END}{after}"


def is_current(path: Path, text: str) -> bool:
    """Return whether a file contains exactly this text."""
    return path.exists() and path.read_text() == text
