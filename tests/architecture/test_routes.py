"""Every route carries its permission, or an explicit mark that it needs none."""

from collections.abc import Iterator

import pytest
from litestar import Litestar
from litestar.handlers import HTTPRouteHandler

from impact.api import routers
from impact.domains.identity.access import CUSTOMER, admin_guard, platform_guard, store_guard
from impact.engine.http.dependencies import DEPENDENCIES
from impact.engine.http.limits import class_of, open_guard
from impact.engine.security.permissions import PERMISSION_KEY, PUBLIC, is_permission

# Admin routes that any member of staff may call, with the reason.
OPEN_TO_ALL_STAFF = {
    "/admin/permissions/check": "tells callers about themselves",
    "/admin/users/me": "shows callers themselves",
}


def handlers() -> Iterator[tuple[str, HTTPRouteHandler]]:
    for route in Litestar(routers(), dependencies=DEPENDENCIES, openapi_config=None).routes:
        for handler in getattr(route, "route_handlers", ()):
            if isinstance(handler, HTTPRouteHandler) and "OPTIONS" not in handler.http_methods:
                yield route.path, handler


ROUTES = sorted(handlers(), key=str)


@pytest.mark.parametrize(("path", "handler"), ROUTES, ids=str)
def test_route_is_marked(path: str, handler: HTTPRouteHandler) -> None:
    mark = handler.opt.get(PERMISSION_KEY)
    guards = handler.resolve_guards()
    if path.startswith("/admin"):
        assert admin_guard in guards
        assert is_permission(str(mark)) or path in OPEN_TO_ALL_STAFF
    elif path.startswith("/store"):
        assert store_guard in guards
        assert mark in {PUBLIC, CUSTOMER}
    elif path.startswith("/ops/") and not path.startswith("/ops/assets/"):
        assert platform_guard in guards
        assert is_permission(str(mark))
    else:
        assert mark == PUBLIC


@pytest.mark.parametrize(("path", "handler"), ROUTES, ids=str)
def test_route_is_charged_before_its_work(path: str, handler: HTTPRouteHandler) -> None:
    charging = {admin_guard, store_guard, platform_guard, open_guard}
    rate_class = class_of(handler.opt, "GET")
    if path == "/health" or path.startswith("/health/"):
        assert rate_class == "free"
    else:
        assert charging & set(handler.resolve_guards())
        assert rate_class != "free"
    if path.startswith("/auth/"):
        assert rate_class == "login"


def test_writes_need_more_than_reading() -> None:
    for path, handler in ROUTES:
        mark = str(handler.opt.get(PERMISSION_KEY))
        if path.startswith("/admin") and handler.http_methods & {"POST", "DELETE", "PUT"}:
            assert not mark.endswith(":read") or path in OPEN_TO_ALL_STAFF, path
