"""The catalog's write side."""

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import selectinload

from impact.domains.catalog.models import Collection, Product, ProductCategory, ProductVariant
from impact.engine.db.repository import Repository
from impact.engine.db.statements import Statement

_LOCK_TREE = Statement(
    "catalog.lock_categories",
    "SELECT pg_advisory_xact_lock(hashtextextended('categories:' || :tenant_id::text, 0))",
)


class ProductRepository(Repository[Product]):
    model = Product
    noun = "Product"
    eager = (
        selectinload(Product.options),
        selectinload(Product.images),
        selectinload(Product.categories),
        selectinload(Product.variants).selectinload(ProductVariant.prices),
    )


class VariantRepository(Repository[ProductVariant]):
    model = ProductVariant
    noun = "Variant"
    eager = (selectinload(ProductVariant.prices),)


class CollectionRepository(Repository[Collection]):
    model = Collection
    noun = "Collection"


class CategoryRepository(Repository[ProductCategory]):
    model = ProductCategory
    noun = "Product category"

    async def missing(self, ids: Sequence[UUID]) -> list[UUID]:
        """Those of the ids that are no category of this tenant."""
        found = set(
            await self.session.scalars(
                select(ProductCategory.id).where(ProductCategory.id.in_(ids))
            )
        )
        return [id for id in ids if id not in found]

    async def lock_tree(self) -> None:
        """Let moves of this tenant's categories follow each other: two at once could each be
        right and together make a circle."""
        await self.session.fetch(_LOCK_TREE)

    async def is_below(self, id: UUID, ancestor: UUID) -> bool:
        """Whether ``id`` is ``ancestor`` or lies somewhere under it."""
        seen: set[UUID] = set()
        current: UUID | None = id
        while current is not None and current not in seen:
            if current == ancestor:
                return True
            seen.add(current)
            current = await self.session.scalar(
                select(ProductCategory.parent_category_id).where(ProductCategory.id == current)
            )
        return False
