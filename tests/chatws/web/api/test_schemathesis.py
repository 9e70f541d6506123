"""Send what the OpenAPI document allows, and what it doesn't, to a real gateway: it answers as the document says."""

from typing import Any

import hypothesis
import pytest
import schemathesis
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    positive_data_acceptance,
    response_schema_conformance,
    status_code_conformance,
)

from config.env import BASE_DIR
from tests.support.client import bearer
from tests.support.stack import Gateway

SCHEMA: Any = schemathesis.openapi.from_path(BASE_DIR / "docs/openapi.yaml")
OPERATIONS = {operation.ok().label: operation.ok() for operation in SCHEMA.get_all_operations()}
CHECKS: list[Any] = [
    not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance,
    positive_data_acceptance,
]  # fmt: skip
EXAMPLES = 15
ONCE = hypothesis.settings(
    max_examples=EXAMPLES, derandomize=True, deadline=None, database=None,
    suppress_health_check=list(hypothesis.HealthCheck),
)  # fmt: skip
"""The same examples each time: a difference to the document shows at once, not in some runs."""


def run(gateway: Gateway, operation: Any, mode: Any, checks: list[Any], **headers: str) -> None:
    @ONCE
    @hypothesis.given(case=operation.as_strategy(generation_mode=mode))
    def each(case: Any) -> None:
        response = case.call(base_url=gateway.http, headers=headers)
        case.validate_response(response, checks=checks, headers=headers)

    each()


@pytest.mark.parametrize("label", OPERATIONS)
def test_documented_request_gets_a_documented_answer(label: str, gateway: Gateway) -> None:
    run(gateway, OPERATIONS[label], schemathesis.GenerationMode.POSITIVE, CHECKS, **bearer(1, role="admin"))


@pytest.mark.parametrize("label", sorted(OPERATIONS.keys() - {"GET /stats"}))  # it takes nothing
def test_malformed_request_gets_a_documented_answer(label: str, gateway: Gateway) -> None:
    run(gateway, OPERATIONS[label], schemathesis.GenerationMode.NEGATIVE, CHECKS, **bearer(1, role="admin"))


@pytest.mark.parametrize("label", OPERATIONS)
def test_request_without_a_token_gets_a_documented_answer(label: str, gateway: Gateway) -> None:
    run(gateway, OPERATIONS[label], schemathesis.GenerationMode.POSITIVE, CHECKS)


def test_document_has_every_operation() -> None:
    assert len(OPERATIONS) == 11
