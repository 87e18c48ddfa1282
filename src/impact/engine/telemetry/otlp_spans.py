"""From what a request noted to the SDK's spans. Runs in the thread that sends them."""

import random
from typing import TYPE_CHECKING, Any, NamedTuple

from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanContext, SpanKind, TraceFlags, TraceState
from opentelemetry.trace.status import Status, StatusCode

import impact
from impact.engine.telemetry.names import SPANS
from impact.engine.telemetry.trace import Noted, Trace

if TYPE_CHECKING:
    from opentelemetry.sdk.resources import Resource

_SCOPE = InstrumentationScope("impact", impact.__version__)
_KINDS = {name: SpanKind[span.kind] for name, span in SPANS.items()}
_SAMPLED = TraceFlags(TraceFlags.SAMPLED)


class Kept(NamedTuple):
    """A request that is over, and whose spans are wanted: its own, and those ``inside``.
    ``attributes`` are the request's; ``epoch`` is when perf_counter_ns was zero, in nanoseconds
    since 1970."""

    trace: Trace
    own: Noted
    inside: list[Noted]
    attributes: dict[str, Any]
    epoch: int


def encode(batch: list[Kept], resource: "Resource") -> list[ReadableSpan]:
    return [span for kept in batch for span in _spans(kept, resource)]


def _spans(kept: Kept, resource: "Resource") -> list[ReadableSpan]:
    trace = kept.trace
    parent = trace.parent
    state = TraceState.from_header([parent.state]) if parent and parent.state else None
    contexts = [
        SpanContext(trace.trace_id, random.getrandbits(64) or 1, False, _SAMPLED, state)
        for _ in kept.inside
    ]
    # The last, so that it is the one that the number -1 means.
    contexts.append(SpanContext(trace.trace_id, trace.span_id, False, _SAMPLED, state))
    caller = None
    if parent is not None:
        caller = SpanContext(trace.trace_id, parent.span_id, True, _SAMPLED, state)
    made = []
    for context, noted in zip(contexts, [*kept.inside, kept.own], strict=True):
        own = noted is kept.own
        attributes = kept.attributes if own else _attributes(noted)
        status = Status(StatusCode.UNSET)
        if noted.error is not None:
            attributes["error.type"] = type(noted.error).__name__
            status = Status(StatusCode.ERROR, _message(noted.error))
        elif own and attributes["http.response.status_code"] >= 500:
            attributes["error.type"] = str(attributes["http.response.status_code"])
            status = Status(StatusCode.ERROR)
        made.append(
            ReadableSpan(
                noted.name,
                context,
                parent=caller if own else contexts[noted.parent],
                resource=resource,
                attributes=attributes,
                kind=_KINDS[noted.kind],
                status=status,
                start_time=noted.began + kept.epoch,
                # One that was given up, with its request, ends with it.
                end_time=(noted.ended or kept.own.ended) + kept.epoch,
                instrumentation_scope=_SCOPE,
            )
        )
    return made


def _message(error: BaseException) -> str:
    """What kind of error it was. Not its text: a driver's may hold the values of a row."""
    return type(error).__name__


def _attributes(noted: Noted) -> dict[str, Any]:
    if noted.kind == "statement":
        return _statement(noted)
    if noted.kind == "work" and noted.detail:
        access, node, consistency, wait, tenant = noted.detail
        return {
            "impact.access": access,
            "impact.node": node.name,
            "impact.node.role": node.role,
            "impact.consistency": consistency,
            "impact.pool.wait_ms": wait,
            "impact.tenant": tenant,
        }
    if noted.kind == "cache" and noted.detail:
        entity, outcome, tenant = noted.detail
        return {
            "impact.cache.entity": entity,
            "impact.cache.outcome": outcome,
            "impact.tenant": tenant,
        }
    return {}


def _statement(noted: Noted) -> dict[str, Any]:
    node, rows = noted.detail
    host, _, port = node.address.rpartition(":")
    attributes: dict[str, Any] = {
        "db.system.name": "postgresql",
        "db.namespace": node.database,
        "db.query.summary": noted.name,
        "server.address": host,
        "server.port": int(port),
        "impact.node": node.name,
        "impact.node.role": node.role,
    }
    if rows is not None:
        attributes["db.response.returned_rows"] = rows
    code = getattr(noted.error, "sqlstate", None)
    if code:
        attributes["db.response.status_code"] = code
    return attributes
