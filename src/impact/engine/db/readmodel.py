"""Read models: a msgspec struct says what a client gets, and PostgreSQL shapes it.

The struct is declared once. From it come the OpenAPI schema and the SQL that builds the JSON,
so a list crosses Python as bytes: no entity is made, nothing is encoded again.
"""

from collections.abc import Callable, Mapping
from typing import Any
from uuid import UUID

import msgspec

from impact.engine.db.cursor import CursorCodec
from impact.engine.db.session import ReadSession
from impact.engine.db.statements import Statement
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


class PageRequest(msgspec.Struct, frozen=True):
    """Which page of a list: by offset or, cheaper at depth, by the cursor of the page before."""

    limit: int = 50
    offset: int = 0
    order: str | None = None
    cursor: str | None = None


class Page(msgspec.Struct, frozen=True):
    """One page as PostgreSQL shaped it. ``count`` is exact up to the setting ``count_limit``."""

    items: list[str]
    count: int
    next_cursor: str | None


class ReadModel:
    """The lists and single entities of one table, by one SQL shape.

    ``sorts`` maps what ``order`` may name to NOT NULL columns; ``filters`` maps a filter's name
    to its SQL condition, whose parameter has the same name. Every list runs as one statement,
    whatever its length, and every combination of filters is prepared once.

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
        self._filters = {"id": f"{self._alias}.id = ANY(:id)", **(filters or {})}
        self._default_order = default_order
        self._scope = f"{scope or f'{self._alias}.tenant_id = :tenant_id'} AND {always}"
        self._read_key = read_key
        self._lists: dict[tuple[str, bool, frozenset[str]], Statement] = {}
        self._counts: dict[frozenset[str], Statement] = {}
        self._ones: dict[frozenset[str], Statement] = {}
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
        order = request.order or self._default_order
        descending, column = order.startswith("-"), self._sort_column(order)
        arguments: dict[str, Any] = {**values, **given, "count_limit": count_limit}
        present = frozenset(given)
        if request.cursor is not None:
            key, last = codec.decode(session.tenant, f"{self.name}:{order}", request.cursor)
            arguments |= {"after_key": key, "after_id": self._read_key(last)}
            present |= {"after"}
        statement = self._list_statement(column, descending, present)
        rows = await session.fetch(
            statement, limit=request.limit + 1, offset=request.offset, **arguments
        )
        if rows:
            count = rows[0]["total"]
        elif request.offset == 0 and request.cursor is None:
            count = 0
        else:
            count = await self._count(session, frozenset(given), arguments)
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
            # The page is cut first, so that only its rows are shaped, not those an offset skips;
            # and rows are counted only up to the limit.
            statement = Statement(
                f"{self.name}_list",
                f"""
                SELECT {alias}.id, {column} AS sort_key, {self._shape}::text AS body,
                       (SELECT count(*) FROM (SELECT 1 FROM {self._table} WHERE {conditions}
                        LIMIT :count_limit) AS counted) AS total
                FROM (
                    SELECT * FROM {self._table}
                    WHERE {conditions}{keyset}
                    ORDER BY {column} {way}, {alias}.id {way}
                    LIMIT :limit OFFSET :offset
                ) AS {alias}
                ORDER BY {column} {way}, {alias}.id {way}
                """,
            )
            self._lists[key] = statement
        return statement

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
