"""Row-level security: how a transaction says whose rows it may see, and how a table asks (P3)."""

import re

from impact.context import RequestContext
from impact.errors import InvalidDataError

TENANT_SETTING = "impact.tenant_id"
_SLUG = re.compile(r"[a-z][a-z0-9-]{0,62}")

CURRENT_TENANT = f"current_setting('{TENANT_SETTING}', true)"
"""SQL for the transaction's tenant; NULL, which equals nothing, when none is set."""


def validate_slug(tenant: str) -> str:
    """The tenant's slug, or InvalidDataError: lower-case letters, digits and hyphens."""
    if not _SLUG.fullmatch(tenant):
        raise InvalidDataError("a tenant is named by lower-case letters, digits and hyphens")
    return tenant


def quote_literal(value: str) -> str:
    """``value`` as an SQL string constant, safe whatever standard_conforming_strings says.

    PostgreSQL manual, 4.1.2: a quote is doubled; with a backslash inside, the E'' form in which
    it is doubled too. NUL cannot stand in a PostgreSQL string at all.
    """
    if "\0" in value:
        raise InvalidDataError("a NUL character is not allowed here")
    quoted = value.replace("'", "''")
    if "\\" in quoted:
        return " E'" + quoted.replace("\\", "\\\\") + "'"
    return f"'{quoted}'"


def begin(context: RequestContext, *, read_only: bool, timeout: float | None = None) -> str:
    """``BEGIN`` and the transaction's settings as one message, so that they cost no round trip.

    ``timeout`` in seconds replaces the connection's statement timeout. SET LOCAL rather than
    ``set_config``: only the statement travels on to Citus workers, and it ends with the
    transaction, so a pooled connection cannot carry a tenant into the next request.
    """
    parts = [
        "BEGIN READ ONLY" if read_only else "BEGIN",
        f"SET LOCAL {TENANT_SETTING} = {quote_literal(validate_slug(context.tenant))}",
    ]
    if not read_only:
        # Who and why, for the change records that triggers write, and that the unit of work
        # tells the cache of them itself.
        parts.append("SET LOCAL impact.announces = on")
        parts.append(f"SET LOCAL impact.actor = {quote_literal(str(context.actor))}")
        parts.append(f"SET LOCAL impact.request_id = {quote_literal(context.request_id)}")
        if context.reason is not None:
            parts.append(f"SET LOCAL impact.reason = {quote_literal(context.reason)}")
    if timeout is not None:
        parts.append(f"SET LOCAL statement_timeout = {int(timeout * 1000)}")
    return "; ".join(parts)


def switch(tenant: str) -> str:
    """The statement that makes the rest of the transaction see and write ``tenant``'s rows."""
    return f"SET LOCAL {TENANT_SETTING} = {quote_literal(validate_slug(tenant))}"


def policy_statements(table: str, column: str = "tenant_id") -> list[str]:
    """DDL that lets ``table`` show and take the current tenant's rows alone."""
    return [
        f'ALTER TABLE "{table}" ENABLE ROW LEVEL SECURITY',
        f'CREATE POLICY tenant_isolation ON "{table}" '
        f"USING ({column} = {CURRENT_TENANT}) WITH CHECK ({column} = {CURRENT_TENANT})",
    ]
