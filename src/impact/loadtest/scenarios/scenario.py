"""What the scenarios have in common."""

import abc
import random
from collections.abc import Sequence
from typing import ClassVar
from uuid import UUID

from impact.loadtest.scenarios.client import Visit
from impact.loadtest.scenarios.recording import Recording
from impact.loadtest.scenarios.shops import Left, Shop, Shops
from impact.loadtest.scenarios.targets import Check, Targets


class Scenario(abc.ABC):
    """One kind of load. ``visits`` and ``concurrency`` are the platform's own sizes; with ``rate``
    so many visits arrive each second (open loop)."""

    name: ClassVar[str]
    title: ClassVar[str]
    visits: ClassVar[int]
    concurrency: ClassVar[int]
    rate: ClassVar[float | None] = None

    def __init__(self, shops: Shops, tenant: str, noisy_tenant: str, seed: int) -> None:
        self._shops = shops
        self._tenant = tenant
        self._noisy_tenant = noisy_tenant
        self._seed = seed
        self._opened: list[Shop] = []

    async def _open(self, tenant: str) -> Shop:
        shop = await self._shops.open(tenant)
        self._opened.append(shop)
        return shop

    def _chance(self, visit: Visit) -> random.Random:
        """A visit does the same in each run with this seed, whoever makes it and when."""
        return random.Random(self._seed << 32 | visit.number)  # noqa: S311 - not a secret

    @abc.abstractmethod
    async def prepare(self) -> None:
        """Make what the load needs; nothing of it is measured."""

    @abc.abstractmethod
    async def visit(self, visit: Visit) -> None:
        """One arrival."""

    @abc.abstractmethod
    def checks(self, recording: Recording, targets: Targets) -> list[Check]:
        """The targets of its own."""

    async def clean(self) -> Left:
        """Remove what was made; what is left of it."""
        left = Left()
        for shop in self._opened:
            left.add(await shop.clean())
        return left


def basket(chance: random.Random, variants: Sequence[UUID], lines: int) -> list[dict[str, object]]:
    """So many lines of different variants."""
    return [
        {"variant_id": variant, "quantity": chance.choice((1, 1, 1, 2))}
        for variant in chance.sample(variants, lines)
    ]
