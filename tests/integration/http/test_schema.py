"""The API's own description."""

import httpx
import pytest


@pytest.mark.parametrize("path", ["/schema", "/schema/openapi.json"])
async def test_the_description_is_json_and_needs_no_internet(
    client: httpx.AsyncClient, path: str
) -> None:
    response = await client.get(path)
    assert response.status_code == 200
    description = response.json()
    assert description["openapi"].startswith("3.1")
    assert "/admin/products/{id}" in description["paths"]
    assert "ProductOut" in str(description["components"]["schemas"])
