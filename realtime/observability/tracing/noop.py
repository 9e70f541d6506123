"""The no-op tracer, used when tracing is off; `realtime.observability.tracing.otel` records spans."""

from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Protocol

Metadata = list[tuple[str, str]]
_NOTHING: AbstractContextManager[None] = nullcontext()


class Relayed(Protocol):
    """An item of a relayed batch: the id of its stream entry, and the span that wrote the entry (`parent_of`)."""

    @property
    def entry_id(self) -> str: ...

    @property
    def parent(self) -> str: ...


class NoopTracer:
    """Records nothing. A parent is a trace id and a span id in hexadecimal digits, ``<32>-<16>``, or empty."""

    async def stop(self) -> None:
        """Send the recorded spans before the process ends, with a short timeout."""

    def frame(self, kind: str, connection_id: str, user_id: int) -> AbstractContextManager[object]:
        """Return the span of serving a client's frame."""
        return _NOTHING

    def call(self, method: str) -> AbstractContextManager[Metadata | None]:
        """Return the span of calling another service; it gives the call's metadata (W3C `traceparent`)."""
        return _NOTHING

    def serve(self, method: str, metadata: Iterable[tuple[str, str | bytes]]) -> AbstractContextManager[object]:
        """Return the span of serving a call; ``metadata`` is the caller's."""
        return _NOTHING

    def entry_metadata(self) -> dict[str, str]:
        """Return the metadata of a stream entry that names the current span: ``trace_id``, ``span_id``."""
        return {}

    def parent_of(self, metadata: Mapping[str, str]) -> str:
        """Return the span that wrote a stream entry, from the entry's metadata."""
        return ""

    def relay(self, topic: str, batch: Iterable[Relayed]) -> AbstractContextManager[Mapping[str, str]]:
        """Return the spans of relaying a batch; they give the parents of the deliveries, by the traced entries' ids."""
        return nullcontext({})

    def deliver(self, message: Mapping[str, Any]) -> None:
        """Record the delivery of a publication, a message of the channel layer, in this turn of the event loop."""
