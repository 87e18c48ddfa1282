"""Catalog requests and responses, in Medusa's words."""

from typing import Annotated, Literal
from uuid import UUID

from msgspec import UNSET, Meta, UnsetType

from impact.engine.schemas import (
    Amount,
    Currency,
    Deleted,
    Handle,
    Input,
    InputWithMetadata,
    LongText,
    Metadata,
    Output,
    PageOut,
    PatchWithMetadata,
    ShortText,
    Stock,
    Timestamp,
    Url,
)

Status = Literal["draft", "proposed", "published", "rejected"]
OptionalText = LongText | UnsetType | None
Rank = Annotated[int, Meta(ge=0, le=1_000_000)]
Grams = Annotated[int, Meta(ge=0, le=1_000_000_000)]


class IdReference(Input):
    id: UUID


class ImageInput(Input):
    url: Url


class OptionInput(Input):
    title: ShortText
    values: Annotated[list[ShortText], Meta(min_length=1, max_length=200)]


class PriceInput(Input):
    currency_code: Currency
    amount: Amount


class CreateVariant(InputWithMetadata, kw_only=True):
    title: ShortText
    sku: ShortText | None = None
    barcode: ShortText | None = None
    options: dict[ShortText, ShortText] = {}
    prices: Annotated[list[PriceInput], Meta(max_length=100)] = []
    manage_inventory: bool = True
    allow_backorder: bool = False
    variant_rank: Rank | None = None
    weight: Grams | None = None
    inventory_quantity: Stock = 0
    """Stock to begin with."""


class UpdateVariant(PatchWithMetadata, kw_only=True):
    title: ShortText | UnsetType = UNSET
    sku: ShortText | UnsetType | None = UNSET
    barcode: ShortText | UnsetType | None = UNSET
    options: dict[ShortText, ShortText] | UnsetType = UNSET
    prices: Annotated[list[PriceInput], Meta(max_length=100)] | UnsetType = UNSET
    """The whole list of prices: those not named are removed."""
    manage_inventory: bool | UnsetType = UNSET
    allow_backorder: bool | UnsetType = UNSET
    variant_rank: Rank | UnsetType = UNSET
    weight: Grams | UnsetType | None = UNSET


class ChangedVariant(UpdateVariant, kw_only=True):
    id: UUID


class BatchVariants(Input):
    """Changes to one product's variants, of which all are made or none."""

    create: Annotated[list[CreateVariant], Meta(max_length=200)] = []
    update: Annotated[list[ChangedVariant], Meta(max_length=200)] = []
    delete: Annotated[list[UUID], Meta(max_length=200)] = []


class CreateProduct(InputWithMetadata, kw_only=True):
    title: ShortText
    subtitle: LongText | None = None
    description: LongText | None = None
    handle: Handle | None = None
    status: Status = "draft"
    thumbnail: Url | None = None
    is_giftcard: bool = False
    discountable: bool = True
    weight: Grams | None = None
    material: ShortText | None = None
    vendor: ShortText | None = None
    external_id: ShortText | None = None
    collection_id: UUID | None = None
    categories: Annotated[list[IdReference], Meta(max_length=100)] = []
    tags: Annotated[list[ShortText], Meta(max_length=100)] = []
    images: Annotated[list[ImageInput], Meta(max_length=100)] = []
    options: Annotated[list[OptionInput], Meta(max_length=20)] = []
    variants: Annotated[list[CreateVariant], Meta(max_length=500)] = []


class UpdateProduct(PatchWithMetadata, kw_only=True):
    title: ShortText | UnsetType = UNSET
    subtitle: OptionalText = UNSET
    description: OptionalText = UNSET
    handle: Handle | UnsetType = UNSET
    status: Status | UnsetType = UNSET
    thumbnail: Url | UnsetType | None = UNSET
    is_giftcard: bool | UnsetType = UNSET
    discountable: bool | UnsetType = UNSET
    weight: Grams | UnsetType | None = UNSET
    material: ShortText | UnsetType | None = UNSET
    vendor: ShortText | UnsetType | None = UNSET
    external_id: ShortText | UnsetType | None = UNSET
    collection_id: UUID | UnsetType | None = UNSET
    categories: Annotated[list[IdReference], Meta(max_length=100)] | UnsetType = UNSET
    tags: Annotated[list[ShortText], Meta(max_length=100)] | UnsetType = UNSET
    images: Annotated[list[ImageInput], Meta(max_length=100)] | UnsetType = UNSET


class CreateCollection(InputWithMetadata, kw_only=True):
    title: ShortText
    handle: Handle | None = None


class UpdateCollection(PatchWithMetadata, kw_only=True):
    title: ShortText | UnsetType = UNSET
    handle: Handle | UnsetType = UNSET


class CreateCategory(InputWithMetadata, kw_only=True):
    name: ShortText
    handle: Handle | None = None
    description: LongText = ""
    is_active: bool = True
    rank: Rank = 0
    parent_category_id: UUID | None = None


class UpdateCategory(PatchWithMetadata, kw_only=True):
    name: ShortText | UnsetType = UNSET
    handle: Handle | UnsetType = UNSET
    description: LongText | UnsetType = UNSET
    is_active: bool | UnsetType = UNSET
    rank: Rank | UnsetType = UNSET
    parent_category_id: UUID | UnsetType | None = UNSET


class OptionValueOut(Output):
    id: str
    value: str


class OptionOut(Output):
    id: UUID
    title: str
    values: list[OptionValueOut]


class ImageOut(Output):
    id: UUID
    url: str
    rank: int


class PriceOut(Output):
    id: UUID
    currency_code: str
    amount: int


class OptionTitleOut(Output):
    title: str


class VariantOptionOut(Output):
    value: str
    option: OptionTitleOut


class VariantOut(Output):
    id: UUID
    title: str
    sku: str | None
    barcode: str | None
    allow_backorder: bool
    manage_inventory: bool
    weight: int | None
    variant_rank: int
    product_id: UUID
    options: list[VariantOptionOut]
    prices: list[PriceOut]
    inventory_quantity: int
    metadata: Metadata | None
    created_at: Timestamp
    updated_at: Timestamp


class CalculatedPriceOut(Output):
    """The price in the currency asked for, in minor units."""

    calculated_amount: int
    original_amount: int
    currency_code: str


class StoreVariantOut(Output):
    id: UUID
    title: str
    sku: str | None
    barcode: str | None
    allow_backorder: bool
    manage_inventory: bool
    weight: int | None
    variant_rank: int
    product_id: UUID
    options: list[VariantOptionOut]
    calculated_price: CalculatedPriceOut | None
    inventory_quantity: int
    created_at: Timestamp
    updated_at: Timestamp


class CategoryReference(Output):
    id: UUID
    name: str
    handle: str


class TagOut(Output):
    value: str


class CollectionOut(Output):
    id: UUID
    title: str
    handle: str
    metadata: Metadata | None
    created_at: Timestamp
    updated_at: Timestamp


class CategoryOut(Output):
    id: UUID
    name: str
    handle: str
    description: str
    is_active: bool
    rank: int
    parent_category_id: UUID | None
    metadata: Metadata | None
    created_at: Timestamp
    updated_at: Timestamp


class ProductOut(Output):
    id: UUID
    title: str
    subtitle: str | None
    status: str
    external_id: str | None
    description: str | None
    handle: str
    is_giftcard: bool
    discountable: bool
    thumbnail: str | None
    collection_id: UUID | None
    weight: int | None
    material: str | None
    vendor: str | None
    created_at: Timestamp
    updated_at: Timestamp
    metadata: Metadata | None
    collection: CollectionOut | None
    categories: list[CategoryReference]
    tags: list[TagOut]
    options: list[OptionOut]
    images: list[ImageOut]
    variants: list[VariantOut]


class StoreProductOut(Output):
    id: UUID
    title: str
    subtitle: str | None
    description: str | None
    handle: str
    is_giftcard: bool
    discountable: bool
    thumbnail: str | None
    collection_id: UUID | None
    weight: int | None
    material: str | None
    vendor: str | None
    created_at: Timestamp
    updated_at: Timestamp
    collection: CollectionOut | None
    categories: list[CategoryReference]
    tags: list[TagOut]
    options: list[OptionOut]
    images: list[ImageOut]
    variants: list[StoreVariantOut]


class ProductList(PageOut):
    products: list[ProductOut]


class StoreProductList(PageOut):
    products: list[StoreProductOut]


class ProductResponse(Output):
    product: ProductOut


class StoreProductResponse(Output):
    product: StoreProductOut


class VariantList(PageOut):
    variants: list[VariantOut]


class VariantResponse(Output):
    variant: VariantOut


class DeletedVariant(Deleted):
    parent: ProductOut


class DeletedVariants(Output):
    ids: list[UUID]
    object: str
    deleted: bool


class ChangedVariants(Output):
    """What a batch did."""

    created: list[VariantOut]
    updated: list[VariantOut]
    deleted: DeletedVariants


class CollectionList(PageOut):
    collections: list[CollectionOut]


class CollectionResponse(Output):
    collection: CollectionOut


class CategoryList(PageOut):
    product_categories: list[CategoryOut]


class CategoryResponse(Output):
    product_category: CategoryOut
