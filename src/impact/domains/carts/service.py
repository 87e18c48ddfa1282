"""Filling a cart. Every change locks the cart's row, so that a completion sees all or none."""

from uuid import UUID

import msgspec
from msgspec import UNSET

from impact.context import NOBODY, shopper
from impact.domains.carts.models import Cart
from impact.domains.carts.repository import CartRepository
from impact.domains.carts.schemas import AddLine, CreateCart, UpdateCart
from impact.engine.db.base import new_id, utc_now
from impact.engine.db.session import WriteSession
from impact.engine.schemas import Metadata, bounded_metadata
from impact.errors import (
    InsufficientInventoryError,
    InvalidDataError,
    NotAllowedError,
    NotFoundError,
    Problem,
)


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
            metadata_=bounded_metadata(data.metadata),
        )
        self._session.add(cart)
        await self._session.flush()
        for number, item in enumerate(data.items):
            await self._put(cart, item.variant_id, item.quantity, f"/items/{number}/")
        return cart.id

    async def update(self, id: UUID, data: UpdateCart) -> None:
        cart = await self._open(id)
        if data.metadata is not UNSET:
            bounded_metadata(data.metadata)
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
        await self._touch(cart)

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
        await self._touch(cart)

    async def remove_line(self, id: UUID, line_id: UUID) -> None:
        cart = await self._open(id)
        if not await self._carts.remove_line(cart, line_id):
            raise NotFoundError(f"Line item with id '{line_id}' not found")
        await self._touch(cart)

    async def _open(self, id: UUID) -> Cart:
        """The caller's cart, locked. Raises NotFoundError; NotAllowedError once completed."""
        cart = await self._carts.get_for_update(id)
        if cart.customer_id not in (None, shopper(self._session.context)):
            raise NotFoundError(f"Cart with id '{id}' not found")
        if cart.completed_at is not None:
            raise NotAllowedError("this cart was completed; open a new one")
        return cart

    async def _put(
        self,
        cart: Cart,
        variant_id: UUID,
        quantity: int,
        pointer: str,
        metadata: Metadata | None = None,
    ) -> None:
        await self._check_offer(cart, variant_id, quantity, pointer)
        bounded_metadata(metadata)
        encoded = None if metadata is None else msgspec.json.encode(metadata).decode()
        await self._carts.add_line(cart, variant_id, quantity, encoded)

    async def _check_offer(self, cart: Cart, variant_id: UUID, quantity: int, pointer: str) -> None:
        offer = await self._carts.offer(cart, variant_id, quantity)
        if offer is None:
            message = (
                f"Variants {variant_id} do not exist or belong to a product that is not published"
            )
        elif offer["amount"] is None:
            message = f"Variant {variant_id} has no price in {cart.currency_code}"
        elif not offer["available"]:
            message = "Some variant does not have the required inventory"
            problem = Problem(message, pointer=f"{pointer}quantity")
            raise InsufficientInventoryError(message, problems=[problem])
        else:
            return
        raise InvalidDataError(message, problems=[Problem(message, pointer=f"{pointer}variant_id")])

    async def _touch(self, cart: Cart) -> None:
        cart.updated_at = utc_now()
        await self._session.flush()
