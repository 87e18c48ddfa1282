"""Making, changing and removing products."""

import asyncio
from uuid import UUID, uuid4

import pytest

from impact.domains.catalog.schemas import ProductResponse
from impact.domains.catalog.service import ProductService
from impact.engine.schemas import Deleted
from support.locks import somebody_waits
from support.shapes import refused, shaped

URL = "/admin/products"
TEXTS = ["title", "subtitle", "description", "material", "vendor", "external_id"]


async def create(client, shop, **body):
    return await client.post(URL, headers=shop.admin, json={"title": "Shirt", **body})


async def update(client, shop, id, **body):
    return await client.post(f"{URL}/{id}", headers=shop.admin, json=body)


async def category(client, shop, **body):
    path = "/admin/product-categories"
    response = await client.post(path, headers=shop.admin, json={"name": uuid4().hex, **body})
    return response.json()["product_category"]["id"]


async def collection(client, shop):
    response = await client.post(
        "/admin/collections", headers=shop.admin, json={"title": uuid4().hex}
    )
    return response.json()["collection"]["id"]


def variant(**changes):
    return {"title": "S", **changes}


class TestCreate:
    async def test_anonymous(self, client):
        refused(await client.post(URL, json={"title": "x"}), 401)

    async def test_permission(self, client, shop):
        headers = await shop.user("product:read", "product:update", "product:delete")
        refused(await client.post(URL, headers=headers, json={"title": "x"}), 403)

    async def test_another_tenants_category(self, client, shop, other_shop):
        own, foreign = await category(client, shop), await category(client, other_shop)
        response = await create(client, shop, categories=[{"id": own}, {"id": foreign}])
        assert foreign in refused(response, 400, place="/categories/1/id")

    async def test_another_tenants_collection(self, client, shop, other_shop):
        foreign = await collection(client, other_shop)
        for id in (foreign, str(uuid4())):
            response = await create(client, shop, collection_id=id)
            assert "collection_id" in refused(response, 409)

    async def test_everything_at_once(self, client, shop):
        body = {
            "title": "Café crème — 🎉",
            "subtitle": "a\nb",
            "description": "<b>日本</b> \\ ' \"",
            "handle": "cafe",
            "status": "published",
            "thumbnail": "https://cdn.test/t.png",
            "is_giftcard": True,
            "discountable": False,
            "weight": 250,
            "material": "Wool",
            "vendor": "Maison",
            "external_id": "erp-1",
            "collection_id": await collection(client, shop),
            "metadata": {"a": [1, 2.5, None, {"b": "\\u0000"}]},
        }
        categories = [await category(client, shop, rank=rank) for rank in (2, 1)]
        response = await create(
            client,
            shop,
            **body,
            categories=[{"id": id} for id in (*categories, categories[0])],
            tags=["new", "été"],
            images=[{"url": "/b.png"}, {"url": "http://x/a.png"}],
            options=[
                {"title": "Size", "values": ["S", "M"]},
                {"title": "Colour", "values": ["Red"]},
            ],
            variants=[
                variant(
                    sku="SKU-1",
                    barcode="123",
                    options={"Size": "M", "Colour": "Red"},
                    prices=[
                        {"currency_code": "usd", "amount": 10**12},
                        {"currency_code": "eur", "amount": 0},
                    ],
                    inventory_quantity=7,
                    weight=10,
                    metadata={"k": "v"},
                    allow_backorder=True,
                ),
                variant(title="Second", manage_inventory=False, variant_rank=0),
            ],
        )
        made = shaped(response, ProductResponse).product
        found = response.json()["product"]
        assert {name: found[name] for name in body} == body
        assert found["collection"]["id"] == body["collection_id"]
        assert [each["id"] for each in found["categories"]] == categories[::-1]
        assert [tag["value"] for tag in found["tags"]] == ["new", "été"]
        assert [(i.url, i.rank) for i in made.images] == [("/b.png", 0), ("http://x/a.png", 1)]
        options = [(o.title, [v.value for v in o.values]) for o in made.options]
        assert options == [("Size", ["S", "M"]), ("Colour", ["Red"])]
        first, second = sorted(made.variants, key=lambda each: each.title == "Second")
        assert [(p.currency_code, p.amount) for p in first.prices] == [("eur", 0), ("usd", 10**12)]
        assert [(o.option.title, o.value) for o in first.options] == [
            ("Colour", "Red"),
            ("Size", "M"),
        ]
        assert (first.sku, first.inventory_quantity, first.allow_backorder) == ("SKU-1", 7, True)
        assert (second.sku, second.inventory_quantity, second.manage_inventory) == (None, 0, False)
        again = await client.get(f"{URL}/{made.id}", headers=shop.admin)
        assert again.json() == response.json()

    async def test_with_nothing_but_a_title(self, client, shop):
        made = shaped(await create(client, shop, title="Blue Shirt!"), ProductResponse).product
        assert (made.handle, made.status, made.thumbnail) == ("blue-shirt", "draft", None)
        assert (made.variants, made.images, made.metadata) == ([], [], None)

    async def test_titles_of_any_script_have_handles_of_their_own(self, client, shop):
        handles = set()
        for title in ("日本酒", "東京", "🎉", "---", "Ünïcødé"):
            made = shaped(await create(client, shop, title=title), ProductResponse).product
            handles.add(made.handle)
        assert len(handles) == 5
        assert "unicde" in handles

    async def test_the_first_image_is_the_thumbnail(self, client, shop):
        response = await create(client, shop, images=[{"url": "/1"}, {"url": "/2"}])
        assert shaped(response, ProductResponse).product.thumbnail == "/1"

    @pytest.mark.parametrize(
        ("first", "second", "field"),
        [
            ({"handle": "same"}, {"handle": "same"}, "handle"),
            ({"title": "Same"}, {"title": "same!"}, "handle"),
            ({"variants": [variant(sku="a")]}, {"variants": [variant(sku="a")]}, "sku"),
            ({"external_id": "1"}, {"external_id": "1"}, "external"),
        ],
    )
    async def test_duplicates(self, client, shop, other_shop, first, second, field):
        first, second = ({"title": uuid4().hex, **body} for body in (first, second))
        shaped(await create(client, shop, **first), ProductResponse)
        assert field in refused(await create(client, shop, **second), 409)
        shaped(await create(client, other_shop, **second), ProductResponse)

    async def test_a_duplicate_within_leaves_nothing(self, client, shop):
        response = await create(client, shop, variants=[variant(sku="a"), variant(sku="a")])
        assert "sku" in refused(response, 409)
        for path, key in ((URL, "products"), ("/admin/inventory-levels", "inventory_levels")):
            assert (await client.get(path, headers=shop.admin)).json()[key] == []

    SIZE = [{"title": "Size", "values": ["S"]}]
    PRICE = {"currency_code": "eur", "amount": 1}

    @pytest.mark.parametrize(
        ("body", "place"),
        [
            ({"title": ""}, "/title"),
            ({"title": None}, "/title"),
            ({"title": 5}, "/title"),
            ({"title": "x" * 256}, "/title"),
            ({"description": "x" * 20_001}, "/description"),
            ({"handle": "Upper"}, "/handle"),
            ({"handle": "a b"}, "/handle"),
            ({"handle": "a\n"}, "/handle"),
            ({"handle": "-a"}, "/handle"),
            ({"status": "sold"}, "/status"),
            ({"thumbnail": "javascript:alert(1)"}, "/thumbnail"),
            ({"thumbnail": "/a\n"}, "/thumbnail"),
            ({"images": [{"url": "ftp://x"}]}, "/images/0/url"),
            ({"images": [{"url": "/x"}] * 101}, "/images"),
            ({"weight": -1}, "/weight"),
            ({"weight": 10**30}, "/weight"),
            ({"weight": 1.5}, "/weight"),
            ({"is_giftcard": "yes"}, "/is_giftcard"),
            ({"collection_id": "1"}, "/collection_id"),
            ({"categories": [{"id": "1"}]}, "/categories/0/id"),
            ({"categories": ["x"]}, "/categories/0"),
            ({"tags": [""]}, "/tags/0"),
            ({"tags": "new"}, "/tags"),
            ({"metadata": []}, "/metadata"),
            ({"metadata": {"a": "x" * 17_000}}, "/metadata"),
            ({"metadata": {"a": "\0"}}, "/metadata"),
            ({"metadata": {"\0": 1}}, "/metadata"),
            ({"options": [{"title": "Size", "values": []}]}, "/options/0/values"),
            ({"options": SIZE * 2}, "/options/1/title"),
            (
                {"options": SIZE, "variants": [variant(options={"Size": "L"})]},
                "/variants/0/options",
            ),
            (
                {"options": SIZE, "variants": [variant(), variant(options={"Fit": "S"})]},
                "/variants/1/options",
            ),
            ({"variants": [variant(sku="")]}, "/variants/0/sku"),
            ({"variants": [variant(price=5)]}, "/variants/0/price"),
            ({"variants": [variant(inventory_quantity=-1)]}, "/variants/0/inventory_quantity"),
            ({"variants": [variant(inventory_quantity=10**10)]}, "/variants/0/inventory_quantity"),
            ({"variants": [variant(), variant(prices=[PRICE] * 2)]}, "/variants/1/prices"),
            (
                {"variants": [variant(prices=[{**PRICE, "amount": -1}])]},
                "/variants/0/prices/0/amount",
            ),
            (
                {"variants": [variant(prices=[{**PRICE, "amount": 10**12 + 1}])]},
                "/variants/0/prices/0/amount",
            ),
            (
                {"variants": [variant(prices=[{**PRICE, "currency_code": "EUR"}])]},
                "/variants/0/prices/0/currency_code",
            ),
            (
                {"variants": [variant(prices=[{**PRICE, "currency_code": "eur\n"}])]},
                "/variants/0/prices/0/currency_code",
            ),
            ({"variants": [variant(metadata={"a": "\0"})]}, "/variants/0/metadata"),
            ({"id": "0" * 32}, "/id"),
            ({"tenant_id": "hq"}, "/tenant_id"),
        ],
        ids=lambda value: str(value)[:60],
    )
    async def test_bad_input(self, client, shop, body, place):
        refused(await create(client, shop, **body), 400, place=place)
        assert (await client.get(URL, headers=shop.admin)).json()["count"] == 0

    @pytest.mark.parametrize("field", TEXTS)
    async def test_no_nul(self, client, shop, field):
        refused(await create(client, shop, **{field: "a\0b"}), 400, place=f"/{field}")

    async def test_metadata_nested_deeper_than_anything_reads(self, client, shop):
        nested: object = 1
        for _ in range(200):
            nested = [nested]
        response = await create(client, shop, metadata={"a": nested})
        refused(response, 400, place="/metadata")

    async def test_the_longest_texts(self, client, shop):
        body = dict.fromkeys(TEXTS, "é" * 255) | {"description": "🎉" * 20_000}
        made = await create(client, shop, **body)
        found = shaped(made, ProductResponse).product
        assert {name: getattr(found, name) for name in body} == body


class TestUpdate:
    async def test_anonymous(self, client, shop):
        product = await shop.product()
        refused(await client.post(f"{URL}/{product['id']}", json={}), 401)

    async def test_other_tenant(self, client, shop, other_shop):
        product = await shop.product()
        refused(await update(client, other_shop, product["id"], title="Mine"), 404)
        refused(await update(client, shop, uuid4(), title="Mine"), 404)
        found = await client.get(f"{URL}/{product['id']}", headers=shop.admin)
        assert found.json()["product"] == product

    async def test_permission(self, client, shop):
        product = await shop.product()
        headers = await shop.user("product:read", "product:create")
        refused(await client.post(f"{URL}/{product['id']}", headers=headers, json={}), 403)

    async def test_absent_stays_and_null_empties(self, client, shop):
        emptied = ["subtitle", "description", "thumbnail", "weight", "material", "vendor"]
        emptied += ["external_id", "metadata", "collection_id"]
        product = await shop.product(
            subtitle="s",
            description="d",
            weight=1,
            material="m",
            vendor="v",
            external_id="e",
            metadata={"a": 1},
            collection_id=await collection(client, shop),
            tags=["t"],
        )
        assert None not in [product[name] for name in emptied]
        changed = (await update(client, shop, product["id"], title="New")).json()["product"]
        # Stock is read beside the product; everything but the title and the time stays.
        assert changed.pop("updated_at") > product.pop("updated_at")
        assert changed == {**product, "title": "New"}
        response = await update(client, shop, product["id"], **dict.fromkeys(emptied))
        changed = response.json()["product"]
        shaped(response, ProductResponse)
        assert [changed[name] for name in emptied] == [None] * len(emptied)
        assert changed["collection"] is None
        assert changed["tags"] == product["tags"]

    @pytest.mark.parametrize(
        "name", ["title", "handle", "status", "is_giftcard", "tags", "images", "categories"]
    )
    async def test_what_cannot_be_emptied(self, client, shop, name):
        product = await shop.product()
        refused(await update(client, shop, product["id"], **{name: None}), 400, place=f"/{name}")

    async def test_images_and_categories_are_replaced(self, client, shop, other_shop):
        a, b, c = [await category(client, shop) for _ in range(3)]
        product = await shop.product(categories=[{"id": a}, {"id": b}])
        response = await update(
            client,
            shop,
            product["id"],
            images=[{"url": "/n1"}, {"url": "/n2"}],
            categories=[{"id": b}, {"id": c}],
        )
        changed = shaped(response, ProductResponse).product
        assert [image.url for image in changed.images] == ["/n1", "/n2"]
        assert {str(each.id) for each in changed.categories} == {b, c}
        foreign = await category(client, other_shop)
        response = await update(client, shop, product["id"], categories=[{"id": foreign}])
        refused(response, 400, place="/categories/0/id")
        response = await update(client, shop, product["id"], images=[], categories=[])
        changed = shaped(response, ProductResponse).product
        assert (changed.images, changed.categories) == ([], [])

    async def test_another_tenants_collection(self, client, shop, other_shop):
        product = await shop.product()
        foreign = await collection(client, other_shop)
        response = await update(client, shop, product["id"], collection_id=foreign)
        assert "collection_id" in refused(response, 409)

    async def test_a_handle_that_is_taken(self, client, shop):
        one, two = await shop.product(), await shop.product()
        response = await update(client, shop, one["id"], handle=two["handle"])
        assert "handle" in refused(response, 409)

    async def test_a_product_that_goes_meanwhile(self, client, shop, runtime, context, endpoints):
        product = await shop.product(variants=[])
        async with runtime.database.write(context) as session:
            await ProductService(session).remove(UUID(product["id"]))
            # It is still there for others, who wait for this transaction to change it.
            change = asyncio.create_task(update(client, shop, product["id"], title="Late"))
            await somebody_waits(endpoints)
        refused(await change, 409)


class TestDelete:
    async def test_anonymous(self, client, shop):
        product = await shop.product()
        refused(await client.delete(f"{URL}/{product['id']}"), 401)

    async def test_other_tenant(self, client, shop, other_shop):
        product = await shop.product()
        path = f"{URL}/{product['id']}"
        refused(await client.delete(path, headers=other_shop.admin), 404)
        assert (await client.get(path, headers=shop.admin)).status_code == 200

    async def test_permission(self, client, shop):
        product = await shop.product()
        headers = await shop.user("product:read", "product:update")
        refused(await client.delete(f"{URL}/{product['id']}", headers=headers), 403)

    async def test_takes_what_hangs_on_it(self, client, shop):
        product, kept = await shop.product(), await shop.product()
        path = f"{URL}/{product['id']}"
        gone = shaped(await client.delete(path, headers=shop.admin), Deleted)
        assert (gone.id, gone.object, gone.deleted) == (product["id"], "product", True)
        refused(await client.get(path, headers=shop.admin), 404)
        refused(await client.delete(path, headers=shop.admin), 404)
        left = (await client.get("/admin/variants", headers=shop.admin)).json()["variants"]
        assert [each["product_id"] for each in left] == [kept["id"]]
        levels = (await client.get("/admin/inventory-levels", headers=shop.admin)).json()
        assert levels["count"] == 1

    async def test_orders_remember_it(self, client, shop):
        product = await shop.product(title="Gone")
        order = (await shop.order(product["variants"][0]["id"])).json()["order"]
        await client.delete(f"{URL}/{product['id']}", headers=shop.admin)
        response = await client.get(f"/admin/orders/{order['id']}", headers=shop.admin)
        (item,) = response.json()["order"]["items"]
        assert (item["title"], item["product_id"], item["variant_id"]) == ("Gone", None, None)

    async def test_two_at_once(self, client, shop, runtime, context, endpoints):
        product = await shop.product(variants=[])
        path = f"{URL}/{product['id']}"
        async with runtime.database.write(context) as session:
            await ProductService(session).remove(UUID(product["id"]))
            second = asyncio.create_task(client.delete(path, headers=shop.admin))
            await somebody_waits(endpoints)
        shaped(await second, Deleted)
        refused(await client.get(path, headers=shop.admin), 404)
