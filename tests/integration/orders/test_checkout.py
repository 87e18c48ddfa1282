"""Placing orders: never oversold, never twice, never at the client's price."""

import asyncio
import uuid
from typing import Any

import asyncpg
import httpx
import pytest

from impact.stack import Endpoints
from support.shops import Shop


async def level(shop: Shop, client: httpx.AsyncClient, variant: str) -> dict[str, Any]:
    response = await client.get(
        "/admin/inventory-levels", headers=shop.admin, params={"variant_id": variant}
    )
    found: dict[str, Any] = response.json()["inventory_levels"][0]
    return found


class TestCreateOrder:
    async def test_another_shops_variant_is_unknown(self, shop: Shop, other_shop: Shop) -> None:
        variant = await other_shop.variant()
        response = await shop.order(variant)
        assert response.status_code == 400
        assert response.json()["errors"][0]["pointer"] == "/lines/0/variant_id"

    async def test_needs_a_shop(self, client: httpx.AsyncClient) -> None:
        response = await client.post("/store/orders", json={"lines": []})
        assert response.status_code == 400
        assert response.json()["code"] == "not_allowed"

    async def test_prices_are_the_shops(self, shop: Shop, client: httpx.AsyncClient) -> None:
        variants = [await shop.variant(amount=amount) for amount in (1999, 250)]
        response = await shop.order(*variants, quantity=2)
        assert response.status_code == 200, response.text
        order = response.json()["order"]
        assert order["total"] == order["item_total"] == 2 * (1999 + 250)
        assert [item["unit_price"] for item in order["items"]] == [1999, 250]
        seen = await client.get(f"/admin/orders/{order['id']}", headers=shop.admin)
        assert seen.json()["order"]["items"] == order["items"]
        assert (await level(shop, client, variants[0]))["reserved_quantity"] == 2

    async def test_a_price_of_the_clients_is_refused(self, shop: Shop) -> None:
        variant = await shop.variant()
        line = {"variant_id": variant, "quantity": 1, "unit_price": 1}
        response = await shop.order(lines=[line])
        assert response.status_code == 400
        assert "unit_price" in response.json()["message"]

    async def test_duplicate_lines_are_merged(self, shop: Shop) -> None:
        variant = await shop.variant(stock=5)
        response = await shop.order(variant, variant, quantity=3)
        assert response.json()["code"] == "insufficient_inventory"
        response = await shop.order(variant, variant, quantity=2)
        assert [item["quantity"] for item in response.json()["order"]["items"]] == [4]

    async def test_a_draft_is_not_for_sale(self, shop: Shop) -> None:
        assert (await shop.order(await shop.variant(status="draft"))).status_code == 400

    async def test_no_price_in_the_currency(self, shop: Shop) -> None:
        response = await shop.order(await shop.variant(), currency_code="usd")
        assert response.status_code == 400
        assert "no price in usd" in response.json()["message"]

    async def test_what_cannot_be_had_takes_nothing(
        self, shop: Shop, client: httpx.AsyncClient
    ) -> None:
        plenty, none = await shop.variant(stock=10), await shop.variant(stock=0)
        response = await shop.order(plenty, none)
        assert response.json()["code"] == "insufficient_inventory"
        assert (await level(shop, client, plenty))["reserved_quantity"] == 0

    async def test_backorder_only_where_allowed(
        self, shop: Shop, client: httpx.AsyncClient
    ) -> None:
        product = await shop.product(stock=1)
        variant = product["variants"][0]["id"]
        assert (await shop.order(variant, quantity=2)).status_code == 400
        path = f"/admin/products/{product['id']}/variants/{variant}"
        await client.post(path, headers=shop.admin, json={"allow_backorder": True})
        assert (await shop.order(variant, quantity=2)).status_code == 200
        assert (await level(shop, client, variant))["available_quantity"] == -1

    @pytest.mark.parametrize("quantity", [0, -1, 1_000_001, 1.5, "two", None])
    async def test_quantities_are_bounded(self, shop: Shop, quantity: object) -> None:
        line = {"variant_id": str(uuid.uuid4()), "quantity": quantity}
        response = await shop.order(lines=[line])
        assert response.status_code == 400
        assert response.json()["errors"][0]["pointer"] == "/lines/0/quantity"

    async def test_an_order_needs_an_address(self, shop: Shop) -> None:
        response = await shop.order(await shop.variant(), email=None)
        assert response.status_code == 400
        assert response.json()["errors"][0]["pointer"] == "/email"

    async def test_two_hundred_buyers_of_ten(self, shop: Shop, client: httpx.AsyncClient) -> None:
        variant, other = await shop.variant(stock=10), await shop.variant(stock=1000)
        # Half of them name the goods in the other order, as deadlocks would need.
        orders = [
            shop.order(*((variant, other) if n % 2 else (other, variant))) for n in range(200)
        ]
        statuses = [response.status_code for response in await asyncio.gather(*orders)]
        assert statuses.count(200) == 10
        assert statuses.count(400) == 190
        assert (await level(shop, client, variant))["available_quantity"] == 0
        assert (await level(shop, client, other))["reserved_quantity"] == 10


class TestIdempotency:
    async def test_fifty_at_once_make_one(self, shop: Shop, client: httpx.AsyncClient) -> None:
        variant = await shop.variant(stock=100)
        headers = {**shop.store, "idempotency-key": "once"}
        body = {"email": "a@example.com", "lines": [{"variant_id": variant, "quantity": 1}]}
        responses = await asyncio.gather(
            *(client.post("/store/orders", headers=headers, json=body) for _ in range(50))
        )
        assert {response.status_code for response in responses} == {200}
        assert len({response.content for response in responses}) == 1
        assert (await level(shop, client, variant))["reserved_quantity"] == 1

    async def test_another_body_is_refused(self, shop: Shop, client: httpx.AsyncClient) -> None:
        variant = await shop.variant()
        headers = {**shop.store, "idempotency-key": "k"}
        body = {"email": "a@example.com", "lines": [{"variant_id": variant, "quantity": 1}]}
        await client.post("/store/orders", headers=headers, json=body)
        body["email"] = "b@example.com"
        response = await client.post("/store/orders", headers=headers, json=body)
        assert response.status_code == 422
        assert response.json()["code"] == "idempotency_mismatch"

    async def test_a_key_is_its_tenants(
        self, shop: Shop, other_shop: Shop, client: httpx.AsyncClient
    ) -> None:
        ids = []
        for each in (shop, other_shop):
            headers = {**each.store, "idempotency-key": "same"}
            lines = [{"variant_id": await each.variant(), "quantity": 1}]
            body = {"email": "a@example.com", "lines": lines}
            response = await client.post("/store/orders", headers=headers, json=body)
            ids.append(response.json()["order"]["id"])
        assert ids[0] != ids[1]

    async def test_a_failed_order_frees_its_key(
        self, shop: Shop, client: httpx.AsyncClient
    ) -> None:
        product = await shop.product(stock=0)
        variant = product["variants"][0]["id"]
        headers = {**shop.store, "idempotency-key": "retry"}
        body = {"email": "a@example.com", "lines": [{"variant_id": variant, "quantity": 1}]}
        assert (await client.post("/store/orders", headers=headers, json=body)).status_code == 400
        found = await level(shop, client, variant)
        await client.post(
            f"/admin/inventory-levels/{found['id']}",
            headers=shop.admin,
            json={"stocked_quantity": 1},
        )
        assert (await client.post("/store/orders", headers=headers, json=body)).status_code == 200

    async def test_keys_past_their_time_are_cleared_and_free(
        self, shop: Shop, endpoints: Endpoints, client: httpx.AsyncClient
    ) -> None:
        variant = await shop.variant(stock=100)
        body = {"email": "a@example.com", "lines": [{"variant_id": variant, "quantity": 1}]}

        async def order(key: str) -> str:
            headers = {**shop.store, "idempotency-key": key}
            response = await client.post("/store/orders", headers=headers, json=body)
            assert response.status_code == 200, response.text
            found: str = response.json()["order"]["id"]
            return found

        first = [await order(key) for key in ("a", "b", "c")]
        owner = await asyncpg.connect(endpoints.owner_url)
        await owner.execute(
            "UPDATE idempotency_key SET created_at = now() - interval '2 days'"
            " WHERE tenant_id = $1",
            shop.tenant,
        )
        assert await order("a") not in first
        keys = await owner.fetch(
            "SELECT key FROM idempotency_key WHERE tenant_id = $1", shop.tenant
        )
        await owner.close()
        assert [key for (key,) in keys] == ["a"]


class TestCompleteCart:
    async def cart(self, shop: Shop, client: httpx.AsyncClient, variant: str) -> str:
        items = [{"variant_id": variant, "quantity": 2}]
        body = {"email": "c@example.com", "items": items}
        response = await client.post("/store/carts", headers=shop.store, json=body)
        assert response.status_code == 200, response.text
        found: str = response.json()["cart"]["id"]
        return found

    async def test_another_shops_cart_is_unknown(
        self, shop: Shop, other_shop: Shop, client: httpx.AsyncClient
    ) -> None:
        cart = await self.cart(other_shop, client, await other_shop.variant())
        for method, path in (("GET", ""), ("POST", ""), ("POST", "/complete")):
            response = await client.request(
                method, f"/store/carts/{cart}{path}", headers=shop.store, json={}
            )
            assert response.status_code == 404, (method, path)

    async def test_completing_at_once_makes_one_order(
        self, shop: Shop, client: httpx.AsyncClient
    ) -> None:
        variant = await shop.variant(stock=100)
        cart = await self.cart(shop, client, variant)
        path = f"/store/carts/{cart}/complete"
        responses = await asyncio.gather(
            *(client.post(path, headers=shop.store) for _ in range(10))
        )
        assert {response.status_code for response in responses} == {200}
        assert len({response.json()["order"]["id"] for response in responses}) == 1
        assert responses[0].json()["type"] == "order"
        assert (await level(shop, client, variant))["reserved_quantity"] == 2
        added = await client.post(
            f"/store/carts/{cart}/line-items",
            headers=shop.store,
            json={"variant_id": variant, "quantity": 1},
        )
        assert added.status_code == 400

    async def test_addresses_come_along(self, shop: Shop, client: httpx.AsyncClient) -> None:
        cart = await self.cart(shop, client, await shop.variant())
        address = {"first_name": "Zoë", "city": "Lyon", "country_code": "fr"}
        body = {"shipping_address": address, "metadata": {"gift": True}}
        await client.post(f"/store/carts/{cart}", headers=shop.store, json=body)
        done = await client.post(f"/store/carts/{cart}/complete", headers=shop.store)
        assert done.status_code == 200, done.text
        order = done.json()["order"]
        assert order["shipping_address"].items() >= address.items()
        assert order["metadata"] == {"gift": True}

    async def test_an_empty_cart(self, shop: Shop, client: httpx.AsyncClient) -> None:
        cart = (await client.post("/store/carts", headers=shop.store)).json()["cart"]["id"]
        response = await client.post(f"/store/carts/{cart}/complete", headers=shop.store)
        assert response.status_code == 400
        assert "empty" in response.json()["message"]


class TestCancel:
    async def test_gives_the_stock_back_once(self, shop: Shop, client: httpx.AsyncClient) -> None:
        variant = await shop.variant(stock=5)
        order = (await shop.order(variant, quantity=3)).json()["order"]
        path = f"/admin/orders/{order['id']}/cancel"
        for _ in range(2):
            response = await client.post(path, headers=shop.admin, json={"reason": "changed"})
            assert response.json()["order"]["status"] == "canceled"
            assert (await level(shop, client, variant))["available_quantity"] == 5

    async def test_other_shops_and_other_roles_cannot(
        self, shop: Shop, other_shop: Shop, client: httpx.AsyncClient
    ) -> None:
        order = (await shop.order(await shop.variant())).json()["order"]
        path = f"/admin/orders/{order['id']}/cancel"
        assert (await client.post(path)).status_code == 401
        assert (await client.post(path, headers=other_shop.admin)).status_code == 404
        reader = await shop.user("order:read")
        assert (await client.post(path, headers=reader)).status_code == 403

    async def test_a_fulfilled_order_cannot(self, shop: Shop, client: httpx.AsyncClient) -> None:
        variant = await shop.variant(stock=5)
        order = (await shop.order(variant, quantity=3)).json()["order"]
        base = f"/admin/orders/{order['id']}"
        items = [{"id": order["items"][0]["id"], "quantity": 1}]
        part = await client.post(f"{base}/fulfillments", headers=shop.admin, json={"items": items})
        assert part.json()["order"]["fulfillment_status"] == "partially_fulfilled"
        assert (await client.post(f"{base}/cancel", headers=shop.admin)).status_code == 400
        over = [{"id": order["items"][0]["id"], "quantity": 3}]
        refused = await client.post(
            f"{base}/fulfillments", headers=shop.admin, json={"items": over}
        )
        assert refused.status_code == 400
        rest = await client.post(f"{base}/fulfillments", headers=shop.admin)
        assert rest.json()["order"]["fulfillment_status"] == "fulfilled"
        found = await level(shop, client, variant)
        assert (found["stocked_quantity"], found["reserved_quantity"]) == (2, 0)
        for step, status in (("ship", "shipped"), ("deliver", "delivered")):
            response = await client.post(f"{base}/{step}", headers=shop.admin)
            assert response.json()["order"]["fulfillment_status"] == status
        events = await client.get(f"{base}/events", headers=shop.admin)
        assert [event["type"] for event in events.json()["events"]] == [
            "order.placed",
            "order.fulfilled",
            "order.fulfilled",
            "order.shipped",
            "order.delivered",
        ]
