"""The policies: how many requests of which class whom is allowed in which time.

``IMPACT_RATE_LIMITS`` changes them, for all tenants (``tenant-read=1000/60``) or for one
(``paris:tenant-read=1000/60``).
"""

import re
from collections.abc import Iterable, Iterator
from typing import Literal

import msgspec

from impact.errors import ConfigurationError
from impact.settings import variable

_ENTRY = re.compile(r"(?:([a-z][a-z0-9-]*):)?([a-z-]+)=(\d+)(?:/(\d+))?")
_MICROSECONDS = 1_000_000


RateClass = Literal["read", "write", "checkout", "report", "login", "refused", "free"]
"""What a request is counted as. ``refused`` are those that were let in nowhere: unknown paths,
tokens, keys and tenants. ``free`` is not counted: health checks alone."""


class Policy(msgspec.Struct, frozen=True):
    """``limit`` requests at once, and as many in each ``window`` of seconds; ``about`` says which.

    ``every`` is the time in which one request's worth comes back, in whole microseconds, so that
    sums of it are exact; rounded up, so that a window never lets more than ``limit`` come back.
    """

    name: str
    limit: int
    window: int
    about: str

    @property
    def every(self) -> int:
        return -(-self.window * _MICROSECONDS // self.limit)

    @property
    def header(self) -> str:
        """As ``RateLimit-Policy`` lists it."""
        return f'"{self.name}";q={self.limit};w={self.window}'


_MINUTE = 60
DEFAULTS = (
    Policy("tenant-read", 1_200_000, _MINUTE, "what a shop's callers read, all together"),
    Policy("tenant-write", 240_000, _MINUTE, "what a shop's callers write, all together"),
    Policy("tenant-checkout", 120_000, _MINUTE, "orders placed at a shop"),
    Policy("tenant-report", 60_000, _MINUTE, "reports and searches of the audit log of a shop"),
    Policy("caller-read", 600_000, _MINUTE, "what one caller reads"),
    Policy("caller-write", 120_000, _MINUTE, "what one caller writes"),
    Policy("caller-checkout", 60_000, _MINUTE, "orders placed by one caller"),
    Policy("caller-report", 30_000, _MINUTE, "reports and searches by one caller"),
    Policy("address-read", 60_000, _MINUTE, "what one address reads that belongs to no shop"),
    Policy("address-refused", 6_000, _MINUTE, "requests of one address that led nowhere"),
    Policy("login-address", 120, _MINUTE, "logins and registrations from one address"),
    Policy("login-account", 10, 10 * _MINUTE, "failed logins to one account from one address"),
    Policy("login-strangers", 100, 60 * _MINUTE, "logins to one account from unknown addresses"),
)
"""A caller's is half of the tenant's: no single one empties a shop's budget."""


class Policies:
    """The policies by tenant. Raises ConfigurationError for a setting that means nothing."""

    def __init__(self, changes: Iterable[str]) -> None:
        self._common = {policy.name: policy for policy in DEFAULTS}
        self._own: dict[tuple[str, str], Policy] = {}
        for tenant, policy in _read(changes, self._common):
            if tenant is None:
                self._common[policy.name] = policy
            else:
                self._own[tenant, policy.name] = policy

    def __iter__(self) -> Iterator[tuple[str, Policy]]:
        """All of them, with the tenant or ``*`` for everyone else."""
        for policy in self._common.values():
            yield "*", policy
        for (tenant, _), policy in sorted(self._own.items()):
            yield tenant, policy

    def of(self, tenant: str, name: str) -> Policy:
        return self._own.get((tenant, name)) or self._common[name]


def _read(entries: Iterable[str], known: dict[str, Policy]) -> Iterable[tuple[str | None, Policy]]:
    for entry in entries:
        found = _ENTRY.fullmatch(entry)
        if found is None or found[2] not in known:
            raise ConfigurationError(
                f"{variable('rate_limits')}: '{entry}' is not [tenant:]policy=limit[/seconds] with"
                f" a policy of {', '.join(known)}"
            )
        tenant, name, limit, window = found.groups()
        policy = msgspec.structs.replace(
            known[name], limit=int(limit), window=int(window or known[name].window)
        )
        if not (1 <= policy.limit <= 10**9 and 1 <= policy.window <= 86_400):
            raise ConfigurationError(
                f"{variable('rate_limits')}: '{entry}': a limit is 1 to 1,000,000,000, in 1 to"
                " 86,400 seconds"
            )
        yield tenant, policy
