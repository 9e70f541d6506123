"""The AsyncAPI document for readers: each message with its fields in words, for the page and as Markdown."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

Json = Mapping[str, Any]
LARGE = 2**32
"""Larger bounds are not shown, because they only reflect the integer type."""


@dataclass(frozen=True)
class Field:
    """A field: its path, its type in words, and whether it is required."""

    name: str
    kind: str
    is_required: bool


@dataclass(frozen=True)
class Entry:
    """One message: its fields below ``data`` (of an event: all), an example, and its possible replies."""

    name: str
    summary: str
    fields: tuple[Field, ...]
    example: str
    replies: tuple[str, ...]


@dataclass(frozen=True)
class Section:
    title: str
    entries: tuple[Entry, ...]


def sections(document: Json) -> tuple[Section, ...]:
    """Return the three sections: frames from the client, frames from the server, events in the topics."""
    titles = {"client": "Frames from the client", "server": "Frames from the server", "topic": "Events in the topics"}
    messages = document["components"]["messages"]
    return tuple(
        Section(title, tuple(_entry(document, name) for name in messages if name.startswith(f"{side}.")))
        for side, title in titles.items()
    )


def markdown(document: Json) -> str:
    """Return the reference part of docs/protocol.md."""
    lines: list[str] = []
    for section in sections(document):
        lines += [f"### {section.title}", ""]
        for entry in section.entries:
            lines += [f"**`{entry.name}`**  ", f"{entry.summary}{_replies(entry)}", ""]
            if entry.fields:
                lines += ["| field | |", "| --- | --- |"]
                lines += [
                    f"| `{field.name}` | {field.kind}{'' if field.is_required else '; optional'} |"
                    for field in entry.fields
                ]
                lines.append("")
            lines += [f"    {line}" for line in entry.example.splitlines()]
            lines.append("")
    return "\n".join(lines).rstrip() + "\n"


def _replies(entry: Entry) -> str:
    return f" Replies: {', '.join(f'`{reply}`' for reply in entry.replies)}." if entry.replies else ""


def _entry(document: Json, name: str) -> Entry:
    message = document["components"]["messages"][name]
    payload = _resolve(document, message["payload"])
    shown = payload if name.startswith("topic.") else payload["properties"]["data"]
    operation = document["operations"].get(name.removeprefix("client."), {}) if name.startswith("client.") else {}
    replies = [reply["$ref"].rpartition("server.")[2] for reply in operation.get("reply", {}).get("messages", ())]
    return Entry(
        name=message["name"],
        summary=message["summary"],
        fields=tuple(_fields(document, shown, "")),
        example=json.dumps(message["examples"][0]["payload"], ensure_ascii=False),
        replies=tuple(replies),
    )


def _fields(document: Json, schema: Json, prefix: str) -> Iterator[Field]:
    schema = _resolve(document, schema)
    for name, inner in schema.get("properties", {}).items():
        inner, is_required = _resolve(document, inner), name in schema.get("required", ())
        items = _resolve(document, inner.get("items", {}))
        nested = items if "properties" in items else inner
        yield Field(prefix + name, _kind(document, inner), is_required)
        if "properties" in nested:
            yield from _fields(document, nested, f"{prefix}{name}{'[]' if nested is items else ''}.")


def _kind(document: Json, schema: Json) -> str:
    if "anyOf" in schema:
        return " or ".join(_kind(document, _resolve(document, one)) for one in schema["anyOf"])
    if "enum" in schema:
        return ", ".join(f"`{json.dumps(value)}`" for value in schema["enum"])
    kind = schema.get("type", "anything")
    if kind == "array":
        return f"list of {_kind(document, _resolve(document, schema['items']))}"
    if kind == "object" and isinstance(values := schema.get("additionalProperties"), Mapping):
        return f"object with values: {_kind(document, _resolve(document, values))}"
    if kind == "object" and "properties" in schema:
        return f"object with {', '.join(f'`{name}`' for name in schema['properties'])}"
    least, maximum = schema.get("minimum"), schema.get("maximum", LARGE)
    words = [kind]
    if least is not None:
        words.append(f"{least} to {maximum}" if maximum < LARGE else f"from {least}")
    if "maxLength" in schema:
        shortest = schema.get("minLength")
        words.append(f"{shortest} to {schema['maxLength']} long" if shortest else f"at most {schema['maxLength']} long")
    if "pattern" in schema:
        words.append(f"`{schema['pattern']}`")
    if schema.get("default") not in (None, ""):
        words.append(f"default {json.dumps(schema['default'])}")
    return ", ".join(words)


def _resolve(document: Json, schema: Json) -> Json:
    if "$ref" not in schema:
        return schema
    found: Json = document["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
    return found
