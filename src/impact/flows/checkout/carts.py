"""From a cart to what is to be ordered."""

from uuid import UUID

import msgspec

from impact.domains.orders.read import ORDER
from impact.engine.db.session import WriteSession
from impact.engine.db.statements import Statement
from impact.errors import NotAllowedError, NotFoundError
from impact.flows.checkout.placement import Basket, customer_of

# The cart's row is locked, so that two completions follow each other: the second finds the
# first one's order. Its lines cannot change meanwhile, as every change locks the cart too.
_CART = Statement(
    "checkout.lock_cart",
    """
    SELECT c.email, c.currency_code, c.customer_id, c.completed_at, c.shipping_address,
           c.billing_address, c.metadata,
           coalesce((SELECT json_agg(json_build_array(l.variant_id, l.quantity) ORDER BY l.id)
                       FROM cart_line l WHERE l.tenant_id = c.tenant_id AND l.cart_id = c.id),
                    '[]'::json)::text AS lines
    FROM cart c
    WHERE c.tenant_id = :tenant_id AND c.id = :id
      AND (c.customer_id IS NULL OR c.customer_id = :customer_id)
    FOR UPDATE OF c
    """,
)
_ORDER_OF_CART = Statement(
    "checkout.order_of_cart",
    f'SELECT {ORDER}::text FROM "order" o WHERE o.tenant_id = :tenant_id AND o.cart_id = :id',
)


async def load_basket(session: WriteSession, id: UUID) -> tuple[Basket | None, str]:
    """What the cart holds; or, where it was completed before, the JSON of its order.

    Raises NotFoundError for a cart that is not the caller's, NotAllowedError for an empty one.
    """
    row = await session.fetch_one(_CART, id=id, customer_id=customer_of(session))
    if row is None:
        raise NotFoundError(f"Cart with id '{id}' not found")
    if row["completed_at"] is not None:
        # Whoever held the lock has committed, so this statement's snapshot has its order.
        answer = await session.fetch_value(_ORDER_OF_CART, id=id)
        if answer is None:
            raise NotFoundError(f"the order of cart '{id}' no longer exists")
        return None, answer
    lines = msgspec.json.decode(row["lines"], type=list[tuple[UUID, int]])
    if not lines:
        raise NotAllowedError("the cart is empty; add line items first")
    return (
        Basket(
            lines=dict(lines),
            pointers={variant_id: f"/items/{n}" for n, (variant_id, _) in enumerate(lines)},
            currency_code=row["currency_code"],
            email=row["email"],
            customer_id=row["customer_id"] or customer_of(session),
            cart_id=id,
            shipping_address=row["shipping_address"],
            billing_address=row["billing_address"],
            metadata=row["metadata"],
        ),
        "",
    )
