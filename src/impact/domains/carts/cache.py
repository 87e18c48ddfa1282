"""Carts are cached for seconds: a storefront asks for the same one on every page."""

from impact.engine.cache.invalidation import Effect, declare
from impact.engine.cache.kinds import TtlClass, body_kind

declare("cart", Effect("cart", "id"))
declare("cart_line", Effect("cart", "cart_id"))

carts = body_kind("cart", TtlClass.BASKET, also=("product",))
