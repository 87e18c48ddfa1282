"""Permission checks, and what a permission costs a request.

One check in twenty is *cold*: it asks for another user's permissions, which are never taken from
the cache. The others are the caller's own, as each request's guard resolves them. After every
fifth check the same list is asked for twice, by staff, behind a token and a permission, and by the
storefront, which needs neither.

The overhead is a difference of means under this load, of requests that stand in one queue: the
staff's list over the storefront's for a warm permission (with the reading of the token and all else
that stands between the two), the cold check over the warm one for a cold permission. A difference
of means is the mean of what it costs; that of two percentiles is no percentile of anything.
"""

from impact.loadtest.scenarios.client import Visit
from impact.loadtest.scenarios.recording import Recording
from impact.loadtest.scenarios.scenario import Scenario
from impact.loadtest.scenarios.targets import Check, Targets, below

_WARM, _COLD = "check, warm", "check, cold"
_STAFF, _PUBLIC = "list, with a permission", "list, without"
_COLD_EVERY, _LISTS_EVERY = 20, 5
_WANTED = ["product:read", "order:update", "report:read", "user:delete"]


class Permissions(Scenario):
    name = "permissions"
    title = "Permission checks"
    visits = 5000
    concurrency = 100

    async def prepare(self) -> None:
        self._shop = await self._open(self._tenant)
        self._other = await self._shop.user()
        await self._shop.until_known(self._other)

    async def visit(self, visit: Visit) -> None:
        path, headers = "/admin/permissions/check", self._shop.admin
        if visit.number % _COLD_EVERY == 0:
            body = {"permissions": _WANTED, "user_id": self._other}
            await visit.call(_COLD, "POST", path, headers, body)
        else:
            await visit.call(_WARM, "POST", path, headers, {"permissions": _WANTED})
        if visit.number % _LISTS_EVERY == 1:
            lists = [
                (_STAFF, "/admin/products?limit=1", self._shop.admin),
                (_PUBLIC, "/store/products?limit=1", self._shop.store),
            ]
            # In turns, as the second is asked for by a caller that waits no more.
            if visit.number % (2 * _LISTS_EVERY) == 1:
                lists.reverse()
            for kind, list_path, own in lists:
                await visit.call(kind, "GET", list_path, own)

    def checks(self, recording: Recording, targets: Targets) -> list[Check]:
        return [
            below(
                f"permission overhead, {name}",
                _difference(recording, with_it, without),
                targets.permission_overhead,
            )
            for name, with_it, without in (("warm", _STAFF, _PUBLIC), ("cold", _COLD, _WARM))
        ]


def _difference(recording: Recording, more: str, less: str) -> float | None:
    """Never below 0: where noise is larger than the difference there is none to be seen."""
    high, low = recording.mean(more), recording.mean(less)
    return None if high is None or low is None else round(max(0.0, high - low), 3)
