"""What every repository shares. A repository reads and writes one domain's tables, no more."""

from typing import ClassVar, Generic, TypeVar
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm.interfaces import ORMOption

from impact.engine.db.base import Entity
from impact.engine.db.session import ReadSession, WriteSession

E = TypeVar("E", bound=Entity)


class Repository(Generic[E]):
    """Entities of one model, for the write side; ``eager`` names what is loaded with each.

    Relationships are ``lazy="raise"``, so what a caller needs stands in ``eager`` as
    ``selectinload``: the number of statements does not depend on the number of rows.
    """

    model: type[E]
    noun: ClassVar[str]
    eager: ClassVar[tuple[ORMOption, ...]] = ()

    def __init__(self, session: ReadSession) -> None:
        self.session = session

    async def get(self, id: UUID) -> E:
        """The tenant's entity with this id. Raises NotFoundError."""
        query = select(self.model).where(self.model.id == id).options(*self.eager)
        return await self.session.one(query, f"{self.noun} with id '{id}' not found")

    async def get_for_update(self, id: UUID) -> E:
        """Like ``get``, with the row locked until the unit of work ends."""
        query = select(self.model).where(self.model.id == id).options(*self.eager)
        return await self.session.one(
            query.with_for_update(), f"{self.noun} with id '{id}' not found"
        )

    @property
    def writer(self) -> WriteSession:
        """The session, where it is one that may write. Raises TypeError where it is not."""
        if not isinstance(self.session, WriteSession):
            raise TypeError(f"{type(self).__name__} was opened for reading")
        return self.session

    async def remove(self, id: UUID) -> None:
        """Delete the entity. Raises NotFoundError; ConflictError where something refers to it."""
        await self.writer.delete(await self.get(id))
        await self.writer.flush()
