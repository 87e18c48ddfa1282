"""Filling a cart. Every change locks the cart's row, so that a completion sees all or none."""

import datetime as dt
from uuid import UUID

import msgspec

from impact.context import NOBODY, shopper
from impact.domains.carts.models import Cart
from impact.domains.carts.repository import CartRepository, OpenCart
from impact.domains.carts.schemas import AddLine, CreateCart, UpdateCart
from impact.engine.db.base import new_id
from impact.engine.db.session import WriteSession
from impact.engine.schemas import Metadata
from impact.errors import (
    InsufficientInventoryError,
    InvalidDataError,
    NotAllowedError,
    NotFoundError,
    Problem,
)

MOST_OF_ONE = 1_000_000
"""Of one variant in a cart: what one line may ask for, also when it is asked for in parts."""


class CartService:
    def __init__(self, session: WriteSession) -> None:
        self._session = session
        self._carts = CartRepository(session)

    async def create(self, data: CreateCart, currency_code: str) -> UUID:
        """Open a cart in the currency, for the customer who is logged in, if any."""
        owner = shopper(self._session.context)
        cart = Cart(
            id=new_id(),
            email=data.email,
            currency_code=data.currency_code or currency_code,
            customer_id=None if owner == NOBODY else owner,
            shipping_address=msgspec.to_builtins(data.shipping_address),
            billing_address=msgspec.to_builtins(data.billing_address),
            metadata_=data.metadata,
        )
        self._session.add(cart)
        await self._session.flush()
        opened = OpenCart(cart.id, cart.currency_code)
        for number, item in enumerate(data.items):
            await self._put(opened, item.variant_id, item.quantity, f"/items/{number}/")
        return cart.id

    async def update(self, id: UUID, data: UpdateCart) -> None:
        cart = await self._carts.get_for_update(id)
        self._require_open(id, cart.customer_id, cart.completed_at)
        for name, value in data.changes().items():
            column = "metadata_" if name == "metadata" else name
            setattr(cart, column, msgspec.to_builtins(value))
        await self._session.flush()

    async def add_line(self, id: UUID, data: AddLine) -> None:
        """Put more of a variant into the cart.

        Raises InvalidDataError for what is not for sale, InsufficientInventoryError for more
        than there is.
        """
        cart = await self._open(id)
        await self._put(cart, data.variant_id, data.quantity, "/", data.metadata)

    async def set_line(self, id: UUID, line_id: UUID, quantity: int) -> None:
        cart = await self._open(id)
        line = await self._carts.line(cart, line_id)
        if line is None:
            raise NotFoundError(f"Line item with id '{line_id}' not found")
        if quantity == 0:
            await self._carts.remove_line(cart, line_id)
        else:
            more = quantity - line["quantity"]
            await self._check_offer(cart, line["variant_id"], more, "/")
            await self._carts.set_line(cart, line_id, quantity)

    async def remove_line(self, id: UUID, line_id: UUID) -> None:
        cart = await self._open(id)
        if not await self._carts.remove_line(cart, line_id):
            raise NotFoundError(f"Line item with id '{line_id}' not found")

    async def _open(self, id: UUID) -> OpenCart:
        """The caller's cart, locked. Raises NotFoundError; NotAllowedError once completed."""
        cart = await self._carts.lock(id)
        self._require_open(id, cart["customer_id"], cart["completed_at"])
        return OpenCart(cart["id"], cart["currency_code"])

    def _require_open(
        self, id: UUID, customer_id: UUID | None, completed_at: dt.datetime | None
    ) -> None:
        if customer_id not in (None, shopper(self._session.context)):
            raise NotFoundError(f"Cart with id '{id}' not found")
        if completed_at is not None:
            raise NotAllowedError("this cart was completed; open a new one")

    async def _put(
        self,
        cart: OpenCart,
        variant_id: UUID,
        quantity: int,
        pointer: str,
        metadata: Metadata | None = None,
    ) -> None:
        await self._check_offer(cart, variant_id, quantity, pointer)
        encoded = None if metadata is None else msgspec.json.encode(metadata).decode()
        await self._carts.add_line(cart, variant_id, quantity, encoded)

    async def _check_offer(
        self, cart: OpenCart, variant_id: UUID, quantity: int, pointer: str
    ) -> None:
        offer = await self._carts.offer(cart, variant_id, quantity)
        if offer is None:
            message = (
                f"Variants {variant_id} do not exist or belong to a product that is not published"
            )
        elif offer["amount"] is None:
            message = f"Variant {variant_id} has no price in {cart.currency_code}"
        elif offer["quantity"] > MOST_OF_ONE:
            message = f"a cart holds at most {MOST_OF_ONE} of one variant"
            problem = Problem(message, pointer=f"{pointer}quantity")
            raise InvalidDataError(message, problems=[problem])
        elif not offer["available"]:
            message = "Some variant does not have the required inventory"
            problem = Problem(message, pointer=f"{pointer}quantity")
            raise InsufficientInventoryError(message, problems=[problem])
        else:
            return
        raise InvalidDataError(message, problems=[Problem(message, pointer=f"{pointer}variant_id")])
