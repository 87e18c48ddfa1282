"""What the catalog does: products with their variants, collections and categories."""

from collections.abc import Sequence
from uuid import UUID

from msgspec import UNSET

from impact.domains.catalog.models import (
    Collection,
    Product,
    ProductCategory,
    ProductCategoryLink,
    ProductImage,
    ProductOption,
    ProductVariant,
    VariantPrice,
)
from impact.domains.catalog.repository import (
    CategoryRepository,
    CollectionRepository,
    ProductRepository,
    VariantRepository,
)
from impact.domains.catalog.schemas import (
    BatchVariants,
    CreateCategory,
    CreateCollection,
    CreateProduct,
    CreateVariant,
    IdReference,
    ImageInput,
    OptionInput,
    PriceInput,
    UpdateCategory,
    UpdateCollection,
    UpdateProduct,
    UpdateVariant,
)
from impact.engine.db.base import new_id, utc_now
from impact.engine.db.session import WriteSession
from impact.engine.text import slugify
from impact.errors import InvalidDataError, Problem

_COLUMN_NAMES = {"metadata": "metadata_"}


def _apply(entity: object, changes: dict[str, object]) -> None:
    for name, value in changes.items():
        setattr(entity, _COLUMN_NAMES.get(name, name), value)


def _invalid(message: str, pointer: str) -> InvalidDataError:
    return InvalidDataError(message, problems=[Problem(message, pointer=pointer)])


class ProductService:
    """Products and variants of the session's tenant."""

    def __init__(self, session: WriteSession) -> None:
        self._session = session
        self._products = ProductRepository(session)
        self._variants = VariantRepository(session)

    async def create(self, data: CreateProduct) -> tuple[Product, dict[UUID, int]]:
        """Add a product; answers it and the stock its variants begin with, by variant."""
        _check_titles(data.options)
        id = new_id()
        product = Product(
            id=id,
            title=data.title,
            subtitle=data.subtitle,
            description=data.description,
            handle=data.handle or slugify(data.title, str(id)),
            status=data.status,
            thumbnail=data.thumbnail or (data.images[0].url if data.images else None),
            is_giftcard=data.is_giftcard,
            discountable=data.discountable,
            weight=data.weight,
            material=data.material,
            vendor=data.vendor,
            external_id=data.external_id,
            collection_id=data.collection_id,
            tags=list(data.tags),
            metadata_=data.metadata,
            images=_images(data.images),
            categories=await self._links(data.categories),
            options=[
                ProductOption(title=option.title, values=list(option.values), rank=rank)
                for rank, option in enumerate(data.options)
            ],
            variants=[],
        )
        stock: dict[UUID, int] = {}
        for rank, item in enumerate(data.variants):
            variant = _variant(product, item, rank, f"/variants/{rank}")
            product.variants.append(variant)
            stock[variant.id] = item.inventory_quantity
        self._session.add(product)
        await self._session.flush()
        return product, stock

    async def update(self, id: UUID, data: UpdateProduct) -> Product:
        product = await self._products.get(id)
        changes = data.changes()
        if data.images is not UNSET:
            changes["images"] = _images(data.images)
        if data.categories is not UNSET:
            changes.pop("categories")
            await self._relink(product, data.categories)
        _apply(product, changes)
        # A child's change is the product's: caches and conditional requests go by its time.
        product.updated_at = utc_now()
        await self._session.flush()
        return product

    async def remove(self, id: UUID) -> None:
        await self._products.remove(id)

    async def add_variant(self, product_id: UUID, data: CreateVariant) -> tuple[UUID, int]:
        """Add a variant; answers its id and the stock it begins with."""
        product = await self._products.get(product_id)
        variant = _variant(product, data, len(product.variants), "")
        product.variants.append(variant)
        product.updated_at = utc_now()
        await self._session.flush()
        return variant.id, data.inventory_quantity

    async def update_variant(self, product_id: UUID, id: UUID, data: UpdateVariant) -> None:
        product = await self._products.get(product_id)
        variant = await self._variants.get(id)
        if variant.product_id != product_id:
            raise _invalid(f"variant '{id}' belongs to another product", "/id")
        _change(product, variant, data, "")
        product.updated_at = utc_now()
        await self._session.flush()

    async def batch_variants(self, product_id: UUID, data: BatchVariants) -> dict[UUID, int]:
        """Remove, change and add variants; answers the stock that the new ones begin with.

        Removing comes first, so that a new variant may take over the number of an old one.
        """
        product = await self._products.get(product_id)
        known = {variant.id: variant for variant in product.variants}

        def find(id: UUID, pointer: str) -> ProductVariant:
            if id not in known:
                raise _invalid(f"the product has no variant '{id}'", pointer)
            return known[id]

        for number, id in enumerate(data.delete):
            product.variants.remove(find(id, f"/delete/{number}"))
            del known[id]
        await self._session.flush()
        for number, item in enumerate(data.update):
            variant = find(item.id, f"/update/{number}/id")
            _change(product, variant, item, f"/update/{number}")
        stock: dict[UUID, int] = {}
        for number, new in enumerate(data.create):
            variant = _variant(product, new, len(product.variants), f"/create/{number}")
            product.variants.append(variant)
            stock[variant.id] = new.inventory_quantity
        product.updated_at = utc_now()
        await self._session.flush()
        return stock

    async def remove_variant(self, product_id: UUID, id: UUID) -> None:
        product = await self._products.get(product_id)
        variant = await self._variants.get(id)
        if variant.product_id != product_id:
            raise _invalid(f"variant '{id}' belongs to another product", "/id")
        product.variants.remove(variant)
        product.updated_at = utc_now()
        await self._session.flush()

    async def _links(self, categories: Sequence[IdReference]) -> list[ProductCategoryLink]:
        ids = list(dict.fromkeys(category.id for category in categories))
        missing = await CategoryRepository(self._session).missing(ids) if ids else []
        if missing:
            place = [category.id for category in categories].index(missing[0])
            raise _invalid(f"there is no category '{missing[0]}'", f"/categories/{place}/id")
        return [ProductCategoryLink(product_category_id=id) for id in ids]

    async def _relink(self, product: Product, categories: Sequence[IdReference]) -> None:
        wanted = {link.product_category_id: link for link in await self._links(categories)}
        for link in list(product.categories):
            if wanted.pop(link.product_category_id, None) is None:
                product.categories.remove(link)
        product.categories.extend(wanted.values())


def _images(images: Sequence[ImageInput]) -> list[ProductImage]:
    return [ProductImage(url=image.url, rank=rank) for rank, image in enumerate(images)]


def _variant(product: Product, data: CreateVariant, rank: int, pointer: str) -> ProductVariant:
    _check_options(product, data.options, f"{pointer}/options")
    variant = ProductVariant(
        id=new_id(),
        title=data.title,
        sku=data.sku,
        barcode=data.barcode,
        options=dict(data.options),
        variant_rank=rank if data.variant_rank is None else data.variant_rank,
        manage_inventory=data.manage_inventory,
        allow_backorder=data.allow_backorder,
        weight=data.weight,
        metadata_=data.metadata,
        prices=[],
    )
    _reprice(variant, data.prices, f"{pointer}/prices")
    return variant


def _change(product: Product, variant: ProductVariant, data: UpdateVariant, pointer: str) -> None:
    changes = data.changes()
    changes.pop("id", None)
    if data.options is not UNSET:
        _check_options(product, data.options, f"{pointer}/options")
    if data.prices is not UNSET:
        changes.pop("prices")
        _reprice(variant, data.prices, f"{pointer}/prices")
    _apply(variant, changes)
    variant.updated_at = utc_now()


def _check_titles(options: Sequence[OptionInput]) -> None:
    titles: set[str] = set()
    for number, option in enumerate(options):
        if option.title in titles:
            raise _invalid(
                f"the product has two options '{option.title}'", f"/options/{number}/title"
            )
        titles.add(option.title)


def _check_options(product: Product, chosen: dict[str, str], pointer: str) -> None:
    known = {option.title: option.values for option in product.options}
    for title, value in chosen.items():
        if title not in known:
            raise _invalid(f"the product has no option '{title}'", pointer)
        if value not in known[title]:
            raise _invalid(f"'{value}' is not a value of option '{title}'", pointer)


def _reprice(variant: ProductVariant, prices: Sequence[PriceInput], pointer: str) -> None:
    wanted = {price.currency_code: price.amount for price in prices}
    if len(wanted) < len(prices):
        raise _invalid("a variant has one price per currency", pointer)
    for price in list(variant.prices):
        amount = wanted.pop(price.currency_code, None)
        if amount is None:
            variant.prices.remove(price)
        else:
            price.amount = amount
    variant.prices.extend(
        VariantPrice(currency_code=code, amount=amount) for code, amount in wanted.items()
    )


class CollectionService:
    def __init__(self, session: WriteSession) -> None:
        self._session = session
        self._collections = CollectionRepository(session)

    async def create(self, data: CreateCollection) -> UUID:
        id = new_id()
        collection = Collection(
            id=id,
            title=data.title,
            handle=data.handle or slugify(data.title, str(id)),
            metadata_=data.metadata,
        )
        self._session.add(collection)
        await self._session.flush()
        return collection.id

    async def update(self, id: UUID, data: UpdateCollection) -> None:
        collection = await self._collections.get(id)
        _apply(collection, data.changes())
        await self._session.flush()

    async def remove(self, id: UUID) -> None:
        await self._collections.remove(id)


class CategoryService:
    def __init__(self, session: WriteSession) -> None:
        self._session = session
        self._categories = CategoryRepository(session)

    async def create(self, data: CreateCategory) -> UUID:
        if data.parent_category_id is not None:
            await self._categories.get(data.parent_category_id)
        id = new_id()
        category = ProductCategory(
            id=id,
            name=data.name,
            handle=data.handle or slugify(data.name, str(id)),
            description=data.description,
            is_active=data.is_active,
            rank=data.rank,
            parent_category_id=data.parent_category_id,
            metadata_=data.metadata,
        )
        self._session.add(category)
        await self._session.flush()
        return category.id

    async def update(self, id: UUID, data: UpdateCategory) -> None:
        parent = data.parent_category_id
        if parent is not UNSET:
            await self._categories.lock_tree()
        category = await self._categories.get_for_update(id)
        if parent is not UNSET and parent is not None:
            await self._categories.get(parent)
            if await self._categories.is_below(parent, id):
                raise _invalid("a category cannot lie under itself", "/parent_category_id")
        _apply(category, data.changes())
        await self._session.flush()

    async def remove(self, id: UUID) -> None:
        await self._categories.remove(id)
