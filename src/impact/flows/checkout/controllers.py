"""The routes that make orders."""

from typing import Annotated
from uuid import UUID

from litestar import Controller, Response, post
from litestar.params import FromPath, HeaderParameter, JSONBody

from impact.domains.orders.schemas import CompletedCart, CreateOrder, OrderResponse
from impact.engine.http import responses
from impact.engine.http.dependencies import Context, Engine
from impact.engine.http.limits import counted_as
from impact.engine.schemas import END
from impact.engine.security.permissions import public
from impact.flows.checkout.carts import load_basket
from impact.flows.checkout.placement import Basket, claim_key, customer_of, place

IdempotencyKey = Annotated[
    str | None, HeaderParameter(name="idempotency-key", pattern=r"^[\x21-\x7e]{1,255}" + END)
]


class StoreCheckout(Controller):
    tags = ("Store checkout",)
    opt = counted_as("checkout")

    @post("/orders", opt=public(), status_code=200)
    async def create_order(
        self,
        context: Context,
        runtime: Engine,
        data: JSONBody[CreateOrder],
        idempotency_key: IdempotencyKey = None,
    ) -> Response[OrderResponse]:
        """Place an order of the given lines. Safe to repeat with an idempotency-key."""
        async with runtime.database.write(context) as session:
            with runtime.telemetry.step(context, "checkout/claim"):
                claim = await claim_key(
                    session,
                    "order",
                    idempotency_key,
                    [data, customer_of(session)],
                    ttl=runtime.settings.idempotency_ttl,
                )
            answer = claim.answer
            if answer is None:
                basket = _basket(data, context, customer_of(session))
                with runtime.telemetry.step(context, "checkout/place"):
                    answer = await place(session, basket, claim)
        return responses.entity("order", answer)

    @post("/carts/{id:uuid}/complete", opt=public(), status_code=200)
    async def complete_cart(
        self,
        context: Context,
        runtime: Engine,
        id: FromPath[UUID],
        idempotency_key: IdempotencyKey = None,
    ) -> Response[CompletedCart]:
        """Turn a cart into an order. Completing it again answers the same order."""
        async with runtime.database.write(context) as session:
            with runtime.telemetry.step(context, "checkout/claim"):
                claim = await claim_key(
                    session,
                    "cart",
                    idempotency_key,
                    [id, customer_of(session)],
                    ttl=runtime.settings.idempotency_ttl,
                )
            answer = claim.answer
            if answer is None:
                with runtime.telemetry.step(context, "checkout/basket"):
                    basket, answer = await load_basket(session, id)
                if basket is not None:
                    with runtime.telemetry.step(context, "checkout/place"):
                        answer = await place(session, basket, claim)
        return responses.json_body(f'{{"type":"order","order":{answer}}}')


def _basket(data: CreateOrder, context: Context, customer_id: UUID | None) -> Basket:
    lines: dict[UUID, int] = {}
    pointers: dict[UUID, str] = {}
    for number, line in enumerate(data.lines):
        lines[line.variant_id] = lines.get(line.variant_id, 0) + line.quantity
        pointers.setdefault(line.variant_id, f"/lines/{number}/variant_id")
    return Basket(
        lines=lines,
        pointers=pointers,
        currency_code=data.currency_code or context.currency_code,
        email=data.email,
        customer_id=customer_id,
        shipping_address=data.shipping_address,
        billing_address=data.billing_address,
        metadata=data.metadata,
    )
