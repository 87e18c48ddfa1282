"""The write side of users, roles and keys."""

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import selectinload

from impact.domains.identity.models import AdminUser, ApiKey, RbacPolicy, Role, RoleAssignment
from impact.engine.db.repository import Repository


class UserRepository(Repository[AdminUser]):
    model = AdminUser
    noun = "User"


class RoleRepository(Repository[Role]):
    model = Role
    noun = "Role"
    eager = (selectinload(Role.policies),)

    async def missing(self, ids: Sequence[UUID]) -> list[UUID]:
        """Those of the ids that are no role of this tenant."""
        found = set(await self.session.scalars(select(Role.id).where(Role.id.in_(ids))))
        return [id for id in ids if id not in found]

    async def named(self, names: Sequence[str]) -> dict[str, Role]:
        """The roles with these names, by name."""
        query = select(Role).where(Role.name.in_(names)).options(*self.eager)
        return {role.name: role for role in await self.session.scalars(query)}


class PolicyRepository(Repository[RbacPolicy]):
    model = RbacPolicy
    noun = "Policy"


class AssignmentRepository(Repository[RoleAssignment]):
    model = RoleAssignment
    noun = "Role assignment"

    async def held(self, user_id: UUID, role_id: UUID) -> RoleAssignment:
        """The assignment of the role to the user. Raises NotFoundError."""
        return await self.session.one(
            select(RoleAssignment).where(
                RoleAssignment.user_id == user_id, RoleAssignment.role_id == role_id
            ),
            f"User '{user_id}' does not hold the role '{role_id}'",
        )


class ApiKeyRepository(Repository[ApiKey]):
    model = ApiKey
    noun = "API key"
