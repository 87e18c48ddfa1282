"""What each route takes, as its handler declares it: read once at start-up, attached to the route.

Everything here is made of the annotations that Litestar and msgspec validate with, so that what
is refused, what the errors say and what the description (``/schema``) says cannot differ.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal, get_args, get_origin

import msgspec
from litestar import Litestar, Request, Response
from litestar.constants import RESERVED_KWARGS
from litestar.di import Provide
from litestar.handlers import HTTPRouteHandler
from litestar.params import ParameterKwarg
from litestar.routes import HTTPRoute
from litestar.utils.signature import ParsedSignature

from impact.engine.db.readmodel import ReadModel

Source = Literal["query", "header", "path"]

ORDERS_KEY = "orders"
MEDIA_TYPES_KEY = "media_types"
UNREAD_KEY = "unread"
_KEY = "contract"
_ORDER = msgspec.Meta(description="What to sort by; '-' before it: descending.")
_MOST_SEEN, _LONGEST_SEEN = 256, 256
_ENTITIES = re.compile(
    r"/(admin/(products|collections|product-categories|customers|orders|users|roles|policies"
    r"|api-keys)/\{id\}|store/carts/\{id\}(?!/complete$))"
)


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter under the name that clients send. ``kind`` is the annotated type that
    validates it; ``many`` says that it may stand there more than once, ``text`` that any text is
    one."""

    name: str
    source: Source
    kind: Any
    required: bool
    many: bool
    text: bool
    default: Any


@dataclass(frozen=True, slots=True)
class Contract:
    """What one route takes. ``ignored`` are query parameters that it takes and does not heed,
    with the reason. ``takes_if_match`` says that a change there is one of the path's entity, or of
    what lies below it, by ``changing``. ``seen`` remembers query strings that were found good."""

    parameters: tuple[Parameter, ...]
    ignored: Mapping[str, str]
    query: Mapping[str, Parameter]
    body: Any
    body_required: bool
    decoder: msgspec.json.Decoder[Any] | None
    takes_if_match: bool
    seen: set[bytes] = field(default_factory=set)

    @property
    def query_names(self) -> list[str]:
        return [*self.query, *self.ignored]

    def remember(self, query: bytes) -> None:
        """The query string is good: next time it need not be looked at."""
        if len(query) <= _LONGEST_SEEN:
            if len(self.seen) >= _MOST_SEEN:
                self.seen.clear()
            self.seen.add(query)


def listing(model: ReadModel) -> dict[str, Any]:
    """A list's mark: which read model it shows, and so what ``order`` may say."""
    return {ORDERS_KEY: tuple(model.orders)}


def produces(*media_types: str) -> dict[str, Any]:
    """The mark of a route that answers something else than one kind of JSON."""
    return {MEDIA_TYPES_KEY: media_types}


def unread() -> dict[str, Any]:
    """The mark of a route that takes any body and reads none, as it refuses whatever is asked."""
    return {UNREAD_KEY: True}


def attach_contracts(app: Litestar, ignored: Mapping[str, Mapping[str, str]]) -> None:
    """Give every route its contract. ``ignored`` maps a path's template to the query parameters
    that it takes without heeding them. Raises ValueError for a path that is none."""
    paths = set()
    for route, handler in handlers_of(app):
        paths.add(route.path_format)
        handler.opt[_KEY] = _read(handler, route, ignored.get(route.path_format, {}))
    for each in app.routes:
        if isinstance(each, HTTPRoute):
            _answer_options(each)
    if unknown := set(ignored) - paths:
        raise ValueError(f"no such route: {', '.join(sorted(unknown))}")


def contract_of(handler: Any) -> Contract | None:
    """The contract of a route's handler; None for the framework's own answer to OPTIONS."""
    found: Contract | None = handler.opt.get(_KEY)
    return found


def handlers_of(app: Litestar) -> Iterator[tuple[HTTPRoute, HTTPRouteHandler]]:
    """Every handler that Impact declares, with its route."""
    for route in app.routes:
        if isinstance(route, HTTPRoute):
            for handler in route.route_handlers:
                if "OPTIONS" not in handler.http_methods:
                    yield route, handler


def _has(kind: Any, wanted: type) -> bool:
    """Whether the type, or one that it is made of, is the wanted one."""
    return wanted in {kind, get_origin(kind)} or any(_has(part, wanted) for part in _parts(kind))


def _parts(kind: Any) -> Iterator[Any]:
    return (part for part in get_args(kind) if isinstance(part, type) or get_args(part))


def _answer_options(route: HTTPRoute) -> None:
    """Answer OPTIONS with the methods of the whole path. The framework's own answer knows those of
    the controller alone that was first to have the path, and no HEAD."""
    methods = {str(method) for method in route.methods}
    allow = ", ".join(sorted(methods | ({"HEAD"} if "GET" in methods else set())))

    async def answer(_: Request[Any, Any, Any]) -> Response[None]:
        return Response(None, status_code=204, headers={"allow": allow})

    for handler in route.route_handlers:
        if "OPTIONS" in handler.http_methods:
            handler.before_request = answer


def _read(handler: HTTPRouteHandler, route: HTTPRoute, ignored: Mapping[str, str]) -> Contract:
    dependencies = handler.resolve_dependencies()
    found = list(
        _parameters(
            handler.signature_model, handler.parsed_fn_signature, dependencies, route, handler.opt
        )
    )
    query = {each.name: each for each in found if each.source == "query"}
    data = handler.parsed_fn_signature.parameters.get("data")
    body = None if data is None else data.annotation
    return Contract(
        parameters=tuple(found),
        ignored={name: why for name, why in ignored.items() if name not in query},
        query=query,
        body=body,
        body_required=data is not None and not data.has_default,
        decoder=None if data is None else msgspec.json.Decoder(body),
        takes_if_match=_ENTITIES.match(route.path_format) is not None,
    )


def _parameters(
    model: type[msgspec.Struct],
    signature: ParsedSignature,
    dependencies: Mapping[str, Provide],
    route: HTTPRoute,
    opt: Mapping[str, Any],
) -> Iterator[Parameter]:
    for name, declared in signature.parameters.items():
        if name in dependencies:
            provider = dependencies[name]
            yield from _parameters(
                provider.signature_model,
                provider.parsed_fn_signature,
                dependencies,
                route,
                opt,
            )
        elif name not in RESERVED_KWARGS:
            marker = declared.kwarg_definition
            in_path = name in route.path_parameters
            source: Any = marker.param_type.value if isinstance(marker, ParameterKwarg) else "query"
            kind = model.__annotations__[name]
            if name == "order" and ORDERS_KEY in opt:
                kind = Annotated[Literal[opt[ORDERS_KEY]], _ORDER]
            yield Parameter(
                name=(isinstance(marker, ParameterKwarg) and marker.name) or name,
                source="path" if in_path else source,
                kind=kind,
                required=in_path or not declared.has_default,
                many=_has(kind, list),
                text=_has(kind, str),
                default=declared.default if declared.has_default else msgspec.NODEFAULT,
            )
