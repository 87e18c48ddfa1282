"""What a change of the inventory's tables touches: the stock that products show."""

from impact.engine.cache.invalidation import Effect, declare

# Apart from the product itself: an order changes what is available of three products many times
# for each time that staff change one, and carts do not show it. The id is the product's, which
# a level does not hold: statements that know it say so.
declare("inventory_level", Effect("stock", "variant_id", via=("product_variant", "product_id")))
declare("reservation")
