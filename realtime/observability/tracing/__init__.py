"""Tracing: spans for frame → call of the chat service, and for stream entry → relay → delivery.

Code uses the tracer ``current``. It does nothing until `configure` replaces it by one for OpenTelemetry (extra
`tracing`).
"""

from django.core.exceptions import ImproperlyConfigured

from realtime.observability.tracing.noop import NoopTracer

current = NoopTracer()
"""The tracer of this process."""


def configure(service: str, *, on: bool) -> None:
    """Send this process's spans to `OTEL_EXPORTER_OTLP_ENDPOINT`, as service `OTEL_SERVICE_NAME`, else ``service``.

    Raises:
        ImproperlyConfigured: tracing is on and the extra is not installed.
    """
    global current
    if not on:
        return
    try:
        from realtime.observability.tracing.otel import OtelTracer
    except ImportError as error:
        raise ImproperlyConfigured(f"CHATWS_TRACING: {error}: install requirements-tracing.txt") from None
    current = OtelTracer(service)
