"""Orders once they are placed: found, shown to whom they belong, changed, closed."""

import datetime as dt
from uuid import uuid4

import msgspec
import pytest

from impact.domains.orders.schemas import OrderEventList, OrderList, OrderOut, OrderResponse
from support.customers import customer
from support.shapes import refused, shaped

ADMIN, STORE = "/admin/orders", "/store/orders"
# medusa-wire/store_order.json
SHARED = "billing_address created_at currency_code display_id email fulfillment_status id"
SHARED += " item_total items shipping_address status total updated_at"
SHARED_ITEM = "id product_id quantity thumbnail title total unit_price variant_id variant_sku"
SHARED_ITEM += " variant_title"


async def placed(shop, headers=None, **body):
    """An order of one new variant, as the store answered it."""
    lines = [{"variant_id": await shop.variant(stock=50), "quantity": 2}]
    body = {"email": "buyer@mail.test", "lines": lines, **body}
    response = await shop.client.post(STORE, headers=headers or shop.store, json=body)
    shaped(response, OrderResponse)
    return response.json()["order"]


async def found(client, shop, **params):
    params = {"order": "created_at", **params}
    page = shaped(await client.get(ADMIN, headers=shop.admin, params=params), OrderList)
    assert page.count == len(page.orders)
    return [str(order.id) for order in page.orders]


class TestAdminAccess:
    async def routes(self, shop):
        one = f"{ADMIN}/{(await placed(shop))['id']}"
        return [
            ("GET", one, "read"),
            ("GET", f"{one}/events", "read"),
            *(("POST", f"{one}{step}", "update") for step in ("", "/complete", "/cancel")),
            *(("POST", f"{one}{step}", "update") for step in ("/ship", "/deliver")),
            ("POST", f"{one}/fulfillments", "update"),
        ]

    async def test_anonymous(self, client, shop):
        for method, url, _ in [("GET", ADMIN, ""), *await self.routes(shop)]:
            refused(await client.request(method, url), 401)

    async def test_other_tenant(self, client, shop, other_shop):
        response = await client.get(ADMIN, headers=other_shop.admin)
        assert shaped(response, OrderList).count == 0
        for method, url, _ in await self.routes(shop):
            body = {} if method == "POST" else None
            response = await client.request(method, url, headers=other_shop.admin, json=body)
            refused(response, 404)

    async def test_permission(self, client, shop):
        routes = [("GET", ADMIN, "read"), *await self.routes(shop)]
        reader, writer = await shop.user("order:read"), await shop.user("order:update")
        for method, url, action in routes:
            body = {} if method == "POST" else None
            wrong = writer if action == "read" else reader
            refused(await client.request(method, url, headers=wrong, json=body), 403)


class TestList:
    async def test_filters(self, client, shop):
        owner = await customer(client, shop)
        one = await placed(shop, email="One@Mail.test")
        two = await placed(shop, owner, email="two@mail.test")
        three = await placed(shop)
        a, b, c = (order["id"] for order in (one, two, three))
        await client.post(f"{ADMIN}/{a}/cancel", headers=shop.admin)
        await client.post(f"{ADMIN}/{b}/complete", headers=shop.admin)
        await client.post(f"{ADMIN}/{c}/fulfillments", headers=shop.admin)
        for params, wanted in (
            ({}, [a, b, c]),
            ({"id[]": [c, a, str(uuid4())]}, [a, c]),
            ({"kind": "sale"}, [a, b, c]),
            ({"kind[]": ["return", "adjustment"]}, []),
            ({"status": "canceled"}, [a]),
            ({"status[]": ["completed", "pending"]}, [b, c]),
            ({"fulfillment_status": "fulfilled"}, [c]),
            ({"fulfillment_status[]": ["not_fulfilled", "canceled"]}, [a, b]),
            ({"customer_id": two["customer_id"]}, [b]),
            ({"email": "one@MAIL.test"}, [a]),
            ({"email": "%"}, []),
            ({"display_id": two["display_id"]}, [b]),
            ({"display_id": 2**62}, []),
            ({"external_id": "x"}, []),
            ({"status": "pending", "kind": "sale"}, [c]),
        ):
            assert await found(client, shop, **params) == wanted, params

    async def test_times(self, client, shop):
        orders = [await placed(shop) for _ in range(3)]
        first, second, third = (order["id"] for order in orders)
        moments = [dt.datetime.fromisoformat(order["created_at"]) for order in orders]
        middle = moments[1]
        paris = middle.astimezone(dt.timezone(dt.timedelta(hours=2)))
        for created_from, created_to, wanted in (
            (middle.isoformat(), None, [second, third]),
            (None, middle.isoformat(), [first]),
            (middle.isoformat(), moments[2].isoformat(), [second]),
            (paris.isoformat(), None, [second, third]),
            # Without a zone a time is UTC.
            (middle.replace(tzinfo=None).isoformat(), None, [second, third]),
            (moments[2].isoformat(), moments[0].isoformat(), []),
            ("1900-01-01T00:00:00Z", "9999-12-31T00:00:00Z", [first, second, third]),
        ):
            times = {"created_from": created_from, "created_to": created_to}
            params = {name: value for name, value in times.items() if value is not None}
            assert await found(client, shop, **params) == wanted, params

    @pytest.mark.parametrize(
        ("params", "parameter"),
        [
            ({"status": "lost"}, "status"),
            ({"kind": "gift"}, "kind"),
            ({"fulfillment_status[]": "gone"}, "fulfillment_status"),
            ({"display_id": "x"}, "display_id"),
            ({"created_from": "yesterday"}, "created_from"),
            ({"created_to": "2026-13-01T00:00:00Z"}, "created_to"),
            ({"order": "total"}, "order"),
        ],
        ids=str,
    )
    async def test_bad_input(self, client, shop, params, parameter):
        refused(await client.get(ADMIN, headers=shop.admin, params=params), 400, place=parameter)

    @pytest.mark.parametrize(
        "params",
        [
            {"display_id": 2**63},
            {"display_id": -(10**30)},
            {"created_from": "0001-01-01T00:00:00+14:00"},
            {"created_to": "9999-12-31T23:59:59-14:00"},
        ],
        ids=str,
    )
    async def test_what_no_column_holds(self, client, shop, params):
        refused(await client.get(ADMIN, headers=shop.admin, params=params), 400)

    @pytest.mark.parametrize("order", ["-created_at", "display_id", "-display_id", "id"])
    async def test_pages(self, client, shop, order):
        for _ in range(3):
            await placed(shop)
        params = {"order": order, "fields": "display_id,created_at"}
        whole = (await client.get(ADMIN, headers=shop.admin, params=params)).json()["orders"]
        keys = [each[order.removeprefix("-")] for each in whole]
        assert keys == sorted(keys, reverse=order.startswith("-"))
        seen, params = [], {**params, "limit": 1}
        for _ in whole:
            page = (await client.get(ADMIN, headers=shop.admin, params=params)).json()
            seen += page["orders"]
            params["cursor"] = page["next_cursor"]
        assert (seen, params["cursor"]) == (whole, None)


class TestStore:
    async def test_without_a_shop(self, client, shop):
        order = await placed(shop)
        for url in (STORE, f"{STORE}/{order['id']}"):
            refused(await client.get(url), 400)

    async def test_other_tenant(self, client, shop, other_shop):
        order = await placed(shop)
        refused(await client.get(f"{STORE}/{order['id']}", headers=other_shop.store), 404)

    async def test_a_guests_order_by_its_id(self, client, shop):
        order = await placed(shop)
        for headers in (shop.store, await customer(client, shop)):
            response = await client.get(f"{STORE}/{order['id']}", headers=headers)
            again = shaped(response, OrderResponse).order
            assert again == msgspec.convert(order, OrderOut)
        assert set(SHARED.split()) <= set(order)
        assert set(SHARED_ITEM.split()) <= set(order["items"][0])
        refused(await client.get(STORE, headers=shop.store), 401)

    async def test_a_customers_order_is_theirs_alone(self, client, shop):
        owner, other = await customer(client, shop), await customer(client, shop)
        order, _ = await placed(shop, owner), await placed(shop)
        url = f"{STORE}/{order['id']}"
        for headers in (shop.store, other):
            refused(await client.get(url, headers=headers), 404)
        response = await client.get(url, headers=owner, params={"fields": "total"})
        assert response.json() == {"order": {"id": order["id"], "total": order["total"]}}
        page = shaped(await client.get(STORE, headers=owner), OrderList)
        assert ([str(each.id) for each in page.orders], page.count) == ([order["id"]], 1)
        assert shaped(await client.get(STORE, headers=other), OrderList).orders == []

    async def test_a_cursor_of_staffs_list(self, client, shop):
        owner = await customer(client, shop)
        for _ in range(2):
            await placed(shop, owner)
        params = {"limit": 1}
        staff = (await client.get(ADMIN, headers=shop.admin, params=params)).json()
        params["cursor"] = staff["next_cursor"]
        refused(await client.get(STORE, headers=owner, params=params), 400, place="cursor")


class TestUpdate:
    async def test_absent_stays_and_null_empties(self, client, shop):
        address = {"city": "Lyon", "country_code": "fr"}
        order = await placed(shop, shipping_address=address, metadata={"a": 1})
        url = f"{ADMIN}/{order['id']}"
        body = {"email": "new@mail.test", "billing_address": address}
        response = await client.post(url, headers=shop.admin, json=body)
        changed = shaped(response, OrderResponse).order
        assert (changed.email, changed.billing_address["city"]) == ("new@mail.test", "Lyon")
        assert (changed.shipping_address["city"], changed.metadata) == ("Lyon", {"a": 1})
        body = {"shipping_address": None, "metadata": None}
        response = await client.post(url, headers=shop.admin, json=body)
        changed = shaped(response, OrderResponse).order
        assert (changed.shipping_address, changed.metadata) == (None, None)
        assert (changed.email, changed.total) == ("new@mail.test", order["total"])

    @pytest.mark.parametrize(
        ("body", "place"),
        [
            ({"email": None}, "/email"),
            ({"email": "a\0@b.test"}, "/email"),
            ({"shipping_address": {"city": "\0"}}, "/shipping_address/city"),
            ({"metadata": {"\0": 1}}, "/metadata"),
            ({"total": 0}, "/total"),
            ({"status": "completed"}, "/status"),
        ],
        ids=str,
    )
    async def test_bad_input(self, client, shop, body, place):
        order = await placed(shop)
        response = await client.post(f"{ADMIN}/{order['id']}", headers=shop.admin, json=body)
        refused(response, 400, place=place)


class TestSteps:
    async def events(self, client, shop, order):
        response = await client.get(f"{ADMIN}/{order['id']}/events", headers=shop.admin)
        return shaped(response, OrderEventList).events

    async def test_completes_once(self, client, shop):
        order = await placed(shop)
        url = f"{ADMIN}/{order['id']}/complete"
        for _ in range(2):
            response = await client.post(url, headers=shop.admin)
            assert shaped(response, OrderResponse).order.status == "completed"
        types = [event.type for event in await self.events(client, shop, order)]
        assert types == ["order.placed", "order.completed"]

    async def test_cancels_once(self, client, shop):
        order = await placed(shop)
        url = f"{ADMIN}/{order['id']}/cancel"
        answers = [
            await client.post(url, headers=shop.admin, json={"reason": reason})
            for reason in ("First 🎉", "Second")
        ]
        assert answers[0].content == answers[1].content
        canceled = shaped(answers[0], OrderResponse).order
        assert (canceled.status, canceled.fulfillment_status) == ("canceled", "canceled")
        assert canceled.canceled_at is not None
        placing, canceling = await self.events(client, shop, order)
        assert (canceling.type, canceling.data) == ("order.canceled", {"reason": "First 🎉"})
        assert (placing.actor, canceling.actor) == ("anonymous", f"user:{shop.owner_id}")

    async def test_a_canceled_order_goes_no_further(self, client, shop):
        order = await placed(shop)
        url = f"{ADMIN}/{order['id']}"
        await client.post(f"{url}/cancel", headers=shop.admin)
        for step in ("complete", "ship", "deliver", "fulfillments"):
            response = await client.post(f"{url}/{step}", headers=shop.admin)
            assert "cancel" in refused(response, 400), step
        assert len(await self.events(client, shop, order)) == 2

    async def test_nothing_ships_before_it_is_fulfilled(self, client, shop):
        order = await placed(shop)
        url = f"{ADMIN}/{order['id']}"
        for step in ("ship", "deliver"):
            refused(await client.post(f"{url}/{step}", headers=shop.admin), 400)
        await client.post(f"{url}/fulfillments", headers=shop.admin)
        refused(await client.post(f"{url}/fulfillments", headers=shop.admin), 400)
        for _ in range(2):
            response = await client.post(f"{url}/deliver", headers=shop.admin)
            assert response.json()["order"]["fulfillment_status"] == "delivered"
        refused(await client.post(f"{url}/ship", headers=shop.admin), 400)

    @pytest.mark.parametrize("reason", ["", "a\0b", "x" * 256, 5])
    async def test_a_reason_that_is_none(self, client, shop, reason):
        order = await placed(shop)
        url = f"{ADMIN}/{order['id']}/cancel"
        response = await client.post(url, headers=shop.admin, json={"reason": reason})
        refused(response, 400, place="/reason")

    @pytest.mark.parametrize(
        ("items", "place"),
        [
            ([], "/items"),
            ([{"id": "0" * 32, "quantity": 1}], "/items/0/quantity"),
            ([{"id": "LINE", "quantity": 0}], "/items/0/quantity"),
            ([{"id": "LINE", "quantity": 3}], "/items/0/quantity"),
            ([{"id": "LINE", "quantity": 2}, {"id": "LINE", "quantity": 1}], "/items/1/quantity"),
        ],
        ids=str,
    )
    async def test_more_than_was_ordered(self, client, shop, items, place):
        order = await placed(shop)
        line = order["items"][0]["id"]
        items = [{**item, "id": item["id"].replace("LINE", line)} for item in items]
        url = f"{ADMIN}/{order['id']}/fulfillments"
        response = await client.post(url, headers=shop.admin, json={"items": items})
        refused(response, 400, place=place)

    async def test_an_unknown_order(self, client, shop):
        for step in ("", "/complete", "/cancel", "/ship", "/deliver", "/fulfillments"):
            response = await client.post(f"{ADMIN}/{uuid4()}{step}", headers=shop.admin, json={})
            refused(response, 404)
