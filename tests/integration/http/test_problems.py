"""What a bad request gets: problem details that say what is wrong and where (P9, RFC 9457)."""

import httpx
import msgspec
import pytest

from impact.engine.http.middleware import RequestMiddleware
from impact.engine.http.problems import ProblemDetails

PRODUCTS = "/admin/products"
HOST = (b"host", b"impact.test")


def problem(response: httpx.Response) -> ProblemDetails:
    """The details of a refusal, as strictly as a client may read them."""
    assert response.headers["content-type"] == "application/problem+json"
    details = msgspec.json.decode(response.content, type=ProblemDetails)
    assert details.status == response.status_code
    assert details.type == f"urn:impact:error:{details.code}"
    assert details.message == details.detail
    assert details.request_id == response.headers["x-request-id"]
    return details


async def post(client, shop, content, **headers):
    headers = {**shop.admin, "content-type": "application/json", **headers}
    return await client.post(PRODUCTS, headers=headers, content=content)


class TestPaths:
    @pytest.mark.parametrize("path", ["/", "/nowhere", "/admin/nowhere", "/store/nowhere"])
    async def test_unknown(self, client, path):
        details = problem(await client.get(path))
        assert (details.status, details.code, details.instance) == (404, "not_found", path)

    async def test_an_id_of_another_form(self, client, shop):
        details = problem(await client.get(f"{PRODUCTS}/prod_1", headers=shop.admin))
        assert details.status == 404

    @pytest.mark.parametrize(
        "path", ["/admin%2fproducts", "/admin/products%2F", "/admin%5Cproducts"]
    )
    async def test_a_separator_that_was_encoded(self, client, shop, path):
        """The router would take it for one."""
        assert problem(await client.get(path, headers=shop.admin)).status == 404

    async def test_an_id_that_is_written_otherwise(self, client, shop):
        """As no answer of ours writes it: a cache between would keep the thing more than once."""
        id = (await shop.product())["id"]
        bare = id.replace("-", "")
        for other in (bare, f"{{{id}}}", f"urn:uuid:{id}", f"%7B{id}%7D"):
            details = problem(await client.get(f"{PRODUCTS}/{other}", headers=shop.admin))
            assert details.status == 404, other
        for same in (id, id.upper()):
            response = await client.get(f"{PRODUCTS}/{same}", headers=shop.admin)
            assert response.status_code == 200

    @pytest.mark.parametrize("path", ["//admin/products", "/admin//products", "/admin/products//"])
    async def test_a_separator_that_is_repeated(self, client, shop, path):
        url = httpx.URL("http://impact.test", raw_path=path.encode())
        assert problem(await client.get(url, headers=shop.admin)).status == 404

    @pytest.mark.parametrize("headers", [True, False])
    async def test_a_method_that_is_not_there(self, client, shop, headers):
        response = await client.put(PRODUCTS, headers=shop.admin if headers else {})
        assert problem(response).status == 405
        allowed = {method.strip() for method in response.headers["allow"].split(",")}
        assert allowed == {"GET", "HEAD", "OPTIONS", "POST"}


class TestMethods:
    @pytest.mark.parametrize("path", [PRODUCTS, "/store/products", "/health"])
    async def test_options_need_no_token(self, client, shop, path):
        for headers in ({}, shop.admin if path == PRODUCTS else shop.store):
            response = await client.options(path, headers=headers)
            assert response.status_code == 204
            assert "GET" in response.headers["allow"]
            assert response.content == b""

    async def test_head_answers_as_get_without_the_body(self, client, shop):
        await shop.product()
        seen = await client.get(PRODUCTS, headers=shop.admin)
        response = await client.head(PRODUCTS, headers=shop.admin)
        assert response.status_code == 200
        assert response.headers["content-length"] == seen.headers["content-length"]
        assert (await client.head(PRODUCTS)).status_code == 401
        # A route that only writes has nothing to show.
        assert (await client.head("/store/carts", headers=shop.store)).status_code == 405

    async def test_head_sends_no_body(self, app):
        """By the bare protocol, as clients leave out the body of a HEAD by themselves."""
        sent = []

        async def receive():
            return {"type": "http.request", "body": b"", "more_body": False}

        async def send(message):
            sent.append(message)

        scope = {
            **{"type": "http", "method": "HEAD", "path": "/health", "raw_path": b"/health"},
            **{"query_string": b"", "headers": [HOST], "http_version": "1.1", "scheme": "http"},
            **{"server": ("impact.test", 80), "client": ("127.0.0.1", 1), "root_path": ""},
        }
        await app(scope, receive, send)
        assert sent[0]["status"] == 200
        assert b"".join(message.get("body", b"") for message in sent[1:]) == b""
        assert not sent[-1].get("more_body", False)


class TestBodies:
    @pytest.mark.parametrize("content", [b"{bad", b"title=x", b"", b"[1,", b"\xff", b"nul"])
    async def test_no_json(self, client, shop, content):
        details = problem(await post(client, shop, content))
        assert (details.status, details.code) == (400, "invalid_data")

    async def test_nothing_at_all(self, client, shop):
        details = problem(await client.post(PRODUCTS, headers=shop.admin))
        assert "body" in details.message
        assert [found.pointer for found in details.errors] == [""]

    @pytest.mark.parametrize("content", [b"[]", b'"x"', b"7", b"true"])
    async def test_another_kind_of_json(self, client, shop, content):
        details = problem(await post(client, shop, content))
        assert (details.status, details.errors[0].pointer) == (400, "")

    @pytest.mark.parametrize("kind", ["application/x-www-form-urlencoded", "multipart/form-data"])
    async def test_a_form(self, client, shop, kind):
        response = await post(client, shop, b"title=Shirt", **{"content-type": kind})
        assert problem(response).status == 415

    @pytest.mark.parametrize("content", [b'{"title":"\xff\xfe"}', b'{"title":"\xc3"}'])
    async def test_text_that_is_not_utf_8(self, client, shop, content):
        assert problem(await post(client, shop, content)).code == "invalid_data"

    @pytest.mark.parametrize("content", [b"[" * 100_000, b'{"metadata":' * 50_000])
    async def test_nested_without_end(self, client, shop, content):
        details = problem(await post(client, shop, content))
        assert (details.status, details.code) == (400, "invalid_data")

    async def test_a_body_that_is_too_large(self, client, shop, settings):
        response = await post(client, shop, b" " * (settings.body_limit + 1))
        assert problem(response).status == 413

    async def test_a_body_that_grows_too_large(self, client, shop, settings):
        async def chunks():
            for _ in range(settings.body_limit // 65_536 + 2):
                yield b" " * 65_536

        assert problem(await post(client, shop, chunks())).status == 413

    async def test_every_problem_has_its_place(self, client, shop):
        body = {"title": "x", "variants": [{"title": "v"}, {"title": ""}]}
        details = problem(await client.post(PRODUCTS, headers=shop.admin, json=body))
        assert details.errors[0].pointer == "/variants/1/title"
        assert "/variants/1/title" in details.message

    @pytest.mark.parametrize("options", [{"": "S"}, {"Size": 5}, {"a/b~": ""}, {"Size": None}])
    async def test_the_place_of_what_a_map_holds(self, client, shop, options):
        body = {"title": "x", "variants": [{"title": "v", "options": options}]}
        details = problem(await client.post(PRODUCTS, headers=shop.admin, json=body))
        (name,) = options
        place = f"/variants/0/options/{name.replace('~', '~0').replace('/', '~1')}"
        assert [found.pointer for found in details.errors] == [place]

    async def test_an_unknown_field(self, client, shop):
        body = {"title": "x", "colour": "red"}
        details = problem(await client.post(PRODUCTS, headers=shop.admin, json=body))
        assert (details.status, details.errors[0].pointer) == (400, "/colour")
        assert "unknown field 'colour'" in details.message


class TestParameters:
    @pytest.mark.parametrize(
        ("query", "parameter"),
        [
            ("limit=abc", "limit"),
            ("limit=", "limit"),
            ("limit=1.5", "limit"),
            ("offset=-1", "offset"),
            ("status[]=sold", "status"),
            ("id[0]=1", "id"),
            ("id%5B%5D=1", "id"),
            (f"q={'x' * 201}", "q"),
            (f"fields={'x' * 1001}", "fields"),
        ],
    )
    async def test_the_wrong_one_is_named(self, client, shop, query, parameter):
        details = problem(await client.get(f"{PRODUCTS}?{query}", headers=shop.admin))
        assert details.status == 400
        assert [found.parameter for found in details.errors] == [parameter]
        assert parameter in details.message

    @pytest.mark.parametrize("name", ["q", "handle", "sku", "external_id", "tag"])
    async def test_no_nul(self, client, shop, name):
        response = await client.get(PRODUCTS, headers=shop.admin, params={name: "a\0b"})
        assert problem(response).status == 400

    async def test_brackets_leave_the_bytes_beside_them_alone(self, runtime):
        seen = []

        async def app(scope, receive, send):
            seen.append(scope["query_string"])

        for query in (b"id[]=1&q=\xc3\xa9", b"a=%5Bx%5D&b[0]=2", b"plain=1", b"q=[1]&c%5b%5d=[]"):
            scope = {
                **{"type": "http", "http_version": "1.1", "method": "GET", "path": "/"},
                "headers": [HOST],
            }
            scope["query_string"] = query
            await RequestMiddleware(app, lambda: runtime)(scope, None, None)
        assert seen == [b"id=1&q=\xc3\xa9", b"a=%5Bx%5D&b=2", b"plain=1", b"q=[1]&c=[]"]


class TestHeaders:
    @pytest.mark.parametrize("path", ["/health", PRODUCTS])
    async def test_two_hosts(self, client, shop, path):
        headers = [("host", "a.test"), ("host", "b.test"), *shop.admin.items()]
        assert problem(await client.get(path, headers=headers)).status == 400

    async def test_a_body_of_two_lengths(self, client, shop):
        headers = {**shop.admin, "content-length": "2", "transfer-encoding": "chunked"}
        response = await client.post(PRODUCTS, headers=headers, content=b"{}")
        assert problem(response).status == 400

    async def test_a_transfer_coding_that_nobody_undoes(self, client, shop):
        async def parts():
            yield b"{}"

        headers = {**shop.admin, "transfer-encoding": "gzip, chunked"}
        response = await client.post(PRODUCTS, headers=headers, content=parts())
        assert problem(response).status == 400

    async def test_every_answer_is_hardened(self, client, shop):
        for path in ("/health", "/nowhere", PRODUCTS, "/ops", "/schema", "/metrics"):
            response = await client.get(path)
            assert response.headers["x-content-type-options"] == "nosniff"
            assert response.headers["referrer-policy"] == "no-referrer"
            assert response.headers["x-frame-options"] == "DENY"
            assert "frame-ancestors 'none'" in response.headers["content-security-policy"]

    async def test_the_request_id_comes_back(self, client):
        response = await client.get("/nowhere", headers={"x-request-id": "trace-1.2:3_4"})
        assert problem(response).request_id == "trace-1.2:3_4"

    @pytest.mark.parametrize("given", [b"", b"a b", b"x" * 129, b"<script>", b"\xe9", b"a\n"])
    async def test_a_request_id_that_is_not_taken(self, client, given):
        one, two = [await client.get("/health", headers={b"x-request-id": given}) for _ in range(2)]
        assert one.headers["x-request-id"].encode() != given
        assert one.headers["x-request-id"] != two.headers["x-request-id"]

    async def test_who_is_not_let_in_learns_how(self, client):
        response = await client.get(PRODUCTS)
        assert problem(response).status == 401
        assert response.headers["www-authenticate"].startswith("Bearer")
