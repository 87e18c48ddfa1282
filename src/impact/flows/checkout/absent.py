"""What Medusa's checkout also asks for, and Impact leaves to the shop: delivery and payment.

A storefront that offers what there is to choose finds nothing, and completes the cart. One that
insists is told so: nothing here pretends that goods are on their way or that money was taken.
"""

from typing import NoReturn
from uuid import UUID

from litestar import Controller, Response, get, post
from litestar.params import FromPath, FromQuery

from impact.context import shopper
from impact.domains.carts import read
from impact.engine.http import responses
from impact.engine.http.contract import unread
from impact.engine.http.dependencies import Context, Engine
from impact.engine.schemas import Output
from impact.engine.security.permissions import public
from impact.errors import NotAllowedError

_NO_DELIVERY = (
    "this shop has no shipping options: delivery is arranged outside of it;"
    " complete the cart without one"
)
_NO_PAYMENT = (
    "this shop takes no payments: they are arranged outside of it;"
    " complete the cart without a payment session"
)


class ShippingOptions(Output):
    shipping_options: list[str]
    """Always empty."""


class PaymentProviders(Output):
    payment_providers: list[str]
    """Always empty."""
    count: int
    offset: int
    limit: int


class StoreAbsent(Controller):
    tags = ("Store checkout",)

    @get("/shipping-options", opt=public())
    async def list_shipping_options(
        self, context: Context, runtime: Engine, cart_id: FromQuery[UUID]
    ) -> Response[ShippingOptions]:
        """None, for a cart that is the caller's."""
        async with runtime.database.read(context) as session:
            await read.carts.one(session, cart_id, filters={"visible_to": shopper(context)})
        return responses.json_body(b'{"shipping_options":[]}')

    @get("/payment-providers", opt=public())
    async def list_payment_providers(self) -> PaymentProviders:
        """None."""
        return PaymentProviders(payment_providers=[], count=0, offset=0, limit=50)

    @post("/carts/{id:uuid}/shipping-methods", opt=public() | unread(), status_code=200)
    async def add_shipping_method(self, id: FromPath[UUID]) -> NoReturn:
        """Refused: there is none to choose."""
        raise NotAllowedError(_NO_DELIVERY, code="no_shipping_options")

    @post("/payment-collections", opt=public() | unread(), status_code=200)
    async def create_payment_collection(self) -> NoReturn:
        """Refused: nothing is paid here."""
        raise NotAllowedError(_NO_PAYMENT, code="no_payment_providers")
