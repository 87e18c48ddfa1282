"""The cart's read model: its lines at the prices of the moment."""

from impact.domains.carts.schemas import CartItemOut, CartOut
from impact.engine.db.readmodel import ReadModel, json_list, json_object

_LINES = """cart_line l
 JOIN product_variant v ON v.tenant_id = l.tenant_id AND v.id = l.variant_id
 JOIN product p ON p.tenant_id = v.tenant_id AND p.id = v.product_id
 LEFT JOIN variant_price vp ON vp.tenant_id = l.tenant_id AND vp.variant_id = l.variant_id
      AND vp.currency_code = c.currency_code"""
_OF_CART = "l.tenant_id = c.tenant_id AND l.cart_id = c.id"
_TOTAL = f"(SELECT coalesce(sum(l.quantity * vp.amount), 0) FROM {_LINES} WHERE {_OF_CART})"

carts = ReadModel(
    "carts.cart",
    "cart c",
    json_object(
        CartOut,
        "c",
        item_total=_TOTAL,
        total=_TOTAL,
        items=json_list(
            json_object(
                CartItemOut,
                "l",
                product_id="p.id",
                title="p.title",
                product_title="p.title",
                product_handle="p.handle",
                variant_title="v.title",
                variant_sku="v.sku",
                thumbnail="p.thumbnail",
                unit_price="vp.amount",
                total="coalesce(l.quantity * vp.amount, 0)",
            ),
            _LINES,
            where=_OF_CART,
            order="l.id",
        ),
    ),
    sorts={"created_at": "c.created_at"},
    filters={"visible_to": "c.customer_id IS NULL OR c.customer_id = :visible_to"},
    noun="Cart",
)
