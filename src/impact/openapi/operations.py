"""One operation of the API, with what its handler's marks and guards say of it."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal, NoReturn, get_args, get_origin

from litestar import Litestar, Response
from litestar.handlers import HTTPRouteHandler
from litestar.response import Stream

from impact.domains.identity.access import (
    CUSTOMER,
    admin_guard,
    platform_guard,
    shop_guard,
    store_guard,
)
from impact.engine.http.contract import MEDIA_TYPES_KEY, Contract, contract_of, handlers_of
from impact.engine.http.limits import class_of
from impact.engine.security.permissions import PERMISSION_KEY

Audience = Literal["admin", "ops", "store", "shop", "open"]

_AUDIENCES: dict[Any, Audience] = {
    admin_guard: "admin",
    platform_guard: "ops",
    store_guard: "store",
    shop_guard: "shop",
}
_JSON = "application/json"


@dataclass(frozen=True)
class Operation:
    """``answer`` is the type of its answer; None for what is no JSON. ``media_types`` are empty
    where it only ever refuses."""

    id: str
    path: str
    method: str
    audience: Audience
    mark: str
    handler: HTTPRouteHandler
    contract: Contract
    answer: Any
    media_types: tuple[str, ...]

    @property
    def for_customers(self) -> bool:
        return self.mark == CUSTOMER

    @property
    def has_etag(self) -> bool:
        of_shop = self.audience in {"admin", "store"}
        return self.method == "GET" and of_shop and _JSON in self.media_types

    @property
    def is_counted(self) -> bool:
        """Whether rate limits count it."""
        return class_of(self.handler.opt, self.method) != "free"

    @property
    def takes_if_match(self) -> bool:
        return self.method != "GET" and self.contract.takes_if_match


def operations_of(app: Litestar) -> Iterator[Operation]:
    """Every operation that the description shows, by path and method."""
    known: set[str] = set()
    for route, handler in sorted(handlers_of(app), key=lambda pair: pair[0].path_format):
        contract = contract_of(handler)
        if contract is None or not handler.resolve_include_in_schema():
            continue
        audience = _audience(handler)
        answer, media_types = _answer(handler)
        for method in sorted(handler.http_methods):
            id = _id(handler, route.path_format)
            # A handler's second path.
            id = f"{id}Again" if id in known else id
            known.add(id)
            yield Operation(
                id=id,
                path=route.path_format,
                method=str(method),
                audience=audience,
                mark=str(handler.opt[PERMISSION_KEY]),
                handler=handler,
                contract=contract,
                answer=answer,
                media_types=media_types,
            )


def _audience(handler: HTTPRouteHandler) -> Audience:
    found = [_AUDIENCES[guard] for guard in handler.resolve_guards() if guard in _AUDIENCES]
    return found[-1] if found else "open"


def _id(handler: HTTPRouteHandler, path: str) -> str:
    """``storeListProducts``: the same words as the handler, after the audience."""
    first = path.split("/")[1]
    words = handler.handler_name.split("_")
    words = [first, *words] if first in {"admin", "store", "ops"} else words
    return words[0] + "".join(word.title() for word in words[1:])


def _answer(handler: HTTPRouteHandler) -> tuple[Any, tuple[str, ...]]:
    kind = handler.parsed_fn_signature.return_type.annotation
    if kind is NoReturn:
        return None, ()
    if get_origin(kind) is Response:
        (kind,) = get_args(kind)
    if marked := handler.opt.get(MEDIA_TYPES_KEY):
        return (kind if _JSON in marked else None), marked
    if kind is str:
        return str, ("text/plain",)
    if kind is bytes or (isinstance(kind, type) and issubclass(kind, Stream)):
        raise TypeError(f"{handler.handler_name} does not say what it produces")
    return kind, (_JSON,)
