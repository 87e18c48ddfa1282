"""Budgets as one process knows them, and what answers say of them.

Headers: draft-ietf-httpapi-ratelimit-headers-10, "RateLimit header fields for HTTP".
"""

import asyncio
import math
import time

from impact.engine.limits.gcra import Share
from impact.engine.limits.policies import Policy


class Budget:
    """One bucket. ``leased`` tokens were taken from it and are this process's to spend."""

    __slots__ = (
        "_rate",
        "empty_until",
        "full_at",
        "key",
        "leased",
        "lock",
        "policy",
        "share",
        "wanted",
    )

    def __init__(self, policy: Policy, key: str, workers: int) -> None:
        self.policy = policy
        self.key = key
        self._rate = policy.limit / policy.window
        self.leased = 0
        self.wanted = 0
        """Requests that wait for a token."""
        self.full_at = 0.0
        self.empty_until = 0.0
        """Until then nobody can have a token: nobody need ask."""
        self.share = Share(max(1, policy.limit // workers), policy.window)
        self.lock = asyncio.Lock()

    def state(self, now: float) -> str:
        """As the header ``RateLimit`` says it: what is left, and the seconds until all is."""
        policy = self.policy
        if now < self.empty_until:
            return f'"{policy.name}";r=0;t={math.ceil(self.empty_until - now)}'
        wait = self.full_at - now
        if wait <= 0:
            return f'"{policy.name}";r={policy.limit};t=0'
        # What this process has leased counts as taken there, and comes back there all the same.
        left = min(policy.limit, int(policy.limit - wait * self._rate) + self.leased)
        return f'"{policy.name}";r={left};t={int(wait) + 1}'


class Budgets:
    """What one request is charged to: all of them, or none."""

    __slots__ = ("_policies", "all")

    def __init__(self, *budgets: Budget) -> None:
        self.all = budgets
        policies = ", ".join(budget.policy.header for budget in budgets)
        self._policies = (b"ratelimit-policy", policies.encode())

    def headers(self) -> list[tuple[bytes, bytes]]:
        now = time.monotonic()
        state = ", ".join([budget.state(now) for budget in self.all])
        return [self._policies, (b"ratelimit", state.encode())]
