"""The policy that pages are sent with."""

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
def test_images_come_from_the_page_s_host_and_where_the_setting_allows(setting: str, more: list[str]) -> None:
    assert sources(csp.policy(setting), "img-src") == ["'self'", "data:", *more]
    assert sources(csp.policy(setting), "default-src") == ["'none'"]


@pytest.mark.parametrize("value", ["https:; script-src *", "https:, default-src *"])
def test_the_setting_can_t_add_another_directive(stack: Stack, value: str) -> None:
    with pytest.raises(AssertionError, match="CHATWS_IMAGE_SOURCES"):
        stack.manage("check", CHATWS_IMAGE_SOURCES=value)
