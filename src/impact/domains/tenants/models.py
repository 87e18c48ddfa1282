"""The tenant: a shop of the platform."""

import datetime as dt
from typing import Any

from sqlalchemy import CheckConstraint, Text, func, text
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.orm import Mapped, mapped_column

import impact.domains.tenants.cache  # noqa: F401 - what a change of these tables touches
from impact.engine.db.base import Base, utc_now


class Tenant(Base):
    """Not tenant-scoped: its ``id`` is the slug that every other table calls ``tenant_id``.

    Row-level security shows a tenant its own row, and all rows to headquarters.
    """

    __tablename__ = "tenant"
    __table_args__ = (CheckConstraint("id ~ '^[a-z][a-z0-9-]{0,62}$'", name="slug"),)
    tenant_column = "id"

    id: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str]
    status: Mapped[str] = mapped_column(server_default="active", default="active")
    currency_code: Mapped[str] = mapped_column(server_default="eur", default="eur")
    settings: Mapped[dict[str, Any]] = mapped_column(
        JSONB, server_default=text("'{}'::jsonb"), default=dict
    )
    allowed_origins: Mapped[list[str]] = mapped_column(
        ARRAY(Text), server_default=text("'{}'"), default=list
    )
    created_at: Mapped[dt.datetime] = mapped_column(default=utc_now, server_default=func.now())
    updated_at: Mapped[dt.datetime] = mapped_column(
        default=utc_now, onupdate=utc_now, server_default=func.now()
    )
