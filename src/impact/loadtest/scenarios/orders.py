"""Order creation: three lines of 160 variants, each order with an idempotency key."""

import secrets

from impact.loadtest.scenarios.client import Visit
from impact.loadtest.scenarios.recording import Recording
from impact.loadtest.scenarios.scenario import Scenario, basket
from impact.loadtest.scenarios.targets import Check, Targets, below

_KIND = "order"
_PRODUCTS = 40
_LINES = 3


class Orders(Scenario):
    name = "orders"
    title = "Order creation"
    visits = 500
    concurrency = 25

    async def prepare(self) -> None:
        self._shop = await self._open(self._tenant)
        self._run = secrets.token_hex(6)
        await self._shop.stock(_PRODUCTS)

    async def visit(self, visit: Visit) -> None:
        lines = basket(self._chance(visit), self._shop.variants, _LINES)
        headers = {**self._shop.store, "idempotency-key": f"{self._run}-{visit.number}"}
        body = {"email": f"shopper{visit.number}@example.com", "lines": lines}
        await self._shop.order(visit, _KIND, "/store/orders", headers, body)

    def checks(self, recording: Recording, targets: Targets) -> list[Check]:
        return [below("order, p95", recording.p95(_KIND), targets.order_p95)]
