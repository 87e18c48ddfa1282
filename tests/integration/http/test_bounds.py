"""Amounts and quantities at their bounds: what no column holds is refused, never a 500."""

import pytest

MOST_AMOUNT = 10**12
MOST_QUANTITY = 1_000_000
MOST_INT = 2**31 - 1


@pytest.fixture
async def dearest(shop):
    """A variant at the highest price, sold whatever the stock is."""
    product = await shop.product(amount=MOST_AMOUNT, stock=10**9)
    variant = product["variants"][0]["id"]
    path = f"/admin/products/{product['id']}/variants/{variant}"
    change = {"allow_backorder": True}
    assert (await shop.client.post(path, headers=shop.admin, json=change)).status_code == 200
    return variant


async def test_an_order_too_large_to_be_counted(shop, dearest):
    response = await shop.order(dearest, quantity=MOST_QUANTITY)
    assert (response.status_code, response.json()["code"]) == (400, "invalid_data")
    assert "total" in response.json()["message"]


async def test_lines_of_one_variant_add_up(shop, dearest):
    response = await shop.order(*[dearest] * 500, quantity=MOST_QUANTITY)
    assert response.status_code == 400


async def test_a_cart_too_large_for_an_order_is_still_shown(client, shop):
    variants = [await shop.variant(amount=MOST_AMOUNT, stock=MOST_QUANTITY) for _ in range(11)]
    items = [{"variant_id": variant, "quantity": MOST_QUANTITY} for variant in variants]
    made = await client.post("/store/carts", headers=shop.store, json={"items": items})
    cart = made.json()["cart"]
    # More than a bigint holds.
    assert cart["total"] == 11 * MOST_AMOUNT * MOST_QUANTITY > 2**63
    path = f"/store/carts/{cart['id']}"
    assert (await client.get(path, headers=shop.store)).json()["cart"] == cart
    email = {"email": "buyer@example.com"}
    assert (await client.post(path, headers=shop.store, json=email)).status_code == 200
    response = await client.post(f"{path}/complete", headers=shop.store)
    assert (response.status_code, response.json()["code"]) == (400, "invalid_data")


async def test_a_line_that_grows_past_its_bound(client, shop):
    variant = await shop.variant(stock=10 * MOST_QUANTITY)
    made = await client.post("/store/carts", headers=shop.store, json={})
    path = f"/store/carts/{made.json()['cart']['id']}/line-items"
    line = {"variant_id": variant, "quantity": MOST_QUANTITY}
    assert (await client.post(path, headers=shop.store, json=line)).status_code == 200
    response = await client.post(path, headers=shop.store, json={**line, "quantity": 1})
    assert response.status_code == 400
    assert response.json()["errors"][0]["pointer"] == "/quantity"


async def test_more_is_promised_than_a_level_counts(client, shop):
    product = await shop.product(amount=0, stock=10**9)
    variant = product["variants"][0]["id"]
    path = f"/admin/products/{product['id']}/variants/{variant}"
    await client.post(path, headers=shop.admin, json={"allow_backorder": True})
    promised, lines = 0, [variant] * 500
    while promised + 500 * MOST_QUANTITY <= MOST_INT:
        assert (await shop.order(*lines, quantity=MOST_QUANTITY)).status_code == 200
        promised += 500 * MOST_QUANTITY
    response = await shop.order(*lines, quantity=MOST_QUANTITY)
    assert (response.status_code, response.json()["code"]) == (400, "invalid_data")


@pytest.mark.parametrize("number", [2**31, 2**63, 10**30, -1, -(2**63)])
async def test_numbers_that_no_column_holds(client, shop, number):
    for url, body, pointer in (
        ("/admin/products", {"title": "x", "weight": number}, "/weight"),
        ("/admin/product-categories", {"name": "x", "rank": number}, "/rank"),
        (
            "/store/orders",
            {"lines": [{"variant_id": "0" * 32, "quantity": number}]},
            "/lines/0/quantity",
        ),
    ):
        headers = shop.store if url.startswith("/store") else shop.admin
        response = await client.post(url, headers=headers, json=body)
        assert response.status_code == 400
        assert response.json()["errors"][0]["pointer"] == pointer


@pytest.mark.parametrize(
    "query", ["display_id=9223372036854775808", "display_id=0", "created_to=0000-01-01"]
)
async def test_parameters_that_no_column_holds(client, shop, query):
    response = await client.get(f"/admin/orders?{query}", headers=shop.admin)
    assert response.status_code == 400
    assert response.json()["errors"][0]["parameter"] == query.partition("=")[0]
