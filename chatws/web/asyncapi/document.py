"""Generate the AsyncAPI document from the types in `chatws.protocol` and `chatws.events`."""

import json
from collections.abc import Mapping
from typing import Any, get_args

import msgspec

from chatws import conf
from chatws.events import payloads, routes
from chatws.protocol.frames import ClientFrame, ServerData
from chatws.protocol.publications import PublicationData
from chatws.web.asyncapi.examples import EVENTS, FROM_CLIENT, FROM_SERVER

Json = dict[str, Any]
REPLIES: Mapping[str, tuple[str, ...]] = {
    "ping": ("pong",), "auth": ("auth_success", "auth_failed", "error"), "send_message": ("ack", "error"),
    "join_group": ("group_joined", "error"), "leave_group": ("group_left", "error"), "mark_read": ("ack", "error"),
    "typing": ("error",), "presence": ("presence", "error"), "history": ("history", "error"),
}  # fmt: skip
"""The possible replies to each frame."""
PAYLOADS: Mapping[str, type[msgspec.Struct]] = {
    routes.MESSAGE_NEW: payloads.MessageEvent,
    routes.MEMBER_ADDED: payloads.MemberEvent,
    routes.MEMBER_REMOVED: payloads.MemberEvent,
    routes.NOTIFICATION_PUSH: payloads.NotificationEvent,
    routes.VERIFY_PROGRESS: payloads.VerifyEvent,
}
HELD = "The largest stored number is 2^63 - 1; user ids are unsigned and go up to 2^64 - 1."
SCHEMAS = "#/components/schemas/"


def document() -> Json:
    """Return the document as plain values, in a stable order."""
    client: dict[str, type] = {str(kind.__struct_config__.tag): kind for kind in get_args(ClientFrame)}
    server: dict[str, type] = {kind.TYPE: kind for kind in get_args(ServerData)}
    published: dict[str, type] = {kind.TYPE: kind for kind in get_args(PublicationData)}
    kinds = {*client.values(), *server.values(), *published.values(), *PAYLOADS.values()}
    in_order = sorted(kinds, key=lambda kind: kind.__name__)
    _, schemas = msgspec.json.schema_components(in_order, ref_template=SCHEMAS + "{name}")
    schemas = {name: _portable(schema) for name, schema in sorted(schemas.items())}
    messages = {
        **{f"client.{name}": _message(name, kind, schemas, FROM_CLIENT[name]) for name, kind in client.items()},
        **{f"server.{name}": _server_message(name, kind, schemas) for name, kind in server.items()},
        **{f"server.{name}": _publication(name, kind, schemas) for name, kind in published.items()},
        **{f"topic.{_key(name)}": _message(name, kind, schemas, EVENTS[name]) for name, kind in PAYLOADS.items()},
    }
    made = {
        "asyncapi": "3.0.0",
        "info": {
            "title": "chatws",
            "version": "1",
            "description": "The frames of the chat gateway's WebSocket, and the topics that its relay reads. "
            "docs/protocol.md explains them. " + HELD,
            "license": {"name": "MIT"},
        },
        "defaultContentType": "application/json",
        "servers": {
            "gateway": {"host": "localhost:8889", "protocol": "ws", "description": "A gateway."},
            "redis": {"host": "localhost:6399", "protocol": "redis", "description": "Redis, with the topics."},
        },
        "channels": {
            "socket": {
                "address": f"{conf.get().url_prefix}/ws",
                "description": "Each text frame is one JSON object.",
                "servers": [{"$ref": "#/servers/gateway"}],
                "messages": {name: _component(name) for name in messages if not name.startswith("topic.")},
            },
            **{_key(name): _topic(name) for name in PAYLOADS},
        },
        "operations": {
            **{name: _served(name) for name in client},
            "told": {
                "action": "send",
                "channel": {"$ref": "#/channels/socket"},
                "summary": "Frames from the server: publications, notifications of state, and replies.",
                "messages": [_in_channel("socket", f"server.{name}") for name in [*server, *published]],
            },
            **{f"relay.{_key(name)}": _relayed(name) for name in PAYLOADS},
        },
        "components": {"messages": messages, "schemas": schemas},
    }
    plain: Json = json.loads(json.dumps(made))  # copy shared values, so that the YAML has no anchors
    return plain


def _message(name: str, kind: type, schemas: Mapping[str, Json], example: Json) -> Json:
    return {
        "name": name,
        "summary": schemas[kind.__name__].get("description", name),
        "payload": {"$ref": SCHEMAS + kind.__name__},
        "examples": [{"payload": example}],
    }


def _server_message(name: str, kind: type, schemas: Mapping[str, Json], more: Json | None = None) -> Json:
    payload = {
        "type": "object",
        "properties": {
            "type": {"const": name},
            "message_id": {"type": "string"},
            "timestamp": {"type": "integer"},
            "data": {"$ref": SCHEMAS + kind.__name__},
            **(more or {}),
        },
        "required": ["type", "message_id", "timestamp", "data", *(more or {})],
    }
    return {**_message(name, kind, schemas, FROM_SERVER[name]), "payload": payload}


def _publication(name: str, kind: type, schemas: Mapping[str, Json]) -> Json:
    place = {
        "feed": {"type": "string"},
        "epoch": {"type": "string", "minLength": 1},
        "offset": {"type": "integer", "minimum": 1},
    }
    return _server_message(name, kind, schemas, place)


def _topic(name: str) -> Json:
    return {
        "address": name,
        "description": "A Redis stream. The payload is an entry's field `payload`; Watermill's fields "
        "`_watermill_message_uuid` and `metadata` may be absent.",
        "servers": [{"$ref": "#/servers/redis"}],
        "messages": {f"topic.{_key(name)}": _component(f"topic.{_key(name)}")},
    }


def _served(name: str) -> Json:
    return {
        "action": "receive",
        "channel": {"$ref": "#/channels/socket"},
        "messages": [_in_channel("socket", f"client.{name}")],
        "reply": {
            "channel": {"$ref": "#/channels/socket"},
            "messages": [_in_channel("socket", f"server.{reply}") for reply in REPLIES[name]],
        },
    }


def _relayed(name: str) -> Json:
    key = _key(name)
    channel = {"$ref": f"#/channels/{key}"}
    return {"action": "receive", "channel": channel, "messages": [_in_channel(key, f"topic.{key}")]}


def _component(name: str) -> Json:
    return {"$ref": f"#/components/messages/{name}"}


def _in_channel(channel: str, name: str) -> Json:
    return {"$ref": f"#/channels/{channel}/messages/{name}"}


def _key(topic: str) -> str:
    """Return a topic's name as a key, which may not contain a colon."""
    return topic.replace(":", ".")


def _portable(schema: Any) -> Any:
    """Return the schema without titles, with patterns that other languages than Python understand."""
    if isinstance(schema, dict):
        return {name: _portable(value) for name, value in schema.items() if name != "title" or isinstance(value, dict)}
    if isinstance(schema, list):
        return [_portable(value) for value in schema]
    if isinstance(schema, str) and schema.startswith(r"\A"):
        return "^" + schema.removeprefix(r"\A").removesuffix(r"\Z") + "$"
    return schema
