"""The orders' read models."""

from impact.domains.orders.schemas import ChargeOut, OrderEventOut, OrderItemOut, OrderOut
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
        "email": "lower(o.email) = lower(:email)",
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
events = ReadModel(
    "orders.event",
    "order_event e",
    json_object(OrderEventOut, "e"),
    sorts={"created_at": "e.created_at", "id": "e.id"},
    filters={"order_id": "e.order_id = :order_id"},
    default_order="id",
    noun="Order event",
)
