"""`send_message` and `mark_read`. The chat service stores and publishes; `ack` means stored."""

import json
import uuid
from collections.abc import Sequence
from urllib.parse import urlsplit

from chatws.exceptions import BadFrame
from chatws.frames import Ack, MarkRead, SendMessage, ServerData
from chatws.session import Session

TEXT, IMAGE = 1, 2
LONGEST_TEXT = 5_000
NAMESPACE = uuid.uuid5(uuid.NAMESPACE_URL, "urn:chatws:message")


async def send_message(session: Session, frame: SendMessage) -> Sequence[ServerData]:
    """Store a message in a chat group of the user."""
    _check(frame)
    data = frame.data
    await session.require_member(data.group_id)
    message_id = await session.chat.save_message(
        message_id=stored_id(session.user_id, frame),
        group_id=data.group_id,
        sender_id=session.user_id,
        msg_type=data.msg_type,
        content=data.content,
        image_url=data.image_url,
    )
    return [Ack(message_id)]


async def mark_read(session: Session, frame: MarkRead) -> Sequence[ServerData]:
    """Acknowledge that a message was read."""
    await session.require_member(frame.data.group_id)
    return [Ack(frame.data.message_id)]


def stored_id(user_id: int, frame: SendMessage) -> str:
    """The server's id of a message: the same for a frame sent again unchanged (docs/protocol.md, "Sending once")."""
    if not frame.message_id or not frame.timestamp:
        return str(uuid.uuid4())
    data = frame.data
    name = [str(user_id), frame.message_id, frame.timestamp, data.group_id, data.msg_type, data.content, data.image_url]
    return str(uuid.uuid5(NAMESPACE, json.dumps(name, ensure_ascii=False, separators=(",", ":"))))


def _check(frame: SendMessage) -> None:
    data = frame.data
    if data.msg_type == TEXT:
        length = len(data.content.strip())
        if length == 0:
            raise BadFrame("data.content: empty")
        if length > LONGEST_TEXT:
            raise BadFrame(f"data.content: {length} characters, at most {LONGEST_TEXT}", code=413)
    elif not _is_web_url(data.image_url):
        raise BadFrame("data.image_url: not an absolute http(s) URL")


def _is_web_url(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and not any(c <= " " for c in url)
    except ValueError:
        return False
