"""The process in which histories are told."""

from collections.abc import Iterator

import pytest

from tests.simulation.scripted.history import Host, hosted


@pytest.fixture(scope="session")
def host() -> Iterator[Host]:
    """Start the host of the histories."""
    with hosted() as host:
        yield host
