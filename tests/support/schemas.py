"""Each frame that a test's client sends or gets, against the AsyncAPI document: neither says less than the other."""

import json
import re
from collections.abc import Mapping
from functools import cache
from typing import Any

import jsonschema_rs

from chatws.web.asyncapi.document import document

Frame = dict[str, Any]
OF_THE_DECODER = re.compile("Expected `|Object missing required|Invalid (enum )?value")
"""What the codec says of a frame that isn't of its type."""


@cache
def validators() -> Mapping[str, jsonschema_rs.Draft7Validator]:
    """By side and type, e.g. ``server.pong``; what the server says may have no field that the document doesn't know."""
    made = document()
    schemas = {"components": {"schemas": made["components"]["schemas"]}}
    closed = {"components": {"schemas": _closed(made["components"]["schemas"])}}
    found = {}
    for name, message in made["components"]["messages"].items():
        is_ours = name.startswith("server.")
        payload = _closed(message["payload"]) if is_ours else message["payload"]
        found[name] = jsonschema_rs.Draft7Validator({"allOf": [payload], **(closed if is_ours else schemas)})
    return found


def sent(text: str | bytes) -> dict[str, bool]:
    """Whether a frame is as the document says, by its message id; nothing of one whose answer can't be told."""
    try:
        frame = json.loads(text)
        message_id = frame["message_id"]
    except (ValueError, TypeError, KeyError, RecursionError):
        return {}
    if not isinstance(message_id, str) or not message_id:
        return {}
    validator = validators().get(f"client.{frame.get('type')}")
    try:
        return {message_id: validator is not None and validator.is_valid(frame)}
    except ValueError:  # a number that JSON doesn't know
        return {message_id: False}


def check_received(frame: Frame, sent: Mapping[str, bool]) -> None:
    """The server's frame is one of the document's, and the frame that it answers was served if that was one too."""
    validator = validators().get(f"server.{frame['type']}")
    assert validator is not None, f"not in the document: {frame}"
    problems = [error.message for error in validator.iter_errors(frame)]
    assert not problems, f"{problems}: {frame}"
    if "offset" in frame or frame["message_id"] not in sent:
        return
    if sent[frame["message_id"]]:
        assert not (frame["type"] == "error" and OF_THE_DECODER.search(frame["data"]["message"])), frame
    else:
        assert frame["type"] == "error", f"served, though the document says that it isn't valid: {frame}"


class Exchange:
    """The frames of one connection, seen from beside it; ``complaints`` gets what is wrong."""

    def __init__(self, complaints: list[str]) -> None:
        self._complaints = complaints
        self._sent: dict[str, bool] = {}

    def sent(self, text: str | bytes) -> None:
        self._sent |= sent(text)

    def received(self, text: str | bytes) -> None:
        try:
            check_received(json.loads(text), self._sent)
        except (AssertionError, ValueError, TypeError, KeyError) as error:
            self._complaints.append(f"{error!r}: {text!r}")


def _closed(schema: Any) -> Any:
    if isinstance(schema, list):
        return [_closed(inner) for inner in schema]
    if not isinstance(schema, dict):
        return schema
    closed = {name: _closed(inner) for name, inner in schema.items()}
    if isinstance(closed.get("properties"), dict) and closed.get("type") == "object":
        closed.setdefault("additionalProperties", False)
    return closed
