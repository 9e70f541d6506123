"""The URLconfs that are imported when one of their paths is asked for."""

import pytest
from django.urls import resolve

from config import urls


@pytest.mark.parametrize("path", ["/api/notifications", "/api/messages", "/stats", "/ws/stats"])
def test_what_a_lazy_prefix_caught_is_no_argument_of_the_view(path: str) -> None:
    assert resolve(path).args == ()


def test_a_group_in_a_prefix_catches_nothing() -> None:
    assert urls.Ahead(r"(a)|b/").match("a/c") == ("a/c", (), {})


def test_a_path_beside_all_prefixes_is_left_to_others() -> None:
    assert urls.Ahead(r"(a)|b/").match("c") is None
