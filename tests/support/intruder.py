"""An intruder: one shop's staff who try another shop's ids on every route there is."""

import itertools
import secrets
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import asyncpg
import httpx
from litestar import Litestar
from litestar.handlers import HTTPRouteHandler

from impact.engine.runtime import Runtime
from support.shops import Shop, open_shop

_UNTOUCHED = ("OPTIONS", "HEAD")


@dataclass
class Victim:
    """A shop whose every text holds ``marker``, so that any leak shows."""

    shop: Shop
    marker: str
    ids: list[str] = field(default_factory=list)


async def furnish(runtime: Runtime, client: httpx.AsyncClient) -> Victim:
    """A shop with something in every table that an API reaches."""
    shop = await open_shop(runtime, client)
    marker = f"m{secrets.token_hex(8)}"
    victim = Victim(shop, marker)

    async def post(path: str, body: dict[str, Any], headers: dict[str, str] | None = None) -> Any:
        response = await client.post(path, headers=headers or shop.admin, json=body)
        assert response.status_code in {200, 201}, (path, response.text)
        answer = response.json()
        victim.ids += _ids(answer)
        return answer

    category = await post("/admin/product-categories", {"name": f"Cat {marker}"})
    collection = await post("/admin/collections", {"title": f"Col {marker}"})
    variant = await shop.variant(
        stock=50,
        title=f"Product {marker}",
        handle=marker,
        categories=[{"id": category["product_category"]["id"]}],
        collection_id=collection["collection"]["id"],
        metadata={"note": marker},
    )
    customer = await post("/admin/customers", {"email": f"{marker}@example.com"})
    await post(
        f"/admin/customers/{customer['customer']['id']}/addresses", {"address_1": f"St {marker}"}
    )
    role = await post("/admin/roles", {"name": f"Role {marker}", "permissions": ["order:read"]})
    user = {"email": f"staff-{marker}@example.com", "password": secrets.token_urlsafe(12)}
    await post("/admin/users", {**user, "role_ids": [role["role"]["id"]]})
    await post("/admin/api-keys", {"title": f"Key {marker}", "type": "publishable"})
    items = [{"variant_id": variant, "quantity": 1}]
    order = {"email": f"buyer-{marker}@example.com", "lines": items}
    await post("/store/orders", order, shop.store)
    cart = {"email": f"cart-{marker}@example.com", "items": items}
    await post("/store/carts", cart, shop.store)
    levels = await client.get("/admin/inventory-levels", headers=shop.admin)
    products = await client.get("/admin/products", headers=shop.admin)
    victim.ids += _ids(levels.json()) + _ids(products.json())
    victim.ids = sorted(set(victim.ids))
    return victim


def _ids(value: Any) -> list[str]:
    """Every UUID in a JSON value."""
    if isinstance(value, dict):
        return list(itertools.chain.from_iterable(map(_ids, value.values())))
    if isinstance(value, list):
        return list(itertools.chain.from_iterable(map(_ids, value)))
    try:
        return [str(UUID(value))]
    except (ValueError, AttributeError, TypeError):
        return []


def routes(app: Litestar) -> list[tuple[str, str]]:
    """Every method and path template of the store and of staff."""
    found = set()
    for route in app.routes:
        for handler in getattr(route, "route_handlers", ()):
            if isinstance(handler, HTTPRouteHandler) and route.path.startswith(
                ("/admin", "/store")
            ):
                template = "/".join(
                    "{}" if part.startswith("{") else part for part in route.path_format.split("/")
                )
                found |= {(m, template) for m in handler.http_methods if m not in _UNTOUCHED}
    return sorted(found)


async def attempt(
    client: httpx.AsyncClient,
    intruder: Shop,
    victim: Victim,
    method: str,
    template: str,
    ids: list[str],
    *,
    body: dict[str, Any] | None = None,
    headers: dict[str, str] | None = None,
) -> str | None:
    """Call a route with the victim's ids; says what leaked, or None."""
    path = template
    for id in ids:
        path = path.replace("{}", id, 1)
    own = intruder.admin if path.startswith("/admin") else intruder.store
    query = {"limit": "200"} if method == "GET" and "{}" not in template else None
    response = await client.request(
        method,
        path,
        headers={**own, **(headers or {})},
        params=query,
        json=body if method in {"POST", "PUT", "PATCH"} else None,
    )
    if response.status_code >= 500:
        return f"{method} {path}: {response.status_code} {response.text}"
    if victim.marker in response.text:
        return f"{method} {path} shows another shop's rows"
    return None


async def fingerprint(owner: asyncpg.Connection, tenant: str) -> str:
    """A digest of every row of a tenant, read past row-level security by the owner.

    Without those that the relay and the folding of sums move meanwhile."""
    tables = await owner.fetch(
        "SELECT table_name FROM information_schema.columns WHERE column_name = 'tenant_id'"
        " AND table_schema = 'public'"
        " AND table_name !~ '^(audit_|change_record|sales_|product_sales)' ORDER BY 1"
    )
    digests = [
        f"(SELECT md5(string_agg(t::text, ',' ORDER BY t::text)) FROM \"{name}\" t"
        " WHERE tenant_id = $1)"
        for (name,) in tables
    ]
    found: str = await owner.fetchval(f"SELECT concat_ws(',', {', '.join(digests)})", tenant)
    return found
