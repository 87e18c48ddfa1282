"""Customers of a shop, logged in."""

from uuid import uuid4

import httpx

from support.shops import Shop


async def customer(client: httpx.AsyncClient, shop: Shop) -> dict[str, str]:
    """The storefront's headers of a new customer."""
    body = {"email": f"{uuid4().hex}@mail.test", "password": "a long password"}
    response = await client.post("/auth/customer/emailpass/register", headers=shop.store, json=body)
    assert response.status_code == 200, response.text
    return {**shop.store, "authorization": f"Bearer {response.json()['token']}"}
