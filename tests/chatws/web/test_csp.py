"""Check the content policy of pages."""

import pytest

from chatws.web import csp
from tests.support.stack import Stack


def sources(policy: str, directive: str) -> list[str]:
    return dict(part.split(" ", 1) for part in policy.split("; "))[directive].split()


@pytest.mark.parametrize(
    ("setting", "more"),
    [
        ("", []),
        ("'none'", []),
        ("https:", ["https:"]),
        ("https://a.example *.b.example", ["https://a.example", "*.b.example"]),
    ],
)
def test_policy_allows_own_and_configured_image_sources(setting: str, more: list[str]) -> None:
    assert sources(csp.policy(setting), "img-src") == ["'self'", "data:", *more]
    assert sources(csp.policy(setting), "default-src") == ["'none'"]


@pytest.mark.parametrize("value", ["https:; script-src *", "https:, default-src *"])
def test_image_setting_cannot_add_a_directive(stack: Stack, value: str) -> None:
    with pytest.raises(AssertionError, match="CHATWS_IMAGE_SOURCES"):
        stack.manage("check", CHATWS_IMAGE_SOURCES=value)
