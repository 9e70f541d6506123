"""What the prose points at is there: files, settings, metrics, management commands."""

import re
from pathlib import Path

import pytest

from config.env import BASE_DIR

PAGES = [BASE_DIR / "README.md", *sorted((BASE_DIR / "docs").glob("*.md"))]
CLIENT = {"CHATWS_TOKEN", "CHATWS_PASSWORD"}
"""Read by the terminal chat alone, which says so in its help."""
SETTINGS = set(re.findall(r"^(\w+)=", (BASE_DIR / ".env.example").read_text(), re.MULTILINE)) | CLIENT
METRICS = re.findall(r'"(chatws_\w+)"', (BASE_DIR / "realtime" / "observability" / "metrics.py").read_text())
COMMANDS = {path.stem for path in BASE_DIR.glob("*/**/management/commands/*.py")} | {
    "migrate",
    "check",
    "collectstatic",
}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_what_a_page_points_at_is_there(page: Path) -> None:
    text = page.read_text()
    links = [link for link in re.findall(r"\]\(([^)#\s]+)", text) if "://" not in link]
    assert [link for link in links if not (page.parent / link).exists()] == []
    paths = re.findall(r"`((?:chatws|realtime|config|tests|docs|deploy)/[\w/.-]+)`", text)
    assert [path for path in paths if not (BASE_DIR / path).exists()] == []
    assert set(re.findall(r"\bCHATWS_[A-Z_]+[A-Z]\b(?![*_])", text)) - SETTINGS == set()
    assert [name for name in re.findall(r"`(chatws_\w+)`", text) if name not in METRICS] == []
    assert set(re.findall(r"manage\.py (\w+)", text)) - COMMANDS == set()
