"""Opening and keeping the shops of the platform."""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import select

from impact.context import HEADQUARTERS
from impact.domains.tenants.models import Tenant
from impact.domains.tenants.schemas import UpdateTenant
from impact.engine.db.session import WriteSession
from impact.engine.db.tenancy import validate_slug
from impact.engine.http.middleware import NO_TENANT
from impact.errors import ConflictError, ForbiddenError, InvalidDataError, NotFoundError, Problem

RESERVED_SLUGS = frozenset(
    {
        NO_TENANT,
        "admin",
        "all",
        "anonymous",
        "any",
        "api",
        "auth",
        "default",
        "health",
        "impact",
        "metrics",
        "null",
        "ops",
        "public",
        "root",
        "schema",
        "static",
        "store",
        "system",
        "undefined",
        "www",
    }
)
"""Names that mean something else in an address, a header or a log."""


def require_open_slug(slug: str) -> None:
    """Raise InvalidDataError for a slug that is malformed or reserved."""
    if validate_slug(slug) in RESERVED_SLUGS:
        message = f"'{slug}' is reserved"
        raise InvalidDataError(message, problems=[Problem(message, pointer="/id")])


async def open_tenant(
    session: WriteSession,
    slug: str,
    name: str,
    currency: str,
    settings: Mapping[str, Any] | None = None,
    allowed_origins: Sequence[str] = (),
) -> Tenant:
    """Enter a shop in the register, which only a session of headquarters may.

    Raises ForbiddenError for another's session, InvalidDataError for a slug that is malformed
    or reserved, ConflictError for one in use.
    """
    if session.tenant != HEADQUARTERS:
        raise ForbiddenError("only headquarters opens shops")
    require_open_slug(slug)
    tenant = Tenant(
        id=slug,
        name=name,
        currency_code=currency,
        settings=dict(settings or {}),
        allowed_origins=list(allowed_origins),
    )
    session.add(tenant)
    await session.flush(f"id '{slug}' already exists")
    return tenant


async def update_tenant(session: WriteSession, slug: str, data: UpdateTenant) -> None:
    """Change a shop: its own staff its name and settings, headquarters all of it.

    A suspended shop lets nobody in, from the next request on.
    """
    changes = data.changes()
    by_headquarters = session.context.actor.tenant == HEADQUARTERS
    for field in ("status", "currency_code"):
        if field in changes and not by_headquarters:
            raise ForbiddenError(f"only headquarters changes the {field} of a shop")
    if slug == HEADQUARTERS and changes.get("status") == "suspended":
        raise ConflictError("headquarters cannot be suspended: nobody could undo it")
    missing = f"Tenant with id '{slug}' not found"
    if session.tenant not in (slug, HEADQUARTERS):
        raise NotFoundError(missing)
    tenant = await session.one(select(Tenant).where(Tenant.id == slug).with_for_update(), missing)
    for name, value in changes.items():
        setattr(tenant, name, value)
    await session.flush()
