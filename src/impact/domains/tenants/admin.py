"""The routes to the register of tenants, for staff: headquarters sees all, a shop itself."""

from typing import Annotated

from litestar import Controller, Response, get, post
from litestar.openapi.spec import Example
from litestar.params import JSONBody, PathParameter

from impact.domains.tenants import read
from impact.domains.tenants.schemas import Status, TenantList, TenantResponse, UpdateTenant
from impact.domains.tenants.service import update_tenant
from impact.engine.http.contract import listing
from impact.engine.http.dependencies import Context, Engine, Fields, Many, Paging, Search, Word
from impact.engine.http.routes import list_of, one_of, written
from impact.engine.schemas import END
from impact.engine.security.permissions import requires
from impact.engine.text import like_pattern

_Slug = Annotated[
    str, PathParameter(pattern="^[a-z][a-z0-9-]{0,62}" + END, examples=[Example(value="paris")])
]


class AdminTenants(Controller):
    path = "/tenants"
    tags = ("Admin tenants",)

    @get(opt=requires("tenant:read") | listing(read.tenants))
    async def list_tenants(
        self,
        context: Context,
        runtime: Engine,
        paging: Paging,
        q: Search = None,
        fields: Fields = None,
        id: Many[Word] = None,
        status: Many[Status] = None,
    ) -> Response[TenantList]:
        filters = {"q": like_pattern(q) if q else None, "id": id, "status": status}
        return await list_of(
            read.tenants, "tenants", runtime, context, paging, fields=fields, filters=filters
        )

    @get("/{id:str}", opt=requires("tenant:read"))
    async def get_tenant(
        self, context: Context, runtime: Engine, id: _Slug, fields: Fields = None
    ) -> Response[TenantResponse]:
        return await one_of(read.tenants, "tenant", runtime, context, id, fields=fields)

    @post("/{id:str}", opt=requires("tenant:update"), status_code=200)
    async def update(
        self, context: Context, runtime: Engine, id: _Slug, data: JSONBody[UpdateTenant]
    ) -> Response[TenantResponse]:
        async with runtime.database.write(context) as session:
            await update_tenant(session, id, data)
            return await written(read.tenants, "tenant", session, id)
