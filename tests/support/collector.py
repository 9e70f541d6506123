"""Receive spans over OTLP and gRPC, as OpenTelemetry's collector does."""

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

from tests.support.waiting import LIMIT


class Collector(TraceServiceServicer):
    """Store every span with its service; ``environment`` makes a process send its spans here."""

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

    def wait_for(
        self, name: str, trace_id: bytes = b"", count: int = 1, *, service: str = "", user: int = 0
    ) -> list[tuple[str, Span]]:
        """Return the spans of this name once there are so many; trace, service and user narrow them."""

        def found() -> list[tuple[str, Span]]:
            return [
                (who, span)
                for who, span in self.spans
                if span.name == name
                and trace_id in (b"", span.trace_id)
                and service in ("", who)
                and (not user or any(a.key == "user.id" and a.value.string_value == str(user) for a in span.attributes))
            ]

        with self._news:
            assert self._news.wait_for(lambda: len(found()) >= count, LIMIT), [span.name for _, span in self.spans]
            return found()

    def stop(self) -> None:
        self._server.stop(0).wait()
