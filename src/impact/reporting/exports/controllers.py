"""The exports' routes: what the lists show, all of it, as a file."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal
from uuid import UUID

import msgspec
from litestar import Controller, get
from litestar.params import FromQuery, QueryParameter

from impact.context import RequestContext
from impact.domains.catalog import read as catalog
from impact.domains.catalog.schemas import ProductOut, Status, VariantOut
from impact.domains.customers import read as customers
from impact.domains.customers.schemas import CustomerOut
from impact.domains.inventory import read as inventory
from impact.domains.inventory.schemas import InventoryLevelOut
from impact.domains.orders import read as orders
from impact.domains.orders.schemas import (
    FulfillmentStatus,
    OrderKind,
    OrderLineOut,
    OrderOut,
    OrderStatus,
)
from impact.engine.db.readmodel import ReadModel
from impact.engine.http.contract import listing, produces
from impact.engine.http.dependencies import (
    Accept,
    Context,
    Engine,
    Many,
    MomentParameter,
    Search,
    Text,
    Word,
    read_moment,
)
from impact.engine.http.limits import counted_as
from impact.engine.http.streaming import StreamedResponse
from impact.engine.runtime import Runtime
from impact.engine.security.permissions import requires
from impact.engine.text import like_pattern
from impact.reporting.exports.export import export, rows_of
from impact.reporting.exports.formats import FILES, Format, chosen

FormatParameter = FromQuery[Format | None]
Order = Annotated[str | None, QueryParameter(max_length=64)]


class Source(msgspec.Struct):
    """What can be exported: its name, whose permission that needs, how it is read, what a row of
    it holds."""

    name: str
    resource: str
    model: ReadModel
    row: type[msgspec.Struct]

    def export(
        self,
        runtime: Runtime,
        context: RequestContext,
        format: Format,
        order: str | None,
        filters: Mapping[str, Any],
    ) -> StreamedResponse:
        given = {name: value for name, value in filters.items() if value is not None}
        asked: dict[str, Any] = {"filters": given}
        if order is not None:
            asked["order"] = order
        if "q" in given:
            given = {**given, "q": like_pattern(given["q"])}
        return export(
            runtime,
            context,
            self.name,
            rows_of(self.model, runtime, context, order, given),
            columns=self.row.__struct_fields__,
            format=format,
            asked=asked,
        )


PRODUCTS = Source("products", "product", catalog.products, ProductOut)
VARIANTS = Source("product-variants", "product", catalog.variants, VariantOut)
LEVELS = Source("inventory-levels", "inventory", inventory.levels, InventoryLevelOut)
CUSTOMERS = Source("customers", "customer", customers.customers, CustomerOut)
ORDERS = Source("orders", "order", orders.orders, OrderOut)
LINES = Source("order-lines", "order", orders.lines, OrderLineOut)


def _exports(source: Source) -> dict[str, Any]:
    """The mark of an export: its permission, its order, and what it is sent as."""
    return requires(f"{source.resource}:export") | listing(source.model) | produces(*FILES)


class AdminExports(Controller):
    path = "/exports"
    tags = ("Admin exports",)
    opt = counted_as("report")

    @get("/products", opt=_exports(PRODUCTS))
    async def export_products(
        self,
        context: Context,
        runtime: Engine,
        accept: Accept = "",
        format: FormatParameter = None,
        order: Order = None,
        q: Search = None,
        id: Many[UUID] = None,
        handle: Many[Word] = None,
        status: Many[Status] = None,
        collection_id: Many[UUID] = None,
        category_id: Many[UUID] = None,
        tag: Many[Word] = None,
        sku: Text = None,
        external_id: Text = None,
    ) -> StreamedResponse:
        filters = {
            "q": q,
            "id": id,
            "handle": handle,
            "status": status,
            "collection_id": collection_id,
            "category_id": category_id,
            "tag": tag,
            "sku": sku,
            "external_id": external_id,
        }
        return PRODUCTS.export(runtime, context, chosen(format, accept), order, filters)

    @get("/product-variants", opt=_exports(VARIANTS))
    async def export_variants(
        self,
        context: Context,
        runtime: Engine,
        accept: Accept = "",
        format: FormatParameter = None,
        order: Order = None,
        id: Many[UUID] = None,
        product_id: Many[UUID] = None,
        sku: Text = None,
    ) -> StreamedResponse:
        filters = {"id": id, "product_id": product_id, "sku": sku}
        return VARIANTS.export(runtime, context, chosen(format, accept), order, filters)

    @get("/inventory-levels", opt=_exports(LEVELS))
    async def export_levels(
        self,
        context: Context,
        runtime: Engine,
        accept: Accept = "",
        format: FormatParameter = None,
        order: Order = None,
        variant_id: Many[UUID] = None,
        available_below: Annotated[int | None, QueryParameter(ge=0, le=1_000_000_000)] = None,
    ) -> StreamedResponse:
        filters = {"variant_id": variant_id, "available_below": available_below}
        return LEVELS.export(runtime, context, chosen(format, accept), order, filters)

    @get("/customers", opt=_exports(CUSTOMERS))
    async def export_customers(
        self,
        context: Context,
        runtime: Engine,
        accept: Accept = "",
        format: FormatParameter = None,
        order: Order = None,
        q: Search = None,
        id: Many[UUID] = None,
        email: Many[Word] = None,
        has_account: FromQuery[bool | None] = None,
    ) -> StreamedResponse:
        filters = {
            "q": q,
            "id": id,
            "email": None if email is None else [address.lower() for address in email],
            "has_account": has_account,
        }
        return CUSTOMERS.export(runtime, context, chosen(format, accept), order, filters)

    @get("/orders", opt=_exports(ORDERS))
    async def export_orders(
        self,
        context: Context,
        runtime: Engine,
        accept: Accept = "",
        format: FormatParameter = None,
        order: Order = None,
        id: Many[UUID] = None,
        kind: Many[OrderKind] = None,
        status: Many[OrderStatus] = None,
        fulfillment_status: Many[FulfillmentStatus] = None,
        customer_id: Many[UUID] = None,
        email: Text = None,
        created_from: MomentParameter = None,
        created_to: MomentParameter = None,
    ) -> StreamedResponse:
        filters = {
            "id": id,
            "kind": kind,
            "status": status,
            "fulfillment_status": fulfillment_status,
            "customer_id": customer_id,
            "email": email,
            "created_from": read_moment("created_from", created_from),
            "created_to": read_moment("created_to", created_to),
        }
        return ORDERS.export(runtime, context, chosen(format, accept), order, filters)

    @get("/order-lines", opt=_exports(LINES))
    async def export_lines(
        self,
        context: Context,
        runtime: Engine,
        accept: Accept = "",
        format: FormatParameter = None,
        kind: FromQuery[Literal["product", "charge"] | None] = None,
        order_id: Many[UUID] = None,
        product_id: Many[UUID] = None,
        variant_id: Many[UUID] = None,
        order_kind: Many[OrderKind] = None,
        order_status: Many[OrderStatus] = None,
        created_from: MomentParameter = None,
        created_to: MomentParameter = None,
    ) -> StreamedResponse:
        """Each line with its order's number, time and currency. The times are the orders'."""
        filters = {
            "kind": kind,
            "order_id": order_id,
            "product_id": product_id,
            "variant_id": variant_id,
            "order_kind": order_kind,
            "order_status": order_status,
            "created_from": read_moment("created_from", created_from),
            "created_to": read_moment("created_to", created_to),
        }
        return LINES.export(runtime, context, chosen(format, accept), None, filters)
