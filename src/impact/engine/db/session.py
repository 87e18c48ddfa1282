"""Sessions and the unit of work: the one place where transactions begin and end.

A ReadSession cannot write; a WriteSession is a ReadSession that can. Both are opened with a
RequestContext, which fixes the tenant for row-level security and for every statement. Nothing
else in the project says COMMIT (a test checks).
"""

import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

import asyncpg
from sqlalchemy import Select
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession
from sqlalchemy.orm import with_loader_criteria
from sqlalchemy.orm.exc import StaleDataError

from impact.context import RequestContext
from impact.engine.cache.touched import Touched
from impact.engine.cache.versions import UNTOLD, Versions
from impact.engine.db import tenancy
from impact.engine.db.base import Base, TenantScoped
from impact.engine.db.consistency import CAUSAL, Consistency, Level, parse_lsn
from impact.engine.db.failures import (
    DRIVER_ERRORS,
    READ_ONLY_TRANSACTION,
    is_node_lost,
    sqlstate,
    translate,
)
from impact.engine.db.nodes import Node, NodeSet
from impact.engine.db.observer import BEGIN, COMMIT, OBSERVER, POSITION, ROLLBACK, Observer
from impact.engine.db.statements import ALL, Statement
from impact.engine.telemetry.telemetry import Telemetry
from impact.errors import (
    ConflictError,
    ImpactError,
    InvalidDataError,
    NotFoundError,
    Problem,
)

T = TypeVar("T")
_OWE = Statement(
    "changes.owe",
    f"""
    INSERT INTO change_record (tenant_id, table_name, action, after)
    VALUES (:tenant_id, 'cache', '{UNTOLD}', :tags::jsonb)
    """,
    writes={"change_record": ALL},
)
AfterCommit = Callable[[], Awaitable[None]]


class ReadSession:
    """Reads of one transaction on one node, for one tenant."""

    def __init__(
        self,
        context: RequestContext,
        connection: AsyncConnection,
        driver: Any,
        observe: Observer,
    ) -> None:
        self.context = context
        self.tenant = context.tenant
        self._driver: asyncpg.Connection = driver
        self._observe = observe
        self._connection = connection
        self._orm_session: AsyncSession | None = None
        self.position = 0
        """A WAL position that this session's snapshots contain."""

    async def fetch(self, statement: Statement, **values: Any) -> list[asyncpg.Record]:
        """All rows of a named statement."""
        arguments = statement.bind(self.tenant, values)
        self.context.round_trips += 1
        rows: list[asyncpg.Record] = await self._observe.run(
            statement, arguments, self._driver.fetch(statement.sql, *arguments)
        )
        if statement.writes:
            self._touched(statement, values, rows)
        return rows

    async def fetch_one(
        self, statement: Statement, *, timeout: float | None = None, **values: Any
    ) -> asyncpg.Record | None:
        """The first row of a named statement, or None; ``timeout`` in seconds replaces the
        connection's."""
        arguments = statement.bind(self.tenant, values)
        self.context.round_trips += 1
        row: asyncpg.Record | None = await self._observe.run(
            statement, arguments, self._driver.fetchrow(statement.sql, *arguments, timeout=timeout)
        )
        if statement.writes:
            # The one row that was fetched may not tell of all that were written.
            self._touched(statement, values, None)
        return row

    async def fetch_value(self, statement: Statement, **values: Any) -> Any:
        """The first column of the first row, or None."""
        row = await self.fetch_one(statement, **values)
        return None if row is None else row[0]

    async def scalars(self, query: Select[T]) -> Sequence[T]:
        """The entities an ORM query selects, of this session's tenant alone."""
        return (await self._orm.scalars(self._scoped(query))).unique().all()

    async def scalar(self, query: Select[T]) -> T | None:
        """The first entity or value an ORM query selects, or None."""
        result: T | None = await self._orm.scalar(self._scoped(query))
        return result

    async def one(self, query: Select[T], missing: str) -> T:
        """Like ``scalar``, but raises NotFoundError with the text ``missing`` for None."""
        found = await self.scalar(query)
        if found is None:
            raise NotFoundError(missing)
        return found

    def answered(self) -> None:
        """The caller has what it came for, and waits for the session's end no longer."""
        self._observe.answered()

    def _touched(
        self, statement: Statement, values: Mapping[str, Any], rows: Sequence[Any] | None
    ) -> None:
        """Only a unit of work has something to raise."""

    @property
    def _orm(self) -> AsyncSession:
        if self._orm_session is None:
            self._orm_session = AsyncSession(
                self._connection, expire_on_commit=False, autoflush=False
            )
        return self._orm_session

    def _scoped(self, query: Select[T]) -> Select[T]:
        """The query with the tenant's filter on every tenant table it touches."""
        tenant = self.tenant
        return query.options(
            with_loader_criteria(
                TenantScoped, lambda entity: entity.tenant_id == tenant, include_aliases=True
            )
        )


class WriteSession(ReadSession):
    """A unit of work on the primary: all of it is committed, or none."""

    def __init__(
        self,
        context: RequestContext,
        connection: AsyncConnection,
        driver: Any,
        observe: Observer,
    ) -> None:
        super().__init__(context, connection, driver, observe)
        self._after_commit: list[AfterCommit] = []
        self.touched = Touched()
        """What the cache will be told of. Whoever writes past ``execute``, with ``driver``, adds
        the table here."""

    def _touched(
        self, statement: Statement, values: Mapping[str, Any], rows: Sequence[Any] | None
    ) -> None:
        self.touched.statement(statement, self.tenant, values, rows)

    @property
    def _orm(self) -> AsyncSession:
        if self._orm_session is None:
            self.touched.watch(super()._orm.sync_session)
        return super()._orm

    def add(self, *entities: Base) -> None:
        """Insert the entities, and what hangs on them, at the next flush as this tenant's."""
        self._orm.add_all(entities)

    async def delete(self, entity: TenantScoped) -> None:
        await self._orm.delete(entity)

    async def flush(self, conflict: str | None = None) -> None:
        """Send what was added and changed; raises ConflictError where a constraint refuses.

        ``conflict`` is what the error then says: which value is taken, for one.
        """
        for entity in self._orm.new:
            if isinstance(entity, TenantScoped):
                entity.tenant_id = self.tenant
        try:
            await self._orm.flush()
        except StaleDataError as error:
            raise ConflictError("it was removed meanwhile") from error
        except DRIVER_ERRORS as error:
            failure = translate(error)
            if conflict is not None and isinstance(failure, ConflictError):
                failure = ConflictError(conflict)
            raise failure from error

    async def refresh(self, entity: TenantScoped, *attributes: str) -> None:
        await self._orm.refresh(entity, attributes or None)

    async def execute(
        self, statement: Statement, *, timeout: float | None = None, **values: Any
    ) -> str:
        """Run a named statement that returns no rows; answers its command tag.

        ``timeout`` in seconds replaces the connection's.
        """
        arguments = statement.bind(self.tenant, values)
        self.context.round_trips += 1
        tag: str = await self._observe.run(
            statement, arguments, self._driver.execute(statement.sql, *arguments, timeout=timeout)
        )
        if statement.writes:
            self.touched.statement(statement, self.tenant, values)
        return tag

    @property
    def driver(self) -> asyncpg.Connection:
        """The bare connection, for COPY. Row-level security is all that guards it."""
        return self._driver

    async def switch_tenant(self, tenant: str) -> None:
        """Go on as another tenant in the same transaction, under its row-level security.

        For jobs of the platform that write for several shops or none of them yet. A request
        never calls it: who may act for whom was decided before its session was opened.
        """
        self.context.round_trips += 1
        await self._observe.run(BEGIN, (), self._driver.execute(tenancy.switch(tenant)))
        self.tenant = tenant

    def after_commit(self, effect: AfterCommit) -> None:
        """Run ``effect`` once the change is durable; a rollback drops it."""
        self._after_commit.append(effect)


class Database:
    """The sessions of one process: ``async with database.write(context) as session``.

    ``versions`` is told of each commit before and after it, ``telemetry`` how long things took.
    """

    def __init__(self, nodes: NodeSet, versions: Versions, telemetry: Telemetry) -> None:
        self.nodes = nodes
        self.versions = versions
        self.telemetry = telemetry

    @contextlib.asynccontextmanager
    async def read(
        self,
        context: RequestContext,
        consistency: Consistency = CAUSAL,
        *,
        timeout: float | None = None,
    ) -> AsyncIterator[ReadSession]:
        """A read-only transaction on the node that the context's consistency allows.

        ``timeout`` in seconds replaces the statement timeout, for reports. A node that cannot
        be reached is ejected and the next one is asked, until none is left (UnavailableError).
        A node lost later raises NodeLostError; the HTTP layer then runs a GET again elsewhere.
        """
        text = tenancy.begin(context, read_only=True, timeout=timeout)
        async with contextlib.AsyncExitStack() as stack:
            observe = stack.enter_context(
                Observer(self.telemetry, context, "read", consistency.level)
            )
            while True:
                node = await self.nodes.choose(context, consistency)
                position = node.replay
                try:
                    connection, driver = await self._begin(stack, node, context, text, observe)
                except DRIVER_ERRORS as error:
                    if not is_node_lost(error):
                        raise translate(error) from error
                    self._lose(node, context)
                    continue
                break
            node.served += 1
            session = ReadSession(context, connection, driver, observe)
            session.position = position
            with self._translated(node, context, writing=False):
                yield session
                # Ends the transaction; nothing was changed, so there is nothing to commit.
                context.round_trips += 1
                await observe.run(ROLLBACK, (), driver.execute("ROLLBACK"))

    @contextlib.asynccontextmanager
    async def write(self, context: RequestContext) -> AsyncIterator[WriteSession]:
        """A unit of work on the primary, committed when the block ends without an error.

        Afterwards the context's token is the WAL position of the commit (P2). Raises
        UnavailableError while there is no primary, and InvalidDataError where the caller has a
        condition that nobody has checked: a route that takes none must not ignore it.
        """
        if context.if_match is not None:
            message = "this route takes no if-match"
            raise InvalidDataError(message, problems=[Problem(message, parameter="if-match")])
        text = tenancy.begin(context, read_only=False)
        async with contextlib.AsyncExitStack() as stack:
            observe = stack.enter_context(Observer(self.telemetry, context, "write", Level.STRONG))
            node = self.nodes.primary()
            try:
                connection, driver = await self._begin(stack, node, context, text, observe)
            except DRIVER_ERRORS as error:
                # Nothing was sent: once more, should another node have taken over.
                if not is_node_lost(error):
                    raise translate(error) from error
                node.eject()
                node = self.nodes.primary()
                with self._translated(node, context, writing=True):
                    connection, driver = await self._begin(stack, node, context, text, observe)
            told = context.token == 0 or context.raised_at > 0
            context.wrote = True
            context.node = node
            node.served += 1
            session = WriteSession(context, connection, driver, observe)
            with self._translated(node, context, writing=True):
                yield session
                if session._orm_session is not None:
                    await session.flush()
                touched = session.touched.by_tenant()
                raised = await self.versions.announce(touched) if touched else None
                if raised is not None and raised.untold:
                    # This process may die before Redis is back; then the relay tells it.
                    await session.execute(_OWE, tags=json.dumps(raised.tags))
                context.round_trips += 2
                if await observe.run(COMMIT, (), driver.execute("COMMIT")) != "COMMIT":
                    # A statement failed and somebody swallowed its error: PostgreSQL rolled back.
                    if raised is not None:
                        await self.versions.settle(raised, 0)
                    raise ImpactError("the change failed and was rolled back")
                position = await observe.run(POSITION, (), _position(driver))
                context.token = max(context.token, position)
        # The connection is another's by now: none is kept while Redis is told.
        if raised is None:
            # Nothing that is cached has changed: the caller has nothing to wait for.
            clock = max(context.raised_at, 1)
        else:
            clock = await self.versions.settle(raised, position)
        # A write of before that the cache was not told of stays one.
        context.raised_at = clock if told else 0
        for effect in session._after_commit:
            await effect()

    async def _begin(
        self,
        stack: contextlib.AsyncExitStack,
        node: Node,
        context: RequestContext,
        text: str,
        observe: Observer,
    ) -> tuple[AsyncConnection, Any]:
        """A connection of the node's pool with the transaction begun; the stack gives it back."""
        connection = await observe.connect(stack, node)
        driver = (await connection.get_raw_connection()).driver_connection
        assert driver is not None  # noqa: S101 - asyncpg always has one
        info = (await connection.get_raw_connection()).info
        info[OBSERVER] = observe
        stack.push_async_callback(_end, connection, driver, info)
        context.round_trips += 1
        await observe.run(BEGIN, (), driver.execute(text))
        return connection, driver

    def _lose(self, node: Node, context: RequestContext) -> None:
        node.eject()
        context.lost_nodes.add(node)
        if context.node is node:
            context.node = None

    @contextlib.contextmanager
    def _translated(self, node: Node, context: RequestContext, *, writing: bool) -> Iterator[None]:
        try:
            yield
        except DRIVER_ERRORS as error:
            if is_node_lost(error):
                self._lose(node, context)
            elif sqlstate(error) == READ_ONLY_TRANSACTION:
                if not writing:
                    raise ImpactError("a statement that writes ran in a session that reads") from (
                        error
                    )
                # The server was demoted under us; the monitor will find the new primary.
                node.eject()
            raise translate(error) from error


async def _end(connection: AsyncConnection, driver: Any, info: dict[str, Any]) -> None:
    """Give the connection back clean: no open transaction, no context of the last request."""
    info.pop(OBSERVER, None)
    if driver.is_closed():
        await connection.invalidate()
    elif driver.is_in_transaction():
        try:
            await driver.execute("ROLLBACK")
        except DRIVER_ERRORS:
            await connection.invalidate()


async def _position(driver: Any) -> int:
    """Where the WAL stands after a commit. All of it is flushed, as the commit waited for it."""
    return parse_lsn(await driver.fetchval(POSITION.sql))
