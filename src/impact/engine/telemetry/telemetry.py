"""What the rest of the engine tells its measurements to: one object per process.

Everything on a request's path here is a dictionary look-up and two stores, and a small list entry
where the request is traced.
"""

import asyncio
import contextlib
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from impact.engine.tasks import end, kept_up
from impact.engine.telemetry.logs import LogForwarder
from impact.engine.telemetry.monitor import installed
from impact.engine.telemetry.otlp import Sampling, Sender, planned, resource, sampling_of
from impact.engine.telemetry.samples import Collectors, Sample
from impact.engine.telemetry.series import Kind
from impact.engine.telemetry.slowlog import SlowLog
from impact.engine.telemetry.tally import Tally
from impact.engine.telemetry.trace import (
    Noted,
    Parent,
    Trace,
    new_trace_id,
    read_baggage,
    read_parent,
)
from impact.engine.telemetry.workers import Totals, Worker, shared
from impact.settings import Settings

if TYPE_CHECKING:
    from impact.context import RequestContext
    from impact.engine.db.nodes import Node
    from impact.engine.db.statements import Statement

_TICK = 1.0
UNROUTED = "unrouted"
NONE = "none"
"""Where a request of no shop that exists is counted."""
_METHODS = frozenset({"GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "HEAD"})
_now = time.perf_counter_ns


class Telemetry:
    """Opened for as long as the process serves: ``async with telemetry``."""

    def __init__(self, settings: Settings) -> None:
        self.enabled = settings.telemetry
        self.collectors = Collectors()
        self.slow = SlowLog(settings)
        self._worker = Worker(shared(settings.run_dir) if self.enabled else None)
        self.monitor = self._worker.monitor
        self._observe = self.monitor.observe
        self._slow_query_ms = settings.slow_query * 1000
        self._slow_request_ms = settings.slow_request * 1000
        self._plan = planned(os.environ) if self.enabled else planned({})
        self._senders: dict[str, Sender] = {}
        self._sampling = Sampling(0, False)
        self._forwarder: LogForwarder | None = None
        self._stack = contextlib.ExitStack()
        self._tasks: list[asyncio.Task[None]] = []
        self._began = time.time_ns()
        self.tracing = "traces" in self._plan.protocols
        self.collectors.register(self._own)

    async def __aenter__(self) -> Self:
        if self.enabled:
            self._stack.enter_context(installed(self.monitor))
            # The senders' modules bring the SDK with them: imported by those that send.
            await asyncio.to_thread(self._open_senders)
            tick = kept_up(self._tick, "telling what was measured")
            self._tasks.append(asyncio.create_task(tick))
        return self

    async def __aexit__(self, *_: object) -> None:
        await end(self._tasks)
        if self.enabled:
            self._persist()
            self._send_metrics()
        self._stack.close()
        if self._senders:
            await asyncio.gather(
                *(asyncio.to_thread(sender.close) for sender in self._senders.values())
            )
        if self.enabled:
            # Once more, with what the senders gave up.
            self._persist()
        self._worker.close()

    def _open_senders(self) -> None:
        protocols = self._plan.protocols
        if not protocols:
            return
        described = resource()
        if "traces" in protocols:
            from impact.engine.telemetry import otlp_spans  # noqa: PLC0415

            self._sampling = sampling_of(os.environ)
            self._add("traces", lambda batch: otlp_spans.encode(batch, described))
        if "metrics" in protocols:
            from impact.engine.telemetry import otlp_metrics  # noqa: PLC0415

            self._add("metrics", lambda batch: otlp_metrics.encode(batch[-1], described))
        if "logs" in protocols:
            from impact.engine.telemetry import otlp_logs  # noqa: PLC0415

            self._add("logs", lambda batch: otlp_logs.encode(batch, described))
            self._forwarder = LogForwarder(self._senders["logs"].outbox.put)
            self._stack.enter_context(self._forwarder)

    def _add(self, signal: str, encode: Any) -> None:
        self._senders[signal] = Sender(signal, self._plan.protocols[signal], encode, os.environ)

    async def _tick(self) -> None:
        every = float(os.environ.get("OTEL_METRIC_EXPORT_INTERVAL") or 60_000) / 1000
        due = time.monotonic() + every
        while True:
            await asyncio.sleep(_TICK)
            self._persist()
            if time.monotonic() >= due:
                due = time.monotonic() + every
                self._send_metrics()

    def _persist(self) -> None:
        self._worker.persist(self.collectors.collect(), self.slow.recent())

    def _send_metrics(self) -> None:
        if "metrics" in self._senders:
            from impact.engine.telemetry.otlp_metrics import Moment  # noqa: PLC0415

            moment = Moment(self.own(), self._began, time.time_ns())
            self._senders["metrics"].outbox.put(moment)

    def _own(self) -> Iterator[Sample]:
        """What this package tells of itself."""
        yield Sample("impact.journal.lost", self.monitor.journal.lost)
        for signal, sender in self._senders.items():
            outbox = sender.outbox
            yield Sample("impact.telemetry.exported", outbox.exported, (signal,))
            for reason, count in (("queue", outbox.overflowed), ("collector", outbox.refused)):
                yield Sample("impact.telemetry.dropped", count, (signal, reason))
        for name, count in self.slow.counts().items():
            yield Sample("impact.query.slow", count, (name,))
        for name, count in self.slow.alerts().items():
            yield Sample("impact.query.alert", count, (name,))

    def total(self) -> Totals:
        """What all worker processes measured. Takes milliseconds; may run in a thread."""
        return self._worker.total(self.collectors.collect(), self.slow.recent())

    def own(self) -> Totals:
        """What this process measured."""
        return self._worker.own(self.collectors.collect(), self.slow.recent())

    # Requests.

    def start(self, headers: dict[bytes, bytes]) -> Trace | None:
        """The request's trace, or None where nobody sent or wants one."""
        parent = read_parent(headers) if b"traceparent" in headers else None
        if not self.tracing and parent is None:
            return None
        trace_id = parent.trace_id if parent is not None else new_trace_id()
        return self._trace(headers, parent, trace_id, recording=self.tracing)

    def start_repeated(self, headers: dict[bytes, bytes]) -> Trace | None:
        """``start`` for an answer that is given again, whose own span tells all of it. One that is
        surely not kept, and whose caller traces nothing, has no trace."""
        parent = read_parent(headers) if b"traceparent" in headers else None
        trace_id = parent.trace_id if parent is not None else new_trace_id()
        if parent is None and not (self.tracing and self._sampling.keeps(trace_id, None)):
            return None
        return self._trace(headers, parent, trace_id, recording=False)

    def _trace(
        self, headers: dict[bytes, bytes], parent: Parent | None, trace_id: int, *, recording: bool
    ) -> Trace:
        if self.tracing:
            sampled = self._sampling.keeps(trace_id, parent)
        else:
            sampled = parent is not None and parent.sampled
        baggage = read_baggage(headers) if b"baggage" in headers else ""
        return Trace(parent, trace_id, sampled=sampled, recording=recording, baggage=baggage)

    def finish(
        self,
        context: "RequestContext",
        scope: dict[str, Any],
        route: str | None,
        status: int,
        began: int,
    ) -> None:
        """Count the request; ``route`` is its template. Called before its last byte goes out, so
        that who has the answer finds it counted."""
        ended = _now()
        milliseconds = (ended - began) / 1e6
        name = self._name(scope, route)
        if self.enabled:
            failed = status >= 500
            self._observe(Kind.ROUTE, name, milliseconds, str(status), failed=failed)
            # A name that somebody made up is no series: there is no end of those.
            self._observe(Kind.TENANT, context.tenant if context.admitted else NONE, milliseconds)
        if self.tracing and context.trace is not None:
            own = Noted("request", name, -1, began)
            own.ended = ended
            self._close(context.trace, context, scope, own, route, status)

    def _name(self, scope: Mapping[str, Any], route: str | None) -> str:
        method = scope["method"]
        return f"{method if method in _METHODS else '_OTHER'} {route or UNROUTED}"

    # Answers given again.

    def repeated(self, method: str, route: str, tenant: str, entities: Sequence[str]) -> "Repeated":
        """Where an answer counts that L1 gives again, after look-ups of these entities."""
        number, name = self.monitor.number, f"{method} {route}"
        shop = number(Kind.TENANT, tenant)
        return Repeated(
            name,
            self._together(number(Kind.ROUTE, name, "200"), shop),
            self._together(number(Kind.ROUTE, name, "304"), shop),
            tuple([self.cache_hits(entity) for entity in entities]),
        )

    def _together(self, *numbers: int) -> tuple[int, ...]:
        one = self.monitor.together(*numbers)
        return numbers if one is None else (one,)

    def finish_repeated(
        self,
        context: "RequestContext",
        scope: Mapping[str, Any],
        known: "Repeated",
        route: str,
        status: int,
        began: int,
        looked_up: float,
    ) -> None:
        """``finish`` for an answer that L1 gave again; it took ``looked_up`` milliseconds to find
        it."""
        ended = _now()
        milliseconds = (ended - began) / 1e6
        if self.enabled:
            record = self.monitor.record
            for number in known.sent if status == 200 else known.unchanged:
                record(number, milliseconds)
            for hits in known.looked_up:
                if hits.due():
                    hits.note(looked_up)
                else:
                    hits.count += 1
        if not self.tracing:
            return
        trace: Trace | None = context.trace
        slow = milliseconds >= self._slow_request_ms
        if slow or (trace is not None and trace.sampled):
            trace = trace or Trace(None, new_trace_id(), sampled=False, recording=False)
            own = Noted("request", known.name, -1, began)
            own.ended, own.detail = ended, ("l1",)
            self._close(trace, context, scope, own, route, status)

    def _close(
        self,
        trace: Trace,
        context: "RequestContext",
        scope: Mapping[str, Any],
        own: Noted,
        route: str | None,
        status: int,
    ) -> None:
        inside = trace.close()
        if trace.sampled:
            trace.kept = "sampled"
        elif status >= 500:
            trace.kept = "failed"
        elif (own.ended - own.began) / 1e6 >= self._slow_request_ms:
            trace.kept = "slow"
        else:
            return
        from impact.engine.telemetry.otlp_spans import Kept  # noqa: PLC0415

        client = scope.get("client")
        method = scope["method"]
        attributes: dict[str, Any] = {
            "http.request.method": method if method in _METHODS else "_OTHER",
            "http.response.status_code": status,
            "url.path": scope["path"],
            "url.scheme": scope.get("scheme", "http"),
            "network.protocol.version": scope.get("http_version", "1.1"),
            "impact.kept": trace.kept,
            "impact.round_trips": context.round_trips,
            "impact.tenant": context.tenant,
            "impact.request_id": context.request_id,
        }
        if method not in _METHODS:
            attributes["http.request.method_original"] = method
        if route:
            attributes["http.route"] = route
        if client:
            attributes["client.address"] = client[0]
        if own.detail:
            (attributes["impact.cache.outcome"],) = own.detail
        epoch = time.time_ns() - _now()
        kept = Kept(trace, own, inside, attributes, epoch)
        self._senders["traces"].outbox.put(kept, 1 + len(inside))

    # The database.

    def statement(
        self,
        context: "RequestContext",
        node: "Node",
        name: str,
        began: int,
        rows: int | None = None,
        error: BaseException | None = None,
        statement: "Statement | None" = None,
        arguments: Sequence[Any] | None = None,
    ) -> None:
        """A statement that began then is over. ``statement`` and ``arguments`` serve the slow log,
        which shows neither values nor, for those of the ORM, parameters."""
        ended = _now()
        milliseconds = (ended - began) / 1e6
        if not self.enabled:
            return
        if error is None:
            self._observe(Kind.QUERY, name, milliseconds)
        else:
            self._observe(Kind.QUERY, name, milliseconds, "failed", failed=True)
        trace = context.trace
        if trace is not None:
            trace.leaf("statement", name, began, ended, (node, rows), error)
        if milliseconds >= self._slow_query_ms:
            self.slow.note(context, node, name, milliseconds, rows, error, statement, arguments)

    def waited(self, context: "RequestContext", node: "Node", began: int, *, failed: bool) -> float:
        """A connection of the node's pool was waited for; how long, in milliseconds."""
        milliseconds = (_now() - began) / 1e6
        if self.enabled:
            detail = "failed" if failed else ""
            self._observe(Kind.POOL, node.name, milliseconds, detail, failed=failed)
        context.pool_wait_ms = milliseconds
        return milliseconds

    def work(self, access: str, began: int, *, failed: bool) -> None:
        """A unit of work is over."""
        if self.enabled:
            detail = "failed" if failed else ""
            self._observe(Kind.WORK, access, (_now() - began) / 1e6, detail, failed=failed)

    # The cache, and flows.

    def cache_hits(self, entity: str) -> Tally:
        """The count of look-ups that L1 answered."""
        return self.monitor.tally(Kind.CACHE, entity, "l1")

    def cache_hit(self, context: "RequestContext", entity: str, hits: Tally, began: int) -> None:
        """L1 answered, and it is timed."""
        ended = _now()
        if self.enabled:
            hits.note((ended - began) / 1e6)
        else:
            hits.count += 1
        if context.trace is not None:
            detail = (entity, "l1", context.tenant)
            context.trace.leaf("cache", f"cache {entity}", began, ended, detail)

    def looking_up(self, context: "RequestContext", entity: str) -> "Lookup":
        """A look-up that goes beyond L1, as a figure and as a span around what it does."""
        return Lookup(self, context, entity)

    @contextlib.contextmanager
    def step(self, context: "RequestContext", name: str) -> Iterator[None]:
        """A step of a flow, as a span and as a figure."""
        trace: Trace | None = context.trace
        noted = trace.begin("step", name) if trace is not None else None
        try:
            with self.monitor.timer(name, Kind.STEP) if self.enabled else contextlib.nullcontext():
                yield
        except BaseException as error:
            if trace is not None:
                trace.end(noted, error=error)
            raise
        if trace is not None:
            trace.end(noted)


class Repeated(NamedTuple):
    """Of an answer that is given again: its name, and where each one counts: the numbers by its
    status, 200 or 304, and its look-ups."""

    name: str
    sent: tuple[int, ...]
    unchanged: tuple[int, ...]
    looked_up: tuple[Tally, ...]


class Lookup:
    """``outcome`` is where the answer was: ``l2``, ``database``, another caller's load
    (``joined``) or an entry past its time (``stale``); ``failed`` where there was none."""

    __slots__ = ("_began", "_context", "_entity", "_noted", "_telemetry", "outcome")

    def __init__(self, telemetry: Telemetry, context: "RequestContext", entity: str) -> None:
        self.outcome = "failed"
        self._telemetry = telemetry
        self._context = context
        self._entity = entity
        self._noted: Noted | None = None
        self._began = 0

    def __enter__(self) -> Self:
        self._began = _now()
        if self._context.trace is not None:
            self._noted = self._context.trace.begin("cache", f"cache {self._entity}", self._began)
        return self

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        if self._telemetry.enabled:
            milliseconds = (_now() - self._began) / 1e6
            failed = self.outcome == "failed"
            self._telemetry.monitor.observe(
                Kind.CACHE, self._entity, milliseconds, self.outcome, failed=failed
            )
        if self._noted is not None:
            detail = (self._entity, self.outcome, self._context.tenant)
            self._context.trace.end(self._noted, detail, error)
