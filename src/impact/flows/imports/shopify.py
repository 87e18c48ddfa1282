from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ShopifyOptions:
    tenant: str
    currency: str | None = None
    create_tenant: bool = False
    max_rejects: float = 10.0


async def import_shopify(*a): ...
