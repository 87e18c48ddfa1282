"""An example of every body. A test decodes each as its route would."""

from typing import Any

from impact.domains.carts import schemas as carts
from impact.domains.catalog import schemas as catalog
from impact.domains.customers import schemas as customers
from impact.domains.identity import login
from impact.domains.identity import schemas as identity
from impact.domains.inventory import schemas as inventory
from impact.domains.orders import schemas as orders
from impact.domains.tenants import schemas as tenants
from impact.ops import cache

_ID = "0199b2b7-6d3e-7c51-9f0a-3c1d5e7f9a2b"
_EMAIL = "ada@example.com"
_ADDRESS = {
    "first_name": "Ada",
    "last_name": "Byron",
    "address_1": "12 Rue de Rivoli",
    "postal_code": "75001",
    "city": "Paris",
    "country_code": "fr",
}
_VARIANT = {
    "title": "Small",
    "sku": "SHIRT-S",
    "options": {"Size": "S"},
    "prices": [{"currency_code": "eur", "amount": 1999}],
}

EXAMPLES: dict[Any, Any] = {
    login.Credentials: {"email": _EMAIL, "password": "correct horse battery"},
    customers.Register: {
        "email": _EMAIL,
        "password": "correct horse battery",
        "first_name": "Ada",
        "last_name": "Byron",
    },
    customers.CompleteRegistration: {"email": _EMAIL, "first_name": "Ada"},
    customers.CreateCustomer: {"email": _EMAIL, "first_name": "Ada", "company_name": "Engines Ltd"},
    customers.UpdateCustomer: {"phone": "+33 1 23 45 67 89", "metadata": {"vip": True}},
    customers.UpdateOwnCustomer: {"first_name": "Ada", "phone": None},
    customers.AddressInput: {**_ADDRESS, "is_default_shipping": True},
    customers.UpdateAddress: {"city": "Lyon", "postal_code": "69001"},
    catalog.CreateProduct: {
        "title": "Linen shirt",
        "handle": "linen-shirt",
        "status": "published",
        "tags": ["summer"],
        "images": [{"url": "/images/linen-shirt.jpg"}],
        "options": [{"title": "Size", "values": ["S", "M"]}],
        "variants": [{**_VARIANT, "inventory_quantity": 25}],
    },
    catalog.UpdateProduct: {"title": "Linen shirt, washed", "status": "published"},
    catalog.CreateVariant: {"title": "Large", "sku": "SHIRT-L", "inventory_quantity": 10},
    catalog.UpdateVariant: {"prices": [{"currency_code": "eur", "amount": 1799}]},
    catalog.BatchVariants: {
        "create": [{"title": "Large", "sku": "SHIRT-L"}],
        "update": [{"id": _ID, "title": "Medium"}],
        "delete": [],
    },
    catalog.CreateCollection: {"title": "Summer", "handle": "summer"},
    catalog.UpdateCollection: {"title": "High summer"},
    catalog.CreateCategory: {"name": "Shirts", "description": "With and without collar"},
    catalog.UpdateCategory: {"rank": 2, "is_active": True},
    inventory.UpdateInventoryLevel: {"stocked_quantity": 40},
    carts.CreateCart: {"currency_code": "eur", "email": _EMAIL},
    carts.UpdateCart: {"email": _EMAIL, "shipping_address": _ADDRESS},
    carts.AddLine: {"variant_id": _ID, "quantity": 2},
    carts.UpdateLine: {"quantity": 3},
    orders.CreateOrder: {
        "email": _EMAIL,
        "lines": [{"variant_id": _ID, "quantity": 2}],
        "shipping_address": _ADDRESS,
    },
    orders.UpdateOrder: {"metadata": {"gift": True}},
    orders.CancelOrder: {"reason": "The customer changed their mind"},
    orders.CreateFulfillment: {"items": [{"id": _ID, "quantity": 1}]},
    identity.CreateUser: {"email": "grace@example.com", "password": "correct horse battery"},
    identity.UpdateUser: {"first_name": "Grace", "is_active": True},
    identity.AssignRole: {"role_id": _ID},
    identity.CreateRole: {"name": "Packer", "permissions": ["order:read", "order:update"]},
    identity.UpdateRole: {"permissions": ["order:read"]},
    identity.CreatePolicy: {"role_id": _ID, "permission": "order:read"},
    identity.CreateApiKey: {"title": "Storefront", "type": "publishable"},
    identity.CheckPermissions: {"permissions": ["product:read", "order:update"]},
    tenants.CreateTenant: {"id": "nantes", "name": "Nantes", "currency_code": "eur"},
    tenants.UpdateTenant: {"name": "Nantes (Loire)"},
    cache.Invalidate: {"pattern": "product:paris:*"},
}
