"""The no-op tracer, used when tracing is off; `realtime.observability.tracing.otel` records spans."""

from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Protocol

Metadata = list[tuple[str, str]]
_NOTHING: AbstractContextManager[None] = nullcontext()


class Relayed(Protocol):
    """A part of a relayed batch: the stream entry that it came from, and the span that wrote it (`parent_of`)."""

    @property
    def entry_id(self) -> str: ...

    @property
    def parent(self) -> str: ...


class NoopTracer:
    """Nothing is recorded. A parent is a trace's and a span's id in hexadecimal digits, ``<32>-<16>``, or empty."""

    async def stop(self) -> None:
        """The process ends: what was recorded is sent, if that can be done soon."""

    def frame(self, kind: str, connection_id: str, user_id: int) -> AbstractContextManager[object]:
        """A client's frame is served."""
        return _NOTHING

    def call(self, method: str) -> AbstractContextManager[Metadata | None]:
        """Another service is called; gives the metadata that tells it so (W3C `traceparent`)."""
        return _NOTHING

    def serve(self, method: str, metadata: Iterable[tuple[str, str | bytes]]) -> AbstractContextManager[object]:
        """A call is served; ``metadata`` as the caller sent it."""
        return _NOTHING

    def entry_metadata(self) -> dict[str, str]:
        """What a stream entry says of the span that writes it: ``trace_id``, ``span_id``."""
        return {}

    def parent_of(self, metadata: Mapping[str, str]) -> str:
        """The span that wrote a stream entry, by the entry's metadata."""
        return ""

    def relay(self, topic: str, batch: Iterable[Relayed]) -> AbstractContextManager[Mapping[str, str]]:
        """A batch is relayed; gives the parent of its deliveries for each entry that is traced, by its id."""
        return nullcontext({})

    def deliver(self, message: Mapping[str, Any]) -> None:
        """A publication, as the channel layer brought it, goes to connections in what this turn has scheduled."""
