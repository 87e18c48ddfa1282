"""What a run must keep, and whether it did."""

import msgspec


class Targets(msgspec.Struct, frozen=True):
    """Milliseconds, and shares of 1."""

    name: str
    listing_p95: float
    order_p95: float
    permission_overhead: float
    hit_rate: float
    pool_use: float


TARGETS = {
    each.name: each
    for each in (
        Targets("development", 200, 500, 50, 0.70, 0.80),
        Targets("production", 100, 300, 20, 0.85, 0.70),
    )
}


class Check(msgspec.Struct, frozen=True):
    """``measured`` is None where there was nothing to measure it by, which is not met."""

    name: str
    measured: float | None
    limit: float
    unit: str
    met: bool


def below(name: str, measured: float | None, limit: float, unit: str = "ms") -> Check:
    return Check(name, measured, limit, unit, measured is not None and measured < limit)


def above(name: str, measured: float | None, limit: float, unit: str = "share") -> Check:
    return Check(name, measured, limit, unit, measured is not None and measured > limit)
