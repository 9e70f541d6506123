"""Publish to feeds: append each publication to its feed's log, then send a message to the feed's Channels group.

Only the relay calls this. The message is a hint: a gateway that misses it finds the entry in the log.
"""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from realtime.feeds.log import Appended, FeedLog
from realtime.feeds.names import channels_group
from realtime.feeds.publication import DropUser, Publication, encode_publication
from realtime.layers.protocol import Layer, send_all


class Routed(msgspec.Struct, frozen=True):
    """A publication with the stream entry it came from and the feed it is published to.

    ``parent`` is the span that wrote the entry (`realtime.observability.tracing`).
    """

    entry_id: str
    feed: str
    publication: Publication
    parent: str = ""


NO_PARENTS: Mapping[str, str] = {}

PARTS, LEAST_FEEDS = 4, 10
"""How many parts of a batch are published concurrently, and the fewest feeds in a part."""


class Publisher:
    """Appends batches to feeds and notifies the gateways."""

    def __init__(self, log: FeedLog, layer: Layer) -> None:
        self._log = log
        self._layer = layer

    async def publish(self, topic: str, batch: Sequence[Routed], parents: Mapping[str, str] = NO_PARENTS) -> None:
        """Publish a batch of one topic, in order; safe to repeat as a whole.

        ``parents``: the spans of traced entries, by the entries' ids.
        Raises what Redis raises. On a retry, the publications appended before are recognised by their ids.
        """
        by_feed: dict[str, list[tuple[str, Publication]]] = {}
        for routed in batch:
            by_feed.setdefault(routed.feed, []).append((routed.entry_id, routed.publication))
        # Append a removal to the group's feed before the user's feed reports it.
        for removals in (True, False):
            some = [(feed, entries) for feed, entries in by_feed.items() if _has_removal(entries) is removals]
            # Parts run concurrently: while Redis appends to some feeds, others are encoded.
            size = max(len(some) // PARTS, LEAST_FEEDS)
            parts = [some[start : start + size] for start in range(0, len(some), size)]
            ended = await asyncio.gather(
                *(self._publish(topic, part, parents) for part in parts), return_exceptions=True
            )
            for error in ended:
                if error is not None:
                    raise error

    async def _publish(
        self, topic: str, some: Sequence[tuple[str, Sequence[tuple[str, Publication]]]], parents: Mapping[str, str]
    ) -> None:
        """Append to some feeds, each in order, then notify the gateways."""
        encoded = {feed: [(entry_id, p.id, encode_publication(p)) for entry_id, p in entries] for feed, entries in some}
        appended = await self._log.append_all(topic, encoded)
        messages: list[tuple[str, dict[str, Any]]] = []
        for (feed, entries), places in zip(encoded.items(), appended, strict=True):
            group = channels_group(feed)
            messages += [
                (group, publication_message(feed, place, entry, entry_id, parents.get(entry_id)))
                for place, (entry_id, _, entry) in zip(places, entries, strict=True)
                if place.offset is not None
            ]
        await send_all(self._layer, messages)


def _has_removal(entries: Sequence[tuple[str, Publication]]) -> bool:
    return any(isinstance(publication.command, DropUser) for _, publication in entries)


def publication_message(
    feed: str, place: Appended, entry: bytes, entry_id: str, parent: str | None = None
) -> dict[str, Any]:
    """Return the channel layer's message for a publication.

    ``at`` is when the entry was added to its stream, in Unix milliseconds; ``trace`` is the relay's span, if traced.
    """
    message = {
        "type": "publication", "feed": feed, "epoch": place.epoch, "offset": place.offset, "after": place.after,
        "entry": entry, "at": int(entry_id.partition("-")[0]),
    }  # fmt: skip
    return {**message, "trace": parent} if parent else message
