"""What a change of the catalog's tables touches."""

from impact.engine.cache.invalidation import Effect, declare
from impact.engine.cache.kinds import TtlClass, body_kind

declare("product", Effect("product", "id"))
declare("product_variant", Effect("product", "product_id"))
declare("variant_price", Effect("product", "variant_id", via=("product_variant", "product_id")))
declare("product_option", Effect("product", "product_id"))
declare("product_image", Effect("product", "product_id"))
declare("product_category_product", Effect("product", "product_id"))
# Products show the collection and the categories they are in, whichever they are.
declare("collection", Effect("collection", "id"), Effect("product"))
declare("product_category", Effect("category", "id"), Effect("product"))

products = body_kind("product", TtlClass.CONTENT, depends=("product", "stock"))
"""Lists and pages of products, which show what is available."""
collections = body_kind("collection", TtlClass.CONTENT)
categories = body_kind("category", TtlClass.CONTENT)
