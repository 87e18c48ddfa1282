"""Customers and their addresses."""

import datetime as dt
from typing import Any
from uuid import UUID

from sqlalchemy import Index, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column, relationship

import impact.domains.customers.cache  # noqa: F401 - what a change of these tables touches
from impact.engine.changes.triggers import SECRET
from impact.engine.db.base import Entity, tenant_index, tenant_key


class Customer(Entity):
    """A customer with an account (it can log in) or without (known from an order or import)."""

    __tablename__ = "customer"
    __table_args__ = (
        Index(
            "uq_customer_email_account",
            "tenant_id",
            text("lower(email)"),
            unique=True,
            postgresql_where=text("has_account"),
        ),
        Index(
            "uq_customer_external",
            "tenant_id",
            "external_id",
            unique=True,
            postgresql_where=text("external_id IS NOT NULL"),
        ),
        tenant_index(text("created_at DESC"), text("id DESC"), name="ix_customer_created"),
        # Read by customer_ids_by_email, as row-level security keeps it from everybody else.
        tenant_index(text("lower(email)"), name="ix_customer_email"),
    )

    email: Mapped[str | None]
    first_name: Mapped[str | None]
    last_name: Mapped[str | None]
    company_name: Mapped[str | None]
    phone: Mapped[str | None]
    has_account: Mapped[bool] = mapped_column(server_default=text("false"), default=False)
    password_hash: Mapped[str | None] = mapped_column(info=SECRET)
    tokens_after: Mapped[dt.datetime | None]
    """Tokens given before open nothing."""
    logins_ended: Mapped[dict[str, float]] = mapped_column(
        JSONB, server_default=text("'{}'"), default=dict
    )
    """Logins ended alone (``Claims.login``), with when the last token of each has run out, in
    seconds since 1970."""
    external_id: Mapped[str | None]
    metadata_: Mapped[dict[str, Any] | None] = mapped_column("metadata", JSONB)

    addresses: Mapped[list["Address"]] = relationship(
        lazy="raise",
        order_by="Address.created_at",
        cascade="all, delete-orphan",
        passive_deletes=True,
    )


class Address(Entity):
    __tablename__ = "address"
    __table_args__ = (
        tenant_key("customer_id", "customer", ondelete="CASCADE"),
        tenant_index("customer_id", name="ix_address_customer"),
    )

    customer_id: Mapped[UUID]
    address_name: Mapped[str | None]
    first_name: Mapped[str | None]
    last_name: Mapped[str | None]
    company: Mapped[str | None]
    address_1: Mapped[str | None]
    address_2: Mapped[str | None]
    city: Mapped[str | None]
    province: Mapped[str | None]
    postal_code: Mapped[str | None]
    country_code: Mapped[str | None]
    phone: Mapped[str | None]
    is_default_shipping: Mapped[bool] = mapped_column(server_default=text("false"), default=False)
    is_default_billing: Mapped[bool] = mapped_column(server_default=text("false"), default=False)
