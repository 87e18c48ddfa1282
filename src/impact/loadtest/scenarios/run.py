"""One scenario after the other, each judged."""

import datetime as dt
from collections.abc import Callable, Sequence

import msgspec

from impact.engine.interrupts import uninterrupted
from impact.loadtest.scenarios.client import Client, opened
from impact.loadtest.scenarios.driver import Load, drive
from impact.loadtest.scenarios.orders import Orders
from impact.loadtest.scenarios.permissions import Permissions
from impact.loadtest.scenarios.products import Products
from impact.loadtest.scenarios.report import Report, ScenarioReport, machine
from impact.loadtest.scenarios.scenario import Scenario
from impact.loadtest.scenarios.server import ServerFigures, watched
from impact.loadtest.scenarios.shop_day import ShopDay
from impact.loadtest.scenarios.shops import Left, Shops
from impact.loadtest.scenarios.targets import Check, Targets, above, below

SCENARIOS: dict[str, type[Scenario]] = {
    each.name: each for each in (Products, Orders, Permissions, ShopDay)
}
_OWN_CONNECTIONS = 10
"""For looking at /metrics, beside the callers'."""


class Plan(msgspec.Struct, frozen=True):
    """What to run. What is None of the load is the scenario's own; ``timeout`` is of a request, in
    seconds; ``token_of`` gives a bearer token of a tenant's staff."""

    url: str
    scenarios: Sequence[str]
    targets: Targets
    token_of: Callable[[str], str]
    tenant: str = "paris"
    noisy_tenant: str = "lyon"
    visits: int | None = None
    concurrency: int | None = None
    rate: float | None = None
    closed_loop: bool = False
    duration: float | None = None
    warm_up: int | None = None
    timeout: float = 30.0
    metrics_token: str | None = None
    seed: int = 1

    def load(self, scenario: type[Scenario]) -> Load:
        """A duration ends a run by time alone, unless a number of visits is asked for as well."""
        own = None if self.duration is not None else scenario.visits
        tenth = (self.visits or scenario.visits) // 10
        return Load(
            concurrency=self.concurrency or scenario.concurrency,
            visits=self.visits or own,
            rate=None if self.closed_loop else self.rate or scenario.rate,
            duration=self.duration,
            warm_up=tenth if self.warm_up is None else self.warm_up,
        )


async def run(
    plan: Plan, progress: Callable[[str, float | None], object], left: Left | None = None
) -> Report:
    """Raises CannotRunError where the server, a shop or /metrics is not to be had.

    ``left`` holds what remains also where the run ends early; a signal waits for the cleaning.
    """
    began, where = dt.datetime.now(dt.UTC), machine()
    left = Left() if left is None else left
    found = []
    for name in plan.scenarios:
        kind = SCENARIOS[name]
        load = plan.load(kind)
        connections = load.concurrency + _OWN_CONNECTIONS
        async with opened(plan.url, connections=connections, timeout=plan.timeout) as client:
            await client.ask("GET", "/health/ready", {})
            scenario = kind(Shops(client, plan.token_of), plan.tenant, plan.noisy_tenant, plan.seed)
            found.append(await _one(plan, scenario, load, client, progress, left))
    return Report(plan.url, plan.targets, began, where, found)


async def _one(
    plan: Plan,
    scenario: Scenario,
    load: Load,
    client: Client,
    progress: Callable[[str, float | None], object],
    left: Left,
) -> ScenarioReport:
    own = Left()
    try:
        progress(f"{scenario.title}: making what it needs", None)
        await scenario.prepare()
        if load.warm_up:
            # A server that has just started opens its connections and plans its statements.
            progress(f"{scenario.title}: warming up", None)
            warming = Load(load.concurrency, visits=load.warm_up)
            await drive(warming, client, scenario.visit, lambda _: None)
        async with watched(client, plan.metrics_token) as server:
            recording, effort = await drive(
                load, client, scenario.visit, lambda share: progress(scenario.title, share)
            )
    finally:
        progress(f"{scenario.title}: cleaning up", None)
        with uninterrupted():
            own = await scenario.clean()
            left.add(own)
    checks = [*scenario.checks(recording, plan.targets), *_common(server, plan.targets)]
    return ScenarioReport(
        name=scenario.name,
        title=scenario.title,
        loop="closed" if load.rate is None else "open",
        load=load,
        requests=recording.requests,
        failed=recording.failed,
        per_second=round(recording.requests / effort.seconds, 1),
        kinds=recording.figures(),
        over_time=recording.slices(),
        failures=dict(recording.failures.most_common()),
        server=server,
        client=effort,
        checks=checks,
        met=not recording.failed and all(check.met for check in checks),
        left=own.unremoved,
    )


def _common(server: ServerFigures, targets: Targets) -> list[Check]:
    """A run that looks nothing up has no hit rate to judge."""
    found = [below("connections in use, mean", server.pool_use, targets.pool_use, "share")]
    if server.hit_rate is not None:
        found.append(above("cache hit rate", server.hit_rate, targets.hit_rate))
    return found
