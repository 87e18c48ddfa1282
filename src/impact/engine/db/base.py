"""What every model shares: the declarative base and the tenant's part of every key."""

import datetime as dt
from typing import Any, ClassVar
from uuid import UUID

import uuid_utils.compat
from sqlalchemy import DateTime, ForeignKeyConstraint, Index, MetaData, Text, func
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column


class Base(DeclarativeBase):
    """Constraints get predictable names, so that a migration can name them too."""

    metadata = MetaData(
        naming_convention={
            "pk": "pk_%(table_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        }
    )
    type_annotation_map: ClassVar = {
        str: Text(),
        dt.datetime: DateTime(timezone=True),
    }
    # Of two who delete a row at once the second finds nothing to delete, which is what it wanted.
    __mapper_args__ = {"confirm_deleted_rows": False}


def new_id() -> UUID:
    """A UUIDv7 (RFC 9562, 5.7): ordered by time, so that new rows share index pages."""
    return uuid_utils.compat.uuid7()


def utc_now() -> dt.datetime:
    return dt.datetime.now(dt.UTC)


class TenantScoped(Base):
    """A table whose rows each belong to one tenant; the tenant leads its primary key."""

    __abstract__ = True

    tenant_id: Mapped[str] = mapped_column(Text, primary_key=True, sort_order=-100)


class Entity(TenantScoped):
    """A tenant's row with an identity of its own and the times of its making and last change."""

    __abstract__ = True

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id, sort_order=-99)
    created_at: Mapped[dt.datetime] = mapped_column(
        default=utc_now, server_default=func.now(), sort_order=90
    )
    updated_at: Mapped[dt.datetime] = mapped_column(
        default=utc_now, onupdate=utc_now, server_default=func.now(), sort_order=91
    )


def tenant_key(
    column: str, target: str, *, ondelete: str | None = None, **options: Any
) -> ForeignKeyConstraint:
    """A foreign key ``(tenant_id, column)`` to ``target (tenant_id, id)``: it cannot cross
    tenants."""
    return ForeignKeyConstraint(
        ["tenant_id", column],
        [f"{target}.tenant_id", f"{target}.id"],
        ondelete=ondelete,
        **options,
    )


def tenant_index(*columns: Any, name: str, **options: Any) -> Index:
    """An index led by the tenant."""
    return Index(name, "tenant_id", *columns, **options)
