"""Read models: a msgspec struct says what a client gets, and PostgreSQL shapes it.

The struct is declared once. From it come the OpenAPI schema and the SQL that builds the JSON,
so a list crosses Python as bytes: no entity is made, nothing is encoded again.
"""

import time
from collections.abc import Callable, Mapping
from typing import Any
from uuid import UUID

import cachebox
import msgspec

from impact.engine.db.cursor import CursorCodec
from impact.engine.db.session import ReadSession, WriteSession
from impact.engine.db.statements import Statement
from impact.engine.db.streaming import declare
from impact.errors import InvalidDataError, NotFoundError, Problem


def json_object(struct: type[msgspec.Struct], alias: str, **expressions: str) -> str:
    """SQL that builds one JSON object with the struct's fields, in its order.

    A field is the column of its name in the row called ``alias`` unless ``expressions`` gives
    its SQL. Raises TypeError for an expression that fits no field.
    """
    fields = [field.encode_name for field in msgspec.structs.fields(struct)]
    unknown = set(expressions) - set(fields)
    if unknown:
        raise TypeError(f"{struct.__name__} has no field {', '.join(sorted(unknown))}")
    pairs = [f"'{name}', {expressions.get(name, f'{alias}.{name}')}" for name in fields]
    return f"json_build_object({', '.join(pairs)})"


def json_list(item: str, source: str, *, where: str, order: str) -> str:
    """SQL for the JSON array of ``item`` over the rows of a child table, never NULL."""
    return (
        f"coalesce((SELECT json_agg({item} ORDER BY {order}) FROM {source} WHERE {where}),"
        " '[]'::json)"
    )


MANY = 10_000
"""Lists up to here are counted anew with each page; counting more takes longer than the page."""
_REMEMBERED = 10.0
"""Seconds for which the count of a longer list is good."""
_COUNTS_KEPT = 10_000
_LOOKED_THROUGH = 2_000
"""Rows in the page's order among which what passes a filter is sought before it is looked up."""
_LOOKED_UP = MANY
"""Most rows of a look-up that are sorted; of more, the page's order finds some soon enough."""


class PageRequest(msgspec.Struct, frozen=True):
    """Which page of a list: by offset or, cheaper at depth, by the cursor of the page before."""

    limit: int = 50
    offset: int = 0
    order: str | None = None
    cursor: str | None = None


class Page(msgspec.Struct, frozen=True):
    """One page as PostgreSQL shaped it. ``count`` is exact up to the setting ``count_limit``; above
    ``MANY`` rows it may be some seconds old."""

    items: list[str]
    count: int
    next_cursor: str | None


class ReadModel:
    """The lists and single entities of one table, by one SQL shape.

    ``sorts`` maps what ``order`` may name to NOT NULL columns; ``filters`` maps a filter's name
    to its SQL condition, whose parameter has the same name. Every list runs as one statement,
    whatever its length, and every combination of filters is prepared once.

    ``lookups`` maps filters whose index a list cannot use to SQL that answers the ids of at most
    ``{most}`` rows that pass.

    ``scope`` replaces the condition that the row is the tenant's, for the one table that is not
    tenant-scoped; it too must name ``:tenant_id``. ``read_key`` makes an id of its text.
    """

    def __init__(
        self,
        name: str,
        table: str,
        shape: str,
        *,
        sorts: Mapping[str, str],
        filters: Mapping[str, str] | None = None,
        lookups: Mapping[str, str] | None = None,
        default_order: str = "-created_at",
        always: str = "true",
        noun: str,
        scope: str | None = None,
        read_key: Callable[[str], UUID | str] = UUID,
    ) -> None:
        self.name = name
        self.noun = noun
        self._table = table
        self._alias = table.rsplit(maxsplit=1)[-1]
        self._shape = shape
        self._sorts = sorts
        self.orders = [way + name for name in sorted(sorts) for way in ("", "-")]
        """What ``order`` may say."""
        self._filters = {"id": f"{self._alias}.id = ANY(:id)", **(filters or {})}
        self._lookups = lookups or {}
        self._default_order = default_order
        self._scope = f"{scope or f'{self._alias}.tenant_id = :tenant_id'} AND {always}"
        self._read_key = read_key
        self._lists: dict[tuple[str, bool, frozenset[str]], Statement] = {}
        self._counts: dict[frozenset[str], Statement] = {}
        self._many: cachebox.FIFOCache[tuple[str, str], tuple[float, int]] = cachebox.FIFOCache(
            _COUNTS_KEPT
        )
        self._ones: dict[frozenset[str], Statement] = {}
        self._cursors: dict[tuple[str, str, frozenset[str]], Statement] = {}
        self._locking = Statement(
            f"{name}_lock",
            f"SELECT FROM {table} WHERE {self._scope} AND {self._alias}.id = :entity_id"
            " FOR NO KEY UPDATE",
        )
        # The plainest of each is known before its first use, so that it can be explained.
        column = self._sort_column(default_order)
        self._list_statement(column, default_order.startswith("-"), frozenset())
        self._one_statement(frozenset())

    async def one(
        self,
        session: ReadSession,
        id: UUID | str,
        *,
        filters: Mapping[str, Any] | None = None,
        **values: Any,
    ) -> str:
        """The JSON of one entity, if it passes the filters. Raises NotFoundError."""
        given = dict(filters or {})
        statement = self._one_statement(frozenset(given))
        body: str | None = await session.fetch_value(statement, entity_id=id, **given, **values)
        if body is None:
            raise NotFoundError(f"{self.noun} with id '{id}' not found")
        return body

    async def lock(self, session: WriteSession, id: UUID | str) -> None:
        """Keep everybody else from changing the entity until the unit of work ends."""
        await session.fetch(self._locking, entity_id=id)

    def _one_statement(self, present: frozenset[str]) -> Statement:
        statement = self._ones.get(present)
        if statement is None:
            statement = self._ones[present] = Statement(
                f"{self.name}_by_id",
                f"SELECT {self._shape}::text FROM {self._table}"
                f" WHERE {self._conditions(present)} AND {self._alias}.id = :entity_id",
            )
        return statement

    async def page(
        self,
        session: ReadSession,
        request: PageRequest,
        codec: CursorCodec,
        *,
        count_limit: int,
        filters: Mapping[str, Any] | None = None,
        **values: Any,
    ) -> Page:
        """One page. A filter whose value is None is left out; ``values`` feed the shape."""
        given = {key: value for key, value in (filters or {}).items() if value is not None}
        order = self._default_order if request.order is None else request.order
        descending, column = order.startswith("-"), self._sort_column(order)
        asked = (session.tenant, repr((count_limit, sorted({**values, **given}.items()))))
        counted_at, many = self._many.get(asked, (0.0, 0))
        if time.monotonic() - counted_at > _REMEMBERED:
            many = 0
        # What is known to be much is not counted again.
        limit = 0 if many else count_limit
        arguments: dict[str, Any] = {**values, **given, "count_limit": limit}
        present = frozenset(given)
        if request.cursor is not None:
            key, last = codec.decode(session.tenant, f"{self.name}:{order}", request.cursor)
            arguments |= {"after_key": key, "after_id": self._read_key(last)}
            present |= {"after"}
        statement = self._list_statement(column, descending, present)
        rows = await session.fetch(
            statement, limit=request.limit + 1, offset=request.offset, **arguments
        )
        if many:
            count = many
        elif rows:
            count = rows[0]["total"]
        elif request.offset == 0 and request.cursor is None:
            count = 0
        else:
            count = await self._count(session, frozenset(given), arguments)
        if count > MANY and not many:
            self._many[asked] = (time.monotonic(), count)
        next_cursor = None
        if len(rows) > request.limit:
            rows = rows[: request.limit]
            last_row = rows[-1]
            next_cursor = codec.encode(
                session.tenant,
                f"{self.name}:{order}",
                [last_row["sort_key"], str(last_row["id"])],
            )
        return Page([row["body"] for row in rows], count, next_cursor)

    def cursor(
        self, order: str | None, filters: Mapping[str, Any]
    ) -> tuple[Statement, dict[str, Any]]:
        """The statement that opens a cursor on the JSON of all that pass the filters, and the
        values it takes. Raises InvalidDataError for an unknown order."""
        given = {key: value for key, value in filters.items() if value is not None}
        order = order or self._default_order
        column, way = self._sort_column(order), "DESC" if order.startswith("-") else "ASC"
        key = (column, way, frozenset(given))
        statement = self._cursors.get(key)
        if statement is None:
            statement = self._cursors[key] = declare(
                f"{self.name}_export",
                f"SELECT {self._shape}::text FROM {self._table}"
                f" WHERE {self._conditions(key[2])}"
                f" ORDER BY {column} {way}, {self._alias}.id {way}",
            )
        return statement, given

    def _sort_column(self, order: str) -> str:
        column = self._sorts.get(order.removeprefix("-"))
        if column is None:
            known = ", ".join(sorted(self._sorts))
            message = f"order takes one of {known}, with '-' before it for descending"
            raise InvalidDataError(message, problems=[Problem(message, parameter="order")])
        return column

    def _conditions(self, present: frozenset[str]) -> str:
        names = sorted(present - {"after"})
        return " AND ".join([self._scope, *(f"({self._filters[name]})" for name in names)])

    def _list_statement(self, column: str, descending: bool, present: frozenset[str]) -> Statement:
        key = (column, descending, present)
        statement = self._lists.get(key)
        if statement is None:
            alias, way = self._alias, "DESC" if descending else "ASC"
            conditions = self._conditions(present)
            keyset = ""
            if "after" in present:
                comparison = "<" if descending else ">"
                keyset = f" AND ({column}, {alias}.id) {comparison} (:after_key, :after_id)"
            order = f"ORDER BY {column} {way}, {alias}.id {way}"
            page = f"{self._table} WHERE {conditions}{keyset}"
            found, count = "", f"SELECT 1 FROM {self._table} WHERE {conditions}"
            lookup = next((name for name in self._lookups if name in present), None)
            if lookup is not None:
                found, page, count = self._looked_up(lookup, conditions, keyset, order)
            # The page is cut first, so that only its rows are shaped, not those an offset skips;
            # and rows are counted only up to the limit.
            statement = Statement(
                f"{self.name}_list",
                f"""
                {found}
                SELECT {alias}.id, {column} AS sort_key, {self._shape}::text AS body,
                       (SELECT count(*) FROM ({count} LIMIT :count_limit) AS counted) AS total
                FROM (
                    SELECT * FROM {page} {order}
                    LIMIT :limit OFFSET :offset
                ) AS {alias}
                {order}
                """,
            )
            self._lists[key] = statement
        return statement

    def _looked_up(
        self, lookup: str, conditions: str, keyset: str, order: str
    ) -> tuple[str, str, str]:
        """The CTEs, the source of the page and that of the count for a filter with a look-up.

        What passes often fills the page from the first rows of its order, what passes seldom is
        looked up and sorted, and what is in between comes in the page's order. Which of the three
        it is shows when the statement runs: the others are never executed.
        """
        table, alias = self._table, self._alias
        wanted = ":limit::bigint + :offset::bigint"
        few = f"(SELECT n FROM found) <= {_LOOKED_UP}"
        rows = f"{table} WHERE {conditions}"
        ids = f"{alias}.id = ANY((SELECT ids FROM found)::uuid[])"
        ctes = f"""
            WITH near AS MATERIALIZED (
                SELECT * FROM (
                    SELECT * FROM {table} WHERE {self._scope}{keyset}
                    {order} LIMIT {_LOOKED_THROUGH}
                ) AS {alias} WHERE {conditions}
            ), enough AS MATERIALIZED (
                SELECT count(*) >= {wanted} AS yes FROM near
            ), found AS MATERIALIZED (
                SELECT array_agg(id) AS ids, count(*) AS n FROM (
                    SELECT {self._lookups[lookup].format(most=_LOOKED_UP + 1)} AS id
                    WHERE NOT (SELECT yes FROM enough)
                ) AS ids
            )"""
        page = f"""(
            SELECT * FROM near WHERE (SELECT yes FROM enough)
            UNION ALL
            SELECT * FROM {rows}{keyset} AND NOT (SELECT yes FROM enough) AND {few} AND {ids}
            UNION ALL
            (SELECT * FROM {rows}{keyset} AND NOT (SELECT yes FROM enough) AND NOT {few}
             {order} LIMIT {wanted})
        ) AS {alias}"""
        count = f"""(
            SELECT 1 FROM {rows} AND NOT (SELECT yes FROM enough) AND {few} AND {ids}
            UNION ALL
            SELECT 1 FROM {rows} AND ((SELECT yes FROM enough) OR NOT {few})
        ) AS either"""
        return ctes, page, f"SELECT 1 FROM {count}"

    async def _count(
        self, session: ReadSession, present: frozenset[str], arguments: Mapping[str, Any]
    ) -> int:
        statement = self._counts.get(present)
        if statement is None:
            statement = self._counts[present] = Statement(
                f"{self.name}_count",
                f"SELECT count(*) FROM (SELECT 1 FROM {self._table}"
                f" WHERE {self._conditions(present)} LIMIT :count_limit) AS counted",
            )
        # What feeds the shape alone has no place in a count.
        needed = {key: arguments[key] for key in statement.parameters if key != "tenant_id"}
        total: int = await session.fetch_value(statement, **needed)
        return total
