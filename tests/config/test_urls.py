"""Check the URLconfs that are imported on the first request of one of their paths."""

import pytest
from django.urls import resolve

from config import urls


@pytest.mark.parametrize("path", ["/api/notifications", "/api/messages", "/stats", "/ws/stats"])
def test_lazy_prefix_passes_no_argument_to_the_view(path: str) -> None:
    assert resolve(path).args == ()


def test_capture_group_in_a_prefix_captures_nothing() -> None:
    assert urls.Ahead(r"(a)|b/").match("a/c") == ("a/c", (), {})


def test_path_outside_all_prefixes_does_not_match() -> None:
    assert urls.Ahead(r"(a)|b/").match("c") is None
