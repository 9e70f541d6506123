"""Order the test files by duration, longest first, so that no long file is left for the end."""

import pytest

LONGEST = ("tests/e2e/", "tests/faults/", "tests/javascript/", "tests/config/", "tests/abuse/", "tests/contract/")
"""The folders with the longest files, in this order; the order within each is random."""


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Sort the tests by file; each worker takes the next file once it has finished one."""

    def place(item: pytest.Item) -> int:
        return next((n for n, folder in enumerate(LONGEST) if item.nodeid.startswith(folder)), len(LONGEST))

    items.sort(key=place)
