"""Which web pages may read a shop's answers."""

import pytest

from support.shapes import refused

PAGE = "https://shop.example"
EXPOSED = {"etag", "x-consistency-token", "ratelimit", "retry-after", "x-request-id"}


@pytest.fixture
async def listed(client, shop, hq):
    """A shop that lists one page."""
    answer = await client.post(
        f"/admin/tenants/{shop.tenant}", headers=shop.admin, json={"allowed_origins": [PAGE]}
    )
    assert answer.json()["tenant"]["allowed_origins"] == [PAGE]
    return shop


@pytest.mark.parametrize("path", ["/store/products", "/store/nothing"])
async def test_other_tenants_list_opens_nothing(client, listed, other_shop, path):
    headers = {**other_shop.store, "origin": PAGE}
    answer = await client.get(path, headers=headers)
    assert answer.status_code == (200 if path == "/store/products" else 404)
    assert "access-control-allow-origin" not in answer.headers


@pytest.mark.parametrize("path", ["/store/products", "/store/orders", "/store/nothing"])
async def test_a_listed_page(client, listed, path):
    """Refusals too, and answers given again without routing."""
    for _ in range(4):
        answer = await client.get(path, headers={**listed.store, "origin": PAGE})
        assert answer.headers["access-control-allow-origin"] == PAGE
        assert set(answer.headers["access-control-expose-headers"].split(", ")) >= EXPOSED
        assert "access-control-allow-credentials" not in answer.headers


@pytest.mark.parametrize("named", ["x-tenant-id", "x-publishable-api-key"])
@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/admin/products", 401),
        ("POST", "/auth/user/emailpass", 400),
        ("GET", "/nowhere", 404),
        ("PUT", "/store/products", 405),
    ],
)
async def test_a_refusal_before_the_shop_was_looked_up(client, listed, named, method, path, status):
    """A page that may not read it cannot tell a login that has run out from a broken network."""
    name = {"x-tenant-id": listed.tenant, **listed.store}[named]
    for origin in (PAGE, "https://evil.example"):
        headers = {named: name, "authorization": "Bearer x", "origin": origin}
        answer = await client.request(method, path, headers=headers)
        assert answer.status_code == status
        allowed = answer.headers.get("access-control-allow-origin")
        assert allowed == (PAGE if origin == PAGE else None)


async def test_a_refusal_that_names_no_shop(client, listed):
    for named in ({}, {"x-tenant-id": "nobody"}, {"x-publishable-api-key": "pk_x"}):
        answer = await client.get("/nowhere", headers={**named, "origin": PAGE})
        assert answer.status_code == 404
        assert "access-control-allow-origin" not in answer.headers


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://shop.example", "\xff"])
async def test_other_pages(client, listed, origin):
    for _ in range(4):
        headers = {**listed.store, "origin": origin.encode("latin-1")}
        answer = await client.get("/store/products", headers=headers)
        assert answer.status_code == 200
        assert "access-control-allow-origin" not in answer.headers
        # A cache between must not give one page what another was told.
        assert "origin" in answer.headers["vary"]


async def test_a_page_that_is_taken_off_the_list(client, listed):
    headers = {**listed.store, "origin": PAGE}
    for _ in range(4):
        assert PAGE in (await client.get("/store/products", headers=headers)).headers.values()
    await client.post(
        f"/admin/tenants/{listed.tenant}", headers=listed.admin, json={"allowed_origins": []}
    )
    answer = await client.get("/store/products", headers=headers)
    assert "access-control-allow-origin" not in answer.headers


async def test_preflight_needs_no_token_and_no_statement(client, runtime):
    served = sum(node.served for node in runtime.database.nodes.nodes)
    answer = await client.options(
        "/store/carts",
        headers={
            "origin": PAGE,
            "access-control-request-method": "POST",
            "access-control-request-headers": "x-publishable-api-key",
        },
    )
    assert answer.status_code == 204
    assert answer.headers["access-control-allow-origin"] == PAGE
    assert "x-publishable-api-key" in answer.headers["access-control-allow-headers"]
    assert "POST" in answer.headers["access-control-allow-methods"]
    assert "access-control-allow-credentials" not in answer.headers
    assert sum(node.served for node in runtime.database.nodes.nodes) == served


async def test_options_without_a_page(client):
    answer = await client.options("/store/carts")
    assert answer.headers["allow"]
    assert "access-control-allow-origin" not in answer.headers


@pytest.mark.parametrize(
    "origin", ["*", "https://", "shop.example", "https://shop.example/", "https://a b", "null"]
)
async def test_what_is_no_origin(client, shop, origin):
    answer = await client.post(
        f"/admin/tenants/{shop.tenant}", headers=shop.admin, json={"allowed_origins": [origin]}
    )
    refused(answer, 400, place="/allowed_origins/0")


async def test_other_tenants_list_is_not_theirs_to_change(client, shop, other_shop):
    answer = await client.post(
        f"/admin/tenants/{shop.tenant}",
        headers=other_shop.admin,
        json={"allowed_origins": [PAGE]},
    )
    assert answer.status_code == 404
