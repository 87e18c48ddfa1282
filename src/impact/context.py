"""RequestContext: who asks, for which tenant, and what they have already seen.

It travels explicitly: a session is opened *with* a context, so nothing can run without a tenant.
"""

import enum
import uuid
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

HEADQUARTERS = "hq"
"""The tenant whose roles may span tenants."""


class ActorKind(enum.StrEnum):
    ANONYMOUS = "anonymous"
    USER = "user"
    CUSTOMER = "customer"
    API_KEY = "api-key"
    SYSTEM = "system"


@dataclass(frozen=True, slots=True)
class Actor:
    """Who acts. ``tenant`` is where the identity lives, which for hq staff is not the tenant
    acted upon."""

    kind: ActorKind
    tenant: str
    id: UUID | None = None

    def __str__(self) -> str:
        """As change records name it, e.g. ``user:0199...`` or ``anonymous``."""
        return self.kind.value if self.id is None else f"{self.kind.value}:{self.id}"


@dataclass(frozen=True, slots=True)
class Claims:
    """What a valid token says: who, since when and until when (seconds since 1970), and what they
    have seen. ``logged_in`` is when the password was given, of which it may be a renewal."""

    actor: Actor
    logged_in: float
    issued: float
    expires: float
    seen: int
    raised_at: int

    @property
    def login(self) -> str:
        """The login's name in its account: when it was, in milliseconds."""
        return f"{self.logged_in * 1000:.0f}"


@dataclass(slots=True)
class RequestContext:
    """The state of one request or job.

    ``token`` is the WAL position the caller has seen (P2); a write raises it. ``raised_at`` is
    when the cache was told of that write, by Redis's clock in microseconds; 0 where it was not.
    ``node`` is the database node this request is pinned to (P1), chosen at its first read and
    opaque here; ``lost_nodes`` failed under it. ``round_trips`` counts the messages it waited
    for, and ``admitted`` says that the tenant is one that exists, rather than what somebody sent.
    ``pool_wait_ms`` is how long it waited for its last connection. ``trace`` notes what it does,
    where somebody wants to know (``impact.engine.telemetry.trace``). ``coding`` is how the answer
    may be packed; ``origin`` is the page that asks, where a browser says so, and
    ``allowed_origins`` are those that may read the shop's answers. ``if_match`` is what the
    caller of a change believes, until it has been checked. ``facts`` are the cache's entries that
    answered so far, None once something else did; ``from_cache`` says that the answer's body is
    the last of them. ``address`` is the client's; ``charged`` are the budgets that pay for the
    request, once that is known, and ``rate_class`` what it is counted as
    (``impact.engine.limits``). ``urgent`` work may have the connections that are kept for it.
    """

    tenant: str
    actor: Actor
    request_id: str = field(default_factory=lambda: uuid.uuid4().hex)
    currency_code: str = "eur"
    reason: str | None = None
    token: int = 0
    raised_at: int = 0
    wrote: bool = False
    node: object | None = None
    lost_nodes: set[object] = field(default_factory=set)
    round_trips: int = 0
    coding: str = ""
    origin: str = ""
    allowed_origins: frozenset[str] = frozenset()
    if_none_match: str | None = None
    if_match: str | None = None
    claims: Claims | None = None
    facts: list[Any] | None = None
    from_cache: bool = False
    admitted: bool = False
    trace: Any = None
    pool_wait_ms: float = 0.0
    address: str = ""
    charged: Any = None
    rate_class: Any = None
    urgent: bool = False

    def see(self, token: int, raised_at: int) -> None:
        """The caller has seen this position too, and the cache was told of it then."""
        if token > self.token:
            self.token, self.raised_at = token, raised_at

    def for_tenant(self, tenant: str) -> "RequestContext":
        """The same request, looking at another tenant's rows, for example its caller's home."""
        return RequestContext(
            tenant=tenant,
            actor=self.actor,
            request_id=self.request_id,
            currency_code=self.currency_code,
            reason=self.reason,
            token=self.token,
            raised_at=self.raised_at,
            node=self.node,
            lost_nodes=self.lost_nodes,
            trace=self.trace,
        )


def system_context(tenant: str, reason: str) -> RequestContext:
    """A context for a command or a job that acts for no user."""
    return RequestContext(tenant=tenant, actor=Actor(ActorKind.SYSTEM, tenant), reason=reason)


NOBODY = UUID(int=0)


def shopper(context: RequestContext) -> UUID:
    """Whose carts and orders the caller may see beside guests': the customer, or nobody."""
    actor = context.actor
    return actor.id if actor.kind is ActorKind.CUSTOMER and actor.id else NOBODY
