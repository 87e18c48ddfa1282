"""What shop owners do with their staff: users, the roles they hold, and the roles' permissions."""

from collections.abc import Iterable, Sequence
from uuid import UUID

from msgspec import UNSET

from impact.domains.identity.authority import Authority, administrator_remains
from impact.domains.identity.models import AdminUser, RbacPolicy, Role, RoleAssignment
from impact.domains.identity.repository import (
    AssignmentRepository,
    PolicyRepository,
    RoleRepository,
    UserRepository,
)
from impact.domains.identity.schemas import (
    AssignRole,
    CreatePolicy,
    CreateRole,
    CreateUser,
    UpdateRole,
    UpdateUser,
)
from impact.engine.db.base import new_id, utc_now
from impact.engine.db.session import WriteSession
from impact.engine.security.permissions import PermissionSet
from impact.errors import InvalidDataError, NotAllowedError, Problem


class UserService:
    """Users of the session's tenant, as changed by a caller who holds ``held``."""

    def __init__(self, session: WriteSession, held: PermissionSet) -> None:
        self._session = session
        self._authority = Authority(session, held)
        self._users = UserRepository(session)
        self._roles = RoleRepository(session)
        self._assignments = AssignmentRepository(session)

    async def create(self, data: CreateUser, password_hash: str) -> UUID:
        """Add a user. Raises ConflictError for an e-mail that another user has."""
        role_ids = list(dict.fromkeys(data.role_ids))
        missing = await self._roles.missing(role_ids) if role_ids else []
        if missing:
            place = data.role_ids.index(missing[0])
            message = f"there is no role '{missing[0]}'"
            raise InvalidDataError(
                message, problems=[Problem(message, pointer=f"/role_ids/{place}")]
            )
        if role_ids:
            await self._authority.to_give(role_ids)
        user = AdminUser(
            id=new_id(),
            email=data.email,
            first_name=data.first_name,
            last_name=data.last_name,
            password_hash=password_hash,
        )
        # The user goes first: an e-mail in use is what the caller should hear of.
        self._session.add(user)
        await self._session.flush(_taken("email", data.email))
        self._session.add(
            *(RoleAssignment(user_id=user.id, role_id=role_id) for role_id in role_ids)
        )
        await self._session.flush()
        return user.id

    async def update(self, id: UUID, data: UpdateUser, password_hash: str | None) -> None:
        """Change a user; ``password_hash`` is of the password in ``data``, where there is one."""
        await self._authority.over_user(id)
        if data.is_active is False:
            self._refuse_self(id, "deactivate")
        async with administrator_remains(self._session):
            user = await self._users.get_for_update(id)
            changes = data.changes()
            if changes.pop("password", None) is not None:
                changes["password_hash"] = password_hash
                # Whoever knew the old one is out.
                changes["tokens_after"] = utc_now()
            for name, value in changes.items():
                setattr(user, name, value)
            await self._session.flush(_taken("email", user.email))

    async def remove(self, id: UUID) -> None:
        self._refuse_self(id, "delete")
        await self._authority.over_user(id)
        async with administrator_remains(self._session):
            await self._users.remove(id)

    async def assign(self, id: UUID, data: AssignRole) -> None:
        """Give a user a role. Raises ConflictError where they hold it already."""
        await self._users.get(id)
        await self._roles.get(data.role_id)
        await self._authority.to_give([data.role_id], spanning=data.spans_tenants)
        self._session.add(
            RoleAssignment(user_id=id, role_id=data.role_id, spans_tenants=data.spans_tenants)
        )
        await self._session.flush("the user holds this role already")

    async def unassign(self, id: UUID, role_id: UUID) -> None:
        """Take a role from a user, at once: the next request goes without it."""
        assignment = await self._assignments.held(id, role_id)
        await self._authority.to_give([role_id], spanning=assignment.spans_tenants)
        async with administrator_remains(self._session):
            await self._session.delete(assignment)

    def _refuse_self(self, id: UUID, verb: str) -> None:
        actor = self._session.context.actor
        if actor.id == id and actor.tenant == self._session.tenant:
            raise NotAllowedError(f"you cannot {verb} yourself")


class RoleService:
    """Roles and their policies, as changed by a caller who holds ``held``."""

    def __init__(self, session: WriteSession, held: PermissionSet) -> None:
        self._session = session
        self._authority = Authority(session, held)
        self._roles = RoleRepository(session)
        self._policies = PolicyRepository(session)

    async def create(self, data: CreateRole) -> UUID:
        await self._authority.over(data.permissions)
        role = Role(
            id=new_id(),
            name=data.name,
            description=data.description,
            policies=policies(data.permissions),
        )
        self._session.add(role)
        await self._session.flush(_taken("name", data.name))
        return role.id

    async def update(self, id: UUID, data: UpdateRole) -> None:
        role = await self._roles.get_for_update(id)
        wanted: Sequence[str] = [] if data.permissions is UNSET else data.permissions
        await self._authority.to_alter(id, *wanted)
        async with administrator_remains(self._session):
            changes = data.changes()
            if changes.pop("permissions", None) is not None:
                _replace(role, wanted)
            for name, value in changes.items():
                setattr(role, name, value)
            role.updated_at = utc_now()
            await self._session.flush(_taken("name", role.name))

    async def remove(self, id: UUID) -> None:
        """Delete a role and take it from all who hold it. Raises ConflictError while a key
        uses it."""
        await self._roles.get(id)
        await self._authority.to_alter(id)
        async with administrator_remains(self._session):
            await self._roles.remove(id)

    async def add_policy(self, data: CreatePolicy) -> UUID:
        """Raises ConflictError where the role has the permission already."""
        role = await self._roles.get_for_update(data.role_id)
        await self._authority.to_alter(role.id, data.permission)
        policy = RbacPolicy(id=new_id(), role_id=role.id, permission=data.permission)
        self._session.add(policy)
        role.updated_at = utc_now()
        await self._session.flush(_taken("permission", data.permission))
        return policy.id

    async def remove_policy(self, id: UUID) -> None:
        policy = await self._policies.get(id)
        role = await self._roles.get_for_update(policy.role_id)
        await self._authority.to_alter(role.id)
        async with administrator_remains(self._session):
            role.policies = [held for held in role.policies if held.id != id]
            role.updated_at = utc_now()


def policies(permissions: Iterable[str]) -> list[RbacPolicy]:
    """One policy for each permission, however often it is named."""
    return [RbacPolicy(permission=permission) for permission in dict.fromkeys(permissions)]


def _taken(field: str, value: str) -> str:
    return f"{field} '{value}' already exists"


def _replace(role: Role, permissions: Sequence[str]) -> None:
    wanted = set(permissions)
    held = {policy.permission for policy in role.policies}
    role.policies = [
        *(policy for policy in role.policies if policy.permission in wanted),
        *policies(permission for permission in permissions if permission not in held),
    ]
