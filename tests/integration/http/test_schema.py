"""The API's own description, and the page that shows it."""

import re
from typing import Any

import httpx
import msgspec
import pytest
from litestar import Litestar

from impact.engine.http.contract import contract_of, handlers_of
from impact.engine.http.problems import ProblemDetails
from impact.openapi.examples import EXAMPLES


@pytest.fixture
async def description(client: httpx.AsyncClient) -> dict[str, Any]:
    response = await client.get("/schema/openapi.json")
    assert response.headers["content-type"] == "application/json"
    found: dict[str, Any] = response.json()
    return found


def operations(description: dict[str, Any]) -> list[tuple[str, str, dict[str, Any]]]:
    return [
        (path, method, operation)
        for path, methods in description["paths"].items()
        for method, operation in methods.items()
    ]


class TestOperations:
    async def test_every_route_is_described(self, app: Litestar, description):
        described = {(path, method.upper()) for path, method, _ in operations(description)}
        declared = {
            (route.path_format, method)
            for route, handler in handlers_of(app)
            if handler.resolve_include_in_schema()
            for method in handler.http_methods
        }
        assert described == declared
        assert len(described) > 100

    async def test_ids_are_unique(self, description):
        ids = [operation["operationId"] for _, _, operation in operations(description)]
        assert len(set(ids)) == len(ids)
        assert all(re.fullmatch("[a-z][A-Za-z]+", each) for each in ids)

    async def test_every_error_is_a_problem(self, description):
        for path, _, operation in operations(description):
            errors = {status for status in operation["responses"] if status >= "400"}
            assert {"400", "414"} <= errors, path
            for status in errors:
                shared = description["components"]["responses"][status]
                (kind,) = shared["content"]
                assert kind == "application/problem+json"
                schema = shared["content"][kind]["schema"]
                assert schema["$ref"].endswith(f"/{ProblemDetails.__name__}")

    @pytest.mark.parametrize(
        ("path", "method", "errors"),
        [
            ("/health", "get", "400 414"),
            ("/health/ready", "get", "400 414 503"),
            ("/admin/products", "get", "304 400 401 403 414 429 503"),
            ("/admin/products", "post", "400 401 403 408 409 413 414 415 429 503"),
            ("/admin/products/{id}", "delete", "400 401 403 404 408 409 412 413 414 415 429 503"),
            ("/store/orders", "post", "400 401 403 408 409 413 414 415 422 429 503"),
            ("/admin/reports/sales", "get", "304 400 401 403 406 414 429 503"),
            ("/auth/user/emailpass", "post", "400 401 403 408 413 414 415 429 503"),
        ],
    )
    async def test_the_errors_of_some(self, description, path, method, errors):
        answers = description["paths"][path][method]["responses"]
        assert sorted(status for status in answers if status != "200") == errors.split()

    async def test_who_may(self, description):
        paths = description["paths"]
        assert paths["/admin/products"]["get"]["security"] == [{"staff": []}, {"secretKey": []}]
        assert {} in paths["/store/products"]["get"]["security"]
        assert paths["/store/customers/me"]["get"]["security"] == [{"customer": []}]
        assert paths["/health"]["get"]["security"] == []

    async def test_links_lead_to_operations(self, description):
        ids = {operation["operationId"] for _, _, operation in operations(description)}
        links = [
            link
            for _, _, operation in operations(description)
            for link in operation["responses"].get("200", {}).get("links", {}).values()
        ]
        assert len(links) > 30
        assert {link["operationId"] for link in links} <= ids


class TestSchemas:
    async def test_what_is_refused_is_said_to_be(self, description):
        schemas = description["components"]["schemas"]
        for _, _, operation in operations(description):
            if "requestBody" in operation:
                schema = operation["requestBody"]["content"]["application/json"]["schema"]
                name = (schema.get("anyOf") or [schema])[0]["$ref"].rpartition("/")[2]
                assert schemas[name]["additionalProperties"] is False, name

    async def test_every_reference_is_there(self, description):
        text = msgspec.json.encode(description).decode()
        for reference in set(re.findall(r'"\$ref":"#/([^"]+)"', text)):
            found: Any = description
            for part in reference.split("/"):
                found = found[part]

    async def test_every_body_has_an_example_that_its_route_takes(self, app, description):
        bodies = {
            contract.body: contract.decoder
            for _, handler in handlers_of(app)
            if (contract := contract_of(handler)) and contract.decoder
        }
        for _, _, operation in operations(description):
            if "requestBody" in operation:
                assert operation["requestBody"]["content"]["application/json"]["example"]
        for kind, example in EXAMPLES.items():
            decoder = bodies.get(kind) or bodies[kind | None]
            assert decoder.decode(msgspec.json.encode(example)) is not None

    async def test_every_parameter_has_an_example(self, description):
        for path, _, operation in operations(description):
            for each in operation["parameters"]:
                if "$ref" not in each and each["name"] != "cursor":
                    assert "example" in each, (path, each["name"])

    async def test_order_says_what_it_takes(self, client, shop, description):
        (order,) = [
            each
            for each in description["paths"]["/admin/products"]["get"]["parameters"]
            if each.get("name") == "order"
        ]
        assert "-created_at" in order["schema"]["enum"]
        for value in order["schema"]["enum"]:
            response = await client.get(f"/admin/products?order={value}", headers=shop.admin)
            assert response.status_code == 200

    async def test_bounds_are_those_of_the_code(self, description):
        fields = description["components"]["schemas"]["CreateVariant"]["properties"]
        assert fields["inventory_quantity"]["maximum"] == 1_000_000_000
        assert fields["title"]["maxLength"] == 255

    async def test_a_selection_needs_the_id_alone(self, description):
        schemas = description["components"]["schemas"]
        assert schemas["ProductOutSelection"]["required"] == ["id"]
        assert "title" in schemas["ProductOut"]["required"]


class TestPage:
    async def test_it_shows_every_operation(self, client, description):
        response = await client.get("/schema")
        assert response.headers["content-type"] == "text/html; charset=utf-8"
        for _, _, operation in operations(description):
            assert f'id="{operation["operationId"]}"' in response.text

    async def test_it_loads_nothing(self, client):
        response = await client.get("/schema")
        assert "<script" not in response.text
        assert set(re.findall(r'(?:src|href)="([^"#]+)', response.text)) == {"/schema/openapi.json"}
        assert "default-src 'none'" in response.headers["content-security-policy"]

    async def test_links_in_it_lead_somewhere(self, client):
        text = (await client.get("/schema")).text
        ids = set(re.findall(r'id="([^"]+)"', text))
        assert set(re.findall(r'href="#([^"]+)"', text)) <= ids

    @pytest.mark.parametrize("path", ["/schema", "/schema/openapi.json"])
    async def test_it_is_sent_once(self, client, path):
        etag = (await client.get(path)).headers["etag"]
        response = await client.get(path, headers={"if-none-match": etag})
        assert (response.status_code, response.content) == (304, b"")
