"""Decode and encode the socket's frames; the only module that handles their JSON."""

import json
import re
import time
from collections.abc import Iterator
from typing import Any

import msgspec

from chatws.exceptions import BadFrame
from chatws.protocol.frames import ClientFrame, ServerData


class _Envelope(msgspec.Struct, frozen=True):
    type: str
    message_id: str
    timestamp: int
    data: ServerData


class _Head(msgspec.Struct, frozen=True):
    """The part of a bad frame that its answer needs."""

    message_id: Any = ""


MAX_OF_A_PATH = 100
"""Most characters of a path in an error, because a client may choose the keys."""
_decoder = msgspec.json.Decoder(ClientFrame)
_head_decoder = msgspec.json.Decoder(_Head)
_encoder = msgspec.json.Encoder()
_PROBLEM = re.compile(r"(?P<what>.*?)(?: - at `\$\.?(?P<where>.*)`)?", re.DOTALL)


def decode(text: str) -> ClientFrame:
    """Decode a client's frame.

    Raises:
        BadFrame: 400, or 413 for a field over its limit; the message names the field.
    """
    try:
        frame: ClientFrame = _decoder.decode(text)
    except msgspec.ValidationError as error:
        if text.count('"type"') > 1:
            return _decode_last_type(text)
        raise _bad_frame(str(error), text) from None
    except msgspec.DecodeError as error:
        raise _lone_surrogate(text) or BadFrame(f"not JSON: {error}") from None
    except RecursionError:
        raise BadFrame("not JSON that can be read: nested too deeply") from None
    return frame


def encode(data: ServerData, message_id: str = "") -> bytes:
    """Encode a server frame with the current time as its timestamp."""
    return _encoder.encode(_Envelope(data.TYPE, message_id, int(time.time()), data))


def message_id_of(text: str) -> str:
    """Return the ``message_id`` of a frame that is not served; empty if it cannot be decoded."""
    try:
        return _text(_head_decoder.decode(text).message_id)
    except (msgspec.MsgspecError, RecursionError):
        return ""


def type_of(frame: ClientFrame) -> str:
    """Return the type of a client's frame."""
    tag: str = frame.__struct_config__.tag  # type: ignore[assignment]  # each has one
    return tag


def _decode_last_type(text: str) -> ClientFrame:
    """Decode with the last of duplicate keys, as the protocol says; msgspec uses the first `type`."""
    try:
        frame: ClientFrame = msgspec.convert(json.loads(text), ClientFrame)
    except msgspec.ValidationError as error:
        raise _bad_frame(str(error), text) from None
    except (ValueError, RecursionError) as error:
        raise BadFrame(f"not JSON: {error}") from None
    return frame


def _bad_frame(problem: str, text: str) -> BadFrame:
    parts = _PROBLEM.fullmatch(problem)
    what, where = (parts["what"], parts["where"]) if parts else (problem, None)
    over = "of length <=" in what
    return BadFrame(f"{where}: {what}" if where else what, code=413 if over else 400, message_id=message_id_of(text))


def _lone_surrogate(text: str) -> BadFrame | None:
    """Return an error that names the field with half an escaped surrogate pair; msgspec reports truncated input."""
    try:
        frame = json.loads(text)
        for path, value in _strings(frame, ""):
            if any("\ud800" <= letter <= "\udfff" for letter in value):
                where = path[:MAX_OF_A_PATH].encode(errors="replace").decode()  # a key may contain half a pair, too
                return BadFrame(f"{where}: half a surrogate pair", message_id=_text(frame.get("message_id")))
    except (ValueError, AttributeError, RecursionError):
        pass
    return None


def _strings(value: Any, path: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, str):
        yield path, value
    elif isinstance(value, dict):
        for name, inner in value.items():
            yield from _strings(inner, f"{path}.{name}" if path else str(name))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from _strings(inner, f"{path}[{index}]")


def _text(message_id: Any) -> str:
    return message_id if isinstance(message_id, str) and len(message_id) <= 64 and message_id.isprintable() else ""
