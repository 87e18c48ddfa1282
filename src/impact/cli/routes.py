"""``impact routes``: every route, who it is for, and the permission it needs."""

import click
import msgspec

from impact.cli._tables import markdown_table


class Route(msgspec.Struct, frozen=True):
    """One method of one path.

    ``audience`` is whose guard stands before it: ``admin``, ``store``, ``ops`` (staff of
    headquarters alone), or ``open`` for none.
    ``permission`` is the route's mark: a permission, ``customer``, or ``public`` for whoever the
    guard lets in.
    """

    method: str
    path: str
    audience: str
    permission: str


def routes() -> list[Route]:
    """Every route of the service, by path and method. Opens nothing."""
    from litestar import Litestar
    from litestar.handlers import HTTPRouteHandler

    from impact.api import routers
    from impact.domains.identity.access import admin_guard, platform_guard, store_guard
    from impact.engine.http.dependencies import DEPENDENCIES
    from impact.engine.security.permissions import PERMISSION_KEY

    audiences = {admin_guard: "admin", platform_guard: "ops", store_guard: "store"}
    found = []
    for route in Litestar(routers(), dependencies=DEPENDENCIES, openapi_config=None).routes:
        for handler in getattr(route, "route_handlers", ()):
            if not isinstance(handler, HTTPRouteHandler):
                continue
            guards = [audiences[guard] for guard in handler.resolve_guards() if guard in audiences]
            found += [
                Route(
                    method=method,
                    path=route.path_format,
                    audience=guards[0] if guards else "open",
                    permission=str(handler.opt[PERMISSION_KEY]),
                )
                for method in handler.http_methods
                if method != "OPTIONS"
            ]
    return sorted(found, key=lambda route: (route.path, route.method))


@click.command(name="routes")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(as_json: bool) -> None:
    """List every route with its method, audience and permission. Needs no server.

    A permission is what a user's roles or a secret key's role must hold. 'customer' stands for a
    customer's token, 'public' for whoever the audience's guard lets in.
    """
    found = routes()
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(found)))
    else:
        click.echo(
            markdown_table(
                Route.__struct_fields__, [msgspec.structs.astuple(route) for route in found]
            )
        )
