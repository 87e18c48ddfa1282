"""Products and what groups them."""

from typing import Any
from uuid import UUID

from sqlalchemy import (
    ARRAY,
    BigInteger,
    CheckConstraint,
    Computed,
    Index,
    PrimaryKeyConstraint,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column, relationship

import impact.domains.catalog.cache  # noqa: F401 - what a change of these tables touches
from impact.engine.db.base import Entity, TenantScoped, tenant_index, tenant_key

PRODUCT_STATUSES = ("draft", "proposed", "published", "rejected")


class Collection(Entity):
    __tablename__ = "collection"
    __table_args__ = (
        UniqueConstraint("tenant_id", "handle"),
        tenant_index(text("created_at DESC"), text("id DESC"), name="ix_collection_created"),
    )

    title: Mapped[str]
    handle: Mapped[str]
    metadata_: Mapped[dict[str, Any] | None] = mapped_column("metadata", JSONB)


class ProductCategory(Entity):
    __tablename__ = "product_category"
    __table_args__ = (
        tenant_key("parent_category_id", "product_category", ondelete="RESTRICT"),
        UniqueConstraint("tenant_id", "handle"),
        tenant_index("parent_category_id", name="ix_product_category_parent"),
        tenant_index(text("created_at DESC"), text("id DESC"), name="ix_product_category_created"),
    )

    name: Mapped[str]
    handle: Mapped[str]
    description: Mapped[str] = mapped_column(server_default="", default="")
    is_active: Mapped[bool] = mapped_column(server_default=text("true"), default=True)
    rank: Mapped[int] = mapped_column(server_default=text("0"), default=0)
    parent_category_id: Mapped[UUID | None]
    metadata_: Mapped[dict[str, Any] | None] = mapped_column("metadata", JSONB)


class Product(Entity):
    __tablename__ = "product"
    __table_args__ = (
        tenant_key("collection_id", "collection", ondelete="SET NULL (collection_id)"),
        UniqueConstraint("tenant_id", "handle"),
        CheckConstraint(f"status IN {PRODUCT_STATUSES}", name="status"),
        Index(
            "uq_product_external",
            "tenant_id",
            "external_id",
            unique=True,
            postgresql_where=text("external_id IS NOT NULL"),
        ),
        tenant_index("collection_id", name="ix_product_collection"),
        tenant_index(text("created_at DESC"), text("id DESC"), name="ix_product_created"),
        tenant_index(
            "status", text("created_at DESC"), text("id DESC"), name="ix_product_status_created"
        ),
        tenant_index(text("updated_at DESC"), text("id DESC"), name="ix_product_updated"),
        tenant_index("title", "id", name="ix_product_title"),
        # This and the next are read by product_ids_by_tag and product_ids_by_text.
        tenant_index("tags", name="ix_product_tags", postgresql_using="gin"),
        tenant_index(
            "search_text",
            name="ix_product_search",
            postgresql_using="gin",
            postgresql_ops={"search_text": "gin_trgm_ops"},
        ),
    )

    title: Mapped[str]
    subtitle: Mapped[str | None]
    description: Mapped[str | None]
    handle: Mapped[str]
    status: Mapped[str] = mapped_column(server_default="draft", default="draft")
    thumbnail: Mapped[str | None]
    is_giftcard: Mapped[bool] = mapped_column(server_default=text("false"), default=False)
    discountable: Mapped[bool] = mapped_column(server_default=text("true"), default=True)
    weight: Mapped[int | None]
    material: Mapped[str | None]
    vendor: Mapped[str | None]
    external_id: Mapped[str | None]
    collection_id: Mapped[UUID | None]
    tags: Mapped[list[str]] = mapped_column(ARRAY(Text), server_default=text("'{}'"), default=list)
    metadata_: Mapped[dict[str, Any] | None] = mapped_column("metadata", JSONB)
    search_text: Mapped[str] = mapped_column(
        Computed(
            "lower(title || ' ' || coalesce(subtitle, '') || ' ' || handle || ' ' ||"
            " coalesce(description, ''))",
            persisted=True,
        ),
        deferred=True,
    )

    options: Mapped[list["ProductOption"]] = relationship(
        lazy="raise",
        order_by="ProductOption.rank",
        cascade="all, delete-orphan",
        passive_deletes=True,
    )
    variants: Mapped[list["ProductVariant"]] = relationship(
        back_populates="product",
        lazy="raise",
        order_by="(ProductVariant.variant_rank, ProductVariant.id)",
        cascade="all, delete-orphan",
        passive_deletes=True,
    )
    images: Mapped[list["ProductImage"]] = relationship(
        lazy="raise",
        order_by="ProductImage.rank",
        cascade="all, delete-orphan",
        passive_deletes=True,
    )
    categories: Mapped[list["ProductCategoryLink"]] = relationship(
        lazy="raise", cascade="all, delete-orphan", passive_deletes=True
    )


class ProductCategoryLink(TenantScoped):
    """A product's place in a category. Its key is the pair itself."""

    __tablename__ = "product_category_product"
    __table_args__ = (
        PrimaryKeyConstraint("tenant_id", "product_id", "product_category_id"),
        tenant_key("product_id", "product", ondelete="CASCADE"),
        tenant_key("product_category_id", "product_category", ondelete="CASCADE"),
        tenant_index("product_category_id", "product_id", name="ix_product_category_product_rev"),
    )

    product_id: Mapped[UUID] = mapped_column(primary_key=True)
    product_category_id: Mapped[UUID] = mapped_column(primary_key=True)


class ProductOption(Entity):
    __tablename__ = "product_option"
    __table_args__ = (
        tenant_key("product_id", "product", ondelete="CASCADE"),
        UniqueConstraint("tenant_id", "product_id", "title"),
    )

    product_id: Mapped[UUID]
    title: Mapped[str]
    values: Mapped[list[str]] = mapped_column(ARRAY(Text))
    rank: Mapped[int] = mapped_column(server_default=text("0"), default=0)


class ProductVariant(Entity):
    """What is sold. ``options`` maps option titles to the variant's values."""

    __tablename__ = "product_variant"
    __table_args__ = (
        tenant_key("product_id", "product", ondelete="CASCADE"),
        tenant_index("product_id", "variant_rank", "id", name="ix_product_variant_product"),
        tenant_index(text("created_at DESC"), text("id DESC"), name="ix_product_variant_created"),
        Index(
            "uq_product_variant_sku",
            "tenant_id",
            "sku",
            unique=True,
            postgresql_where=text("sku IS NOT NULL"),
        ),
    )

    product_id: Mapped[UUID]
    title: Mapped[str]
    sku: Mapped[str | None]
    barcode: Mapped[str | None]
    options: Mapped[dict[str, str]] = mapped_column(
        JSONB, server_default=text("'{}'::jsonb"), default=dict
    )
    variant_rank: Mapped[int] = mapped_column(server_default=text("0"), default=0)
    manage_inventory: Mapped[bool] = mapped_column(server_default=text("true"), default=True)
    allow_backorder: Mapped[bool] = mapped_column(server_default=text("false"), default=False)
    weight: Mapped[int | None]
    metadata_: Mapped[dict[str, Any] | None] = mapped_column("metadata", JSONB)

    product: Mapped[Product] = relationship(back_populates="variants", lazy="raise")
    prices: Mapped[list["VariantPrice"]] = relationship(
        lazy="raise",
        order_by="VariantPrice.currency_code",
        cascade="all, delete-orphan",
        passive_deletes=True,
    )


class VariantPrice(Entity):
    """One price per currency, in minor units."""

    __tablename__ = "variant_price"
    __table_args__ = (
        tenant_key("variant_id", "product_variant", ondelete="CASCADE"),
        UniqueConstraint("tenant_id", "variant_id", "currency_code"),
        CheckConstraint("amount >= 0", name="amount"),
        CheckConstraint("currency_code ~ '^[a-z]{3}$'", name="currency_code"),
    )

    variant_id: Mapped[UUID]
    currency_code: Mapped[str]
    amount: Mapped[int] = mapped_column(BigInteger)


class ProductImage(Entity):
    __tablename__ = "product_image"
    __table_args__ = (
        tenant_key("product_id", "product", ondelete="CASCADE"),
        tenant_index("product_id", "rank", name="ix_product_image_product"),
    )

    product_id: Mapped[UUID]
    url: Mapped[str]
    rank: Mapped[int] = mapped_column(server_default=text("0"), default=0)
