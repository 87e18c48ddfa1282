"""The limits of granting: nobody passes on, or takes away, more than they hold themselves.

Changing what a role, a user or a key may do needs every permission concerned, before the change
and after it. Otherwise whoever may edit users could set the owner's password, and whoever may
edit roles could add to their own. Permissions that span tenants count apart: those held at
headquarters alone buy nothing elsewhere.
"""

import contextlib
from collections.abc import AsyncIterator, Iterable, Sequence
from uuid import UUID

import asyncpg

from impact.context import ActorKind
from impact.engine.db.session import ReadSession, WriteSession
from impact.engine.db.statements import Statement
from impact.engine.security.permissions import PermissionSet
from impact.errors import ConflictError, ForbiddenError, NotFoundError

_USER_PERMISSIONS = Statement(
    "identity.user_permissions",
    """
    SELECT u.is_active,
           coalesce(array_agg(DISTINCT p.permission) FILTER (WHERE p.permission IS NOT NULL),
                    '{}') AS held,
           coalesce(array_agg(DISTINCT p.permission) FILTER (WHERE a.spans_tenants
                    AND p.permission IS NOT NULL), '{}') AS spanning
    FROM admin_user u
    LEFT JOIN role_assignment a ON a.tenant_id = u.tenant_id AND a.user_id = u.id
    LEFT JOIN rbac_policy p ON p.tenant_id = a.tenant_id AND p.role_id = a.role_id
    WHERE u.tenant_id = :tenant_id AND u.id = :user_id
    GROUP BY u.is_active
    """,
)
_ROLE_PERMISSIONS = Statement(
    "identity.role_permissions",
    """
    SELECT coalesce(array_agg(DISTINCT p.permission), '{}') AS held,
           EXISTS (SELECT FROM role_assignment a WHERE a.tenant_id = :tenant_id
                   AND a.role_id = ANY(:role_ids) AND a.spans_tenants) AS spans
    FROM rbac_policy p
    WHERE p.tenant_id = :tenant_id AND p.role_id = ANY(:role_ids)
    """,
)
_LOCK = Statement(
    "identity.lock_administrators",
    "SELECT pg_advisory_xact_lock(hashtextextended('administrators:' || :tenant_id::text, 0))",
)


def _administrator(condition: str) -> str:
    return f"""
        EXISTS (
          SELECT FROM role_assignment a
          JOIN admin_user u ON u.tenant_id = a.tenant_id AND u.id = a.user_id AND u.is_active
          JOIN rbac_policy p ON p.tenant_id = a.tenant_id AND p.role_id = a.role_id
          WHERE a.tenant_id = :tenant_id AND {condition}
          GROUP BY a.user_id
          HAVING bool_or(p.permission = ANY(:over_roles))
             AND bool_or(p.permission = ANY(:over_users)))
    """


_OVER_ROLES = ["*:*", "*:update", "role:*", "role:update"]
_OVER_USERS = ["*:*", "*:update", "user:*", "user:update"]
_ADMINISTRATORS = Statement(
    "identity.administrators",
    f"SELECT {_administrator('true')} AS local, {_administrator('a.spans_tenants')} AS spanning",
)


class Authority:
    """What the caller of a unit of work may pass on."""

    def __init__(self, session: ReadSession, held: PermissionSet) -> None:
        self._session = session
        self._held = held
        self._spanning: PermissionSet | None = None

    async def over(self, permissions: Iterable[str], *, spanning: bool = False) -> None:
        """Raises ForbiddenError that names the first permission which the caller lacks.

        With ``spanning`` the caller must hold each through a role that spans tenants.
        """
        held, across = self._held, ""
        if spanning:
            held, across = await self._spanning_permissions(), " across tenants"
        for permission in sorted(set(permissions)):
            if not held.allows(permission):
                raise ForbiddenError(
                    f"this touches the permission '{permission}', which you do not hold{across}"
                )

    async def to_give(self, role_ids: Sequence[UUID], *, spanning: bool = False) -> None:
        """Whether the caller may give the roles to somebody, or take them away.

        Raises ForbiddenError. Only staff of headquarters whose own role spans tenants can let
        one do so.
        """
        held = (await self._roles(role_ids))["held"]
        await self.over(held)
        if spanning:
            if not (await self._spanning_permissions()).granted:
                raise ForbiddenError("only a user whose own role spans tenants can let one do so")
            await self.over(held, spanning=True)

    async def to_alter(self, role_id: UUID, *added: str) -> None:
        """Whether the caller may change what the role holds, wherever it is held."""
        row = await self._roles([role_id])
        await self.over([*row["held"], *added])
        if row["spans"]:
            await self.over([*row["held"], *added], spanning=True)

    async def _roles(self, role_ids: Sequence[UUID]) -> asyncpg.Record:
        row = await self._session.fetch_one(_ROLE_PERMISSIONS, role_ids=list(role_ids))
        assert row is not None  # noqa: S101 - an aggregate always has a row
        return row

    async def over_user(self, user_id: UUID) -> None:
        """Like ``over``, for all that the user holds. Raises NotFoundError too."""
        row = await self._session.fetch_one(_USER_PERMISSIONS, user_id=user_id)
        if row is None:
            raise NotFoundError(f"User with id '{user_id}' not found")
        await self.over(row["held"])
        if row["spanning"]:
            await self.over(row["spanning"], spanning=True)

    async def _spanning_permissions(self) -> PermissionSet:
        if self._spanning is None:
            actor = self._session.context.actor
            row = None
            if actor.kind is ActorKind.USER and actor.tenant == self._session.tenant:
                row = await self._session.fetch_one(_USER_PERMISSIONS, user_id=actor.id)
            self._spanning = PermissionSet([] if row is None else row["spanning"])
        return self._spanning


async def permissions_of_user(session: ReadSession, user_id: UUID) -> PermissionSet:
    """What a user of this tenant may do in it; nothing while inactive. Raises NotFoundError."""
    row = await session.fetch_one(_USER_PERMISSIONS, user_id=user_id)
    if row is None:
        raise NotFoundError(f"User with id '{user_id}' not found")
    return PermissionSet(row["held"] if row["is_active"] else [])


@contextlib.asynccontextmanager
async def administrator_remains(session: WriteSession) -> AsyncIterator[None]:
    """Refuses, with ConflictError, the change that takes a tenant's last administrator away.

    An administrator is an active user who may update users and roles; headquarters keeps one
    whose role spans tenants besides. Such changes of one tenant wait for each other, so that
    two administrators cannot demote each other at once.
    """
    await session.fetch(_LOCK)
    before = await _administrators(session)
    yield
    await session.flush()
    if before - await _administrators(session):
        raise ConflictError("the last active user who may manage users and roles must stay one")


async def _administrators(session: ReadSession) -> set[str]:
    """Which kinds of administrator the tenant has: local ones, and ones that span tenants."""
    row = await session.fetch_one(_ADMINISTRATORS, over_roles=_OVER_ROLES, over_users=_OVER_USERS)
    return {kind for kind, present in (row or {}).items() if present}
