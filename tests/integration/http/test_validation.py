"""What a route takes and nothing else: names, types, bounds, and all problems in one answer."""

import msgspec
import pytest

from impact.engine.http.contract import contract_of, handlers_of
from impact.engine.http.parameters import MOST_PARAMETERS, MOST_PROBLEMS
from impact.errors import Problem

PRODUCTS = "/admin/products"
CARTS = "/store/carts"
NOBODY = "00000000-0000-0000-0000-000000000000"


def problems(response, status=400):
    assert response.status_code == status, response.text
    return msgspec.convert(response.json().get("errors", []), list[Problem])


class TestParameters:
    async def test_an_unknown_one_is_told_with_the_nearest(self, client, shop):
        response = await client.get(f"{PRODUCTS}?limt=5", headers=shop.admin)
        (found,) = problems(response)
        assert found.message == "unknown parameter 'limt'; did you mean 'limit'?"
        assert found.parameter == "limt"

    async def test_one_like_no_other(self, client, shop):
        (found,) = problems(await client.get(f"{PRODUCTS}?zzz=5", headers=shop.admin))
        assert found.message == "unknown parameter 'zzz'"

    async def test_no_route_takes_what_it_does_not_know(self, app, client, shop, hq):
        """Every route, also one that takes no parameter at all."""
        asked = 0
        for route, handler in handlers_of(app):
            path = route.path_format.replace("{id}", NOBODY)
            for name in ("variant_id", "line_id", "address_id", "role_id"):
                path = path.replace(f"{{{name}}}", NOBODY)
            headers = {**shop.admin, **shop.store}
            if path.startswith("/ops/"):
                headers = hq
            elif path.startswith("/store"):
                login = {"email": f"{handler.name or asked}@x.test", "password": "long enough"}
                made = await client.post(
                    "/auth/customer/emailpass/register", headers=shop.store, json=login
                )
                headers = {**shop.store, "authorization": f"Bearer {made.json()['token']}"}
            (method,) = handler.http_methods
            response = await client.request(method, f"{path}?unheard_of=1", headers=headers)
            assert [each.parameter for each in problems(response)][:1] == ["unheard_of"], path
            asked += 1
        assert asked > 90

    @pytest.mark.parametrize(
        "query", ["limit=1&limit=2", "limit=5&q=a&limit=5", "%6cimit=1&limit=1"]
    )
    async def test_one_that_is_meant_once(self, client, shop, query):
        (found,) = problems(await client.get(f"{PRODUCTS}?{query}", headers=shop.admin))
        assert (found.parameter, "more than once" in found.message) == ("limit", True)

    async def test_one_that_may_be_repeated(self, client, shop):
        query = "status=draft&status=published&status[]=rejected"
        response = await client.get(f"{PRODUCTS}?{query}", headers=shop.admin)
        assert response.status_code == 200

    @pytest.mark.parametrize(
        "query",
        [
            "q=%ff%fe",
            "q=%zz",
            "q=100%",
            "q=%",
            "q=%00",
            "q=a%00b",
            "q=%ED%A0%80",
            "q=%C0%AF",
            "%ff=1",
        ],
    )
    async def test_bytes_that_are_no_text(self, client, shop, query):
        assert len(problems(await client.get(f"{PRODUCTS}?{query}", headers=shop.admin))) == 1

    async def test_too_many(self, client, shop):
        query = "&".join(["status=draft"] * (MOST_PARAMETERS + 1))
        found, *_ = problems(await client.get(f"{PRODUCTS}?{query}", headers=shop.admin))
        assert str(MOST_PARAMETERS) in found.message

    async def test_a_good_query_is_looked_at_once(self, app, client, shop):
        (contract,) = {
            id(found): found
            for route, handler in handlers_of(app)
            if route.path_format == PRODUCTS and "GET" in handler.http_methods
            if (found := contract_of(handler))
        }.values()
        contract.seen.clear()
        for query in ("limit=3", "limit=3", "limit=nothing", "limt=3"):
            await client.get(f"{PRODUCTS}?{query}", headers=shop.admin)
        # Its form is good and its type is not: types are judged each time.
        assert contract.seen == {b"limit=3", b"limit=nothing"}
        for number in range(1000):
            contract.remember(b"limit=%d" % number)
        assert len(contract.seen) <= 256

    async def test_what_medusa_sends_is_ignored_where_it_is_sent(self, client, shop):
        await shop.product()
        query = "region_id=reg_01&country_code=dk"
        response = await client.get(f"/store/products?{query}", headers=shop.store)
        assert len(response.json()["products"]) == 1
        assert len(problems(await client.get(f"{PRODUCTS}?{query}", headers=shop.admin))) == 2

    async def test_a_path_and_query_that_are_too_long(self, client, shop):
        for path in (f"/{'a' * 20_000}", f"{PRODUCTS}?q={'a' * 20_000}"):
            response = await client.get(path, headers=shop.admin)
            assert (response.status_code, response.json()["code"]) == (414, "address_too_long")
            assert response.headers["x-request-id"] == response.json()["request_id"]


class TestTogether:
    async def test_query_headers_and_body_in_one_answer(self, client, shop):
        response = await client.post(
            "/store/orders?expand=1",
            headers={**shop.store, "idempotency-key": "x" * 300},
            json={"email": "nobody", "lines": [{"variant_id": "x", "quantity": "2"}], "note": 1},
        )
        places = [each.pointer or each.parameter for each in problems(response)]
        assert places == [
            *("expand", "idempotency-key", "/email"),
            *("/lines/0/variant_id", "/lines/0/quantity", "/note"),
        ]

    async def test_parameters_of_handler_and_paging_in_one_answer(self, client, shop):
        query = "limit=0&offset=-1&id=1&status=sold&q=" + "x" * 201
        response = await client.get(f"{PRODUCTS}?{query}", headers=shop.admin)
        assert {each.parameter for each in problems(response)} == {
            *("limit", "offset", "id", "status", "q"),
        }

    async def test_every_problem_of_a_body(self, client, shop):
        body = {
            "titel": "x",
            "status": "sold",
            "tags": ["", "ok", 5],
            "variants": [
                {"title": "a", "prices": [{"currency_code": "EURO", "amount": -1}, {}]},
                {"titel": "b", "metadata": {"a": "\0"}},
                {"title": "c", "metadata": {"a": "\0"}},
                7,
            ],
            "images": "none",
        }
        found = problems(await client.post(PRODUCTS, headers=shop.admin, json=body))
        assert [each.pointer for each in found] == [
            *("/titel", "/status", "/tags/0", "/tags/2"),
            *("/variants/0/prices/0/currency_code", "/variants/0/prices/0/amount"),
            *("/variants/0/prices/1/currency_code", "/variants/0/prices/1/amount"),
            *("/variants/1/titel", "/variants/1/title", "/variants/2/metadata", "/variants/3"),
            *("/images", "/title"),
        ]
        assert found[0].message == "unknown field 'titel'; did you mean 'title'?"

    async def test_they_are_bounded(self, client, shop):
        body = {"title": "x", "tags": [1] * 90, "variants": [{}] * 400}
        response = await client.post(PRODUCTS, headers=shop.admin, json=body)
        assert len(problems(response)) == MOST_PROBLEMS
        assert len(response.content) < 10_000


class TestBodies:
    @pytest.mark.parametrize(
        ("body", "pointer"),
        [
            ({"weight": "2"}, "/weight"),
            ({"weight": 2.5}, "/weight"),
            ({"weight": True}, "/weight"),
            ({"discountable": "true"}, "/discountable"),
            ({"discountable": 1}, "/discountable"),
            ({"title": 5}, "/title"),
            ({"tags": "a"}, "/tags"),
            ({"collection_id": 5}, "/collection_id"),
        ],
    )
    async def test_types_are_strict(self, client, shop, body, pointer):
        body = {"title": "x", **body}
        found = problems(await client.post(PRODUCTS, headers=shop.admin, json=body))
        assert [each.pointer for each in found] == [pointer]

    @pytest.mark.parametrize(
        "kind",
        [
            *("text/plain", "application/xml", "application/octet-stream", "json", ""),
            *("application/jsonp", "application/json; charset=latin-1"),
        ],
    )
    async def test_another_media_type(self, client, shop, kind):
        headers = {**shop.admin, "content-type": kind}
        response = await client.post(PRODUCTS, headers=headers, content=b'{"title":"x"}')
        assert (response.status_code, response.json()["code"]) == (415, "unsupported_media_type")

    @pytest.mark.parametrize(
        "kind",
        ["application/json", "Application/JSON", 'application/json; charset="UTF-8"', None],
    )
    async def test_json_and_nothing_said(self, client, shop, kind):
        headers = {**shop.admin, **({} if kind is None else {"content-type": kind})}
        response = await client.post(PRODUCTS, headers=headers, content=b'{"title":"x"}')
        assert response.status_code == 200

    async def test_a_body_in_another_encoding(self, client, shop):
        headers = {**shop.admin, "content-encoding": "gzip"}
        response = await client.post(PRODUCTS, headers=headers, json={"title": "x"})
        assert response.status_code == 415

    @pytest.mark.parametrize("kind", ["text/plain", "application/json"])
    async def test_no_body_needs_no_media_type(self, client, shop, kind):
        response = await client.post(CARTS, headers={**shop.store, "content-type": kind})
        assert response.status_code == 200

    @pytest.mark.parametrize("body", [b'{"revoke_in":3600}', b"[]", b'""', b"x", b"{"])
    async def test_one_where_none_is_taken(self, client, shop, body):
        """Medusa revokes a key later where the body says so; here that must not be at once."""
        made = await client.post(
            "/admin/api-keys", headers=shop.admin, json={"title": "k", "type": "publishable"}
        )
        path = f"/admin/api-keys/{made.json()['api_key']['id']}"
        headers = {**shop.admin, "content-type": "application/json"}
        response = await client.post(f"{path}/revoke", headers=headers, content=body)
        assert problems(response) == [Problem("this route takes no body", pointer="")]
        found = await client.get(path, headers=shop.admin)
        assert found.json()["api_key"]["revoked_at"] is None
        for nothing in (b"{}", b" null "):
            response = await client.post(f"{path}/revoke", headers=headers, content=nothing)
            assert response.status_code == 200

    async def test_a_large_one_where_none_is_taken(self, client, shop, settings):
        path = f"/admin/api-keys/{NOBODY}/revoke"
        body = b" " * (settings.body_limit + 1)
        response = await client.post(path, headers=shop.admin, content=body)
        assert response.status_code == 413

    async def test_of_a_name_that_stands_twice_the_last_counts(self, client, shop):
        headers = {**shop.admin, "content-type": "application/json"}
        body = b'{"title":"first","title":"last"}'
        response = await client.post(PRODUCTS, headers=headers, content=body)
        assert response.json()["product"]["title"] == "last"

    @pytest.mark.parametrize("body", [b'{"title":"\\ud800"}', b'{"title":"x"}}', b"\xef\xbb\xbf{}"])
    async def test_what_json_does_not_allow(self, client, shop, body):
        headers = {**shop.admin, "content-type": "application/json"}
        response = await client.post(PRODUCTS, headers=headers, content=body)
        (found,) = problems(response)
        assert found.message.startswith("the body is not JSON: ")

    async def test_a_length_over_the_limit_is_refused_unread(self, client, shop, settings):
        read = []

        async def endless():
            read.append(1)
            yield b" "

        headers = {**shop.admin, "content-length": str(settings.body_limit + 1)}
        response = await client.post(PRODUCTS, headers=headers, content=endless())
        assert (response.status_code, response.json()["code"]) == (413, "body_too_large")


class TestHeaders:
    @pytest.mark.parametrize(
        "name", ["x-tenant-id", "authorization", "x-publishable-api-key", "x-consistency-token"]
    )
    async def test_one_that_is_sent_twice(self, client, shop, name):
        value = {**shop.admin, **shop.store}.get(name, shop.tenant)
        headers = [*shop.store.items(), (name, value), (name, value)]
        found = problems(await client.get("/store/products", headers=headers))
        assert name in [each.parameter for each in found]

    async def test_others_may_be(self, client, shop):
        headers = [*shop.store.items(), ("accept", "a/b"), ("accept", "*/*"), ("via", "a")]
        assert (await client.get("/store/products", headers=headers)).status_code == 200

    @pytest.mark.parametrize("key", ["", "x" * 256, "a b", "\xe9"])
    async def test_idempotency_key(self, client, shop, key):
        headers = {**shop.store, "idempotency-key": key.encode("latin-1")}
        body = {"lines": [{"variant_id": "0" * 32, "quantity": 1}]}
        (found,) = problems(await client.post("/store/orders", headers=headers, json=body))
        assert found.parameter == "idempotency-key"
