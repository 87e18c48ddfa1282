"""What Medusa's clients send and Impact does not heed.

Impact refuses query parameters that a route does not know. @medusajs/js-sdk sends some that mean
nothing here; each is taken and ignored, on the routes that it is sent to alone, for the reason
beside it. ``docs/api.md`` lists them; a test compares.
"""

from collections.abc import Mapping

_REGION = "prices are per currency: name one with currency_code"
_TAXES = "prices are as the shop entered them, no tax is computed"
_PRICING = {
    "region_id": _REGION,
    "country_code": _TAXES,
    "province": _TAXES,
    "cart_id": _TAXES,
}
_FIELDS = {"fields": "the whole entity is answered"}
_NONE = "there are none to choose from"

IGNORED_PARAMETERS: Mapping[str, Mapping[str, str]] = {
    "/store/products": _PRICING,
    "/store/products/{id}": _PRICING,
    "/store/shipping-options": _FIELDS,
    "/store/payment-providers": {"region_id": _NONE, "limit": _NONE, "offset": _NONE},
    # On those of its methods that have no ``fields`` of their own.
    **dict.fromkeys(
        (
            "/store/carts",
            "/store/carts/{id}",
            "/store/carts/{id}/line-items",
            "/store/carts/{id}/line-items/{line_id}",
            "/store/carts/{id}/complete",
            "/store/customers",
            "/store/customers/me",
            "/store/customers/me/addresses",
            "/admin/products",
            "/admin/products/{id}",
            "/admin/products/{id}/variants",
            "/admin/products/{id}/variants/{variant_id}",
            "/admin/products/{id}/variants/batch",
            "/admin/collections",
            "/admin/collections/{id}",
            "/admin/product-categories",
            "/admin/product-categories/{id}",
            "/admin/customers",
            "/admin/customers/{id}",
            "/admin/customers/{id}/addresses",
            "/admin/orders/{id}",
            "/admin/orders/{id}/cancel",
            "/admin/orders/{id}/complete",
            "/admin/inventory-levels",
        ),
        _FIELDS,
    ),
}
