"""Check that files, settings, metrics and management commands named in the docs exist."""

import re
from pathlib import Path

import pytest

from config.env import BASE_DIR
from realtime.close_codes import CloseCode

PAGES = [BASE_DIR / "README.md", *sorted((BASE_DIR / "docs").glob("*.md"))]
CLIENT = {"CHATWS_TOKEN", "CHATWS_PASSWORD"}
"""Variables that only the terminal client reads; its help names them."""
SETTINGS = set(re.findall(r"^(\w+)=", (BASE_DIR / ".env.example").read_text(), re.MULTILINE)) | CLIENT
METRICS = re.findall(r'"(chatws_\w+)"', (BASE_DIR / "realtime" / "observability" / "metrics.py").read_text())
COMMANDS = {path.stem for path in BASE_DIR.glob("*/**/management/commands/*.py")} | {
    "migrate",
    "check",
    "clearsessions",
    "collectstatic",
}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_of_the_docs_lead_somewhere(page: Path) -> None:
    text = page.read_text()
    links = [link for link in re.findall(r"\]\(([^)#\s]+)", text) if "://" not in link]
    assert [link for link in links if not (page.parent / link).exists()] == []
    paths = re.findall(r"`((?:chatws|realtime|config|tools|tests|docs|deploy)/[\w/.-]+)`", text)
    assert [path for path in paths if not (BASE_DIR / path).exists()] == []
    assert set(re.findall(r"\bCHATWS_[A-Z_]+[A-Z]\b(?![*_])", text)) - SETTINGS == set()
    assert [name for name in re.findall(r"`(chatws_\w+)`", text) if name not in METRICS] == []
    assert set(re.findall(r"manage\.py (\w+)", text)) - COMMANDS == set()


def test_names_in_architecture_exist() -> None:
    text = (BASE_DIR / "docs/architecture.md").read_text()
    named = re.findall(r"`([\w/]+\.py)` \(`(\w+)`", text)
    assert len(named) > 10
    missing = [
        (path, name) for path, name in named
        if not re.search(rf"(def|class) {name}\b", (BASE_DIR / path).read_text())
    ]  # fmt: skip
    assert missing == []


def test_architecture_lists_every_close_code() -> None:
    text = (BASE_DIR / "docs/architecture.md").read_text()
    listed = {int(code) for row in re.findall(r"^\| ([\d, ]+) \|", text, re.MULTILINE) for code in row.split(", ")}
    assert {int(code) for code in CloseCode if code >= 4400} <= listed


def test_architecture_lists_every_folder() -> None:
    text = (BASE_DIR / "docs/architecture.md").read_text()
    folders = {
        f"{path.parent.relative_to(BASE_DIR)}/"
        for wing in ("realtime", "chatws") for path in (BASE_DIR / wing).glob("*/__init__.py")
    }  # fmt: skip
    assert {folder for folder in folders if f"`{folder}`" not in text} == {
        "realtime/management/",
        "realtime/migrations/",
        "chatws/management/",
    }
