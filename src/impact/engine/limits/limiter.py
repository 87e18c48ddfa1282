"""Rate limits: what a request costs whom, exact over all processes, nearly always without waiting.

A process leases tokens of a bucket in Redis and spends them by itself: a hundredth of what the
bucket holds while it is over half full, afterwards as many as requests wait. What was leased is
gone from the bucket, so all processes together never spend more than it gives.
"""

import asyncio
import contextlib
import math
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Self

import cachebox

from impact.context import RequestContext
from impact.engine.cache.remote import RedisAwayError, Remote
from impact.engine.limits.address import Addresses
from impact.engine.limits.budgets import Budget, Budgets
from impact.engine.limits.gcra import LEASE
from impact.engine.limits.policies import Policies, RateClass
from impact.engine.tasks import end
from impact.engine.telemetry.samples import Sample
from impact.errors import RateLimitedError
from impact.settings import Settings

_PATIENCE = 0.5
"""Seconds that a request waits for Redis, once: after that nobody asks it until a probe was
answered."""
_PROBE_EVERY = 0.5
_MOST = 10_000
"""Buckets that a process remembers; the least recently used make room."""


class Limiter:
    """One process's view. ``async with`` ends what it has begun."""

    def __init__(self, settings: Settings, remote: Remote | None) -> None:
        """Raises ConfigurationError for policies and proxies that mean nothing."""
        self._policies = Policies(settings.rate_limits)
        self.addresses = Addresses(settings)
        self._service = settings.cache_service
        self._workers = settings.workers
        self._on = settings.rate_limiting == "on"
        self._remote = remote
        self._away = remote is None
        self._probe_at = 0.0
        self._probes: list[asyncio.Task[None]] = []
        self._budgets: cachebox.LRUCache[str, Budget] = cachebox.LRUCache(_MOST)
        self._charges: cachebox.LRUCache[tuple[object, ...], Budgets] = cachebox.LRUCache(_MOST)
        self.asked = 0
        """Calls to Redis."""
        self._admitted: Counter[RateClass] = Counter()
        self._limited: Counter[RateClass] = Counter()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await end(self._probes)

    # Whom a request is charged to.

    async def charge(self, context: RequestContext, rate_class: RateClass) -> None:
        """Charge the request to its tenant and its caller, who were let in.

        A customer, user or key pays for itself, everybody else for their address. Raises
        RateLimitedError. A request that is run again is charged once.
        """
        if context.charged is None and not self.charge_now(context, rate_class):
            context.charged = found = self._of_caller(context, rate_class)
            await self._take(found.all, rate_class)

    def charge_now(self, context: RequestContext, rate_class: RateClass) -> bool:
        """The same where it needs no waiting; whether it did not."""
        if not self._on:
            return True
        id = context.actor.id
        caller = context.address if id is None else id.int
        found = self._charges.get((rate_class, context.tenant, caller))
        if found is None:
            return False
        for budget in found.all:
            if not budget.leased:
                return False
        for budget in found.all:
            budget.leased -= 1
        context.charged = found
        self._admitted[rate_class] += 1
        return True

    async def charge_address(self, context: RequestContext, rate_class: RateClass) -> None:
        """Charge a request to its client's address alone. Raises RateLimitedError."""
        if self._on and context.charged is None:
            context.charged = found = self._of_address(context.address, rate_class)
            await self._take(found.all, rate_class)

    def _of_caller(self, context: RequestContext, rate_class: RateClass) -> Budgets:
        id, tenant = context.actor.id, context.tenant
        name = (rate_class, tenant, context.address if id is None else id.int)
        found = self._charges.get(name)
        if found is None:
            found = self._charges[name] = Budgets(
                self._budget(tenant, f"tenant-{rate_class}", ""),
                self._budget(tenant, f"caller-{rate_class}", str(id or context.address)),
            )
        return found

    def _of_address(self, address: str, rate_class: RateClass) -> Budgets:
        found = self._charges.get((rate_class, address))
        if found is None:
            name = "login-address" if rate_class == "login" else f"address-{rate_class}"
            # No tenant is called so: a slot of its own, where nobody's budget is.
            budget = self._budget(f"@{address}", name, "")
            found = self._charges[rate_class, address] = Budgets(budget)
        return found

    async def charge_more(
        self, context: RequestContext, rate_class: RateClass, *more: tuple[str, str]
    ) -> None:
        """Charge budgets of the tenant's too: policy and subject of each. Raises
        RateLimitedError."""
        if self._on:
            added = [self._budget(context.tenant, *each) for each in more]
            before = context.charged.all if context.charged is not None else ()
            context.charged = Budgets(*before, *added)
            await self._take(added, rate_class)

    def refuses(self, context: RequestContext) -> bool:
        """Whether this address was refused so often that nothing new is looked up for it."""
        found = self._charges.get(("refused", context.address))
        if found is None:
            return False
        return time.monotonic() < found.all[0].empty_until

    def refuse(self, context: RequestContext) -> None:
        """Raise RateLimitedError for such an address."""
        context.charged = found = self._of_address(context.address, "refused")
        self._limited["refused"] += 1
        _refuse_empty(found.all[0])

    def forget(self, tenant: str, policy: str, subject: str) -> str:
        """The bucket's key, of which this process no longer knows anything."""
        key = self.key(tenant, policy, subject)
        self._budgets.pop(key, None)
        return key

    def _budget(self, tenant: str, policy: str, subject: str) -> Budget:
        key = self.key(tenant, policy, subject)
        found = self._budgets.get(key)
        if found is None:
            chosen = self._policies.of(tenant, policy)
            found = self._budgets[key] = Budget(chosen, key, self._workers)
        return found

    def key(self, tenant: str, policy: str, subject: str) -> str:
        """As Redis knows it. The braces keep a tenant's buckets on one node of a cluster."""
        return f"{self._service}:{{{tenant}}}:rate:{policy}:{subject}"

    # Taking tokens.

    async def _take(self, budgets: Sequence[Budget], rate_class: RateClass) -> None:
        """A token of each, or none and RateLimitedError."""
        try:
            await self._wait(budgets)
        except RateLimitedError:
            self._limited[rate_class] += 1
            raise
        self._admitted[rate_class] += 1

    async def _wait(self, budgets: Sequence[Budget]) -> None:
        for budget in budgets:
            budget.wanted += 1
        try:
            while missing := [budget for budget in budgets if not budget.leased]:
                away = self._is_away()
                for budget in missing:
                    _refuse_empty(budget)
                if away:
                    _take_shares(missing)
                    break
                await self._lease_missing(missing)
            for budget in budgets:
                if budget not in missing:
                    budget.leased -= 1
        finally:
            for budget in budgets:
                budget.wanted -= 1

    async def _lease_missing(self, missing: Sequence[Budget]) -> None:
        """One call to Redis at a time for a bucket: it serves all who wait meanwhile."""
        async with contextlib.AsyncExitStack() as stack:
            for budget in missing:
                await stack.enter_async_context(budget.lock)
            still = [budget for budget in missing if not budget.leased]
            now = time.monotonic()
            if still and not self._away and all(now >= budget.empty_until for budget in still):
                await self._lease(still)

    async def _lease(self, budgets: Sequence[Budget]) -> None:
        args: list[int] = []
        for budget in budgets:
            args += (budget.policy.every, budget.policy.limit, budget.wanted)
        try:
            answer = await self._ask([budget.key for budget in budgets], args)
        except RedisAwayError:
            self._away = True
            self._probe_at = time.monotonic() + _PROBE_EVERY
            return
        now = time.monotonic()
        if answer[0]:
            empty = budgets[answer[0] - 1]
            empty.empty_until = now + answer[1] / 1e6
            return
        for number, budget in enumerate(budgets):
            budget.leased += answer[2 * number + 1]
            budget.full_at = now + answer[2 * number + 2] / 1e6

    async def _ask(self, keys: Sequence[str], args: Sequence[int]) -> list[int]:
        if self._remote is None:
            raise RedisAwayError
        self.asked += 1
        # Not the breaker's word: that Redis takes 20 ms makes the cache do without it, but a
        # limit that is not exact is worse than one that takes long.
        answer: list[int] = await self._remote.script(
            LEASE, keys, args, patient=True, patience=_PATIENCE
        )
        return answer

    # Without Redis.

    def _is_away(self) -> bool:
        """Whether Redis is; now and then somebody finds out, while nobody waits."""
        if self._away and self._remote is not None and time.monotonic() >= self._probe_at:
            self._probe_at = time.monotonic() + _PROBE_EVERY
            self._probes = [task for task in self._probes if not task.done()]
            self._probes.append(asyncio.create_task(self._probe()))
        return self._away

    async def _probe(self) -> None:
        with contextlib.suppress(RedisAwayError):
            await self._ask([f"{self._service}:rate:probe"], [1, 1, 1])
            self._away = False

    # Figures.

    def samples(self) -> Iterator[Sample]:
        for outcome, counts in (("admitted", self._admitted), ("limited", self._limited)):
            for rate_class, count in counts.items():
                yield Sample("impact.rate.requests", count, (rate_class, outcome))
        if self._remote is not None:
            yield Sample("impact.breaker.open", float(self._away), ("rate-limit",))


def _refuse_empty(budget: Budget) -> None:
    left = budget.empty_until - time.monotonic()
    if left > 0:
        raise _used_up(budget, left)


def _used_up(budget: Budget, wait: float) -> RateLimitedError:
    policy, seconds = budget.policy, math.ceil(wait)
    return RateLimitedError(
        f"the budget '{policy.name}' is used up ({policy.about}: {policy.limit:,} in"
        f" {policy.window:,} s); come back in {seconds:,} s",
        retry_after=seconds,
    )


def _take_shares(budgets: Sequence[Budget]) -> None:
    """A token of this process's own share of each, or none and RateLimitedError."""
    now = time.monotonic()
    for budget in budgets:
        wait = budget.share.wait(now)
        if wait > 0:
            raise _used_up(budget, wait)
    for budget in budgets:
        budget.full_at = now + budget.share.take(now)
