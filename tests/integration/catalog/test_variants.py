"""Variants: listed, added, priced anew, removed."""

from uuid import uuid4

import pytest

from impact.domains.catalog.schemas import (
    ChangedVariants,
    DeletedVariant,
    ProductResponse,
    VariantList,
    VariantResponse,
)
from support.shapes import refused, shaped

URL = "/admin/variants"


@pytest.fixture
async def product(shop):
    return await shop.product(stock=3)


def path(product, number=0):
    base = f"/admin/products/{product['id']}/variants"
    return base if number is None else f"{base}/{product['variants'][number]['id']}"


class TestList:
    async def test_anonymous(self, client, product):
        for url in (URL, path(product, None), f"{URL}/{product['variants'][0]['id']}"):
            refused(await client.get(url), 401)

    async def test_other_tenant(self, client, other_shop, product):
        found = shaped(await client.get(URL, headers=other_shop.admin), VariantList)
        assert (found.variants, found.count) == ([], 0)
        refused(await client.get(path(product, None), headers=other_shop.admin), 404)
        one = f"{URL}/{product['variants'][0]['id']}"
        refused(await client.get(one, headers=other_shop.admin), 404)

    async def test_permission(self, client, shop, product):
        headers = await shop.user("inventory:read")
        for url in (URL, path(product, None), f"{URL}/{product['variants'][0]['id']}"):
            refused(await client.get(url, headers=headers), 403)

    async def test_filters(self, client, shop, product):
        other = (await shop.product())["variants"][0]
        own = product["variants"][0]
        for params, wanted in (
            ({}, {own["id"], other["id"]}),
            ({"id": own["id"]}, {own["id"]}),
            ({"product_id": product["id"]}, {own["id"]}),
            ({"product_id[]": [product["id"], other["product_id"]]}, {own["id"], other["id"]}),
            ({"sku": other["sku"]}, {other["id"]}),
            ({"sku": "none"}, set()),
        ):
            response = await client.get(URL, headers=shop.admin, params=params)
            found = shaped(response, VariantList)
            assert {str(each.id) for each in found.variants} == wanted, params
        nested = await client.get(path(product, None), headers=shop.admin)
        assert nested.json()["variants"] == product["variants"]

    @pytest.mark.parametrize("order", ["created_at", "-created_at", "title", "-title", "-id"])
    async def test_pages(self, client, shop, product, order):
        for title in ("b", "a", "a"):
            await client.post(path(product, None), headers=shop.admin, json={"title": title})
        params = {"order": order}
        whole = (await client.get(URL, headers=shop.admin, params=params)).json()["variants"]
        keys = [(each[order.removeprefix("-")], each["id"]) for each in whole]
        assert keys == sorted(keys, reverse=order.startswith("-"))
        seen, params = [], {"order": order, "limit": 1}
        for _ in range(4):
            page = (await client.get(URL, headers=shop.admin, params=params)).json()
            seen += page["variants"]
            params["cursor"] = page["next_cursor"]
        assert (seen, params["cursor"]) == (whole, None)


class TestOneOfAProduct:
    async def test_anonymous(self, client, product):
        refused(await client.get(path(product)), 401)

    async def test_other_tenant(self, client, other_shop, product):
        refused(await client.get(path(product), headers=other_shop.admin), 404)

    async def test_permission(self, client, shop, product):
        headers = await shop.user("inventory:read")
        refused(await client.get(path(product), headers=headers), 403)

    async def test_of_this_product_alone(self, client, shop, product):
        found = shaped(await client.get(path(product), headers=shop.admin), VariantResponse)
        assert str(found.variant.id) == product["variants"][0]["id"]
        other = await shop.product()
        url = f"{path(other, None)}/{product['variants'][0]['id']}"
        refused(await client.get(url, headers=shop.admin), 404)

    async def test_the_list_by_medusas_name(self, client, shop, product):
        response = await client.get("/admin/product-variants", headers=shop.admin)
        assert shaped(response, VariantList).count == 1
        assert response.json() == (await client.get(URL, headers=shop.admin)).json()


class TestCreate:
    async def test_anonymous(self, client, product):
        refused(await client.post(path(product, None), json={"title": "M"}), 401)

    async def test_other_tenant(self, client, shop, other_shop, product):
        body = {"title": "M"}
        refused(await client.post(path(product, None), headers=other_shop.admin, json=body), 404)
        url = f"/admin/products/{uuid4()}/variants"
        refused(await client.post(url, headers=shop.admin, json=body), 404)

    async def test_permission(self, client, shop, product):
        headers = await shop.user("product:create")
        body = {"title": "M"}
        refused(await client.post(path(product, None), headers=headers, json=body), 403)

    @pytest.mark.parametrize(
        ("body", "place"),
        [
            ({}, "/title"),
            ({"title": "M", "options": {"Size": "XXL"}}, "/options"),
            ({"title": "M", "options": {"Fit": "S"}}, "/options"),
            ({"title": "M", "prices": [{"currency_code": "eur", "amount": 1}] * 2}, "/prices"),
            ({"title": "M", "metadata": {"a": "\0"}}, "/metadata"),
            ({"title": "M", "product_id": "x"}, "/product_id"),
        ],
    )
    async def test_bad_input(self, client, shop, product, body, place):
        response = await client.post(path(product, None), headers=shop.admin, json=body)
        refused(response, 400, place=place)

    async def test_adds_with_its_stock(self, client, shop, product):
        body = {"title": "M", "options": {"Size": "M"}, "inventory_quantity": 9}
        response = await client.post(path(product, None), headers=shop.admin, json=body)
        found = shaped(response, ProductResponse).product
        assert [(each.title, each.inventory_quantity) for each in found.variants] == [
            ("S", 3),
            ("M", 9),
        ]
        one = await client.get(f"{URL}/{found.variants[1].id}", headers=shop.admin)
        assert shaped(one, VariantResponse).variant == found.variants[1]
        assert found.updated_at.isoformat() > product["updated_at"]

    async def test_a_sku_that_is_taken(self, client, shop, product):
        body = {"title": "M", "sku": product["variants"][0]["sku"]}
        response = await client.post(path(product, None), headers=shop.admin, json=body)
        assert "sku" in refused(response, 409)


class TestUpdate:
    async def test_anonymous(self, client, product):
        refused(await client.post(path(product), json={}), 401)

    async def test_other_tenant(self, client, shop, other_shop, product):
        body = {"title": "Taken"}
        refused(await client.post(path(product), headers=other_shop.admin, json=body), 404)
        own = await other_shop.product()
        url = f"{path(own, None)}/{product['variants'][0]['id']}"
        refused(await client.post(url, headers=other_shop.admin, json=body), 404)

    async def test_permission(self, client, shop, product):
        headers = await shop.user("product:read")
        refused(await client.post(path(product), headers=headers, json={}), 403)

    async def test_of_another_product(self, client, shop, product):
        other = await shop.product()
        url = f"{path(other, None)}/{product['variants'][0]['id']}"
        for response in (
            await client.post(url, headers=shop.admin, json={"title": "x"}),
            await client.delete(url, headers=shop.admin),
        ):
            assert "another product" in refused(response, 400)

    @pytest.mark.parametrize(
        ("body", "place"),
        [
            ({"title": None}, "/title"),
            ({"prices": None}, "/prices"),
            ({"options": {"Size": "XXL"}}, "/options"),
            ({"prices": [{"currency_code": "eur", "amount": 1}] * 2}, "/prices"),
            ({"variant_rank": -1}, "/variant_rank"),
            ({"inventory_quantity": 5}, "/inventory_quantity"),
        ],
    )
    async def test_bad_input(self, client, shop, product, body, place):
        response = await client.post(path(product), headers=shop.admin, json=body)
        refused(response, 400, place=place)

    async def test_absent_stays_and_null_empties(self, client, shop, product):
        body = {"barcode": "1", "weight": 5, "metadata": {"a": 1}}
        await client.post(path(product), headers=shop.admin, json=body)
        response = await client.post(path(product), headers=shop.admin, json={"title": "Small"})
        (found,) = response.json()["product"]["variants"]
        assert {name: found[name] for name in body} == body
        assert (found["title"], found["sku"]) == ("Small", product["variants"][0]["sku"])
        empty = dict.fromkeys([*body, "sku"])
        response = await client.post(path(product), headers=shop.admin, json=empty)
        (found,) = response.json()["product"]["variants"]
        assert {name: found[name] for name in empty} == empty

    async def test_prices_anew(self, client, shop, product):
        async def reprice(**prices):
            wanted = [{"currency_code": c, "amount": a} for c, a in prices.items()]
            response = await client.post(path(product), headers=shop.admin, json={"prices": wanted})
            (found,) = shaped(response, ProductResponse).product.variants
            return {price.currency_code: (price.amount, price.id) for price in found.prices}

        first = await reprice(eur=1, usd=2)
        assert {code: amount for code, (amount, _) in first.items()} == {"eur": 1, "usd": 2}
        second = await reprice(usd=3, gbp=4)
        assert {code: amount for code, (amount, _) in second.items()} == {"gbp": 4, "usd": 3}
        assert second["usd"][1] == first["usd"][1]
        assert await reprice() == {}

    async def test_ranks_order_what_is_shown(self, client, shop, product):
        response = await client.post(
            path(product, None), headers=shop.admin, json={"title": "First", "variant_rank": 0}
        )
        await client.post(path(product), headers=shop.admin, json={"variant_rank": 5})
        response = await client.get(f"/admin/products/{product['id']}", headers=shop.admin)
        titles = [each["title"] for each in response.json()["product"]["variants"]]
        assert titles == ["First", "S"]


class TestDelete:
    async def test_anonymous(self, client, product):
        refused(await client.delete(path(product)), 401)

    async def test_other_tenant(self, client, other_shop, product):
        refused(await client.delete(path(product), headers=other_shop.admin), 404)

    async def test_permission(self, client, shop, product):
        headers = await shop.user("product:delete")
        refused(await client.delete(path(product), headers=headers), 403)

    async def test_deletes(self, client, shop, product):
        gone = shaped(await client.delete(path(product), headers=shop.admin), DeletedVariant)
        assert (gone.id, gone.object) == (product["variants"][0]["id"], "variant")
        assert (str(gone.parent.id), gone.parent.variants) == (product["id"], [])
        refused(await client.delete(path(product), headers=shop.admin), 404)
        levels = await client.get("/admin/inventory-levels", headers=shop.admin)
        assert levels.json()["count"] == 0
        found = await client.get(f"/admin/products/{product['id']}", headers=shop.admin)
        assert found.json()["product"]["variants"] == []


class TestBatch:
    def url(self, product):
        return f"{path(product, None)}/batch"

    async def test_anonymous(self, client, product):
        refused(await client.post(self.url(product), json={}), 401)

    async def test_other_tenant(self, client, shop, other_shop, product):
        own = await other_shop.product()
        body = {"delete": [product["variants"][0]["id"]]}
        for each, status in ((product, 404), (own, 400)):
            response = await client.post(self.url(each), headers=other_shop.admin, json=body)
            refused(response, status)
        assert (await client.get(path(product), headers=shop.admin)).status_code == 200

    async def test_permission(self, client, shop, product):
        headers = await shop.user("product:create", "product:delete")
        refused(await client.post(self.url(product), headers=headers, json={}), 403)

    @pytest.mark.parametrize(
        ("body", "place"),
        [
            ({"create": [{"title": "M"}, {}]}, "/create/1/title"),
            ({"create": [{"title": "M", "options": {"Size": "XXL"}}]}, "/create/0/options"),
            ({"update": [{"title": "M"}]}, "/update/0/id"),
            ({"update": [{"id": str(uuid4())}]}, "/update/0/id"),
            ({"delete": [str(uuid4())]}, "/delete/0"),
            ({"remove": []}, "/remove"),
        ],
    )
    async def test_bad_input(self, client, shop, product, body, place):
        response = await client.post(self.url(product), headers=shop.admin, json=body)
        refused(response, 400, place=place)

    async def test_all_or_nothing(self, client, shop, product):
        own = product["variants"][0]
        body = {
            "create": [{"title": "M"}],
            "update": [{"id": own["id"], "title": "Changed"}],
            "delete": [str(uuid4())],
        }
        refused(await client.post(self.url(product), headers=shop.admin, json=body), 400)
        found = await client.get(path(product, None), headers=shop.admin)
        assert found.json()["variants"] == [own]

    async def test_creates_changes_and_deletes(self, client, shop, product):
        first = product["variants"][0]
        body = {
            "create": [
                {"title": "M", "options": {"Size": "M"}, "inventory_quantity": 7},
                {"title": "L"},
            ],
            "update": [{"id": first["id"], "sku": None}],
        }
        response = await client.post(self.url(product), headers=shop.admin, json=body)
        done = shaped(response, ChangedVariants)
        assert [(each.title, each.inventory_quantity) for each in done.created] == [
            ("M", 7),
            ("L", 0),
        ]
        assert [(str(each.id), each.sku, each.title) for each in done.updated] == [
            (first["id"], None, first["title"])
        ]
        assert done.deleted.ids == []

        # The number of one that goes may be that of one that comes.
        body = {
            "create": [{"title": "S again", "sku": "ONE"}],
            "update": [{"id": str(done.created[0].id), "sku": "TWO"}],
            "delete": [first["id"], str(done.created[1].id)],
        }
        response = await client.post(self.url(product), headers=shop.admin, json=body)
        assert [str(id) for id in shaped(response, ChangedVariants).deleted.ids] == body["delete"]
        body = {
            "create": [{"title": "S anew", "sku": "TWO"}],
            "delete": [str(done.created[0].id)],
        }
        response = await client.post(self.url(product), headers=shop.admin, json=body)
        assert shaped(response, ChangedVariants).created[0].sku == "TWO"
        found = await client.get(f"/admin/products/{product['id']}", headers=shop.admin)
        after = shaped(found, ProductResponse).product
        assert {each.title for each in after.variants} == {"S again", "S anew"}
        assert after.updated_at.isoformat() > product["updated_at"]
