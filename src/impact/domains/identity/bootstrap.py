"""What a new tenant begins with: the standard roles, its owner and a key for its storefront."""

from uuid import UUID

import msgspec

from impact.context import HEADQUARTERS
from impact.domains.identity.keys import new_key
from impact.domains.identity.models import AdminUser, Role, RoleAssignment
from impact.domains.identity.repository import RoleRepository
from impact.domains.identity.service import policies
from impact.engine.db.base import new_id
from impact.engine.db.session import WriteSession

STANDARD_ROLES: dict[str, tuple[str, tuple[str, ...]]] = {
    "owner": ("Everything", ("*:*",)),
    "manager": (
        "Runs the shop",
        (
            "product:*",
            "category:*",
            "collection:*",
            "inventory:*",
            "order:*",
            "customer:*",
            "report:read",
        ),
    ),
    "support": (
        "Helps customers with their orders",
        ("order:read", "order:update", "customer:read", "product:read"),
    ),
    "analyst": ("Reads the reports", ("report:read", "product:read", "order:read")),
}
"""Each standard role's description and permissions, by name."""


class Bootstrapped(msgspec.Struct, frozen=True):
    """What was made. The token of the publishable key is shown here alone."""

    owner_id: UUID
    publishable_token: str


async def bootstrap(
    session: WriteSession,
    *,
    email: str,
    password_hash: str,
    first_name: str | None = None,
    last_name: str | None = None,
) -> Bootstrapped:
    """Make the standard roles that are missing, an owner and a publishable key.

    The owner of headquarters owns every shop: there the role spans tenants. Raises
    ConflictError where a user has the e-mail already.
    """
    roles = await RoleRepository(session).named(list(STANDARD_ROLES))
    for name, (description, permissions) in STANDARD_ROLES.items():
        if name not in roles:
            roles[name] = Role(
                id=new_id(), name=name, description=description, policies=policies(permissions)
            )
            session.add(roles[name])
    owner = AdminUser(
        id=new_id(),
        email=email,
        password_hash=password_hash,
        first_name=first_name,
        last_name=last_name,
    )
    key, token = new_key(session.tenant, "Storefront", "publishable", None)
    session.add(owner, key)
    await session.flush()
    session.add(
        RoleAssignment(
            user_id=owner.id,
            role_id=roles["owner"].id,
            spans_tenants=session.tenant == HEADQUARTERS,
        )
    )
    await session.flush()
    return Bootstrapped(owner_id=owner.id, publishable_token=token)
