"""Where changes are recorded: the transaction's own records, and the log made from them (P4)."""

import datetime as dt
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, Identity, Index, func, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from impact.engine.cache.invalidation import declare
from impact.engine.db.base import TenantScoped

declare("change_record")
declare("audit_log")
declare("audit_chain")
declare("event_receipt")


class ChangeColumns(TenantScoped):
    """What a change record and its entry in the log both say."""

    __abstract__ = True

    table_name: Mapped[str]
    row_id: Mapped[str | None]
    action: Mapped[str]
    before: Mapped[dict[str, Any] | None] = mapped_column(JSONB)
    after: Mapped[dict[str, Any] | None] = mapped_column(JSONB)
    actor: Mapped[str | None]
    request_id: Mapped[str | None]
    reason: Mapped[str | None]


class ChangeRecord(ChangeColumns):
    """One changed row, in the changing transaction, until it has been moved to the log."""

    __tablename__ = "change_record"
    __table_args__ = (
        Index("ix_change_record_untold", "tenant_id", "id", postgresql_where=text("NOT announced")),
    )

    id: Mapped[int] = mapped_column(
        BigInteger, Identity(always=True), primary_key=True, sort_order=-99
    )
    occurred_at: Mapped[dt.datetime] = mapped_column(server_default=func.clock_timestamp())
    announced: Mapped[bool] = mapped_column(server_default=text("false"), default=False)
    """The writer tells the cache; of other changes the relay does."""


class AuditLog(ChangeColumns):
    """The log, in partitions by time.

    ``position`` counts each tenant's entries from 1 without a gap; ``hash`` is SHA-256 over
    ``previous_hash``, that of the entry before, and what the entry says.
    """

    __tablename__ = "audit_log"
    __table_args__ = (
        # One for each way the log is asked; the end of each is the order of its pages.
        Index("ix_audit_log_tenant_occurred", "tenant_id", "occurred_at", "id"),
        # To follow a chain without sorting it.
        Index("ix_audit_log_chain", "tenant_id", "position"),
        Index("ix_audit_log_entity", "tenant_id", "table_name", "occurred_at", "id"),
        Index("ix_audit_log_row", "tenant_id", "row_id", "occurred_at", "id"),
        Index("ix_audit_log_actor", "tenant_id", "actor", "occurred_at", "id"),
        Index("ix_audit_log_action", "tenant_id", "action", "occurred_at", "id"),
        Index("ix_audit_log_request", "tenant_id", "request_id"),
        {"postgresql_partition_by": "RANGE (occurred_at)"},
    )

    id: Mapped[int] = mapped_column(
        BigInteger, primary_key=True, autoincrement=False, sort_order=-99
    )
    occurred_at: Mapped[dt.datetime] = mapped_column(primary_key=True, sort_order=-98)
    position: Mapped[int] = mapped_column(BigInteger)
    previous_hash: Mapped[bytes]
    hash: Mapped[bytes]


class AuditChain(TenantScoped):
    """Where a tenant's chain stands: its last entry's place and hash."""

    __tablename__ = "audit_chain"

    position: Mapped[int] = mapped_column(BigInteger)
    hash: Mapped[bytes]


class EventReceipt(TenantScoped):
    """That a batch of events was stored: whoever sends it again stores nothing."""

    __tablename__ = "event_receipt"

    id: Mapped[UUID] = mapped_column(primary_key=True, sort_order=-99)
