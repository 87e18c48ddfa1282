"""Packed bodies: as the client takes them, never below a size, never the streams."""

import zlib

import pytest

from impact.engine.http import encodings
from impact.engine.http.encodings import zstd

UNPACK = {
    "gzip": lambda body: zlib.decompress(body, 16 + zlib.MAX_WBITS),
    "zstd": zstd.decompress,
}


async def raw(client, path, headers, coding):
    """Status, headers and the bytes as they came."""
    async with client.stream("GET", path, headers={**headers, "accept-encoding": coding}) as answer:
        body = b"".join([part async for part in answer.aiter_raw()])
    return answer, body


@pytest.mark.parametrize("coding", ["gzip", "zstd"])
@pytest.mark.parametrize("path", ["/admin/products", "/admin/orders", "/schema/openapi.json"])
async def test_long_answers(client, shop, coding, path):
    """Cached, not cached, and the framework's own."""
    await shop.product(description="long " * 500)
    for _ in range(3):
        await shop.order(await shop.variant())
    plain, expected = await raw(client, path, shop.admin, "identity")
    assert "content-encoding" not in plain.headers
    for _ in range(3):
        answer, body = await raw(client, path, shop.admin, coding)
        assert answer.headers["content-encoding"] == coding
        assert int(answer.headers["content-length"]) == len(body) < len(expected)
        assert "accept-encoding" in answer.headers["vary"]
        assert UNPACK[coding](body) == expected


async def test_short_answers(client, shop):
    for path in ("/health/live", "/admin/collections"):
        answer, body = await raw(client, path, shop.admin, "gzip, zstd")
        assert "content-encoding" not in answer.headers
        assert len(body) < encodings.WORTH_PACKING


async def test_a_stream_is_left_alone(client, shop):
    answer, _ = await raw(client, "/admin/audit-logs/export", shop.admin, "gzip")
    assert answer.status_code == 200
    assert "content-length" not in answer.headers


async def test_head(client, shop):
    await shop.product(description="long " * 500)
    headers = {**shop.admin, "accept-encoding": "zstd"}
    answer = await client.head("/admin/products", headers=headers)
    assert answer.headers["content-encoding"] == "zstd"
    assert answer.content == b""
