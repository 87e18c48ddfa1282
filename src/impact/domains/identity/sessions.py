"""Renewing a token, and ending a login or all that an account has."""

import math
import time
from typing import Annotated

from litestar import Controller, delete, post
from litestar.params import QueryParameter

from impact.context import ActorKind, Claims, RequestContext
from impact.domains.identity.access import account_guard
from impact.domains.identity.login import TokenResponse
from impact.engine.changes.events import LOGIN
from impact.engine.db.base import utc_now
from impact.engine.db.statements import Statement
from impact.engine.http.dependencies import Context, Engine
from impact.engine.http.limits import counted_as
from impact.engine.schemas import Output
from impact.engine.security.permissions import public
from impact.errors import UnauthorizedError

_MOST_ENDED = 100
"""Logins of one account that are remembered as ended. One more ends them all: to forget one would
let its tokens in again."""


def _ending(name: str, table: str) -> Statement:
    """Void the tokens of one login, or with ``everywhere`` of all."""
    every = (
        f"(:everywhere OR (SELECT count(*) FROM jsonb_object_keys(logins_ended)) >= {_MOST_ENDED})"
    )
    return Statement(
        name,
        f"""
        UPDATE {table} SET
            tokens_after = CASE WHEN {every} THEN :now ELSE tokens_after END,
            logins_ended = CASE WHEN {every} THEN '{{}}' ELSE (
                SELECT coalesce(jsonb_object_agg(login, until), '{{}}')
                FROM jsonb_each(logins_ended) AS ended (login, until)
                WHERE until::float8 > extract(epoch FROM :now::timestamptz)
            ) || jsonb_build_object(:login::text, :until::float8) END,
            updated_at = :now
        WHERE tenant_id = :tenant_id AND id = :id
        """,
        writes={table: ":id"},
    )


_ENDING = {
    ActorKind.USER: _ending("identity.end_user_tokens", "admin_user"),
    ActorKind.CUSTOMER: _ending("identity.end_customer_tokens", "customer"),
}


_Everywhere = Annotated[
    bool, QueryParameter(description="End every token of the account, on every device")
]


class LoggedOut(Output):
    success: bool


class Sessions(Controller):
    path = "/auth"
    tags = ("Authentication",)
    opt = counted_as("login")

    @post("/token/refresh", opt=public(), guards=[account_guard], status_code=200)
    async def renew(self, context: Context, runtime: Engine) -> TokenResponse:
        """A new token for a valid one, until the login is older than IMPACT_TOKEN_RENEWAL. It is
        valid for IMPACT_TOKEN_TTL, and no shorter than the old one."""
        claims = _claims(context)
        settings, now = runtime.settings, time.time()
        if now >= claims.logged_in + settings.token_renewal:
            raise UnauthorizedError("the login is too long ago to be renewed; log in again")
        ttl = max(settings.token_ttl, math.ceil(claims.expires - now))
        token = runtime.tokens.issue(context.actor, ttl=ttl, logged_in=claims.logged_in)
        return TokenResponse(token=token)

    @delete("/session", opt=public(), guards=[account_guard], status_code=200)
    async def log_out(
        self, context: Context, runtime: Engine, everywhere: _Everywhere = False
    ) -> LoggedOut:
        """End the caller's login: this token and all that it was renewed to. With
        `everywhere=true`, end every token that the account has been given, on every device."""
        claims, actor, settings = _claims(context), context.actor, runtime.settings
        # After that, none of the login's tokens is valid anyway.
        until = max(claims.expires, claims.logged_in + settings.token_renewal + settings.token_ttl)
        async with runtime.database.write(context) as session:
            await session.execute(
                _ENDING[actor.kind],
                id=actor.id,
                now=utc_now(),
                everywhere=everywhere,
                login=claims.login,
                until=until,
            )
        after = {"kind": actor.kind, "everywhere": everywhere}
        runtime.events.record(context, LOGIN, "ended", row_id=actor.id, after=after)
        return LoggedOut(success=True)


def _claims(context: RequestContext) -> Claims:
    assert context.claims is not None  # noqa: S101 - the guard read them
    return context.claims
