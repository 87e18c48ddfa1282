"""What a unit of work has changed, as the tags it will raise."""

from collections.abc import Iterable, Mapping
from typing import Any

from sqlalchemy import event
from sqlalchemy.orm import Session, object_session

from impact.engine.cache import invalidation
from impact.engine.db.base import Base
from impact.engine.db.statements import ALL, Statement

_WRITTEN = "impact.written"


class Touched:
    """Tags by tenant, gathered from flushed entities and from statements that write."""

    def __init__(self) -> None:
        self._tags: set[str] = set()
        self._sessions: list[Session] = []

    def watch(self, session: Session) -> None:
        """Take note of every row that this ORM session writes."""
        session.info[_WRITTEN] = []
        self._sessions.append(session)

    def statement(
        self,
        statement: Statement,
        tenant: str,
        values: Mapping[str, Any],
        rows: Iterable[Any] | None = None,
    ) -> None:
        """Take note of a statement that ran for a tenant, with its values and what it returned."""
        for table, where in statement.writes.items():
            ids: Iterable[object] | None = None
            if where.startswith(":"):
                value = values[where[1:]]
                ids = value if isinstance(value, list | tuple) else [value]
            elif where != ALL and rows is not None:
                ids = {row[where] for row in rows}
            if ids is not None:
                ids = [id for id in ids if id is not None]
            self._tags.update(invalidation.tags_of_table(table, tenant, ids))

    def table(self, table: str, tenant: str) -> None:
        """Take note of a write to unknown rows of a table."""
        self._tags.update(invalidation.tags_of_table(table, tenant, None))

    def by_tenant(self) -> dict[str, set[str]]:
        """The tags to raise, for each tenant."""
        for session in self._sessions:
            self._take_rows(session)
        found: dict[str, set[str]] = {}
        for tag in self._tags:
            found.setdefault(tag.partition(":")[0], set()).add(tag)
        return found

    def _take_rows(self, session: Session) -> None:
        written: list[Base] = session.info[_WRITTEN]

        def find(table: str, id: object) -> Any:
            loaded = [*session.identity_map.values(), *written]
            return next((x for x in loaded if _is(x, table, id)), None)

        for row in written:
            self._tags.update(invalidation.tags_of_row(row, row.__tablename__, find))
        written.clear()


def _is(entity: Any, table: str, id: object) -> bool:
    found: bool = entity.__tablename__ == table and entity.id == id
    return found


def _note(mapper: object, connection: object, target: Base) -> None:
    session = object_session(target)
    if session is not None and _WRITTEN in session.info:
        session.info[_WRITTEN].append(target)


for _name in ("after_insert", "after_update", "after_delete"):
    # Of the mapper, not of the flush: these see rows that a cascade writes as well.
    event.listen(Base, _name, _note, propagate=True)
