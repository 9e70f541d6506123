"""Check that the OpenAPI document is valid and that a real gateway gives each of its examples."""

from collections.abc import Iterator
from typing import Any

import httpx
import pytest
import yaml
from openapi_spec_validator import OpenAPIV30SpecValidator

from chatws.protocol.examples import USER
from tests.contract.test_heartbeats import until_online
from tests.support.client import bearer, connect, make_token
from tests.support.stack import Gateway, Stack
from tests.support.waiting import LIMIT
from tests.support.world import make_world, unread_notification

Operation = dict[str, Any]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Stack, Gateway]]:
    """Start a stack that holds only the examples' data."""
    stack = Stack(tmp_path_factory.mktemp("world"))
    try:
        gateway = stack.start()
        make_world(stack)
        yield stack, gateway
    finally:
        stack.stop()


def read_document(gateway: Gateway) -> dict[str, Any]:
    answer = httpx.get(f"{gateway.http}/docs/openapi.yaml", timeout=LIMIT)
    assert answer.status_code == 200
    document: dict[str, Any] = yaml.safe_load(answer.text)
    return document


def example(described: dict[str, Any]) -> Any:
    [one] = described["examples"].values()
    return one["value"]


def test_document_is_valid_and_describes_every_path(gateway: Gateway) -> None:
    document = read_document(gateway)
    OpenAPIV30SpecValidator(document).validate()
    assert set(document["paths"]) == {
        "/stats", "/api/users/status", "/api/users/{user_id}/groups", "/api/groups/{group_id}",
        "/api/groups/{group_id}/members", "/api/messages", "/api/messages/offline", "/api/notifications",
        "/api/notifications/unread-count", "/api/notifications/read", "/api/notifications/read-all",
    }  # fmt: skip


async def test_every_example_matches_a_real_answer(world: tuple[Stack, Gateway]) -> None:
    stack, gateway = world
    document = read_document(gateway)
    socket = await connect(gateway.ws, subprotocols=["bearer", make_token(USER)])
    await socket.expect("auth_success")
    await until_online(gateway.http, USER, True)
    async with httpx.AsyncClient(base_url=gateway.http, headers=bearer(USER), timeout=LIMIT) as http:
        for path, operations in document["paths"].items():
            for method, operation in operations.items():
                unread_notification(stack)
                await execute(http, method, path, operation)
    await socket.close()


async def execute(http: httpx.AsyncClient, method: str, path: str, operation: Operation) -> None:
    query = {}
    for parameter in operation.get("parameters", []):
        value = example(parameter)
        if parameter["in"] == "path":
            path = path.replace(f"{{{parameter['name']}}}", str(value))
        else:
            query[parameter["name"]] = value
    body = example(operation["requestBody"]["content"]["application/json"]) if "requestBody" in operation else None
    answer = await http.request(method, path, params=query, json=body)
    expected = example(operation["responses"]["200"]["content"]["application/json"])
    assert (answer.status_code, answer.json()) == (200, expected), f"{method} {path}"
