"""`send_message`. The chat service stores and publishes; `ack` means stored."""

from collections.abc import Sequence
from urllib.parse import urlsplit

from chatws.exceptions import BadFrame
from chatws.frames import Ack, SendMessage, ServerData
from chatws.session import Session

TEXT, IMAGE = 1, 2
LONGEST_TEXT = 5_000


async def send_message(session: Session, frame: SendMessage) -> Sequence[ServerData]:
    """Store a message in a chat group of the user."""
    _check(frame)
    await session.require_member(frame.data.group_id)
    return [Ack(await session.send(frame))]


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
