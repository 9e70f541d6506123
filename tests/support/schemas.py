"""Compare each frame of a test's client with the AsyncAPI document, in both directions."""

import json
import re
from collections.abc import Mapping
from functools import cache
from typing import Any

import jsonschema_rs

from chatws.web.asyncapi.document import document

Frame = dict[str, Any]
OF_THE_DECODER = re.compile("Expected `|Object missing required|Invalid (enum )?value")
"""The codec's error for a frame that does not match its type."""


@cache
def validators() -> Mapping[str, jsonschema_rs.Draft7Validator]:
    """Return validators by side and type, e.g. ``server.pong``; a server frame may have no undocumented field."""
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
    """Return by message id whether a frame matches the document; empty if its answer cannot be identified."""
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
    except ValueError:  # a number that JSON does not allow
        return {message_id: False}


def check_received(frame: Frame, sent: Mapping[str, bool]) -> None:
    """Check that a server frame matches the document, and that the frame it answers was served if it matched too."""
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
    """The observed frames of one connection; ``complaints`` collects the mismatches."""

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
