"""New shops: a row in the register together with the roles, owner and key to begin with."""

import msgspec
from litestar import Controller, post
from litestar.params import JSONBody

from impact.context import RequestContext
from impact.domains.identity.bootstrap import bootstrap
from impact.domains.tenants import read
from impact.domains.tenants.schemas import CreateTenant, NewTenantResponse, TenantOut
from impact.domains.tenants.service import open_tenant
from impact.engine.http.dependencies import Context, Engine
from impact.engine.runtime import Runtime
from impact.engine.security.permissions import requires


async def open_shop(
    runtime: Runtime, context: RequestContext, data: CreateTenant
) -> NewTenantResponse:
    """Open a shop from a context of headquarters: one unit of work, so that no shop is left
    behind that nobody can enter."""
    owner = data.owner
    password_hash = "" if owner is None else await runtime.passwords.hash(owner.password)
    token = None
    async with runtime.database.write(context) as session:
        await open_tenant(
            session, data.id, data.name, data.currency_code, data.settings, data.allowed_origins
        )
        body = await read.tenants.one(session, data.id)
        if owner is not None:
            await session.switch_tenant(data.id)
            made = await bootstrap(
                session,
                email=owner.email,
                password_hash=password_hash,
                first_name=owner.first_name,
                last_name=owner.last_name,
            )
            token = made.publishable_token
    return NewTenantResponse(
        tenant=msgspec.json.decode(body, type=TenantOut), publishable_api_key=token
    )


class AdminNewTenants(Controller):
    path = "/tenants"
    tags = ("Admin tenants",)

    @post(opt=requires("tenant:create"), status_code=200)
    async def create_tenant(
        self, context: Context, runtime: Engine, data: JSONBody[CreateTenant]
    ) -> NewTenantResponse:
        return await open_shop(runtime, context, data)
