"""Shop staff, what they may do, and the keys that programs use."""

import datetime as dt
from uuid import UUID

from sqlalchemy import CheckConstraint, Index, LargeBinary, UniqueConstraint, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column, relationship

import impact.domains.identity.cache  # noqa: F401 - what a change of these tables touches
from impact.engine.changes.triggers import SECRET
from impact.engine.db.base import Entity, tenant_index, tenant_key


class AdminUser(Entity):
    __tablename__ = "admin_user"
    __table_args__ = (
        Index("uq_admin_user_email", "tenant_id", text("lower(email)"), unique=True),
        tenant_index(text("created_at DESC"), text("id DESC"), name="ix_admin_user_created"),
    )

    email: Mapped[str]
    first_name: Mapped[str | None]
    last_name: Mapped[str | None]
    password_hash: Mapped[str] = mapped_column(info=SECRET)
    is_active: Mapped[bool] = mapped_column(server_default=text("true"), default=True)
    tokens_after: Mapped[dt.datetime | None]
    """Tokens given before open nothing."""
    logins_ended: Mapped[dict[str, float]] = mapped_column(
        JSONB, server_default=text("'{}'"), default=dict
    )
    """Logins ended alone (``Claims.login``), with when the last token of each has run out, in
    seconds since 1970."""

    assignments: Mapped[list["RoleAssignment"]] = relationship(
        back_populates="user", lazy="raise", cascade="all, delete-orphan", passive_deletes=True
    )


class Role(Entity):
    """A named set of permissions."""

    __tablename__ = "role"
    __table_args__ = (
        UniqueConstraint("tenant_id", "name"),
        tenant_index(text("created_at DESC"), text("id DESC"), name="ix_role_created"),
    )

    name: Mapped[str]
    description: Mapped[str | None]

    policies: Mapped[list["RbacPolicy"]] = relationship(
        back_populates="role", lazy="raise", cascade="all, delete-orphan", passive_deletes=True
    )


class RbacPolicy(Entity):
    """One permission of a role: ``resource:action``, either of which may be ``*``."""

    __tablename__ = "rbac_policy"
    __table_args__ = (
        tenant_key("role_id", "role", ondelete="CASCADE"),
        UniqueConstraint("tenant_id", "role_id", "permission"),
        CheckConstraint(
            r"permission ~ '^(\*|[a-z]+(-[a-z]+)*):(\*|[a-z]+(-[a-z]+)*)$'", name="permission"
        ),
        tenant_index(text("created_at DESC"), text("id DESC"), name="ix_rbac_policy_created"),
    )

    role_id: Mapped[UUID]
    permission: Mapped[str]

    role: Mapped[Role] = relationship(back_populates="policies", lazy="raise")


class RoleAssignment(Entity):
    """A role held by a user. Only headquarters' may span tenants."""

    __tablename__ = "role_assignment"
    __table_args__ = (
        tenant_key("user_id", "admin_user", ondelete="CASCADE"),
        tenant_key("role_id", "role", ondelete="CASCADE"),
        UniqueConstraint("tenant_id", "user_id", "role_id"),
        tenant_index("role_id", name="ix_role_assignment_role"),
        CheckConstraint("NOT spans_tenants OR tenant_id = 'hq'", name="spans_tenants"),
    )

    user_id: Mapped[UUID]
    role_id: Mapped[UUID]
    spans_tenants: Mapped[bool] = mapped_column(server_default=text("false"), default=False)

    user: Mapped[AdminUser] = relationship(
        back_populates="assignments", lazy="raise", overlaps="role"
    )
    role: Mapped[Role] = relationship(lazy="raise", overlaps="assignments,user")


class ApiKey(Entity):
    """A publishable key of a storefront, or a secret key of a program. Only its hash is kept."""

    __tablename__ = "api_key"
    __table_args__ = (
        tenant_key("role_id", "role", ondelete="RESTRICT"),
        UniqueConstraint("tenant_id", "token_hash"),
        CheckConstraint("kind IN ('publishable', 'secret')", name="kind"),
        CheckConstraint("kind <> 'secret' OR role_id IS NOT NULL", name="role"),
        tenant_index("role_id", name="ix_api_key_role"),
        tenant_index(text("created_at DESC"), text("id DESC"), name="ix_api_key_created"),
    )

    kind: Mapped[str]
    title: Mapped[str]
    token_hash: Mapped[bytes] = mapped_column(LargeBinary, info=SECRET)
    redacted: Mapped[str]
    role_id: Mapped[UUID | None]
    revoked_at: Mapped[dt.datetime | None]
