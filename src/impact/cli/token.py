"""``impact token``: a bearer token, for scripts on the machine that holds the signing key."""

import asyncio
from pathlib import Path
from uuid import UUID

import click

from impact.cli._settings import data_dir_option, load_settings, one_line
from impact.context import Actor, ActorKind, system_context
from impact.engine.db.statements import Statement
from impact.engine.db.tenancy import validate_slug
from impact.engine.runtime import open_runtime
from impact.errors import NotFoundError
from impact.settings import Settings

# Without an e-mail: whoever has held the widest role for longest, that is, the first owner.
_USER = Statement(
    "identity.user_for_token",
    """
    SELECT u.id FROM admin_user u
    WHERE u.tenant_id = :tenant_id AND u.is_active
      AND (:email::text IS NULL OR lower(u.email) = lower(:email::text))
    ORDER BY EXISTS (
        SELECT FROM role_assignment a
        JOIN rbac_policy p ON p.tenant_id = a.tenant_id AND p.role_id = a.role_id
        WHERE a.tenant_id = u.tenant_id AND a.user_id = u.id AND p.permission = '*:*'
    ) DESC, u.created_at, u.id
    LIMIT 1
    """,
)


@click.command()
@data_dir_option
@click.option("--tenant", required=True, help="The shop.")
@click.option("--user", "email", default=None, help="E-mail of a user  [default: the first owner]")
@click.option(
    "--ttl",
    type=click.IntRange(60),
    default=None,
    help="Seconds it is valid  [default: IMPACT_TOKEN_TTL]",
)
def token(data_dir: Path, tenant: str, email: str | None, ttl: int | None) -> None:
    """Print a bearer token for a user of a shop.

    For scripts on the machine that holds the signing keys; no password is asked for. Send it as
    "Authorization: Bearer TOKEN".
    """
    with one_line():
        settings = load_settings(data_dir)
        click.echo(asyncio.run(issue(settings, validate_slug(tenant), email, ttl)))


async def issue(settings: Settings, tenant: str, email: str | None, ttl: int | None) -> str:
    """A token of the user of that e-mail, or of the first owner. Raises NotFoundError."""
    async with open_runtime(settings) as runtime:
        async with runtime.database.read(system_context(tenant, "token")) as session:
            user_id: UUID | None = await session.fetch_value(_USER, email=email)
        if user_id is None:
            wanted = f"user '{email}'" if email else "active user"
            raise NotFoundError(f"the shop '{tenant}' does not exist or has no {wanted}")
        return runtime.tokens.issue(Actor(ActorKind.USER, tenant, user_id), ttl=ttl)
