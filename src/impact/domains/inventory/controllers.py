"""The inventory's routes for staff."""

from typing import Annotated
from uuid import UUID

from litestar import Controller, Response, get, post
from litestar.params import FromPath, JSONBody, QueryParameter

from impact.domains.inventory import read
from impact.domains.inventory.schemas import (
    InventoryLevelList,
    InventoryLevelResponse,
    UpdateInventoryLevel,
)
from impact.domains.inventory.service import InventoryService
from impact.engine.http.contract import listing
from impact.engine.http.dependencies import Context, Engine, Many, Paging
from impact.engine.http.routes import list_of, one_of, written
from impact.engine.security.permissions import requires


class AdminInventoryLevels(Controller):
    path = "/inventory-levels"
    tags = ("Admin inventory",)

    @get(opt=requires("inventory:read") | listing(read.levels))
    async def list_levels(
        self,
        context: Context,
        runtime: Engine,
        paging: Paging,
        variant_id: Many[UUID] = None,
        available_below: Annotated[int | None, QueryParameter(ge=0, le=1_000_000_000)] = None,
    ) -> Response[InventoryLevelList]:
        filters = {"variant_id": variant_id, "available_below": available_below}
        return await list_of(
            read.levels, "inventory_levels", runtime, context, paging, filters=filters
        )

    @get("/{id:uuid}", opt=requires("inventory:read"))
    async def get_level(
        self, context: Context, runtime: Engine, id: FromPath[UUID]
    ) -> Response[InventoryLevelResponse]:
        return await one_of(read.levels, "inventory_level", runtime, context, id)

    @post("/{id:uuid}", opt=requires("inventory:update"), status_code=200)
    async def update_level(
        self,
        context: Context,
        runtime: Engine,
        id: FromPath[UUID],
        data: JSONBody[UpdateInventoryLevel],
    ) -> Response[InventoryLevelResponse]:
        async with runtime.database.write(context) as session:
            await InventoryService(session).set_stock(id, data.stocked_quantity)
            return await written(read.levels, "inventory_level", session, id)
