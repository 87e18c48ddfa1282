"""Carts: filled from what is for sale, seen by whom they belong to, closed by their order."""

from uuid import uuid4

import pytest

from impact.domains.carts.schemas import CartResponse, DeletedLine
from support.customers import customer
from support.shapes import refused, shaped

URL = "/store/carts"
# medusa-wire/store_cart_get.json
SHARED = "billing_address completed_at created_at currency_code customer_id email id item_total"
SHARED += " items metadata shipping_address total updated_at"
SHARED_ITEM = "id metadata product_handle product_id product_title quantity thumbnail title"
SHARED_ITEM += " unit_price variant_id variant_sku variant_title"
ADDRESS = {"first_name": "Ada", "city": "Lyon", "country_code": "fr"}


async def create(client, headers, **body):
    response = await client.post(URL, headers=headers, json=body)
    shaped(response, CartResponse)
    return response.json()["cart"]


async def add(client, headers, cart, variant, quantity=1, **body):
    path = f"{URL}/{cart['id']}/line-items"
    body = {"variant_id": variant, "quantity": quantity, **body}
    return await client.post(path, headers=headers, json=body)


async def filled(client, shop, headers=None, *, quantity=2, **product):
    """A cart with one line."""
    headers = headers or shop.store
    cart = await create(client, headers, email="a@mail.test")
    response = await add(client, headers, cart, await shop.variant(**product), quantity)
    shaped(response, CartResponse)
    return response.json()["cart"]


def routes(cart):
    """Every route of a cart, with a body that would do."""
    one, line = f"{URL}/{cart['id']}", uuid4()
    if cart.get("items"):
        line = cart["items"][0]["id"]
    return [
        ("POST", one, {"email": "new@mail.test"}),
        ("POST", f"{one}/line-items", {"variant_id": str(uuid4()), "quantity": 1}),
        ("POST", f"{one}/line-items/{line}", {"quantity": 1}),
        ("DELETE", f"{one}/line-items/{line}", None),
    ]


class TestAccess:
    async def test_without_a_shop(self, client, shop):
        cart = await filled(client, shop)
        everything = [("POST", URL, {}), ("GET", f"{URL}/{cart['id']}", None), *routes(cart)]
        for method, url, body in everything:
            refused(await client.request(method, url, json=body), 400)

    async def test_other_tenant(self, client, shop, other_shop):
        cart = await filled(client, shop)
        for method, url, body in [("GET", f"{URL}/{cart['id']}", None), *routes(cart)]:
            response = await client.request(method, url, headers=other_shop.store, json=body)
            refused(response, 404)

    async def test_a_customers_cart_is_hidden_from_others(self, client, shop):
        owner, other = await customer(client, shop), await customer(client, shop)
        cart = await filled(client, shop, owner)
        assert cart["customer_id"] is not None
        everything = [
            ("GET", f"{URL}/{cart['id']}", None),
            *routes(cart),
            ("POST", f"{URL}/{cart['id']}/complete", None),
        ]
        for headers in (shop.store, other):
            for method, url, body in everything:
                response = await client.request(method, url, headers=headers, json=body)
                assert cart["id"] in refused(response, 404)
        response = await client.get(f"{URL}/{cart['id']}", headers=owner)
        assert response.json()["cart"] == cart

    async def test_a_guests_cart_is_whoevers_knows_its_id(self, client, shop):
        cart = await filled(client, shop)
        response = await client.get(f"{URL}/{cart['id']}", headers=await customer(client, shop))
        assert response.json()["cart"] == cart


class TestCreate:
    async def test_with_nothing(self, client, shop):
        response = await client.post(URL, headers=shop.store)
        cart = shaped(response, CartResponse).cart
        assert (cart.currency_code, cart.total, cart.items) == ("eur", 0, [])
        assert set(SHARED.split()) <= set(response.json()["cart"])

    async def test_with_everything(self, client, shop):
        a, b = await shop.variant(amount=250), await shop.variant(amount=1999)
        body = {
            "email": "a@mail.test",
            "currency_code": "eur",
            "shipping_address": ADDRESS,
            "billing_address": {**ADDRESS, "company": "🎉"},
            "metadata": {"gift": True},
        }
        items = [{"variant_id": v, "quantity": n} for v, n in ((a, 1), (b, 2), (a, 3))]
        cart = await create(client, shop.store, **body, items=items)
        assert {name: cart[name] for name in ("email", "currency_code", "metadata")} == {
            name: body[name] for name in ("email", "currency_code", "metadata")
        }
        address = cart["shipping_address"]
        assert {name: address[name] for name in ADDRESS} == ADDRESS
        assert cart["billing_address"]["company"] == "🎉"
        assert set(SHARED_ITEM.split()) <= set(cart["items"][0])
        lines = {item["variant_id"]: item for item in cart["items"]}
        assert {v: (i["quantity"], i["total"]) for v, i in lines.items()} == {
            a: (4, 1000),
            b: (2, 3998),
        }
        assert cart["total"] == cart["item_total"] == 4998

    @pytest.mark.parametrize(
        ("body", "place"),
        [
            ({"email": "nobody"}, "/email"),
            ({"email": "a@b.c\n"}, "/email"),
            ({"currency_code": "EUR"}, "/currency_code"),
            ({"currency_code": "eur\n"}, "/currency_code"),
            ({"items": [{"variant_id": "x", "quantity": 1}]}, "/items/0/variant_id"),
            ({"items": [{"variant_id": "0" * 32, "quantity": 0}]}, "/items/0/quantity"),
            ({"items": [{"variant_id": "0" * 32, "quantity": 1}]}, "/items/0/variant_id"),
            ({"shipping_address": {"country_code": "FR"}}, "/shipping_address/country_code"),
            ({"shipping_address": {"city": "a\0"}}, "/shipping_address/city"),
            ({"billing_address": {"city": ""}}, "/billing_address/city"),
            ({"metadata": {"a": "\0"}}, "/metadata"),
            ({"customer_id": "0" * 32}, "/customer_id"),
        ],
        ids=str,
    )
    async def test_bad_input(self, client, shop, body, place):
        refused(await client.post(URL, headers=shop.store, json=body), 400, place=place)

    async def test_a_line_that_cannot_be_had_leaves_no_cart(self, client, shop, context, runtime):
        few, many = await shop.variant(stock=1), await shop.variant()
        items = [{"variant_id": v, "quantity": 2} for v in (many, few)]
        response = await client.post(URL, headers=shop.store, json={"items": items})
        refused(response, 400, place="/items/1/quantity")
        assert response.json()["code"] == "insufficient_inventory"


class TestAddLine:
    async def test_what_is_not_for_sale(self, client, shop, other_shop):
        cart = await create(client, shop.store)
        for variant in (
            await other_shop.variant(),
            await shop.variant(status="draft"),
            str(uuid4()),
        ):
            response = await add(client, shop.store, cart, variant)
            assert variant in refused(response, 400, place="/variant_id")

    async def test_without_a_price(self, client, shop):
        cart = await create(client, shop.store, currency_code="usd")
        response = await add(client, shop.store, cart, await shop.variant())
        assert "usd" in refused(response, 400, place="/variant_id")

    async def test_merges_up_to_the_stock(self, client, shop):
        cart = await create(client, shop.store)
        variant = await shop.variant(stock=5, amount=10)
        await add(client, shop.store, cart, variant, 2, metadata={"a": 1})
        response = await add(client, shop.store, cart, variant, 3)
        (line,) = shaped(response, CartResponse).cart.items
        assert (line.quantity, line.total, line.metadata) == (5, 50, {"a": 1})
        response = await add(client, shop.store, cart, variant, 1)
        refused(response, 400, place="/quantity")
        assert response.json()["code"] == "insufficient_inventory"

    async def test_beyond_the_stock_where_that_is_allowed(self, client, shop):
        cart = await create(client, shop.store)
        price = [{"currency_code": "eur", "amount": 1}]
        for title in ("manage_inventory", "allow_backorder"):
            value = title == "allow_backorder"
            product = await shop.product(
                variants=[{"title": title, title: value, "prices": price}], options=[]
            )
            variant = product["variants"][0]["id"]
            shaped(await add(client, shop.store, cart, variant, 1_000_000), CartResponse)

    async def test_what_orders_were_promised_is_gone(self, client, shop):
        variant = await shop.variant(stock=3)
        await shop.order(variant, quantity=2)
        cart = await create(client, shop.store)
        refused(await add(client, shop.store, cart, variant, 2), 400, place="/quantity")
        shaped(await add(client, shop.store, cart, variant, 1), CartResponse)

    @pytest.mark.parametrize("quantity", [0, -1, 1_000_001, 10**30, 1.5, "two", None])
    async def test_quantities(self, client, shop, quantity):
        cart = await create(client, shop.store)
        response = await add(client, shop.store, cart, str(uuid4()), quantity)
        refused(response, 400, place="/quantity")

    async def test_more_than_a_line_holds(self, client, shop):
        cart, variant = await create(client, shop.store), await shop.variant(stock=10**9)
        shaped(await add(client, shop.store, cart, variant, 1_000_000), CartResponse)
        refused(await add(client, shop.store, cart, variant, 1), 400)

    async def test_totals_larger_than_a_bigint(self, client, shop):
        cart = await create(client, shop.store, email="a@mail.test")
        for _ in range(10):
            variant = await shop.variant(stock=10**6, amount=10**12)
            response = await add(client, shop.store, cart, variant, 10**6)
        assert shaped(response, CartResponse).cart.total == 10**19
        response = await client.get(f"{URL}/{cart['id']}", headers=shop.store)
        assert response.json()["cart"]["total"] == 10**19
        path = f"{URL}/{cart['id']}/complete"
        assert "total" in refused(await client.post(path, headers=shop.store), 400)


class TestLines:
    async def test_sets_the_quantity(self, client, shop):
        cart = await filled(client, shop, stock=5, amount=3)
        path = f"{URL}/{cart['id']}/line-items/{cart['items'][0]['id']}"
        for quantity in (5, 1):
            response = await client.post(path, headers=shop.store, json={"quantity": quantity})
            (line,) = shaped(response, CartResponse).cart.items
            assert (line.quantity, line.total) == (quantity, 3 * quantity)
        response = await client.post(path, headers=shop.store, json={"quantity": 6})
        refused(response, 400, place="/quantity")
        for quantity in (-1, 1_000_001, None):
            response = await client.post(path, headers=shop.store, json={"quantity": quantity})
            refused(response, 400, place="/quantity")
        response = await client.post(path, headers=shop.store, json={"quantity": 0})
        assert shaped(response, CartResponse).cart.items == []
        response = await client.post(path, headers=shop.store, json={"quantity": 1})
        refused(response, 404)

    async def test_removes(self, client, shop):
        cart = await filled(client, shop)
        path = f"{URL}/{cart['id']}/line-items/{cart['items'][0]['id']}"
        gone = shaped(await client.delete(path, headers=shop.store), DeletedLine)
        assert (str(gone.id), gone.object) == (cart["items"][0]["id"], "line-item")
        assert (gone.parent.items, gone.parent.total) == ([], 0)
        refused(await client.delete(path, headers=shop.store), 404)

    async def test_a_line_of_another_cart(self, client, shop):
        cart, other = await filled(client, shop), await filled(client, shop)
        path = f"{URL}/{cart['id']}/line-items/{other['items'][0]['id']}"
        refused(await client.post(path, headers=shop.store, json={"quantity": 1}), 404)
        refused(await client.delete(path, headers=shop.store), 404)
        response = await client.get(f"{URL}/{other['id']}", headers=shop.store)
        assert response.json()["cart"] == other

    async def test_what_is_no_longer_for_sale_can_go(self, client, shop):
        cart = await filled(client, shop)
        item = cart["items"][0]
        path = f"/admin/products/{item['product_id']}"
        await client.post(path, headers=shop.admin, json={"status": "draft"})
        line = f"{URL}/{cart['id']}/line-items/{item['id']}"
        refused(await client.post(line, headers=shop.store, json={"quantity": 1}), 400)
        shaped(await client.delete(line, headers=shop.store), DeletedLine)


class TestUpdate:
    async def test_addresses(self, client, shop):
        cart = await create(client, shop.store, email="a@mail.test", metadata={"a": 1})
        path = f"{URL}/{cart['id']}"
        body = {"shipping_address": ADDRESS, "billing_address": ADDRESS}
        response = await client.post(path, headers=shop.store, json=body)
        changed = shaped(response, CartResponse).cart
        assert changed.shipping_address == changed.billing_address
        assert changed.shipping_address["city"] == "Lyon"
        assert (changed.email, changed.metadata) == ("a@mail.test", {"a": 1})
        empty = {"shipping_address": None, "metadata": None, "email": None}
        response = await client.post(path, headers=shop.store, json=empty)
        changed = shaped(response, CartResponse).cart
        assert (changed.shipping_address, changed.metadata, changed.email) == (None, None, None)
        assert changed.billing_address["city"] == "Lyon"

    @pytest.mark.parametrize(
        ("body", "place"),
        [
            ({"shipping_address": {"city": "\0"}}, "/shipping_address/city"),
            ({"shipping_address": {"planet": "x"}}, "/shipping_address/planet"),
            ({"currency_code": None}, "/currency_code"),
            ({"metadata": {"a": "x" * 17_000}}, "/metadata"),
            ({"completed_at": None}, "/completed_at"),
        ],
        ids=lambda value: str(value)[:40],
    )
    async def test_bad_input(self, client, shop, body, place):
        cart = await create(client, shop.store)
        response = await client.post(f"{URL}/{cart['id']}", headers=shop.store, json=body)
        refused(response, 400, place=place)

    async def test_another_currency(self, client, shop):
        cart = await filled(client, shop, amount=100)
        path = f"{URL}/{cart['id']}"
        response = await client.post(path, headers=shop.store, json={"currency_code": "usd"})
        changed = shaped(response, CartResponse).cart
        assert (changed.items[0].unit_price, changed.total) == (None, 0)
        response = await client.post(f"{path}/complete", headers=shop.store)
        assert "usd" in refused(response, 400, place="/items/0")

    async def test_prices_are_todays(self, client, shop):
        cart = await filled(client, shop, amount=100, quantity=2)
        item = cart["items"][0]
        path = f"/admin/products/{item['product_id']}/variants/{item['variant_id']}"
        prices = [{"currency_code": "eur", "amount": 7}]
        await client.post(path, headers=shop.admin, json={"prices": prices})
        response = await client.get(f"{URL}/{cart['id']}", headers=shop.store)
        assert response.json()["cart"]["total"] == 14


class TestCompleted:
    async def test_stays_as_it_was(self, client, shop):
        cart = await filled(client, shop)
        path = f"{URL}/{cart['id']}"
        order = (await client.post(f"{path}/complete", headers=shop.store)).json()["order"]
        assert order["total"] == cart["total"]
        response = await client.get(path, headers=shop.store)
        closed = shaped(response, CartResponse).cart
        assert closed.completed_at is not None
        for method, url, body in routes(cart):
            again = await client.request(method, url, headers=shop.store, json=body)
            assert "completed" in refused(again, 400)
        assert (await client.get(path, headers=shop.store)).content == response.content

    async def test_without_an_email(self, client, shop):
        cart = await create(client, shop.store)
        await add(client, shop.store, cart, await shop.variant())
        path = f"{URL}/{cart['id']}/complete"
        refused(await client.post(path, headers=shop.store), 400, place="/email")
        owner = await customer(client, shop)
        order = (await client.post(path, headers=owner)).json()["order"]
        assert order["email"].endswith("@mail.test")
        assert order["customer_id"] is not None


class TestWhatMedusasCheckoutAlsoAsksFor:
    """Delivery and payment are the shop's own affair, and the API says so."""

    async def test_other_tenant(self, client, shop, other_shop):
        made = await client.post("/store/carts", headers=other_shop.store, json={})
        params = {"cart_id": made.json()["cart"]["id"]}
        response = await client.get("/store/shipping-options", headers=shop.store, params=params)
        assert response.status_code == 404

    async def test_nothing_is_offered(self, client, shop):
        made = await client.post("/store/carts", headers=shop.store, json={})
        params = {"cart_id": made.json()["cart"]["id"]}
        response = await client.get("/store/shipping-options", headers=shop.store, params=params)
        assert response.json() == {"shipping_options": []}
        response = await client.get("/store/shipping-options", headers=shop.store)
        assert response.status_code == 400
        response = await client.get("/store/payment-providers", headers=shop.store)
        assert (response.json()["payment_providers"], response.json()["count"]) == ([], 0)

    async def test_who_insists_is_told_what_to_do(self, client, shop):
        made = await client.post("/store/carts", headers=shop.store, json={})
        id = made.json()["cart"]["id"]
        for path, code in (
            (f"/store/carts/{id}/shipping-methods", "no_shipping_options"),
            ("/store/payment-collections", "no_payment_providers"),
        ):
            body = {"cart_id": id, "option_id": "so_1"}
            response = await client.post(path, headers=shop.store, json=body)
            assert (response.status_code, response.json()["code"]) == (400, code)
            assert "complete the cart without" in response.json()["message"]
