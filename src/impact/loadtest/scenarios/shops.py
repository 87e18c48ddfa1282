"""The shops that the load is on: their tokens, and goods of the run's own that never sell out."""

import asyncio
import secrets
from collections.abc import Callable, Iterable, Mapping
from http import HTTPStatus
from typing import Any
from uuid import UUID

import msgspec

from impact.loadtest.scenarios.client import CannotRunError, Client, Visit, decoded

TAG = "loadtest"
"""What a run makes carries it, so that what an interrupted one left can be found."""
_STOCK = 1_000_000
_AT_ONCE = 8
_PATIENCE = 10.0
"""Seconds for one request that cleans up."""
_TRIES, _PAUSE = 100, 0.1
"""Looks for what replicas have, and seconds between them."""
_SIZES = ("S", "M", "L", "XL")


class _Id(msgspec.Struct):
    id: UUID


class _Product(_Id):
    variants: list[_Id]


class _ProductAnswer(msgspec.Struct):
    product: _Product


class _Products(msgspec.Struct):
    products: list[_Id]


class _UserAnswer(msgspec.Struct):
    user: _Id


class _OrderAnswer(msgspec.Struct):
    order: _Id


class Left(msgspec.Struct):
    """What a run leaves: ``orders`` were cancelled, which is all that can be done to them, and
    ``unanswered`` ones were under way when it was interrupted; ``unremoved`` are orders and goods
    that could not be cancelled or removed."""

    orders: int = 0
    unanswered: int = 0
    unremoved: int = 0

    def add(self, other: "Left") -> None:
        self.orders += other.orders
        self.unanswered += other.unanswered
        self.unremoved += other.unremoved


class Shop:
    """A shop that exists, with headers of its staff and of its storefront."""

    def __init__(self, client: Client, tenant: str, token: str) -> None:
        self.tenant = tenant
        self.admin = {"authorization": f"Bearer {token}", "x-tenant-id": tenant}
        self.store = {"x-tenant-id": tenant}
        self.products: list[UUID] = []
        """Made by this run."""
        self.variants: list[UUID] = []
        self._client = client
        self._orders: list[UUID] = []
        self._unanswered = 0
        self._users: list[UUID] = []

    async def check(self) -> None:
        """Raises CannotRunError where the token does not open the shop."""
        try:
            await self._client.ask("GET", "/admin/products?limit=1", self.admin)
        except CannotRunError as error:
            if error.answered not in {401, 403, 404}:
                raise
            raise CannotRunError(
                f"the server at {self._client.base} refuses the token for the shop"
                f" '{self.tenant}': {error.message}. Name the server's own data directory with"
                f" --data-dir, or give a token: --token {self.tenant}=TOKEN"
            ) from error

    async def stock(self, count: int) -> None:
        """Make that many products of four variants each. Orders of them are always possible: there
        is a million of each, and they may be sold beyond that."""
        run = secrets.token_hex(4)
        self.products, self.variants = [], []
        for number in range(count):
            answer = await self._client.ask(
                "POST", "/admin/products", self.admin, _product(f"{run}-{number}", number)
            )
            made = decoded(answer, _ProductAnswer).product
            self.products.append(made.id)
            self.variants += [variant.id for variant in made.variants]

    async def catalogue(self, limit: int) -> list[UUID]:
        """Products that the storefront shows, the newest first."""
        answer = await self._client.ask("GET", f"/store/products?limit={limit}", self.store)
        return [each.id for each in decoded(answer, _Products).products]

    async def user(self) -> UUID:
        """A new member of staff, who may do nothing."""
        body = {
            "email": f"{TAG}-{secrets.token_hex(6)}@example.com",
            "password": secrets.token_urlsafe(16),
        }
        answer = await self._client.ask("POST", "/admin/users", self.admin, body)
        made = decoded(answer, _UserAnswer).user.id
        self._users.append(made)
        return made

    async def until_known(self, user: UUID) -> None:
        """Wait until replicas have this member of staff too: callers without a token may read
        there. Raises CannotRunError where they stay behind."""
        body = {"permissions": ["product:read"], "user_id": user}
        for tries_left in reversed(range(_TRIES)):
            try:
                await self._client.ask("POST", "/admin/permissions/check", self.admin, body)
            except CannotRunError as error:
                if error.answered != HTTPStatus.NOT_FOUND or not tries_left:
                    raise
                await asyncio.sleep(_PAUSE)
            else:
                return

    async def order(
        self, visit: Visit, kind: str, path: str, headers: Mapping[str, str], body: Any = None
    ) -> None:
        """Place an order, and remember it, to cancel it in the end."""
        try:
            answer = await visit.call(kind, "POST", path, headers, body)
        except asyncio.CancelledError:
            self._unanswered += 1
            raise
        if answer is not None:
            self._orders.append(decoded(answer, _OrderAnswer).order.id)

    async def clean(self) -> Left:
        """Cancel the run's orders, remove its goods and users; what is left of them.

        Orders are never deleted, by nobody: cancelled ones remain and count in no report.
        """
        cancel = [("POST", f"/admin/orders/{id}/cancel", {"reason": TAG}) for id in self._orders]
        remove = [("DELETE", f"/admin/products/{id}", None) for id in self.products]
        remove += [("DELETE", f"/admin/users/{id}", None) for id in self._users]
        uncancelled = await self._all(cancel)
        left = Left(
            orders=len(cancel) - uncancelled,
            unanswered=self._unanswered,
            unremoved=uncancelled + await self._all(remove),
        )
        self._orders, self.products, self.variants, self._users = [], [], [], []
        self._unanswered = 0
        return left

    async def _all(self, requests: Iterable[tuple[str, str, Any]]) -> int:
        """Send them all, some at once; how many failed."""
        todo = iter(list(requests))
        failed = 0

        async def work() -> None:
            nonlocal failed
            for method, path, body in todo:
                try:
                    async with asyncio.timeout(_PATIENCE):
                        await self._client.ask(method, path, self.admin, body)
                except (TimeoutError, CannotRunError) as error:
                    failed += 1
                    if any(isinstance(e, TimeoutError) for e in (error, error.__cause__)):
                        # A server that hangs would be waited for again with each of the rest.
                        failed += sum(1 for _ in todo)

        await asyncio.gather(*(work() for _ in range(_AT_ONCE)))
        return failed


class Shops:
    """The shops by tenant, made when first asked for. ``token_of`` gives a token of staff."""

    def __init__(self, client: Client, token_of: Callable[[str], str]) -> None:
        self._client = client
        self._token_of = token_of

    async def open(self, tenant: str) -> Shop:
        """Raises CannotRunError where there is no such shop or its token is refused."""
        found = Shop(self._client, tenant, await asyncio.to_thread(self._token_of, tenant))
        await found.check()
        return found


def _product(key: str, number: int) -> dict[str, Any]:
    return {
        "title": f"Load test shirt {number}",
        "handle": f"{TAG}-{key}",
        "status": "published",
        "tags": [TAG],
        "options": [{"title": "Size", "values": list(_SIZES)}],
        "variants": [
            {
                "title": size,
                "options": {"Size": size},
                "prices": [{"currency_code": "eur", "amount": 1000 + number}],
                "inventory_quantity": _STOCK,
                "allow_backorder": True,
            }
            for size in _SIZES
        ],
    }
