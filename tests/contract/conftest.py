"""What every contract test has around it."""

from collections.abc import Iterator

import pytest

from tests.support.stack import Gateway, Stack


@pytest.fixture(autouse=True)
def no_gateway_outlives_its_test(request: pytest.FixtureRequest) -> Iterator[None]:
    """End the gateways that a test added to the shared stack: each one left makes the tests that follow slower."""
    stack: object = request.getfixturevalue("stack") if "stack" in request.fixturenames else None
    before = len(stack.processes) if isinstance(stack, Stack) else 0
    yield
    if isinstance(stack, Stack):
        for process in stack.processes[before:]:
            if isinstance(process, Gateway) and process.running:
                process.kill()
