"""Imports every model, so that Alembic and the mappers see the whole schema."""

from impact.domains.carts import models as carts
from impact.domains.catalog import models as catalog
from impact.domains.customers import models as customers
from impact.domains.identity import models as identity
from impact.domains.inventory import models as inventory
from impact.domains.orders import models as orders
from impact.domains.orders import rollups
from impact.domains.tenants import models as tenants
from impact.engine.changes import models as changes
from impact.engine.db.base import Base

__all__ = [
    "Base",
    "carts",
    "catalog",
    "changes",
    "customers",
    "identity",
    "inventory",
    "orders",
    "rollups",
    "tenants",
]

metadata = Base.metadata
