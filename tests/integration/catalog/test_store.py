"""What a storefront sees of the catalog: what is published, priced in one currency."""

from uuid import uuid4

import pytest

from impact.domains.catalog.schemas import (
    CategoryList,
    CategoryResponse,
    CollectionList,
    CollectionResponse,
    StoreProductList,
    StoreProductResponse,
)
from support.shapes import refused, shaped

URL = "/store/products"
HIDDEN = {"status", "external_id", "metadata"}
# medusa-wire/store_products_limit2_region.json
SHARED = "collection collection_id created_at description discountable handle id images"
SHARED += " is_giftcard material options subtitle tags thumbnail title updated_at variants weight"
SHARED_VARIANT = "allow_backorder barcode calculated_price created_at id manage_inventory options"
SHARED_VARIANT += " product_id sku title updated_at variant_rank weight"


async def category(client, shop, **body):
    response = await client.post(
        "/admin/product-categories", headers=shop.admin, json={"name": uuid4().hex, **body}
    )
    return response.json()["product_category"]


class TestProducts:
    async def test_without_a_shop(self, client, shop):
        product = await shop.product()
        for path in (URL, f"{URL}/{product['id']}"):
            assert "x-publishable-api-key" in refused(await client.get(path), 400)

    async def test_other_tenant(self, client, shop, other_shop):
        product = await shop.product()
        found = shaped(await client.get(URL, headers=other_shop.store), StoreProductList)
        assert (found.products, found.count) == ([], 0)
        refused(await client.get(f"{URL}/{product['id']}", headers=other_shop.store), 404)

    @pytest.mark.parametrize("status", ["draft", "proposed", "rejected"])
    async def test_what_is_not_published(self, client, shop, status):
        product = await shop.product(status=status)
        for params in ({}, {"id": product["id"]}, {"handle": product["handle"]}):
            response = await client.get(URL, headers=shop.store, params=params)
            assert shaped(response, StoreProductList).count == 0
        refused(await client.get(f"{URL}/{product['id']}", headers=shop.store), 404)
        path = f"/admin/products/{product['id']}"
        await client.post(path, headers=shop.admin, json={"status": "published"})
        response = await client.get(f"{URL}/{product['id']}", headers=shop.store)
        assert shaped(response, StoreProductResponse).product.title == product["title"]

    async def test_shape(self, client, shop):
        await shop.product(external_id="secret", metadata={"cost": 1})
        body = await client.get(URL, headers=shop.store)
        shaped(body, StoreProductList)
        product = body.json()["products"][0]
        assert set(SHARED.split()) <= set(product)
        assert set(SHARED_VARIANT.split()) <= set(product["variants"][0])
        assert not HIDDEN & set(product)
        assert "secret" not in body.text
        assert "cost" not in body.text

    async def test_prices_in_one_currency(self, client, shop):
        prices = [{"currency_code": "eur", "amount": 100}, {"currency_code": "usd", "amount": 120}]
        product = await shop.product(variants=[{"title": "v", "prices": prices}])
        for params, price in (
            ({}, (100, 100, "eur")),
            ({"currency_code": "usd"}, (120, 120, "usd")),
            ({"currency_code": "gbp"}, None),
        ):
            many = await client.get(URL, headers=shop.store, params=params)
            one = await client.get(f"{URL}/{product['id']}", headers=shop.store, params=params)
            for found in (
                shaped(many, StoreProductList).products[0],
                shaped(one, StoreProductResponse).product,
            ):
                calculated = found.variants[0].calculated_price
                assert price == (
                    calculated
                    and (
                        calculated.calculated_amount,
                        calculated.original_amount,
                        calculated.currency_code,
                    )
                )

    @pytest.mark.parametrize("code", ["EUR", "euro", "", "eur\n", "\0"])
    async def test_no_currency(self, client, shop, code):
        product = await shop.product()
        for path in (URL, f"{URL}/{product['id']}"):
            response = await client.get(path, headers=shop.store, params={"currency_code": code})
            refused(response, 400, place="currency_code")

    async def test_filters(self, client, shop):
        group = await category(client, shop)
        made = await client.post("/admin/collections", headers=shop.admin, json={"title": "c"})
        collection = made.json()["collection"]["id"]
        one = await shop.product(title="Uno", tags=["new"], categories=[{"id": group["id"]}])
        await shop.product(title="Due", collection_id=collection)
        for params, wanted in (
            ({"q": "UNO"}, ["Uno"]),
            ({"id": one["id"]}, ["Uno"]),
            ({"handle[]": [one["handle"]]}, ["Uno"]),
            ({"tag": "new"}, ["Uno"]),
            ({"category_id": group["id"]}, ["Uno"]),
            ({"collection_id": collection}, ["Due"]),
            ({"order": "title"}, ["Due", "Uno"]),
            ({"order": "-title", "limit": 1}, ["Uno"]),
            ({"order": "title", "offset": 5}, []),
            ({"q": "nothing", "offset": 1}, []),
        ):
            response = await client.get(URL, headers=shop.store, params=params)
            found = shaped(response, StoreProductList)
            assert [product.title for product in found.products] == wanted, params

    async def test_a_cursor_of_staffs_list(self, client, shop):
        for _ in range(2):
            await shop.product()
        params = {"limit": 1}
        staff = (await client.get("/admin/products", headers=shop.admin, params=params)).json()
        params["cursor"] = staff["next_cursor"]
        refused(await client.get(URL, headers=shop.store, params=params), 400, place="cursor")

    async def test_inactive_categories_do_not_show(self, client, shop):
        shown, hidden = await category(client, shop), await category(client, shop, is_active=False)
        links = [{"id": shown["id"]}, {"id": hidden["id"]}]
        product = await shop.product(categories=links)
        assert len(product["categories"]) == 2
        many = shaped(await client.get(URL, headers=shop.store), StoreProductList).products[0]
        response = await client.get(f"{URL}/{product['id']}", headers=shop.store)
        for found in (many, shaped(response, StoreProductResponse).product):
            assert [str(each.id) for each in found.categories] == [shown["id"]]
        params = {"category_id": hidden["id"]}
        response = await client.get(URL, headers=shop.store, params=params)
        assert shaped(response, StoreProductList).products == []
        # What was shown, and may be cached, goes with the switch.
        path = f"/admin/product-categories/{shown['id']}"
        await client.post(path, headers=shop.admin, json={"is_active": False})
        many = shaped(await client.get(URL, headers=shop.store), StoreProductList).products[0]
        response = await client.get(f"{URL}/{product['id']}", headers=shop.store)
        for found in (many, shaped(response, StoreProductResponse).product):
            assert found.categories == []
        params = {"category_id": shown["id"]}
        response = await client.get(URL, headers=shop.store, params=params)
        assert shaped(response, StoreProductList).products == []


class TestCategories:
    PATH = "/store/product-categories"

    async def test_without_a_shop(self, client):
        refused(await client.get(self.PATH), 400)

    async def test_other_tenant(self, client, shop, other_shop):
        made = await category(client, shop)
        found = shaped(await client.get(self.PATH, headers=other_shop.store), CategoryList)
        assert found.count == 0
        refused(await client.get(f"{self.PATH}/{made['id']}", headers=other_shop.store), 404)

    async def test_inactive_ones_are_hidden(self, client, shop):
        top = await category(client, shop)
        child = await category(client, shop, parent_category_id=top["id"])
        off = await category(client, shop, is_active=False, parent_category_id=top["id"])
        refused(await client.get(f"{self.PATH}/{off['id']}", headers=shop.store), 404)
        one = await client.get(f"{self.PATH}/{child['id']}", headers=shop.store)
        assert shaped(one, CategoryResponse).product_category.name == child["name"]
        for params, wanted in (
            ({"order": "created_at"}, [top, child]),
            ({"parent_category_id": top["id"]}, [child]),
            ({"handle[]": [off["handle"], top["handle"]]}, [top]),
        ):
            response = await client.get(self.PATH, headers=shop.store, params=params)
            found = shaped(response, CategoryList)
            names = [each.name for each in found.product_categories]
            assert names == [each["name"] for each in wanted], params


class TestCollections:
    PATH = "/store/collections"

    async def test_without_a_shop(self, client):
        refused(await client.get(self.PATH), 400)

    async def test_shows_the_shops_own(self, client, shop, other_shop):
        made = await client.post("/admin/collections", headers=shop.admin, json={"title": "c"})
        id = made.json()["collection"]["id"]
        for params, count in (({}, 1), ({"handle": "c"}, 1), ({"handle": "d"}, 0)):
            response = await client.get(self.PATH, headers=shop.store, params=params)
            assert shaped(response, CollectionList).count == count
        one = await client.get(f"{self.PATH}/{id}", headers=shop.store)
        assert shaped(one, CollectionResponse).collection.title == "c"
        refused(await client.get(f"{self.PATH}/{id}", headers=other_shop.store), 404)
        response = await client.get(self.PATH, headers=other_shop.store)
        assert shaped(response, CollectionList).count == 0
