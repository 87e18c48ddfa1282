"""A mixed day of two shops, of which one is noisy: it has three of four visits.

The other shop is judged: what a neighbour does must not be felt.
"""

import itertools
import random
from collections.abc import Awaitable, Callable
from uuid import UUID

import msgspec

from impact.loadtest.scenarios.client import Visit, decoded
from impact.loadtest.scenarios.recording import Recording
from impact.loadtest.scenarios.scenario import Scenario, basket
from impact.loadtest.scenarios.shops import Shop
from impact.loadtest.scenarios.targets import Check, Targets, below

_PRODUCTS = 10
_SHOWN = 60
_NOISE = 0.75
_WORDS = ("shirt", "wool", "navy", "coat", "linen", "jeans", "belt", "olive")


class _Id(msgspec.Struct):
    id: UUID


class _CartAnswer(msgspec.Struct):
    cart: _Id


class _Customers:
    """What comes to one shop."""

    def __init__(self, shop: Shop, shown: list[UUID], prefix: str) -> None:
        self.shop = shop
        self.prefix = prefix
        self._shown = shown
        # Zipf's law: the product of rank n is looked at 1/n times as often as the first.
        self._weights = list(itertools.accumulate(1 / rank for rank in range(1, len(shown) + 1)))

    async def browse(self, visit: Visit, chance: random.Random) -> None:
        await self._get(visit, "listing", "/store/products?limit=12")
        for _ in range(chance.randint(1, 3)):
            (product,) = chance.choices(self._shown, cum_weights=self._weights)
            await self._get(visit, "product", f"/store/products/{product}")

    async def search(self, visit: Visit, chance: random.Random) -> None:
        await self._get(visit, "search", f"/store/products?q={chance.choice(_WORDS)}&limit=12")

    async def buy(self, visit: Visit, chance: random.Random) -> None:
        store = self.shop.store
        body = {"email": f"shopper{visit.number}@example.com"}
        answer = await visit.call(self._kind("cart"), "POST", "/store/carts", store, body)
        if answer is None:
            return
        cart = f"/store/carts/{decoded(answer, _CartAnswer).cart.id}"
        for line in basket(chance, self.shop.variants, chance.randint(1, 3)):
            await visit.call(self._kind("add line"), "POST", f"{cart}/line-items", store, line)
        await self._get(visit, "cart", cart)
        await self.shop.order(visit, self._kind("order"), f"{cart}/complete", store)

    async def edit(self, visit: Visit, chance: random.Random) -> None:
        product = chance.choice(self.shop.products)
        await visit.call(
            self._kind("edit"),
            "POST",
            f"/admin/products/{product}",
            self.shop.admin,
            {"subtitle": f"Edited {visit.number}"},
        )

    async def report(self, visit: Visit, chance: random.Random) -> None:
        path = chance.choice(("sales?interval=day", "popular-products?limit=10"))
        await visit.call(self._kind("report"), "GET", f"/admin/reports/{path}", self.shop.admin)

    async def _get(self, visit: Visit, kind: str, path: str) -> None:
        await visit.call(self._kind(kind), "GET", path, self.shop.store)

    def _kind(self, kind: str) -> str:
        return self.prefix + kind


_Act = Callable[[_Customers, Visit, random.Random], Awaitable[None]]
_ACTS: dict[_Act, int] = {
    _Customers.browse: 62,
    _Customers.search: 15,
    _Customers.buy: 15,
    _Customers.edit: 5,
    _Customers.report: 3,
}
"""Of a hundred visits."""


class ShopDay(Scenario):
    name = "shop-day"
    title = "Mixed shop day"
    visits = 1000
    concurrency = 50
    # Visitors come whether or not others have been served. Half of what one worker can do on two
    # cores that it shares with PostgreSQL, Redis and the load: a busy day, and no overload.
    rate = 80.0

    async def prepare(self) -> None:
        self._quiet = await self._customers(self._tenant, "")
        self._noisy = await self._customers(self._noisy_tenant, "noisy: ")

    async def _customers(self, tenant: str, prefix: str) -> _Customers:
        shop = await self._open(tenant)
        await shop.stock(_PRODUCTS)
        return _Customers(shop, await shop.catalogue(_SHOWN), prefix)

    async def visit(self, visit: Visit) -> None:
        chance = self._chance(visit)
        customers = self._noisy if chance.random() < _NOISE else self._quiet
        (act,) = chance.choices(list(_ACTS), list(_ACTS.values()))
        await act(customers, visit, chance)

    def checks(self, recording: Recording, targets: Targets) -> list[Check]:
        return [
            below("quiet shop's listing, p95", recording.p95("listing"), targets.listing_p95),
            below("quiet shop's order, p95", recording.p95("order"), targets.order_p95),
        ]
