"""A collector of spans, as OpenTelemetry's is asked: by OTLP over gRPC."""

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2 as pb
from opentelemetry.proto.collector.trace.v1.trace_service_pb2_grpc import (
    TraceServiceServicer,
    add_TraceServiceServicer_to_server,
)
from opentelemetry.proto.trace.v1.trace_pb2 import Span


class Collector(TraceServiceServicer):
    """Keeps every span with the service that recorded it; ``environment`` sends a process's spans here."""

    def __init__(self) -> None:
        self.spans: list[tuple[str, Span]] = []
        self._news = threading.Condition()
        self._server = grpc.server(ThreadPoolExecutor(2))
        add_TraceServiceServicer_to_server(self, self._server)  # type: ignore[no-untyped-call]
        port = self._server.add_insecure_port("127.0.0.1:0")
        self._server.start()
        self.environment = {
            "CHATWS_TRACING": "1", "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{port}",
            "OTEL_BSP_SCHEDULE_DELAY": "100",
        }  # fmt: skip

    def Export(  # noqa: N802
        self, request: pb.ExportTraceServiceRequest, context: Any
    ) -> pb.ExportTraceServiceResponse:
        with self._news:
            for resource in request.resource_spans:
                names = {a.key: a.value.string_value for a in resource.resource.attributes}
                for scope in resource.scope_spans:
                    self.spans += [(names["service.name"], span) for span in scope.spans]
            self._news.notify_all()
        return pb.ExportTraceServiceResponse()

    def wait_for(self, name: str, trace_id: bytes = b"", count: int = 1) -> list[tuple[str, Span]]:
        """The spans of this name, of one trace or of all, once there are so many."""

        def found() -> list[tuple[str, Span]]:
            return [s for s in self.spans if s[1].name == name and trace_id in (b"", s[1].trace_id)]

        with self._news:
            assert self._news.wait_for(lambda: len(found()) >= count, 20), [span.name for _, span in self.spans]
            return found()

    def stop(self) -> None:
        self._server.stop(0).wait()
