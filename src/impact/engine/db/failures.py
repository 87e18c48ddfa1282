"""From what a driver raises to what Impact says."""

import asyncio

import asyncpg
from sqlalchemy.exc import DBAPIError, PendingRollbackError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from impact.errors import (
    ConflictError,
    ImpactError,
    InvalidDataError,
    NodeLostError,
    QueryTimeoutError,
    UnavailableError,
)

DRIVER_ERRORS = (
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    # What asyncpg raises for an operation on a connection that broke in the middle of another.
    asyncpg.InternalClientError,
    DBAPIError,
    PendingRollbackError,
    PoolTimeoutError,
    OSError,
    asyncio.TimeoutError,
)

_LOST_CLASSES = ("08", "57P")
"""SQLSTATE 08: connection exceptions; 57P: the server was shut down, crashed or is starting."""

READ_ONLY_TRANSACTION = "25006"


def sqlstate(error: BaseException) -> str | None:
    """The SQLSTATE of a driver's error, through SQLAlchemy's wrapping."""
    seen: BaseException | None = error
    while seen is not None:
        state = getattr(seen, "sqlstate", None)
        if isinstance(state, str):
            return state
        seen = getattr(seen, "orig", None) or seen.__cause__
    return None


def is_node_lost(error: BaseException) -> bool:
    """Whether the connection or the server, rather than the statement, failed."""
    state = sqlstate(error)
    if state is not None:
        return state.startswith(_LOST_CLASSES)
    if isinstance(error, PoolTimeoutError):
        return False
    if isinstance(error, DBAPIError):
        return error.connection_invalidated or isinstance(
            error.__cause__, OSError | asyncpg.InterfaceError
        )
    return isinstance(
        error, OSError | asyncpg.InterfaceError | asyncpg.InternalClientError | asyncio.TimeoutError
    )


def translate(error: BaseException) -> ImpactError:  # noqa: PLR0911 - one return a case
    """What to tell the caller. An error that only a defect explains comes back as a 500."""
    if isinstance(error, ImpactError):
        return error
    state = sqlstate(error)
    if isinstance(error, PoolTimeoutError):
        return UnavailableError("all database connections are busy")
    if is_node_lost(error):
        return NodeLostError("the connection to the database was lost")
    match state:
        case "23505":
            return ConflictError(_detail(error) or "it exists already")
        case "23503" | "23001":
            return ConflictError(_detail(error) or "something it refers to is missing or in use")
        case (
            "23514" | "23502" | "22000" | "22001" | "22003" | "22008" | "22021" | "22P02" | "22P05"
        ):
            return InvalidDataError("a value is outside of what this field can hold")
        case "40001" | "40P01":
            return UnavailableError("the change collided with another; send it again")
        case "57014":
            return QueryTimeoutError("the database took too long for this request")
        case "25006":
            return UnavailableError("the primary database is changing; send it again")
        case "53300" | "53200" | "53100":
            return UnavailableError("the database is short of resources")
        case _:
            return ImpactError("the database refused a statement")


def _detail(error: BaseException) -> str | None:
    """``role with this name already exists``, read from the constraint's name.

    PostgreSQL keeps the key's values to itself on tables with row-level security.
    """
    seen: BaseException | None = error
    while seen is not None:
        constraint = getattr(seen, "constraint_name", None)
        if isinstance(constraint, str):
            table = str(getattr(seen, "table_name", ""))
            kind, _, name = constraint.partition(f"_{table}_")
            name = name.removeprefix("tenant_id_")
            if kind == "uq" and name:
                return f"{table} with this {name} already exists"
            if kind == "fk" and name:
                return f"{name} of {table} is missing or in use"
            return f"{table} already exists" if constraint == f"pk_{table}" else None
        seen = getattr(seen, "orig", None) or seen.__cause__
    return None
