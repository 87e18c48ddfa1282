"""How migrations run: as the owner, one at a time, and never waiting long for a lock.

The advisory lock serialises deployments; ``lock_timeout`` keeps a migration that waits behind a
long transaction from stopping every query behind it.
"""

import asyncio
import os

from alembic import context
from sqlalchemy import Connection, pool, text
from sqlalchemy.engine import make_url
from sqlalchemy.ext.asyncio import create_async_engine

from impact.models import metadata

ADVISORY_LOCK = 0x1A9AC7
LOCK_TIMEOUT = os.environ.get("IMPACT_MIGRATION_LOCK_TIMEOUT", "5s")
STATEMENT_TIMEOUT = os.environ.get("IMPACT_MIGRATION_STATEMENT_TIMEOUT", "10min")


def owner_url() -> str:
    url = context.config.attributes.get("owner_url") or os.environ.get("IMPACT_OWNER_URL")
    if not url:
        raise SystemExit(
            "IMPACT_OWNER_URL is not set: migrations connect as the role that owns the schema, "
            "for example postgresql://impact_owner:...@127.0.0.1:5432/impact"
        )
    return str(url)


def include_object(obj: object, name: str | None, kind: str, reflected: bool, _: object) -> bool:
    """Partitions come and go by maintenance; only their parents belong to the schema."""
    return not (reflected and kind == "table" and str(name).startswith("audit_log_"))


def migrate(connection: Connection) -> None:
    connection.execute(
        text("SELECT set_config('statement_timeout', :v, false)"), {"v": STATEMENT_TIMEOUT}
    )
    # Waiting for another deployment is not waiting for a table lock: lock_timeout comes after.
    connection.execute(text("SELECT pg_advisory_lock(:key)"), {"key": ADVISORY_LOCK})
    connection.execute(text("SELECT set_config('lock_timeout', :v, false)"), {"v": LOCK_TIMEOUT})
    connection.commit()
    try:
        context.configure(
            connection=connection,
            target_metadata=metadata,
            include_object=include_object,
            transaction_per_migration=True,
            compare_server_default=False,
        )
        with context.begin_transaction():
            context.run_migrations()
    finally:
        connection.rollback()
        connection.execute(text("SELECT pg_advisory_unlock(:key)"), {"key": ADVISORY_LOCK})
        connection.commit()


async def run_online() -> None:
    url = make_url(owner_url()).set(drivername="postgresql+asyncpg")
    engine = create_async_engine(url, poolclass=pool.NullPool)
    async with engine.connect() as connection:
        await connection.run_sync(migrate)
    await engine.dispose()


if context.is_offline_mode():
    context.configure(
        dialect_name="postgresql",
        target_metadata=metadata,
        literal_binds=True,
        include_object=include_object,
    )
    with context.begin_transaction():
        context.run_migrations()
else:
    asyncio.run(run_online())
