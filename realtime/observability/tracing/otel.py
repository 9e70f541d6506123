"""Record spans with OpenTelemetry and send them to a collector (OTLP); the only importer of opentelemetry, an extra.

Spans hold ids, names and codes, but never a token or a message's content.
"""

import asyncio
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from opentelemetry import propagate, trace
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import NonRecordingSpan, Span, SpanContext, SpanKind, StatusCode, TraceFlags

from realtime.observability import log_context
from realtime.observability.tracing.noop import Metadata, NoopTracer, Relayed

LAST_SECONDS = 2.0
"""How long a process that shuts down tries to send the remaining spans."""
TRACE_ID, SPAN_ID = "trace_id", "span_id"
"""Keys of a stream entry's metadata (docs/protocol.md, Redis Streams)."""
_PARENT = re.compile(r"([0-9a-f]{32})-([0-9a-f]{16})")


class OtelTracer(NoopTracer):
    """Records a span for every sampled frame, call, relayed entry and delivery (`OTEL_TRACES_SAMPLER`)."""

    def __init__(self, service: str) -> None:
        os.environ.setdefault("OTEL_SERVICE_NAME", service)
        self._exporter = OTLPSpanExporter()
        self._provider = TracerProvider(resource=Resource.create(), shutdown_on_exit=False)
        self._provider.add_span_processor(BatchSpanProcessor(self._exporter))
        self._tracer = self._provider.get_tracer("chatws")

    async def stop(self) -> None:
        loop = asyncio.get_running_loop()
        enough = loop.call_later(LAST_SECONDS, self._exporter.shutdown)
        await loop.run_in_executor(None, self._provider.shutdown)  # without the timer it may take 30 s
        enough.cancel()

    @contextmanager
    def frame(self, kind: str, connection_id: str, user_id: int) -> Iterator[None]:
        attributes = {"chatws.connection_id": connection_id, "user.id": str(user_id)}
        with self._span(f"frame {kind}", SpanKind.SERVER, attributes):
            yield

    @contextmanager
    def call(self, method: str) -> Iterator[Metadata]:
        with self._span(method, SpanKind.CLIENT, {"rpc.system": "grpc", "rpc.method": method}):
            carrier: dict[str, str] = {}
            propagate.inject(carrier)
            yield list(carrier.items())

    @contextmanager
    def serve(self, method: str, metadata: Iterable[tuple[str, str | bytes]]) -> Iterator[None]:
        caller = propagate.extract({key: value for key, value in metadata if isinstance(value, str)})
        with self._span(method, SpanKind.SERVER, {"rpc.system": "grpc", "rpc.method": method}, caller):
            yield

    def entry_metadata(self) -> dict[str, str]:
        here = trace.get_current_span().get_span_context()
        if not (here.is_valid and here.trace_flags.sampled):
            return {}
        return {TRACE_ID: trace.format_trace_id(here.trace_id), SPAN_ID: trace.format_span_id(here.span_id)}

    def parent_of(self, metadata: Mapping[str, str]) -> str:
        trace_id = metadata.get(TRACE_ID, "").lower()
        parent = f"{trace_id}-{metadata.get(SPAN_ID, '').lower() or trace_id[16:]}"
        return parent if _context_of(parent) else ""

    @contextmanager
    def relay(self, topic: str, batch: Iterable[Relayed]) -> Iterator[Mapping[str, str]]:
        parents = {one.entry_id: one.parent for one in batch if one.parent}
        spans = {
            entry_id: self._tracer.start_span(
                f"relay {topic}", _context_of(parent), SpanKind.CONSUMER, {"chatws.entry_id": entry_id}
            )
            for entry_id, parent in parents.items()
        }
        try:
            yield {entry_id: _name_of(span.get_span_context()) for entry_id, span in spans.items()}
        except BaseException as error:  # noted in the span and raised again
            for span in spans.values():
                span.set_status(StatusCode.ERROR, type(error).__name__)
            raise
        finally:
            for span in spans.values():
                span.end()

    def deliver(self, message: Mapping[str, Any]) -> None:
        if "trace" in message:
            parent, attributes = _context_of(message["trace"]), {"chatws.feed": message["feed"]}
            span = self._tracer.start_span("deliver", parent, SpanKind.PRODUCER, attributes)
            asyncio.get_running_loop().call_soon(span.end)  # runs after the flush that writes it

    @contextmanager
    def _span(
        self, name: str, kind: SpanKind, attributes: Mapping[str, str], parent: Context | None = None
    ) -> Iterator[None]:
        """Run the context under a new span; of an error record only code or type, because its text may quote data."""
        with self._tracer.start_as_current_span(
            name, parent, kind, attributes, record_exception=False, set_status_on_exception=False
        ) as span:
            token = log_context.trace_id.set(trace.format_trace_id(span.get_span_context().trace_id))
            try:
                yield
            except BaseException as error:  # noted in the span and raised again
                _note(span, error)
                raise
            finally:
                log_context.trace_id.reset(token)


def _note(span: Span, error: BaseException) -> None:
    code = getattr(error, "code", None)
    if isinstance(code, int):
        span.set_attribute("chatws.code", code)
        if code < 500:  # the caller's mistake
            return
    span.set_status(StatusCode.ERROR, type(error).__name__)


def _name_of(context: SpanContext) -> str:
    return f"{trace.format_trace_id(context.trace_id)}-{trace.format_span_id(context.span_id)}"


def _context_of(parent: str) -> Context | None:
    """Return the context of a remote span; None for an invalid parent."""
    found = _PARENT.fullmatch(parent)
    if found is None:
        return None
    context = SpanContext(int(found[1], 16), int(found[2], 16), is_remote=True, trace_flags=TraceFlags(1))
    return trace.set_span_in_context(NonRecordingSpan(context)) if context.is_valid else None
