"""Placing an order: prices and stock from the database, one transaction, few round trips.

BEGIN, claim the idempotency key, take the stock, write everything, COMMIT and read its WAL
position: six round trips for any number of lines, five without a key.
"""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

import msgspec

from impact.context import ActorKind
from impact.domains.orders.schemas import OrderAddress, OrderItemOut, OrderOut
from impact.engine.db.base import new_id, utc_now
from impact.engine.db.session import WriteSession
from impact.engine.db.statements import ALL, Statement
from impact.engine.schemas import Metadata
from impact.errors import (
    IdempotencyMismatchError,
    InsufficientInventoryError,
    InvalidDataError,
    Problem,
)

MOST_TOTAL = 10**15
"""The largest total of an order in minor units: far below what a bigint or a double holds."""

# The first to insert a key goes on; whoever comes meanwhile waits for its transaction, then
# finds the answer. A key past its time is taken over as if new. Each claim clears away a few keys
# whose time is over, so that the table stays as large as one key's lifetime.
_CLAIM = Statement(
    "checkout.claim_key",
    """
    WITH cleared AS (
        DELETE FROM idempotency_key d WHERE d.tenant_id = :tenant_id AND d.id = ANY(ARRAY(
            SELECT o.id FROM idempotency_key o
            WHERE o.tenant_id = :tenant_id AND o.key <> :key
              AND o.created_at < now() - make_interval(secs => :ttl)
            ORDER BY o.created_at LIMIT 5 FOR UPDATE SKIP LOCKED))
    )
    INSERT INTO idempotency_key AS k (tenant_id, id, scope, key, request_hash)
    VALUES (:tenant_id, :id, :scope, :key, :request_hash)
    ON CONFLICT (tenant_id, scope, key) DO UPDATE
        SET id = excluded.id, request_hash = excluded.request_hash,
            order_id = NULL, response = NULL, created_at = now(), updated_at = now()
        WHERE k.created_at < now() - make_interval(secs => :ttl)
    RETURNING id
    """,
    writes={"idempotency_key": ALL},
)
_ANSWER = Statement(
    "checkout.answer_of_key",
    """
    SELECT request_hash, response FROM idempotency_key
    WHERE tenant_id = :tenant_id AND scope = :scope AND key = :key
    """,
)
# Levels are locked in primary-key order, then raised only where the stock suffices. A level
# that another order changed meanwhile is judged by its newest version (READ COMMITTED).
_TAKE_STOCK = Statement(
    "checkout.take_stock",
    """
    WITH wanted AS (
        SELECT * FROM unnest(:variant_ids::uuid[], :quantities::int[]) AS w(variant_id, quantity)
    ), locked AS (
        SELECT l.id, l.variant_id FROM inventory_level l JOIN wanted w USING (variant_id)
        WHERE l.tenant_id = :tenant_id ORDER BY l.id FOR UPDATE OF l
    ), taken AS (
        UPDATE inventory_level l
        SET reserved_quantity = l.reserved_quantity + w.quantity, updated_at = now()
        FROM locked k
        JOIN wanted w ON w.variant_id = k.variant_id
        JOIN product_variant v ON v.tenant_id = :tenant_id AND v.id = w.variant_id
        WHERE l.tenant_id = :tenant_id AND l.id = k.id AND v.manage_inventory
          AND (v.allow_backorder OR l.stocked_quantity - l.reserved_quantity >= w.quantity)
        RETURNING l.variant_id
    )
    SELECT w.variant_id, w.quantity, v.title AS variant_title, v.sku, v.manage_inventory,
           p.id AS product_id, p.title, p.thumbnail, vp.amount,
           t.variant_id IS NOT NULL AS taken,
           (SELECT nextval('order_display_id_seq')) AS display_id,
           (SELECT email FROM customer c
             WHERE c.tenant_id = :tenant_id AND c.id = :customer_id) AS customer_email
    FROM wanted w
    LEFT JOIN product_variant v ON v.tenant_id = :tenant_id AND v.id = w.variant_id
    LEFT JOIN product p ON p.tenant_id = :tenant_id AND p.id = v.product_id
         AND p.status = 'published'
    LEFT JOIN variant_price vp ON vp.tenant_id = :tenant_id AND vp.variant_id = v.id
         AND vp.currency_code = :currency_code
    LEFT JOIN taken t ON t.variant_id = w.variant_id
    """,
    writes={"inventory_level": "product_id"},
)
_PLACE = Statement(
    "checkout.place",
    """
    WITH lines AS (
        SELECT * FROM json_to_recordset(:lines::json) AS l(
            id uuid, product_id uuid, variant_id uuid, title text, variant_title text,
            variant_sku text, thumbnail text, quantity int, unit_price bigint, total bigint,
            rank int, reserve boolean)
    ), placed AS (
        INSERT INTO "order" (tenant_id, id, display_id, email, customer_id, cart_id,
            currency_code, item_total, charge_total, total, units, shipping_address,
            billing_address, metadata, created_at, updated_at)
        VALUES (:tenant_id, :order_id, :display_id, :email, :customer_id, :cart_id,
            :currency_code, :item_total, 0, :item_total, :units, :shipping_address::jsonb,
            :billing_address::jsonb, :metadata::jsonb, :created_at, :created_at)
    ), placed_lines AS (
        INSERT INTO order_line (tenant_id, id, order_id, product_id, variant_id, title,
            variant_title, sku, thumbnail, quantity, unit_price, total, rank,
            created_at, updated_at)
        SELECT :tenant_id, id, :order_id, product_id, variant_id, title, variant_title,
            variant_sku, thumbnail, quantity, unit_price, total, rank, :created_at, :created_at
        FROM lines
    ), reserved AS (
        INSERT INTO reservation (tenant_id, id, variant_id, order_line_id, quantity)
        SELECT :tenant_id, id, variant_id, id, quantity FROM lines WHERE reserve
    ), event AS (
        INSERT INTO order_event (tenant_id, id, order_id, type, actor)
        VALUES (:tenant_id, :event_id, :order_id, 'order.placed', :actor)
    ), emptied AS (
        UPDATE cart SET completed_at = :created_at, updated_at = :created_at
        WHERE tenant_id = :tenant_id AND id = :cart_id
    )
    UPDATE idempotency_key SET order_id = :order_id, response = :response, updated_at = now()
    WHERE tenant_id = :tenant_id AND id = :key_id
    """,
    writes={
        "order": ALL,
        "order_line": ALL,
        "reservation": ALL,
        "order_event": ALL,
        "cart": ":cart_id",
        "idempotency_key": ALL,
    },
)


class Basket(msgspec.Struct, kw_only=True):
    """What is to be ordered, from a request or from a cart. ``lines`` maps variants to
    quantities; ``pointers`` say where in the request each variant stood."""

    lines: Mapping[UUID, int]
    currency_code: str
    pointers: Mapping[UUID, str]
    email: str | None = None
    customer_id: UUID | None = None
    cart_id: UUID | None = None
    shipping_address: Any = None
    billing_address: Any = None
    metadata: Metadata | None = None


class Claim(msgspec.Struct, frozen=True):
    """An idempotency key in this transaction: its row, or the answer given before."""

    key_id: UUID | None
    answer: str | None = None


async def claim_key(
    session: WriteSession, scope: str, key: str | None, request: object, *, ttl: float
) -> Claim:
    """Claim an idempotency key, valid for ``ttl`` seconds, for what is asked.

    Raises IdempotencyMismatchError where the key was used for something else.
    """
    if key is None:
        return Claim(None)
    digest = hashlib.sha256(msgspec.json.encode(request, order="deterministic")).digest()
    key_id = await session.fetch_value(
        _CLAIM, id=new_id(), scope=scope, key=key, request_hash=digest, ttl=ttl
    )
    if key_id is not None:
        return Claim(key_id)
    found = await session.fetch_one(_ANSWER, scope=scope, key=key)
    if found is None or found["request_hash"] != digest:
        raise IdempotencyMismatchError(
            "this idempotency key was used with another request; send a new key"
        )
    return Claim(None, found["response"])


async def place(session: WriteSession, basket: Basket, claim: Claim) -> str:
    """Write the order; answers its JSON. Everything is undone where any line cannot be had.

    Raises InvalidDataError for a variant that is not for sale or has no price,
    InsufficientInventoryError for one that is sold out.
    """
    variant_ids = sorted(basket.lines)
    rows = await session.fetch(
        _TAKE_STOCK,
        variant_ids=variant_ids,
        quantities=[basket.lines[variant_id] for variant_id in variant_ids],
        currency_code=basket.currency_code,
        customer_id=basket.customer_id,
    )
    _refuse_unsaleable(rows, basket)
    order = _order(rows, basket)
    answer = msgspec.json.encode(order).decode()
    reserve = {row["variant_id"] for row in rows if row["taken"]}
    lines = [
        {**msgspec.to_builtins(item), "rank": rank, "reserve": item.variant_id in reserve}
        for rank, item in enumerate(order.items)
    ]
    await session.execute(
        _PLACE,
        order_id=order.id,
        display_id=order.display_id,
        email=order.email,
        customer_id=order.customer_id,
        cart_id=basket.cart_id,
        currency_code=order.currency_code,
        item_total=order.item_total,
        units=sum(item.quantity for item in order.items),
        shipping_address=_json(order.shipping_address),
        billing_address=_json(order.billing_address),
        metadata=_json(order.metadata),
        created_at=order.created_at,
        lines=_json(lines),
        event_id=new_id(),
        actor=str(session.context.actor),
        key_id=claim.key_id,
        response=answer,
    )
    return answer


def _refuse_unsaleable(rows: Sequence[Any], basket: Basket) -> None:
    problems = []
    for row in rows:
        pointer = basket.pointers[row["variant_id"]]
        if row["product_id"] is None:
            message = (
                f"Variant {row['variant_id']} does not exist or belongs to a product"
                " that is not published"
            )
            problems.append(Problem(message, pointer=pointer))
        elif row["amount"] is None:
            message = f"Variant {row['variant_id']} has no price in {basket.currency_code}"
            problems.append(Problem(message, pointer=pointer))
    if problems:
        text = "; ".join(problem.message for problem in problems)
        raise InvalidDataError(text, problems=problems)
    sold_out = [
        Problem(
            f"Variant {row['variant_id']} does not have {row['quantity']} in stock",
            pointer=basket.pointers[row["variant_id"]],
        )
        for row in rows
        if row["manage_inventory"] and not row["taken"]
    ]
    if sold_out:
        message = "Some variant does not have the required inventory"
        raise InsufficientInventoryError(message, problems=sold_out)


def _order(rows: Sequence[Any], basket: Basket) -> OrderOut:
    """The order as it will be written and as it is answered."""
    by_variant = {row["variant_id"]: row for row in rows}
    items = []
    for variant_id, quantity in basket.lines.items():
        row = by_variant[variant_id]
        items.append(
            OrderItemOut(
                id=new_id(),
                title=row["title"],
                variant_title=row["variant_title"],
                variant_sku=row["sku"],
                thumbnail=row["thumbnail"],
                product_id=row["product_id"],
                variant_id=variant_id,
                quantity=quantity,
                fulfilled_quantity=0,
                unit_price=row["amount"],
                total=row["amount"] * quantity,
            )
        )
    item_total = sum(item.total for item in items)
    if item_total > MOST_TOTAL:
        raise InvalidDataError(f"the order's total is larger than {MOST_TOTAL} minor units")
    email = basket.email or rows[0]["customer_email"]
    if email is None:
        message = "an order needs an e-mail address, or a customer who is logged in"
        raise InvalidDataError(message, problems=[Problem(message, pointer="/email")])
    now = utc_now()
    return OrderOut(
        id=new_id(),
        display_id=rows[0]["display_id"],
        external_id=None,
        kind="sale",
        status="pending",
        fulfillment_status="not_fulfilled",
        email=email,
        customer_id=basket.customer_id,
        currency_code=basket.currency_code,
        item_total=item_total,
        charge_total=0,
        total=item_total,
        shipping_address=_address(basket.shipping_address),
        billing_address=_address(basket.billing_address),
        metadata=basket.metadata,
        canceled_at=None,
        created_at=now,
        updated_at=now,
        items=items,
        charges=[],
    )


def _address(address: OrderAddress | dict[str, Any] | None) -> dict[str, Any] | None:
    if isinstance(address, OrderAddress):
        built: dict[str, Any] = msgspec.to_builtins(address)
        return built
    return address


def _json(value: object) -> str | None:
    return None if value is None else msgspec.json.encode(value).decode()


def customer_of(session: WriteSession) -> UUID | None:
    """The customer who is logged in, or None."""
    actor = session.context.actor
    return actor.id if actor.kind is ActorKind.CUSTOMER else None
