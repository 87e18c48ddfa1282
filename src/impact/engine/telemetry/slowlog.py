"""What happens when a statement was slow: a line in the log, a figure, and a notification.

None of it happens in the request: it leaves a note in a bounded queue. Who looks at the notes may
first find out the plan (``explain``), which is asked for outside of any request.
"""

import asyncio
import contextlib
import functools
import logging
import time
from collections import Counter, deque
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from impact.engine.tasks import end, kept_up
from impact.engine.telemetry.monitor import OVERFLOW
from impact.engine.telemetry.slow import KEPT, SlowQuery, masked
from impact.settings import Settings

if TYPE_CHECKING:
    from impact.context import RequestContext
    from impact.engine.db.nodes import Node
    from impact.engine.db.statements import Statement

logger = logging.getLogger(__name__)

_MOST_WAITING = 200
_MOST_NAMES = 2000
_PLAN_KEPT = 60.0
"""Seconds for which a statement's plan is taken to be what it was."""
_MOST_PLANS = 500


class Plan(NamedTuple):
    """``query_id`` as pg_stat_statements has it; ``hash`` of the plan's shape."""

    query_id: str
    hash: str


Explain = Callable[["Node", "Statement", str], Awaitable[Plan | None]]
Listener = Callable[[SlowQuery], None]


class SlowLog:
    """``subscribe(listener)`` is told of each statement slower than ``IMPACT_SLOW_QUERY_ALERT``."""

    def __init__(self, settings: Settings) -> None:
        self._alert_ms = settings.slow_query_alert * 1000
        self._queue: asyncio.Queue[tuple[SlowQuery, Any, Any]] = asyncio.Queue(_MOST_WAITING)
        self._recent: deque[SlowQuery] = deque(maxlen=KEPT)
        self._counts: Counter[str] = Counter()
        self._alerts: Counter[str] = Counter()
        self._listeners: list[Listener] = []
        self._plans: dict[tuple[str, str], tuple[float, Plan | None]] = {}

    def subscribe(self, listener: Listener) -> Callable[[], None]:
        """Called on the event loop for each slow statement; must not wait. Answers how to stop."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    def recent(self) -> list[SlowQuery]:
        return list(self._recent)

    def counts(self) -> dict[str, int]:
        return dict(self._counts)

    def alerts(self) -> dict[str, int]:
        """How often each took longer than ``IMPACT_SLOW_QUERY_ALERT``."""
        return dict(self._alerts)

    def note(
        self,
        context: "RequestContext",
        node: "Node",
        name: str,
        milliseconds: float,
        rows: int | None,
        error: BaseException | None,
        statement: "Statement | None",
        arguments: Sequence[Any] | None,
    ) -> None:
        """Take note, from within the request."""
        known = name in self._counts or len(self._counts) < _MOST_NAMES
        counted = name if known else OVERFLOW
        self._counts[counted] += 1
        query = SlowQuery(
            at=time.time(),
            name=name,
            node=node.name,
            tenant=context.tenant,
            wait_ms=round(context.pool_wait_ms, 3),
            run_ms=round(milliseconds, 3),
            rows=rows,
            parameters=masked(statement.parameters, arguments or []) if statement else {},
            request_id=context.request_id,
            trace_id=context.trace.hex if context.trace is not None else "",
            failed=type(error).__name__ if error is not None else "",
        )
        self._recent.append(query)
        if milliseconds > self._alert_ms:
            self._alerts[counted] += 1
            for listener in list(self._listeners):
                listener(query)
        with contextlib.suppress(asyncio.QueueFull):
            # The figure has it in any case; a flood of lines would help nobody.
            self._queue.put_nowait((query, node, statement))

    @contextlib.asynccontextmanager
    async def running(self, explain: Explain) -> AsyncIterator[None]:
        """While the block lasts, notes become lines in the log."""
        write = functools.partial(self._write, explain)
        task = asyncio.create_task(kept_up(write, "logging slow queries"))
        try:
            yield
        finally:
            await end([task])
            while not self._queue.empty():
                self._log(self._queue.get_nowait()[0])

    async def _write(self, explain: Explain) -> None:
        while True:
            query, node, statement = await self._queue.get()
            if statement is not None:
                plan = await self._plan(explain, node, statement, query.tenant)
                if plan is not None:
                    query.query_id, query.plan_hash = plan
            self._log(query)

    async def _plan(
        self, explain: Explain, node: "Node", statement: "Statement", tenant: str
    ) -> Plan | None:
        key = (node.name, statement.sql)
        found = self._plans.get(key)
        if found is not None and found[0] > time.monotonic() - _PLAN_KEPT:
            return found[1]
        try:
            plan = await explain(node, statement, tenant)
        except Exception as error:
            logger.debug("no plan of %s: %r", statement.name, error)
            plan = None
        if len(self._plans) >= _MOST_PLANS:
            self._plans.clear()
        self._plans[key] = (time.monotonic(), plan)
        return plan

    def _log(self, query: SlowQuery) -> None:
        fields = {
            "query": query.name,
            "run_ms": query.run_ms,
            "wait_ms": query.wait_ms,
            "rows": query.rows,
            "node": query.node,
            "query_tenant": query.tenant,
            "query_request_id": query.request_id,
            "query_trace_id": query.trace_id,
            "query_id": query.query_id,
            "plan_hash": query.plan_hash,
            "parameters": query.parameters,
            "failed": query.failed,
        }
        logger.warning("slow query", extra={name: value for name, value in fields.items() if value})
