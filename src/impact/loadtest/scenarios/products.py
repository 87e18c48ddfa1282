"""Product listing: the storefront's first page."""

from impact.loadtest.scenarios.client import Visit
from impact.loadtest.scenarios.recording import Recording
from impact.loadtest.scenarios.scenario import Scenario
from impact.loadtest.scenarios.targets import Check, Targets, below

_KIND = "listing"


class Products(Scenario):
    name = "products"
    title = "Product listing"
    visits = 1000
    concurrency = 50

    async def prepare(self) -> None:
        self._shop = await self._open(self._tenant)

    async def visit(self, visit: Visit) -> None:
        await visit.call(_KIND, "GET", "/store/products", self._shop.store)

    def checks(self, recording: Recording, targets: Targets) -> list[Check]:
        return [below("listing, p95", recording.p95(_KIND), targets.listing_p95)]
