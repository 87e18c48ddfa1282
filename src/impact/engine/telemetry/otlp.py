"""Sending by OTLP, over gRPC or HTTP, as the standard OTEL_* variables say.

Nothing is sent, and nothing of the SDK imported, unless an endpoint is set:

    OTEL_EXPORTER_OTLP_ENDPOINT=http://localhost:4318     all signals
    OTEL_EXPORTER_OTLP_PROTOCOL=grpc                      http/protobuf without it

The SDK's exporters read the rest themselves: headers, TLS, compression, time limits.
"""

import importlib
import logging
import os
import socket
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import impact
from impact.engine.telemetry.outbox import Outbox
from impact.engine.telemetry.trace import Parent
from impact.errors import ConfigurationError

SIGNALS = ("traces", "metrics", "logs")
_CLOSE_SECONDS = 2.0
_LOW_BITS = (1 << 64) - 1
_DEFAULT_SAMPLER = ("parentbased_traceidratio", "0.05")
_EXPORTERS = {
    "traces": ("trace_exporter", "OTLPSpanExporter"),
    "metrics": ("metric_exporter", "OTLPMetricExporter"),
    "logs": ("_log_exporter", "OTLPLogExporter"),
}


class Plan(NamedTuple):
    """Which signals go out, and by which protocol each."""

    protocols: dict[str, str]

    def __bool__(self) -> bool:
        return bool(self.protocols)


def planned(environ: Mapping[str, str]) -> Plan:
    """What the variables ask for. Raises ConfigurationError for a protocol there is none of."""
    protocols: dict[str, str] = {}
    if environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return Plan(protocols)
    for signal in SIGNALS:
        own = signal.upper()
        endpoint = environ.get(f"OTEL_EXPORTER_OTLP_{own}_ENDPOINT") or environ.get(
            "OTEL_EXPORTER_OTLP_ENDPOINT"
        )
        if not endpoint or environ.get(f"OTEL_{own}_EXPORTER", "otlp") != "otlp":
            continue
        protocol = (
            environ.get(f"OTEL_EXPORTER_OTLP_{own}_PROTOCOL")
            or environ.get("OTEL_EXPORTER_OTLP_PROTOCOL")
            or "http/protobuf"
        )
        if protocol not in {"grpc", "http/protobuf"}:
            raise ConfigurationError(
                f"OTEL_EXPORTER_OTLP_PROTOCOL is {protocol!r}; it takes grpc or http/protobuf"
            )
        protocols[signal] = protocol
    return Plan(protocols)


def resource() -> Any:
    """What describes this process. The variables win over what is said here."""
    from opentelemetry.sdk.resources import Resource  # noqa: PLC0415 - only where it is used

    own: dict[str, str | int] = {
        "service.name": "impact",
        "service.version": impact.__version__,
        "service.instance.id": f"{socket.gethostname()}-{os.getpid()}",
        "process.pid": os.getpid(),
    }
    named = dict(Resource.create().attributes)
    if str(named.get("service.name", "")).startswith("unknown_service"):
        del named["service.name"]
    return Resource(own).merge(Resource(named))


class Sampling(NamedTuple):
    """Which traces are kept from their start: those whose lower 64 bits are below ``bound``, as the
    SDK's TraceIdRatioBased says, and with ``follows`` those that the caller keeps."""

    bound: int
    follows: bool

    def keeps(self, trace_id: int, parent: Parent | None) -> bool:
        """What the SDK's sampler would say, without the objects that it makes to say so: they cost
        a tenth of a cached request."""
        if parent is not None and self.follows:
            return parent.sampled
        return trace_id & _LOW_BITS < self.bound


def sampling_of(environ: Mapping[str, str]) -> Sampling:
    """What OTEL_TRACES_SAMPLER and its _ARG say; without them one request in twenty, as making
    and sending every span costs more than the rest of a cached request."""
    from opentelemetry.sdk.trace.sampling import TraceIdRatioBased  # noqa: PLC0415 - where used

    name = environ.get("OTEL_TRACES_SAMPLER", "").strip().lower()
    argument = environ.get("OTEL_TRACES_SAMPLER_ARG", "").strip()
    if not name:
        name, argument = _DEFAULT_SAMPLER[0], argument or _DEFAULT_SAMPLER[1]
    ratios = {"always_on": "1", "always_off": "0", "traceidratio": argument or "1"}
    try:
        ratio = float(ratios[name.removeprefix("parentbased_")])
        return Sampling(TraceIdRatioBased(ratio).bound, name.startswith("parentbased_"))
    except (KeyError, ValueError) as error:
        raise ConfigurationError(
            f"OTEL_TRACES_SAMPLER={name!r} with OTEL_TRACES_SAMPLER_ARG={argument!r}: it takes"
            " always_on, always_off or traceidratio, each also with parentbased_ before it, and"
            " the ratio is from 0 to 1"
        ) from error


def exporter(signal: str, protocol: str) -> Any:
    """The SDK's exporter of a signal; it reads its own variables."""
    kind = "grpc" if protocol == "grpc" else "http"
    module, name = _EXPORTERS[signal]
    # Their own words for each failed batch would repeat what the outbox says once.
    logging.getLogger(f"opentelemetry.exporter.otlp.proto.{kind}").setLevel(logging.CRITICAL)
    found = importlib.import_module(f"opentelemetry.exporter.otlp.proto.{kind}.{module}")
    return getattr(found, name)()


class Sender:
    """An exporter behind an outbox. ``encode`` makes the SDK's objects of what was put in; it
    runs in the outbox's thread."""

    def __init__(
        self,
        signal: str,
        protocol: str,
        encode: Callable[[list[Any]], Any],
        environ: Mapping[str, str],
    ) -> None:
        self._exporter = exporter(signal, protocol)
        self._encode = encode
        prefix = {"traces": "OTEL_BSP", "logs": "OTEL_BLRP"}.get(signal, "")
        self.outbox: Outbox[Any] = Outbox(
            signal,
            self._send,
            # A metric export is one item, of which the newest holds all that the others did.
            capacity=_number(environ, f"{prefix}_MAX_QUEUE_SIZE", 2048) if prefix else 2,
            batch=_number(environ, f"{prefix}_MAX_EXPORT_BATCH_SIZE", 512) if prefix else 1,
            delay=_number(environ, f"{prefix}_SCHEDULE_DELAY", 1000) / 1000 if prefix else 1.0,
        )

    def _send(self, batch: list[Any]) -> bool:
        result = self._exporter.export(self._encode(batch))
        return bool(result.name == "SUCCESS")

    def close(self) -> None:
        """Send what waits, for two seconds at most."""
        self.outbox.close(_CLOSE_SECONDS, self._exporter.shutdown)


def _number(environ: Mapping[str, str], name: str, default: int) -> int:
    raw = environ.get(name)
    try:
        return int(raw) if raw else default
    except ValueError:
        raise ConfigurationError(f"{name} is {raw!r}, which is no number") from None
