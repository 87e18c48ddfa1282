"""The orders' read models."""

from impact.domains.orders.schemas import (
    ChargeOut,
    OrderEventOut,
    OrderItemOut,
    OrderLineOut,
    OrderOut,
)
from impact.engine.db.readmodel import ReadModel, json_list, json_object

_OF_ORDER = "ol.tenant_id = o.tenant_id AND ol.order_id = o.id"
ITEMS = json_list(
    json_object(OrderItemOut, "ol", variant_sku="ol.sku"),
    "order_line ol",
    where=f"{_OF_ORDER} AND ol.kind = 'product'",
    order="ol.rank, ol.id",
)
CHARGES = json_list(
    json_object(ChargeOut, "ol", code="ol.sku"),
    "order_line ol",
    where=f"{_OF_ORDER} AND ol.kind = 'charge'",
    order="ol.rank, ol.id",
)
ORDER = json_object(OrderOut, "o", items=ITEMS, charges=CHARGES)
ORDER_SORTS = {"created_at": "o.created_at", "display_id": "o.display_id", "id": "o.id"}

orders = ReadModel(
    "orders.order",
    '"order" o',
    ORDER,
    sorts=ORDER_SORTS,
    filters={
        "kind": "o.kind = ANY(:kind)",
        "status": "o.status = ANY(:status)",
        "fulfillment_status": "o.fulfillment_status = ANY(:fulfillment_status)",
        "customer_id": "o.customer_id = ANY(:customer_id)",
        "email": "o.id = ANY(ARRAY(SELECT order_ids_by_email(:email)))",
        "display_id": "o.display_id = :display_id",
        "external_id": "o.external_id = :external_id",
        "created_from": "o.created_at >= :created_from",
        "created_to": "o.created_at < :created_to",
    },
    noun="Order",
)
store_orders = ReadModel(
    "orders.store_order",
    '"order" o',
    ORDER,
    sorts=ORDER_SORTS,
    filters={
        # A guest's order is found by whoever knows its id; a customer's by that customer alone.
        "visible_to": "o.customer_id IS NULL OR o.customer_id = :visible_to",
        "owner": "o.customer_id = :owner",
    },
    noun="Order",
)
_ITS_ORDER = 'FROM "order" o WHERE o.tenant_id = ol.tenant_id AND o.id = ol.order_id'
_ITS_COLUMNS = ("display_id", "customer_id", "currency_code")
lines = ReadModel(
    "orders.line",
    "order_line ol",
    "(SELECT "
    + json_object(
        OrderLineOut,
        "ol",
        order_kind="o.kind",
        order_status="o.status",
        ordered_at="o.created_at",
        **{name: f"o.{name}" for name in _ITS_COLUMNS},
    )
    + f" {_ITS_ORDER})",
    sorts={"id": "ol.id"},
    default_order="id",
    filters={
        "kind": "ol.kind = :kind",
        "order_id": "ol.order_id = ANY(:order_id)",
        "product_id": "ol.product_id = ANY(:product_id)",
        "variant_id": "ol.variant_id = ANY(:variant_id)",
        "order_kind": f"EXISTS (SELECT {_ITS_ORDER} AND o.kind = ANY(:order_kind))",
        "order_status": f"EXISTS (SELECT {_ITS_ORDER} AND o.status = ANY(:order_status))",
        "created_from": f"EXISTS (SELECT {_ITS_ORDER} AND o.created_at >= :created_from)",
        "created_to": f"EXISTS (SELECT {_ITS_ORDER} AND o.created_at < :created_to)",
    },
    noun="Order line",
)
events = ReadModel(
    "orders.event",
    "order_event e",
    json_object(OrderEventOut, "e"),
    sorts={"created_at": "e.created_at", "id": "e.id"},
    filters={"order_id": "e.order_id = :order_id"},
    default_order="id",
    noun="Order event",
)
