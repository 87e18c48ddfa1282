"""``cached``: an expensive aggregate, computed once for all who ask the same."""

from collections.abc import Awaitable, Callable
from typing import Any, Concatenate, Generic, ParamSpec, TypeVar

from impact.context import RequestContext
from impact.engine.cache.keys import digest, make_key
from impact.engine.cache.kinds import Kind
from impact.engine.cache.local import Held
from impact.engine.cache.tiered import Cache
from impact.engine.db.session import ReadSession

P = ParamSpec("P")
T = TypeVar("T")


class Cached(Generic[P, T]):
    """Call it with the cache and who asks; ``load`` is the function itself, for those who must
    not be answered from a cache."""

    def __init__(
        self, kind: Kind[T], load: Callable[Concatenate[ReadSession, P], Awaitable[T]]
    ) -> None:
        self.kind = kind
        self.load = load
        self.__doc__ = load.__doc__
        self._name = f"{load.__module__}.{load.__qualname__}"

    async def __call__(
        self, cache: Cache, context: RequestContext, *args: P.args, **values: P.kwargs
    ) -> T:
        value: T = (await self.entry(cache, context, *args, **values)).value
        return value

    async def entry(
        self, cache: Cache, context: RequestContext, *args: P.args, **values: P.kwargs
    ) -> Held:
        """The value with what the cache knows of it."""

        async def load(session: ReadSession) -> T:
            return await self.load(session, *args, **values)

        asked = digest(self._name, args, values)
        key = make_key(context.tenant, self.kind.entity, "all", asked)
        return await cache.entry(self.kind, key, context, load)


def cached(
    kind: Kind[T],
) -> Callable[[Callable[Concatenate[ReadSession, P], Awaitable[T]]], Cached[P, T]]:
    """Decorate ``async def aggregate(session, ...)``; the arguments become part of the key."""

    def decorate(load: Callable[Concatenate[ReadSession, P], Awaitable[T]]) -> Cached[P, Any]:
        return Cached(kind, load)

    return decorate
