"""From forwarded log records to the SDK's. Runs in the thread that sends them."""

from typing import TYPE_CHECKING

from opentelemetry import trace as api
from opentelemetry._logs import LogRecord, SeverityNumber
from opentelemetry.sdk._logs import ReadableLogRecord
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

import impact
from impact.engine.telemetry.logs import Forwarded

if TYPE_CHECKING:
    from opentelemetry.sdk.resources import Resource

_SCOPE = InstrumentationScope("impact", impact.__version__)
_SEVERITY = (
    (50, SeverityNumber.FATAL),
    (40, SeverityNumber.ERROR),
    (30, SeverityNumber.WARN),
    (20, SeverityNumber.INFO),
    (0, SeverityNumber.DEBUG),
)


def encode(batch: list[Forwarded], resource: "Resource") -> list[ReadableLogRecord]:
    return [ReadableLogRecord(_record(each), resource, _SCOPE) for each in batch]


def _record(log: Forwarded) -> LogRecord:
    context = None
    if log.trace_id:
        flags = api.TraceFlags(int(log.sampled))
        position = api.SpanContext(log.trace_id, log.span_id, False, flags)
        context = api.set_span_in_context(api.NonRecordingSpan(position))
    return LogRecord(
        timestamp=log.at,
        observed_timestamp=log.at,
        context=context,
        severity_text=log.level_name,
        severity_number=next(number for level, number in _SEVERITY if log.level >= level),
        body=log.message,
        attributes=log.attributes,
    )
