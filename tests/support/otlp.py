"""A collector: receives OTLP over gRPC or HTTP and keeps what came, or misbehaves as told."""

import contextlib
import threading
from collections.abc import Iterator
from concurrent import futures
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import grpc
from opentelemetry.proto.collector.logs.v1 import logs_service_pb2, logs_service_pb2_grpc
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2, metrics_service_pb2_grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc

_REQUESTS = {
    "/v1/traces": trace_service_pb2.ExportTraceServiceRequest,
    "/v1/metrics": metrics_service_pb2.ExportMetricsServiceRequest,
    "/v1/logs": logs_service_pb2.ExportLogsServiceRequest,
}


class Collector:
    """``mode`` is ``take``, ``refuse`` (an error that no retry mends) or ``hang``."""

    def __init__(self) -> None:
        self.mode = "take"
        self.asked = threading.Event()
        self.let_go = threading.Event()
        self._requests: list[Any] = []
        self._arrived = threading.Condition()
        self.endpoint = ""

    def receive(self, request: Any) -> bool:
        """Whether it is taken."""
        self.asked.set()
        if self.mode == "hang":
            self.let_go.wait(60)
        if self.mode != "take":
            return False
        with self._arrived:
            self._requests.append(request)
            self._arrived.notify_all()
        return True

    def wait_for(self, what: Any, seconds: float = 15) -> Any:
        """The first true answer of ``what(self)``, asked again at each arrival."""
        with self._arrived:
            self._arrived.wait_for(lambda: what(self), seconds)
            return what(self)

    @property
    def spans(self) -> list[Any]:
        return [
            span
            for request in list(self._requests)
            if hasattr(request, "resource_spans")
            for resource in request.resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        ]

    @property
    def resources(self) -> list[dict[str, Any]]:
        return [
            attributes(resource.resource)
            for request in list(self._requests)
            if hasattr(request, "resource_spans")
            for resource in request.resource_spans
        ]

    @property
    def metrics(self) -> dict[str, Any]:
        return {
            metric.name: metric
            for request in list(self._requests)
            if hasattr(request, "resource_metrics")
            for resource in request.resource_metrics
            for scope in resource.scope_metrics
            for metric in scope.metrics
        }

    @property
    def logs(self) -> list[Any]:
        return [
            log
            for request in list(self._requests)
            if hasattr(request, "resource_logs")
            for resource in request.resource_logs
            for scope in resource.scope_logs
            for log in scope.log_records
        ]


def attributes(holder: Any) -> dict[str, Any]:
    """Of a span, log record or resource, as plain values."""
    return {
        each.key: getattr(each.value, each.value.WhichOneof("value")) for each in holder.attributes
    }


@contextlib.contextmanager
def collecting_http() -> Iterator[Collector]:
    collector = Collector()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            raw = self.rfile.read(int(self.headers["content-length"]))
            taken = collector.receive(_REQUESTS[self.path].FromString(raw))
            with contextlib.suppress(OSError):
                self.send_response(200 if taken else 400)
                self.send_header("content-length", "0")
                self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    # What still hangs is let go of, not waited for.
    server.block_on_close = False
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    collector.endpoint = f"http://127.0.0.1:{server.server_port}"
    try:
        yield collector
    finally:
        collector.let_go.set()
        server.shutdown()
        server.server_close()
        thread.join()


@contextlib.contextmanager
def collecting_grpc() -> Iterator[Collector]:
    collector = Collector()

    def answer(response: Any) -> Any:
        def export(_: Any, request: Any, context: grpc.ServicerContext) -> Any:
            if not collector.receive(request):
                context.abort(grpc.StatusCode.INVALID_ARGUMENT, "refused")
            return response()

        return export

    server = grpc.server(futures.ThreadPoolExecutor(4))
    for module, grpc_module, name in (
        (trace_service_pb2, trace_service_pb2_grpc, "Trace"),
        (metrics_service_pb2, metrics_service_pb2_grpc, "Metrics"),
        (logs_service_pb2, logs_service_pb2_grpc, "Logs"),
    ):
        response = getattr(module, f"Export{name}ServiceResponse")
        base = getattr(grpc_module, f"{name}ServiceServicer")
        servicer = type(name, (base,), {"Export": answer(response)})()
        getattr(grpc_module, f"add_{name}ServiceServicer_to_server")(servicer, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    collector.endpoint = f"http://127.0.0.1:{port}"
    try:
        yield collector
    finally:
        collector.let_go.set()
        server.stop(None).wait()
