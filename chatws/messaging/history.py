"""Return stored messages in the form that clients receive, over the socket and over HTTP.

Each has its sender's name and avatar; a recalled message has no content.
"""

import itertools
import sys
from collections.abc import Sequence

from chatws.chat_service.port import ChatGateway, Message
from chatws.chat_service.users import Name, Names
from chatws.protocol.frames import History, StoredMessage

RECALLED = 2
NAMELESS = Name("", "")


async def history(
    chat: ChatGateway, names: Names, group_id: str, before_id: str, limit: int, max_bytes: int = sys.maxsize
) -> History:
    """Return messages of a chat group, newest first, before ``before_id`` if given; raise `ChatServiceError`.

    They are at most ``limit``, and fewer if their contents together are over ``max_bytes``, but at least one.
    """
    found = await chat.message_history(group_id, before_id, limit)
    sizes = itertools.accumulate(len(one.content.encode()) + len(one.image_url.encode()) for one in found.messages)
    fitting = max(1, sum(size <= max_bytes for size in sizes))
    messages = await shown(names, found.messages[:fitting])
    return History(group_id=group_id, messages=messages, has_more=found.has_more or len(found.messages) > fitting)


async def shown(names: Names, messages: Sequence[Message]) -> list[StoredMessage]:
    """Return stored messages in the form that clients receive."""
    senders = await names.of(message.sender_id for message in messages)
    return [_shown(message, senders.get(message.sender_id, NAMELESS)) for message in messages]


def _shown(message: Message, sender: Name) -> StoredMessage:
    is_recalled = message.status == RECALLED
    return StoredMessage(
        message_id=message.message_id, group_id=message.group_id, sender_id=message.sender_id,
        sender_name=message.sender_name or sender.name, sender_avatar=sender.avatar, msg_type=message.msg_type,
        content="" if is_recalled else message.content, image_url="" if is_recalled else message.image_url,
        created_at=message.created_at, sender=str(message.sender_id), status=message.status,
    )  # fmt: skip
