"""Spans: frame → call of the chat service; stream entry → relay → delivery. Off unless `configure` says otherwise.

Each place asks ``current``, which records them by OpenTelemetry (extra `tracing`) or does nothing.
"""

from django.core.exceptions import ImproperlyConfigured

from realtime.observability.tracing.noop import NoopTracer

current = NoopTracer()
"""Of this process."""


def configure(service: str, *, on: bool) -> None:
    """Send this process's spans to where `OTEL_EXPORTER_OTLP_ENDPOINT` says, as ``service`` or `OTEL_SERVICE_NAME`.

    Raises:
        ImproperlyConfigured: `CHATWS_TRACING` is on and the extra isn't installed.
    """
    global current
    if not on:
        return
    try:
        from realtime.observability.tracing.otel import OtelTracer
    except ImportError as error:
        raise ImproperlyConfigured(f"CHATWS_TRACING: {error}: install requirements-tracing.txt") from None
    current = OtelTracer(service)
