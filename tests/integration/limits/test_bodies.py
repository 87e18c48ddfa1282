"""Bodies that do not come keep nobody out."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from litestar import Litestar

from impact.settings import Settings
from integration.limits.test_requests import at, limited
from support.shops import Shop

MOST = 3
LIST = "/store/products"


@pytest.fixture
async def small(settings: Settings) -> AsyncIterator[Litestar]:
    async with limited(settings, requests_max=MOST, body_timeout=60.0) as made:
        yield made


async def slow(app: Litestar, client: httpx.AsyncClient, shop: Shop) -> asyncio.Task[Any]:
    """A request that sends the first byte of its body and no more."""
    bodies = app.state.runtime.bodies
    before = bodies.awaited

    async def endless() -> AsyncIterator[bytes]:
        yield b"{"
        await asyncio.Event().wait()

    asked = asyncio.create_task(client.post("/store/carts", headers=shop.store, content=endless()))
    while bodies.awaited == before and not asked.done() and before < MOST:  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    return asked


async def test_other_shops_are_served_meanwhile(
    small: Litestar, shop: Shop, other_shop: Shop
) -> None:
    async with at(small) as client:
        waiting = [await slow(small, client, shop) for _ in range(MOST)]
        for method, path in (("GET", LIST), ("POST", "/store/carts")):
            answer = await client.request(method, path, headers=other_shop.store)
            assert answer.status_code == 200
        # One of them made room for the body that came.
        assert small.state.runtime.bodies.awaited == MOST - 1
        for each in waiting:
            each.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
    assert small.state.runtime.bodies.awaited == 0


async def test_one_too_many_ends_the_longest_wait(small: Litestar, shop: Shop) -> None:
    async with at(small) as client:
        waiting = [await slow(small, client, shop) for _ in range(MOST)]
        latest = await slow(small, client, shop)
        answer = await waiting[0]
        assert (answer.status_code, answer.json()["code"]) == (408, "request_timeout")
        assert small.state.runtime.bodies.awaited == MOST
        assert not any(each.done() for each in (*waiting[1:], latest))
        for each in (*waiting, latest):
            each.cancel()
        await asyncio.gather(*waiting, latest, return_exceptions=True)
