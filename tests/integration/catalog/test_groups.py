"""Collections and categories, which group products."""

import asyncio
from dataclasses import dataclass
from uuid import UUID, uuid4

import pytest

from impact.domains.catalog.schemas import (
    CategoryList,
    CategoryResponse,
    CollectionList,
    CollectionResponse,
    UpdateCategory,
)
from impact.domains.catalog.service import CategoryService
from impact.engine.schemas import Deleted
from support.locks import somebody_waits
from support.shapes import refused, shaped


@dataclass
class Kind:
    """What the two differ in."""

    path: str
    permission: str
    key: str
    keys: str
    name: str
    one: type
    many: type

    def body(self, name="Spring", **changes):
        return {self.name: name, **changes}


COLLECTION = Kind(
    *("/admin/collections", "collection", "collection", "collections", "title"),
    *(CollectionResponse, CollectionList),
)
CATEGORY = Kind(
    *("/admin/product-categories", "category", "product_category", "product_categories", "name"),
    *(CategoryResponse, CategoryList),
)


@pytest.fixture(params=[COLLECTION, CATEGORY], ids=["collection", "category"])
def kind(request):
    return request.param


async def create(client, shop, kind, name="Spring", **changes):
    response = await client.post(kind.path, headers=shop.admin, json=kind.body(name, **changes))
    shaped(response, kind.one)
    return response.json()[kind.key]


class TestAccess:
    async def test_anonymous(self, client, shop, kind):
        one = f"{kind.path}/{(await create(client, shop, kind))['id']}"
        for method, url in (
            ("GET", kind.path),
            ("POST", kind.path),
            *(("GET", one), ("POST", one), ("DELETE", one)),
        ):
            body = kind.body() if method == "POST" else None
            refused(await client.request(method, url, json=body), 401)

    async def test_other_tenant(self, client, shop, other_shop, kind):
        one = f"{kind.path}/{(await create(client, shop, kind))['id']}"
        found = shaped(await client.get(kind.path, headers=other_shop.admin), kind.many)
        assert found.count == 0
        for method in ("GET", "POST", "DELETE"):
            body = kind.body("Mine") if method == "POST" else None
            response = await client.request(method, one, headers=other_shop.admin, json=body)
            refused(response, 404)
        assert (await client.get(one, headers=shop.admin)).json()[kind.key][kind.name] == "Spring"

    async def test_permission(self, client, shop, kind):
        one = f"{kind.path}/{(await create(client, shop, kind))['id']}"
        actions = {"read", "create", "update", "delete"}
        for method, url, action in (
            ("GET", kind.path, "read"),
            ("GET", one, "read"),
            ("POST", kind.path, "create"),
            ("POST", one, "update"),
            ("DELETE", one, "delete"),
        ):
            others = [f"{kind.permission}:{each}" for each in actions - {action}]
            body = kind.body("Changed") if method == "POST" else None
            headers = await shop.user(*others)
            refused(await client.request(method, url, headers=headers, json=body), 403)
            headers = await shop.user(f"{kind.permission}:{action}")
            response = await client.request(method, url, headers=headers, json=body)
            assert response.status_code == 200, (method, url)


class TestBoth:
    async def test_makes_changes_and_empties(self, client, shop, kind):
        made = await create(client, shop, kind, "Été 2026", metadata={"a": 1})
        assert (made["handle"], made["metadata"]) == ("ete-2026", {"a": 1})
        one = f"{kind.path}/{made['id']}"
        body = {"handle": "summer"}
        changed = (await client.post(one, headers=shop.admin, json=body)).json()[kind.key]
        assert changed == {**made, **body, "updated_at": changed["updated_at"]}
        response = await client.post(one, headers=shop.admin, json={"metadata": None})
        assert response.json()[kind.key]["metadata"] is None
        assert (await client.get(one, headers=shop.admin)).json() == response.json()

    async def test_a_handle_is_one_shops(self, client, shop, other_shop, kind):
        first = await create(client, shop, kind)
        await create(client, other_shop, kind)
        response = await client.post(kind.path, headers=shop.admin, json=kind.body())
        assert "handle" in refused(response, 409)
        second = await create(client, shop, kind, "Autumn")
        url, body = f"{kind.path}/{second['id']}", {"handle": first["handle"]}
        assert "handle" in refused(await client.post(url, headers=shop.admin, json=body), 409)

    async def test_names_of_any_script(self, client, shop, kind):
        made = [await create(client, shop, kind, name) for name in ("春", "秋")]
        assert made[0]["handle"] != made[1]["handle"]

    @pytest.mark.parametrize(
        ("changes", "field"),
        [
            ({"NAME": ""}, "NAME"),
            ({"NAME": "\0"}, "NAME"),
            ({"handle": "A B"}, "handle"),
            ({"handle": "a\n"}, "handle"),
            ({"metadata": {"a": "\0"}}, "metadata"),
            ({"unknown": 1}, "unknown"),
        ],
    )
    async def test_bad_input(self, client, shop, kind, changes, field):
        changes = {name.replace("NAME", kind.name): value for name, value in changes.items()}
        place = "/" + field.replace("NAME", kind.name)
        response = await client.post(kind.path, headers=shop.admin, json={**kind.body(), **changes})
        refused(response, 400, place=place)
        made = await create(client, shop, kind)
        response = await client.post(f"{kind.path}/{made['id']}", headers=shop.admin, json=changes)
        refused(response, 400, place=place)

    async def test_lists(self, client, shop, kind):
        made = [await create(client, shop, kind, name) for name in ("Bé", "A_b", "c")]
        for params, names in (
            ({"q": "B"}, ["A_b", "Bé"]),
            ({"q": "É"}, ["Bé"]),
            ({"q": "_"}, ["A_b"]),
            ({"q": "%"}, []),
            ({"handle[]": [made[2]["handle"], "none"]}, ["c"]),
            ({"id[]": [made[0]["id"], str(uuid4())]}, ["Bé"]),
            ({"order": kind.name}, ["A_b", "Bé", "c"]),
            ({"order": f"-{kind.name}", "limit": 2}, ["c", "Bé"]),
            ({"order": "handle", "offset": 1, "limit": 1}, ["be"]),
            ({"order": "-created_at"}, ["c", "A_b", "Bé"]),
            ({"order": "id"}, ["Bé", "A_b", "c"]),
        ):
            response = await client.get(kind.path, headers=shop.admin, params=params)
            shaped(response, kind.many)
            found = [each[kind.name] for each in response.json()[kind.keys]]
            wanted = ["Bé"] if names == ["be"] else names
            assert (found if "order" in params else sorted(found)) == wanted, params
        whole = (await client.get(kind.path, headers=shop.admin)).json()[kind.keys]
        seen, params = [], {"limit": 1}
        for _ in whole:
            page = (await client.get(kind.path, headers=shop.admin, params=params)).json()
            seen += page[kind.keys]
            params["cursor"] = page["next_cursor"]
        assert (seen, params["cursor"]) == (whole, None)
        response = await client.get(kind.path, headers=shop.admin, params={"order": "price"})
        refused(response, 400, place="order")

    async def test_deletes_and_leaves_the_products(self, client, shop, kind):
        made = await create(client, shop, kind)
        link = (
            {"collection_id": made["id"]}
            if kind is COLLECTION
            else {"categories": [{"id": made["id"]}]}
        )
        product = await shop.product(**link)
        url = f"{kind.path}/{made['id']}"
        gone = shaped(await client.delete(url, headers=shop.admin), Deleted)
        assert (gone.id, gone.object) == (made["id"], kind.key)
        refused(await client.delete(url, headers=shop.admin), 404)
        response = await client.get(f"/admin/products/{product['id']}", headers=shop.admin)
        found = response.json()["product"]
        assert (found["collection"], found["collection_id"], found["categories"]) == (
            None,
            None,
            [],
        )


class TestTree:
    async def move(self, client, shop, child, parent):
        body = {"parent_category_id": parent and parent["id"]}
        url = f"{CATEGORY.path}/{child['id']}"
        return await client.post(url, headers=shop.admin, json=body)

    async def test_another_tenants_parent(self, client, shop, other_shop):
        foreign = await create(client, other_shop, CATEGORY)
        own = await create(client, shop, CATEGORY)
        for parent in (foreign, {"id": str(uuid4())}):
            body = CATEGORY.body("Child", parent_category_id=parent["id"])
            refused(await client.post(CATEGORY.path, headers=shop.admin, json=body), 404)
            refused(await self.move(client, shop, own, parent), 404)

    async def test_no_circle(self, client, shop):
        top = await create(client, shop, CATEGORY, "top")
        middle = await create(client, shop, CATEGORY, "m", parent_category_id=top["id"])
        leaf = await create(client, shop, CATEGORY, "l", parent_category_id=middle["id"])
        for parent in (top, middle, leaf):
            refused(await self.move(client, shop, top, parent), 400, place="/parent_category_id")
        for parent in (top, None):
            shaped(await self.move(client, shop, leaf, parent), CategoryResponse)
        params = {"parent_category_id": top["id"]}
        found = await client.get(CATEGORY.path, headers=shop.admin, params=params)
        assert [each["name"] for each in found.json()["product_categories"]] == ["m"]

    async def test_no_circle_by_two_moves_at_once(self, client, shop, runtime, context, endpoints):
        a = await create(client, shop, CATEGORY, "a")
        b = await create(client, shop, CATEGORY, "b")
        x = await create(client, shop, CATEGORY, "x")
        shaped(await self.move(client, shop, b, x), CategoryResponse)
        async with runtime.database.write(context) as session:
            under_b = UpdateCategory(parent_category_id=UUID(b["id"]))
            await CategoryService(session).update(UUID(a["id"]), under_b)
            # a lies under b, which lies under x; not yet for others, though.
            second = asyncio.create_task(self.move(client, shop, x, a))
            await somebody_waits(endpoints)
        refused(await second, 400, place="/parent_category_id")

    async def test_a_parent_stays_while_it_has_children(self, client, shop):
        top = await create(client, shop, CATEGORY, "top")
        leaf = await create(client, shop, CATEGORY, "leaf", parent_category_id=top["id"])
        url = f"{CATEGORY.path}/{top['id']}"
        assert "parent_category_id" in refused(await client.delete(url, headers=shop.admin), 409)
        await client.delete(f"{CATEGORY.path}/{leaf['id']}", headers=shop.admin)
        shaped(await client.delete(url, headers=shop.admin), Deleted)
