"""What a transaction tells of itself: how long it waited, how long each statement ran.

One observer belongs to one transaction. What the ORM sends passes through SQLAlchemy's events,
which find it on the connection; everything else is told by the session.
"""

import contextlib
import time
from collections.abc import Awaitable, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar

from sqlalchemy.engine import Connection, ExceptionContext
from sqlalchemy.ext.asyncio import AsyncConnection

from impact.context import RequestContext
from impact.engine.db.consistency import Level
from impact.engine.db.orm_names import named
from impact.engine.db.statements import Statement
from impact.engine.telemetry.telemetry import Telemetry
from impact.engine.telemetry.trace import Noted
from impact.errors import ImpactError

if TYPE_CHECKING:
    from impact.engine.db.nodes import Node

T = TypeVar("T")

OBSERVER = "impact.observer"
"""Where a connection's ``info`` holds the observer of the transaction that has it."""
BEGIN, COMMIT, ROLLBACK = "session.begin", "session.commit", "session.rollback"
"""Names of what opens and ends a transaction; in the server's statistics they are themselves."""
POSITION = Statement("session.position", "SELECT pg_current_wal_flush_lsn()::text", tenantless=True)


class Observer:
    __slots__ = ("_access", "_began", "_level", "_noted", "_orm", "_wait", "context", "node", "to")

    def __init__(
        self, telemetry: Telemetry, context: RequestContext, access: str, level: Level
    ) -> None:
        self.to = telemetry
        self.context = context
        self.node: Node | None = None
        self._access = access
        self._level = level
        self._wait = 0.0
        self._began = 0
        self._noted: Noted | None = None
        self._orm: tuple[str, int] | None = None

    def __enter__(self) -> Self:
        self._began = time.perf_counter_ns()
        if self.context.trace is not None:
            self._noted = self.context.trace.begin("work", self._access, self._began)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if isinstance(error, ImpactError) and error.status < 500:
            # The service refused; the transaction did what it should.
            error = None
        self.to.work(self._access, self._began, failed=error is not None)
        self._end_span(error)

    def answered(self) -> None:
        """What the work was for is there: its end is nobody's wait, and no part of the trace."""
        self._end_span(None)
        self._noted = self.context.trace = None

    def _end_span(self, error: BaseException | None) -> None:
        if self._noted is not None:
            detail: tuple[Any, ...] = ()
            if self.node is not None:
                self._noted.name = f"{self._access} {self.node.name}"
                wait, tenant = round(self._wait, 3), self.context.tenant
                detail = (self._access, self.node, self._level.value, wait, tenant)
            self.context.trace.end(self._noted, detail, error)

    async def connect(self, stack: contextlib.AsyncExitStack, node: "Node") -> AsyncConnection:
        """A connection of the node's pool; ``stack`` gives it back."""
        self.node = node
        began = time.perf_counter_ns()
        node.waiting += 1
        failed = True
        queue, who, urgent = node.queue, self.context.tenant, self.context.urgent
        turn = None
        try:
            turn = queue.enter(who, urgent=urgent) or await queue.wait(who, urgent=urgent)
            # After the connection, which then is free for the next one.
            stack.callback(queue.leave, turn)
            connection = await stack.enter_async_context(node.engine.connect())
            failed = False
        finally:
            node.waiting -= 1
            if failed and turn is not None:
                queue.leave(turn)
            self._wait = self.to.waited(self.context, node, began, failed=failed)
        return connection

    async def run(
        self,
        what: Statement | str,
        arguments: Sequence[Any],
        work: Awaitable[T],
    ) -> T:
        """Wait for a statement and tell how long it took."""
        statement, name = (None, what) if isinstance(what, str) else (what, what.name)
        assert self.node is not None  # noqa: S101 - there is a connection, so there is a node
        began = time.perf_counter_ns()
        try:
            result = await work
        except BaseException as error:
            self.to.statement(
                self.context, self.node, name, began, None, error, statement, arguments
            )
            raise
        rows = _rows(result) if self.context.trace is not None else None
        self.to.statement(self.context, self.node, name, began, rows, None, statement, arguments)
        return result

    # The ORM.

    def orm_begins(self, name: str) -> None:
        self.context.round_trips += 1
        self._orm = (name, time.perf_counter_ns())

    def orm_ended(self, rows: int | None, error: BaseException | None = None) -> None:
        if self._orm is not None and self.node is not None:
            name, began = self._orm
            self._orm = None
            self.to.statement(self.context, self.node, name, began, rows, error)


def _rows(result: Any) -> int | None:
    """How many rows a driver's answer stands for."""
    if isinstance(result, list):
        return len(result)
    if isinstance(result, str):
        # A command tag: ``UPDATE 3``.
        last = result.rpartition(" ")[2]
        return int(last) if last.isdigit() else None
    return None if result is None else 1


# SQLAlchemy's events (``impact.engine.db.pool`` listens).


def before_execute(
    connection: Connection, cursor: Any, statement: str, parameters: Any, context: Any, many: bool
) -> tuple[str, Any]:
    """The ORM's statement with its name after it, constant for each text: it stays prepared."""
    name, text = named(statement, context)
    observer = connection.info.get(OBSERVER)
    if observer is not None:
        observer.orm_begins(name)
    return text, parameters


def after_execute(
    connection: Connection, cursor: Any, statement: str, parameters: Any, context: Any, many: bool
) -> None:
    observer = connection.info.get(OBSERVER)
    if observer is not None:
        observer.orm_ended(cursor.rowcount if cursor.rowcount >= 0 else None)


def failed_execute(context: ExceptionContext) -> None:
    connection = context.connection
    if connection is None or connection.closed or connection.invalidated:
        return
    observer = connection.info.get(OBSERVER)
    if observer is not None:
        observer.orm_ended(None, context.original_exception)
