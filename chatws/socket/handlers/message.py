"""`send_message`: the chat service stores and publishes it. `ack` means stored."""

import unicodedata
from collections.abc import Sequence
from urllib.parse import urlsplit

from chatws import conf
from chatws.chat_service.port import Refused
from chatws.exceptions import BadFrame
from chatws.protocol.frames import Ack, SendMessage, ServerData
from chatws.socket.session import Session

TEXT, IMAGE = 1, 2
LONGEST_TEXT = 5_000
WITHOUT_GLYPH = {"Cc", "Cf", "Zl", "Zp", "Zs"}
"""Unicode categories of characters that are not visible."""
BLANK = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0")
"""Fillers: their category is that of visible characters, but they are not visible. So are variation selectors."""
SELECTORS = (range(0x180B, 0x1810), range(0xFE00, 0xFE10), range(0xE0100, 0xE01F0))


async def send_message(session: Session, frame: SendMessage) -> Sequence[ServerData]:
    """Store a message in a chat group of the user."""
    check(frame)
    await session.require_member(frame.data.group_id)
    try:
        return [Ack(await session.services.sender.send(session.principal, frame))]
    except Refused as error:
        if error.membership_may_have_ended:
            session.membership.invalidate()
        raise


def check(frame: SendMessage) -> None:
    """Raise `BadFrame` for a message that should not reach a chat service."""
    data = frame.data
    if "\0" in data.content:
        raise BadFrame("data.content: holds a NUL character")
    if data.msg_type == TEXT:
        if len(data.content) > LONGEST_TEXT:
            raise BadFrame(f"data.content: {len(data.content)} characters, at most {LONGEST_TEXT}", code=413)
        if not any(map(_shows, data.content)):
            raise BadFrame("data.content: empty")
    elif not _is_web_url(data.image_url):
        raise BadFrame("data.image_url: not an absolute http(s) URL")
    longest = conf.get().max_image_url
    if len(data.image_url) > longest:
        raise BadFrame(f"data.image_url: {len(data.image_url)} characters, at most {longest}")


def _shows(character: str) -> bool:
    return not (
        character in BLANK
        or unicodedata.category(character) in WITHOUT_GLYPH
        or any(ord(character) in selectors for selectors in SELECTORS)
    )


def _is_web_url(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and not any(c <= " " for c in url)
    except ValueError:
        return False
