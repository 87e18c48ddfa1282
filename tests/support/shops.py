"""Shops for tests: tenants with staff, keys and goods."""

import asyncio
import secrets
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import httpx

from impact.context import HEADQUARTERS, Actor, ActorKind, RequestContext, system_context
from impact.domains.identity.bootstrap import bootstrap
from impact.domains.identity.models import AdminUser, RbacPolicy, Role, RoleAssignment
from impact.domains.tenants.service import open_tenant
from impact.engine.db.base import new_id
from impact.engine.runtime import Runtime
from support.client import PatientClient

OWNER_PASSWORD = "correct horse"


@dataclass
class Shop:
    """A tenant of a test's own. ``admin`` and ``store`` are headers of its owner and of its
    storefront."""

    runtime: Runtime
    client: httpx.AsyncClient | None
    tenant: str
    owner_id: UUID
    admin: dict[str, str]
    store: dict[str, str]

    def context(self) -> RequestContext:
        return system_context(self.tenant, "test")

    async def user(self, *permissions: str) -> dict[str, str]:
        """Headers of a new user who holds just these permissions."""
        user_id = new_id()
        context = self.context()
        async with self.runtime.database.write(context) as session:
            role = Role(
                id=new_id(),
                name=f"role-{user_id}",
                policies=[RbacPolicy(permission=permission) for permission in permissions],
            )
            user = AdminUser(id=user_id, email=f"{user_id}@{self.tenant}.test", password_hash="!")
            session.add(role, user)
            await session.flush()
            session.add(RoleAssignment(user_id=user_id, role_id=role.id))
        if isinstance(self.client, PatientClient):
            self.client.see(context)
        actor = Actor(ActorKind.USER, self.tenant, user_id)
        token = self.runtime.tokens.issue(actor, made_in=context)
        return {"authorization": f"Bearer {token}"}

    async def product(self, *, stock: int = 10, amount: int = 1000, **fields: Any) -> Any:
        """A published product of one variant, as the API answers it."""
        assert self.client is not None
        body = {
            "title": f"Product {secrets.token_hex(4)}",
            "status": "published",
            "options": [{"title": "Size", "values": ["S", "M"]}],
            "variants": [
                {
                    "title": "S",
                    "sku": secrets.token_hex(6),
                    "options": {"Size": "S"},
                    "prices": [{"currency_code": "eur", "amount": amount}],
                    "inventory_quantity": stock,
                }
            ],
            "images": [{"url": "/a.png"}],
            **fields,
        }
        body["handle"] = fields.get("handle", body["title"].lower().replace(" ", "-"))
        response = await self.client.post("/admin/products", headers=self.admin, json=body)
        assert response.status_code == 200, response.text
        return response.json()["product"]

    async def variant(self, *, stock: int = 10, amount: int = 1000, **fields: Any) -> str:
        """The id of the one variant of a new product."""
        product = await self.product(stock=stock, amount=amount, **fields)
        found: str = product["variants"][0]["id"]
        return found

    async def order(self, *variants: str, quantity: int = 1, **fields: Any) -> httpx.Response:
        """Order some variants through the store."""
        assert self.client is not None
        lines = [{"variant_id": variant, "quantity": quantity} for variant in variants]
        body = {"email": "buyer@example.com", "lines": lines, **fields}
        return await self.client.post("/store/orders", headers=self.store, json=body)


async def open_shop(
    runtime: Runtime, client: httpx.AsyncClient | None, tenant: str | None = None
) -> Shop:
    """A new tenant with the standard roles, an owner and a publishable key."""
    tenant = tenant or f"shop-{secrets.token_hex(5)}"
    # Between two tests the loop stands still, and with it whoever finds the primary again after
    # a test that took it away.
    for _ in range(500):
        if runtime.database.nodes.has_primary():
            break
        await asyncio.sleep(0.02)
    async with runtime.database.write(system_context(HEADQUARTERS, "test")) as session:
        await open_tenant(session, tenant, tenant.title(), "eur")
    context = system_context(tenant, "test")
    async with runtime.database.write(context) as session:
        made = await bootstrap(
            session,
            email=f"owner@{tenant}.test",
            password_hash=await runtime.passwords.hash(OWNER_PASSWORD),
        )
    if isinstance(client, PatientClient):
        client.see(context)
    actor = Actor(ActorKind.USER, tenant, made.owner_id)
    token = runtime.tokens.issue(actor, made_in=context)
    return Shop(
        runtime,
        client,
        tenant,
        made.owner_id,
        {"authorization": f"Bearer {token}"},
        {"x-publishable-api-key": made.publishable_token},
    )
