"""A shop's configuration, which every request to it needs."""

import msgspec

from impact.engine.cache.invalidation import Effect, declare
from impact.engine.cache.kinds import TtlClass, struct_kind
from impact.engine.db.consistency import FRESH

declare("tenant", Effect("tenant", tenant="id"))


class TenantConfig(msgspec.Struct, frozen=True, array_like=True):
    """What a request must know of its shop."""

    status: str
    currency_code: str
    allowed_origins: frozenset[str] = frozenset()


config = struct_kind(
    "tenant",
    TtlClass.TENANT,
    TenantConfig,
    # A shop that was suspended lets nobody in within a second, also where a replica lags.
    consistency=FRESH,
)
