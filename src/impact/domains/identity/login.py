"""Logging in: staff and customers, by e-mail and password."""

from typing import Annotated

import asyncpg
from litestar import Controller, post
from litestar.params import JSONBody
from msgspec import Meta

from impact.context import Actor, ActorKind, RequestContext
from impact.domains.identity.access import admit_tenant, shop_guard
from impact.domains.identity.lookup import look_up
from impact.engine.changes.events import LOGIN
from impact.engine.db.statements import Statement
from impact.engine.http.dependencies import Context, Engine
from impact.engine.http.limits import counted_as
from impact.engine.runtime import Runtime
from impact.engine.schemas import Email, Input, Output
from impact.engine.security.permissions import public
from impact.errors import UnauthorizedError

_USER = Statement(
    "identity.user_login",
    """
    SELECT id, password_hash FROM admin_user
    WHERE tenant_id = :tenant_id AND lower(email) = lower(:email) AND is_active
    """,
)
_CUSTOMER = Statement(
    "identity.customer_login",
    """
    SELECT id, password_hash FROM customer
    WHERE tenant_id = :tenant_id AND has_account
      AND id = ANY(ARRAY(SELECT customer_ids_by_email(ARRAY[lower(:email)])))
    """,
)


class Credentials(Input):
    email: Email
    password: Annotated[str, Meta(min_length=1, max_length=1024)]


class TokenResponse(Output):
    token: str


class Login(Controller):
    path = "/auth"
    tags = ("Authentication",)
    opt = counted_as("login")

    @post("/user/emailpass", opt=public(), status_code=200)
    async def log_in_user(
        self, context: Context, runtime: Engine, data: JSONBody[Credentials]
    ) -> TokenResponse:
        await admit_tenant(runtime, context)
        return await _log_in(runtime, context, ActorKind.USER, _USER, data)

    @post("/customer/emailpass", opt=public(), guards=[shop_guard], status_code=200)
    async def log_in_customer(
        self, context: Context, runtime: Engine, data: JSONBody[Credentials]
    ) -> TokenResponse:
        return await _log_in(runtime, context, ActorKind.CUSTOMER, _CUSTOMER, data)


async def _log_in(
    runtime: Runtime,
    context: RequestContext,
    kind: ActorKind,
    statement: Statement,
    credentials: Credentials,
) -> TokenResponse:
    account = runtime.tokens.digest(f"{context.tenant}:{kind}:{credentials.email.lower()}")
    await runtime.logins.attempt(context, account)
    row = await look_up(runtime, context, statement, email=credentials.email)
    # The connection is back in its pool while the password's cost is paid.
    stored = None if row is None else row["password_hash"]
    if not await runtime.passwords.verify(stored, credentials.password) or row is None:
        _record_failure(runtime, context, kind, row, credentials.email)
        raise UnauthorizedError("Invalid email or password")
    await runtime.logins.succeeded(context, account)
    context.actor = Actor(kind, context.tenant, row["id"])
    runtime.events.record(context, LOGIN, "succeeded", row_id=row["id"], after={"kind": kind})
    return TokenResponse(token=runtime.tokens.issue(context.actor))


def _record_failure(
    runtime: Runtime,
    context: RequestContext,
    kind: ActorKind,
    row: asyncpg.Record | None,
    email: str,
) -> None:
    """A known account by its id. An address that nobody has here may be anybody's, or something
    typed into the wrong field: it is masked, and tries with one address have one digest."""
    after: dict[str, str] = {"kind": kind}
    if row is None:
        name, _, domain = email.partition("@")
        after["email"] = f"{name[:1]}***@{domain}"
        after["email_digest"] = runtime.tokens.digest(f"{context.tenant}:{email.lower()}")
    runtime.events.record(
        context, LOGIN, "failed", row_id=None if row is None else row["id"], after=after
    )
