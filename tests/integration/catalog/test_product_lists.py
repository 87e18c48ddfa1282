"""Product lists: every filter, every order, every page, and nobody else's rows."""

import asyncio
from uuid import uuid4

import msgspec
import pytest

from impact.domains.catalog.schemas import ProductList, ProductResponse
from impact.engine.db.statements import Statement
from support.shapes import refused, shaped

URL = "/admin/products"
SORTS = ["created_at", "updated_at", "title", "handle", "id"]

# What Medusa and Impact both say of a product (medusa-wire/admin_products_limit2.json).
SHARED = {
    "": "collection collection_id created_at description discountable external_id handle id"
    " images is_giftcard material metadata options status subtitle tags thumbnail title"
    " updated_at variants weight",
    "options": "id title values",
    "images": "id rank url",
    "variants": "allow_backorder barcode created_at id manage_inventory metadata options prices"
    " product_id sku title updated_at variant_rank weight",
}
_STAMP = Statement(
    "tests.same_moment",
    "UPDATE product SET created_at = '2026-01-01Z', updated_at = '2026-01-01Z'"
    " WHERE tenant_id = :tenant_id",
)


async def titles(client, shop, **params):
    response = await client.get(URL, headers=shop.admin, params=params)
    found = shaped(response, ProductList)
    assert found.count == len(found.products)
    return sorted(product.title for product in found.products)


async def add(shop, *titles, **fields):
    return [await shop.product(title=title, handle=uuid4().hex, **fields) for title in titles]


class TestList:
    async def test_anonymous(self, client):
        refused(await client.get(URL), 401)

    async def test_other_tenant(self, client, shop, other_shop):
        product = await shop.product()
        assert await titles(client, other_shop) == []
        for params in ({"id": product["id"]}, {"handle": product["handle"]}):
            assert await titles(client, other_shop, **params) == []

    async def test_permission(self, client, shop):
        headers = await shop.user("order:read", "product:update")
        assert "product:read" in refused(await client.get(URL, headers=headers), 403)

    async def test_shape(self, client, shop):
        await shop.product()
        body = await client.get(URL, headers=shop.admin)
        assert shaped(body, ProductList).limit == 50
        product = body.json()["products"][0]
        for part, names in SHARED.items():
            whole = product[part][0] if part else product
            assert set(names.split()) <= set(whole), part

    async def test_empty(self, client, shop):
        body = (await client.get(URL, headers=shop.admin)).json()
        assert body == {"products": [], "count": 0, "offset": 0, "limit": 50, "next_cursor": None}


class TestFilters:
    async def test_one_after_the_other(self, client, shop):
        collections = [
            (await client.post("/admin/collections", headers=shop.admin, json={"title": title}))
            .json()["collection"]["id"]
            for title in ("Spring", "Autumn")
        ]  # fmt: skip
        category = (
            await client.post("/admin/product-categories", headers=shop.admin, json={"name": "C"})
        ).json()["product_category"]["id"]
        (a,) = await add(shop, "A", collection_id=collections[0], tags=["new", "blue"])
        (b,) = await add(shop, "B", collection_id=collections[1], categories=[{"id": category}])
        (c,) = await add(shop, "C", status="draft", external_id="erp-1", tags=["blue"])
        expected = [
            ({"id": a["id"]}, "A"),
            ({"id[]": [a["id"], c["id"]]}, "AC"),
            ({"id[0]": b["id"], "id[1]": str(uuid4())}, "B"),
            ({"handle": b["handle"]}, "B"),
            ({"handle[]": [b["handle"], c["handle"]]}, "BC"),
            ({"status": "draft"}, "C"),
            ({"status[]": ["published", "proposed"]}, "AB"),
            ({"status[]": ["published", "draft"]}, "ABC"),
            ({"status": "rejected"}, ""),
            ({"collection_id": collections[0]}, "A"),
            ({"collection_id[]": collections}, "AB"),
            ({"category_id": category}, "B"),
            ({"tag": "blue"}, "AC"),
            ({"tag[]": ["new", "old"]}, "A"),
            ({"sku": a["variants"][0]["sku"]}, "A"),
            ({"sku": a["variants"][0]["sku"].upper() + "x"}, ""),
            ({"external_id": "erp-1"}, "C"),
            ({"tag": "blue", "status": "draft"}, "C"),
            ({"tag": "blue", "q": "zebra"}, ""),
        ]
        for params, wanted in expected:
            assert await titles(client, shop, **params) == list(wanted), params

    @pytest.mark.parametrize(
        ("q", "found"),
        [
            ("shirt", ["Blue SHIRT", "T-shirt"]),
            ("SHIRT", ["Blue SHIRT", "T-shirt"]),
            ("100%", ["100% wool"]),
            ("%", ["100% wool"]),
            ("_", ["under_score"]),
            ("r_s", ["under_score"]),
            ("\\", ["back\\slash"]),
            ("\\%", []),
            ("'", ["Men's"]),
            ("'; DROP TABLE product; --", []),
            ('"', ['12" vinyl']),
            ("crème", ["CRÈME Brûlée"]),
            ("CRÈME BRÛLÉE", ["CRÈME Brûlée"]),
            ("İSTANBUL", ["İstanbul"]),
            ("İstanbul", ["İstanbul"]),
            ("Σ", ["ΟΔΥΣΣΕΥΣ"]),
            ("日本", ["日本酒"]),
            ("🎉", ["Party 🎉"]),
            ("nothing", []),
        ],
    )
    async def test_search(self, client, shop, q, found):
        names = ["Blue SHIRT", "T-shirt", "100% wool", "under_score", "back\\slash", "Men's"]
        names += ['12" vinyl', "CRÈME Brûlée", "İstanbul", "ΟΔΥΣΣΕΥΣ", "日本酒", "Party 🎉"]
        await asyncio.gather(*(add(shop, name, variants=[]) for name in names))
        assert await titles(client, shop, q=q) == sorted(found)

    async def test_search_reads_every_text(self, client, shop):
        await add(shop, "One", subtitle="With a LINING", description="Made in Lyon")
        for q in ("lining", "made in lyon", "one"):
            assert await titles(client, shop, q=q) == ["One"]

    async def test_an_empty_search_is_none(self, client, shop):
        await add(shop, "One")
        assert await titles(client, shop, q="") == ["One"]


class TestPages:
    @pytest.mark.parametrize("order", [*SORTS, *(f"-{name}" for name in SORTS)])
    async def test_every_order(self, client, shop, order, context, runtime):
        await add(shop, "b", "a", "C", "a", "é", variants=[])
        name, descending = order.removeprefix("-"), order.startswith("-")
        if name.endswith("_at"):
            # The same moment for all: the id decides.
            async with runtime.database.write(context) as session:
                await session.execute(_STAMP)
            client = shop.client
            await shop.product(title="later", status="draft")
        headers = shop.admin
        response = await client.get(URL, headers=headers, params={"order": order})
        whole = shaped(response, ProductList).products
        keys = [(getattr(product, name), str(product.id)) for product in whole]
        assert keys == sorted(keys, reverse=descending)
        seen, params = [], {"order": order, "limit": "2"}
        while True:
            page = shaped(await client.get(URL, headers=headers, params=params), ProductList)
            assert page.count == len(whole)
            assert page.next_cursor is None or len(page.products) == 2
            seen += page.products
            if page.next_cursor is None:
                break
            params["cursor"] = page.next_cursor
        assert seen == whole
        offset = {"order": order, "limit": 2, "offset": 3}
        response = await client.get(URL, headers=headers, params=offset)
        assert shaped(response, ProductList).products == whole[3:5]

    async def test_a_walk_meets_everything_once_while_rows_come(self, client, shop):
        await asyncio.gather(*(add(shop, f"T{n}", variants=[]) for n in range(7)))
        there = {str(p) for p in await self.ids(client, shop)}
        seen, params = [], {"order": "-created_at", "limit": 2}
        while True:
            page = shaped(await client.get(URL, headers=shop.admin, params=params), ProductList)
            seen += [str(product.id) for product in page.products]
            if page.next_cursor is None:
                break
            params["cursor"] = page.next_cursor
            await add(shop, "new", variants=[])
        assert len(seen) == len(set(seen))
        assert set(seen) == there

    async def ids(self, client, shop):
        response = await client.get(URL, headers=shop.admin, params={"fields": "id"})
        return [product["id"] for product in response.json()["products"]]

    async def test_cursors_that_are_not_this_lists(self, client, shop, other_shop):
        for each in (shop, other_shop):
            await add(each, "a", "b", "c", variants=[])

        async def first(each, **params):
            params = {"limit": 1, **params}
            return (await client.get(URL, headers=each.admin, params=params)).json()["next_cursor"]

        own = await first(shop)
        middle = len(own) // 2
        flipped = own[:middle] + ("A" if own[middle] != "A" else "B") + own[middle + 1 :]
        variants = await client.get("/admin/variants", headers=shop.admin, params={"limit": 1})
        cursors = [
            await first(other_shop),
            await first(shop, order="title"),
            await first(shop, order="created_at"),
            variants.json()["next_cursor"] or own[::-1],
            *(flipped, own[:-4], own + "AAAA", "", "é", "%00", "a" * 512, "a" * 513),
        ]
        for cursor in cursors:
            response = await client.get(URL, headers=shop.admin, params={"cursor": cursor})
            refused(response, 400, place="cursor")

    @pytest.mark.parametrize(
        ("params", "parameter"),
        [
            ({"limit": 0}, "limit"),
            ({"limit": 201}, "limit"),
            ({"limit": -1}, "limit"),
            ({"limit": 10**30}, "limit"),
            ({"offset": -1}, "offset"),
            ({"offset": 1, "cursor": "A" * 64}, "offset"),
            ({"offset": 1_000_001}, "offset"),
            ({"order": "price"}, "order"),
            ({"order": "--title"}, "order"),
            ({"order": "title; DROP TABLE product"}, "order"),
            ({"order": "x" * 65}, "order"),
            ({"order": "\0"}, "order"),
        ],
        ids=str,
    )
    async def test_bounds(self, client, shop, params, parameter):
        refused(await client.get(URL, headers=shop.admin, params=params), 400, place=parameter)

    async def test_at_the_bounds(self, client, shop):
        await add(shop, "a", "b", variants=[])
        response = await client.get(URL, headers=shop.admin, params={"limit": 200})
        assert len(shaped(response, ProductList).products) == 2
        response = await client.get(URL, headers=shop.admin, params={"offset": 1_000_000})
        past = shaped(response, ProductList)
        assert (past.products, past.count, past.next_cursor) == ([], 2, None)

    async def test_count_stops_at_its_limit(self, client, shop, app, settings, monkeypatch):
        await add(shop, "a", "b", "c", variants=[])
        small = msgspec.structs.replace(settings, count_limit=2)
        lowered = type(app.state.runtime)(
            **{
                name: small if name == "settings" else getattr(app.state.runtime, name)
                for name in app.state.runtime.__dataclass_fields__
            }
        )
        monkeypatch.setitem(app.state._state, "runtime", lowered)
        response = await client.get(URL, headers=shop.admin)
        found = shaped(response, ProductList)
        assert (found.count, len(found.products)) == (2, 3)


class TestFields:
    @pytest.mark.parametrize(
        ("fields", "names"),
        [
            ("title", {"id", "title"}),
            ("title,handle,", {"id", "title", "handle"}),
            ("nope", {"id"}),
            ("variants", {"id", "variants"}),
        ],
    )
    async def test_selects(self, client, shop, fields, names):
        product = await shop.product()
        for path, key in ((URL, "products"), (f"{URL}/{product['id']}", "product")):
            params = {"fields": fields}
            found = (await client.get(path, headers=shop.admin, params=params)).json()[key]
            assert set(found[0] if key == "products" else found) == names

    @pytest.mark.parametrize("fields", ["", ",", "*variants", "+variants.prices", "-title"])
    async def test_selects_nothing(self, client, shop, fields):
        product = await shop.product()
        path, params = f"{URL}/{product['id']}", {"fields": fields}
        found = await client.get(path, headers=shop.admin, params=params)
        assert found.json()["product"] == product


class TestGet:
    async def test_anonymous(self, client, shop):
        product = await shop.product()
        refused(await client.get(f"{URL}/{product['id']}"), 401)

    async def test_other_tenant(self, client, shop, other_shop):
        product = await shop.product()
        for headers, id in ((other_shop.admin, product["id"]), (shop.admin, uuid4())):
            response = await client.get(f"{URL}/{id}", headers=headers)
            assert str(id) in refused(response, 404)

    async def test_permission(self, client, shop):
        product = await shop.product()
        headers = await shop.user("collection:read")
        refused(await client.get(f"{URL}/{product['id']}", headers=headers), 403)

    async def test_gets(self, client, shop):
        product = await shop.product()
        headers = await shop.user("product:read")
        response = await client.get(f"{URL}/{product['id']}", headers=headers)
        assert shaped(response, ProductResponse).product.title == product["title"]
        assert response.json()["product"] == product
