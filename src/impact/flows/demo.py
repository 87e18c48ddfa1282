"""The demo shops: believable goods, customers and a quarter of a year of orders.

Everything is drawn from one seeded generator, so that every fresh machine has the same shops.
"""

import datetime as dt
import random
import secrets
from collections.abc import Callable, Sequence
from uuid import UUID

import msgspec

from impact.context import HEADQUARTERS, system_context
from impact.domains.catalog.models import Product
from impact.domains.catalog.schemas import (
    CreateCategory,
    CreateCollection,
    CreateProduct,
    CreateVariant,
    IdReference,
    ImageInput,
    OptionInput,
    PriceInput,
)
from impact.domains.catalog.service import CategoryService, CollectionService, ProductService
from impact.domains.customers.models import Customer
from impact.domains.identity.bootstrap import bootstrap
from impact.domains.inventory.service import InventoryService
from impact.domains.orders.models import Order, OrderEvent, OrderLine
from impact.domains.tenants.service import open_tenant
from impact.engine.db.base import new_id, utc_now
from impact.engine.db.session import WriteSession
from impact.engine.db.statements import Statement
from impact.engine.runtime import Runtime
from impact.flows.checkout.placement import Basket, Claim, place

EMAIL = "owner@impact.example"
SHOPS = {HEADQUARTERS: "Headquarters", "paris": "Impact Paris", "lyon": "Impact Lyon"}
_CURRENCIES = {"eur": 1.0, "usd": 1.1, "gbp": 0.85}
_DAYS = 90
_HISTORIC_ORDERS = 240
_OPEN_ORDERS = 12
_KNOWN = Statement("demo.known", "SELECT id FROM tenant WHERE id = :tenant_id")

_GOODS: dict[str, Sequence[tuple[str, int]]] = {
    "Shirts": (("Linen Shirt", 5900), ("Oxford Shirt", 6500), ("Flannel Shirt", 5500)),
    "Knitwear": (("Merino Jumper", 8900), ("Cotton Cardigan", 7900), ("Cable Pullover", 9900)),
    "Trousers": (("Selvedge Jeans", 11900), ("Chino Trousers", 7500), ("Wool Trousers", 12900)),
    "Outerwear": (("Field Jacket", 17900), ("Rain Coat", 19900), ("Quilted Vest", 12500)),
    "Accessories": (("Leather Belt", 4500), ("Wool Scarf", 3900), ("Canvas Tote", 2900)),
}
_COLOURS = ("Navy", "Olive", "Ecru", "Rust")
_SIZES = ("S", "M", "L", "XL")
_FIRST = ("Camille", "Louis", "Chloé", "Hugo", "Inès", "Jules", "Manon", "Nathan", "Léa", "Noé")
_LAST = ("Martin", "Bernard", "Dubois", "Petit", "Durand", "Leroy", "Moreau", "Simon", "Laurent")


class Seeded(msgspec.Struct):
    """``password`` is set where the shops were made just now."""

    email: str
    password: str | None


async def seed(runtime: Runtime, say: Callable[[str], object]) -> Seeded:
    """Open the demo shops that do not exist yet, each in one unit of work."""
    password = secrets.token_urlsafe(12)
    password_hash = await runtime.passwords.hash(password)
    made = False
    for slug, name in SHOPS.items():
        context = system_context(slug, "demo")
        async with runtime.database.write(context) as session:
            if await session.fetch_value(_KNOWN) is not None:
                continue
        say(f"Opening the shop {slug}")
        async with runtime.database.write(system_context(HEADQUARTERS, "demo")) as session:
            await open_tenant(session, slug, name, "eur")
            await session.switch_tenant(slug)
            await bootstrap(session, email=EMAIL, password_hash=password_hash)
            if slug != HEADQUARTERS:
                await _stock_shop(session, random.Random(slug))  # noqa: S311 - not a secret
        made = True
    return Seeded(EMAIL, password if made else None)


async def _stock_shop(session: WriteSession, chance: random.Random) -> None:
    products = await _add_goods(session, chance)
    customers = _add_customers(session, chance)
    await session.flush()
    _add_history(session, chance, products, customers)
    await session.flush()
    await _add_open_orders(session, chance, products)


async def _add_goods(session: WriteSession, chance: random.Random) -> list[Product]:
    collections = CollectionService(session)
    seasons = [
        await collections.create(CreateCollection(title=title))
        for title in ("Spring", "Autumn", "Essentials")
    ]
    categories, service = CategoryService(session), ProductService(session)
    products = []
    for rank, (category, goods) in enumerate(_GOODS.items()):
        category_id = await categories.create(CreateCategory(name=category, rank=rank))
        for title, amount in goods:
            for colour in _COLOURS:
                product, stock = await service.create(
                    _product(title, colour, category_id, amount, chance, seasons)
                )
                await InventoryService(session).start(stock)
                products.append(product)
    return products


def _product(
    title: str,
    colour: str,
    category_id: UUID,
    amount: int,
    chance: random.Random,
    seasons: Sequence[UUID],
) -> CreateProduct:
    code = "".join(word[:3] for word in (*title.split(), colour)).upper()
    return CreateProduct(
        title=f"{title} {colour}",
        subtitle=f"{colour}, made to last",
        description=f"A {title.lower()} in {colour.lower()}, cut in Portugal from European cloth.",
        status="published" if chance.random() < 0.95 else "draft",
        collection_id=chance.choice(seasons),
        categories=[IdReference(id=category_id)],
        tags=[colour.lower()],
        images=[ImageInput(url=f"/images/{title.lower().replace(' ', '-')}-{colour.lower()}.jpg")],
        weight=chance.randrange(150, 1500, 10),
        options=[OptionInput(title="Size", values=list(_SIZES))],
        variants=[
            CreateVariant(
                title=size,
                sku=f"{code}-{size}",
                options={"Size": size},
                prices=[
                    PriceInput(currency_code=currency, amount=round(amount * rate / 100) * 100)
                    for currency, rate in _CURRENCIES.items()
                ],
                allow_backorder=title == "Canvas Tote",
                inventory_quantity=chance.randrange(20, 400),
            )
            for size in _SIZES
        ],
    )


def _add_customers(session: WriteSession, chance: random.Random) -> list[Customer]:
    customers = [
        Customer(
            id=new_id(),
            email=f"{first}.{last}@example.com".lower(),
            first_name=first,
            last_name=last,
            created_at=utc_now() - dt.timedelta(days=chance.uniform(_DAYS, 2 * _DAYS)),
        )
        for first in _FIRST
        for last in chance.sample(_LAST, 6)
    ]
    session.add(*customers)
    return customers


def _add_history(
    session: WriteSession,
    chance: random.Random,
    products: Sequence[Product],
    customers: Sequence[Customer],
) -> None:
    """Orders of the past, delivered or cancelled: what they took has left the stock long ago."""
    now = utc_now()
    for _ in range(_HISTORIC_ORDERS):
        customer = chance.choice(customers)
        placed = now - dt.timedelta(days=chance.uniform(2, _DAYS))
        canceled = chance.random() < 0.04
        lines = [
            _line(chance.choice(products), chance, rank, placed)
            for rank in range(chance.randrange(1, 5))
        ]
        item_total = sum(line.total for line in lines)
        postage = 0 if item_total > 10_000 else 590
        if postage:
            lines.append(
                OrderLine(
                    kind="charge",
                    title="Postage",
                    sku="POST",
                    quantity=1,
                    unit_price=postage,
                    total=postage,
                    rank=len(lines),
                    created_at=placed,
                    updated_at=placed,
                )
            )
        status = "canceled" if canceled else "completed"
        session.add(
            Order(
                id=new_id(),
                status=status,
                fulfillment_status="canceled" if canceled else "delivered",
                canceled_at=placed + dt.timedelta(hours=2) if canceled else None,
                email=customer.email,
                customer_id=customer.id,
                currency_code="eur",
                item_total=item_total,
                charge_total=postage,
                total=item_total + postage,
                units=sum(line.quantity for line in lines if line.kind == "product"),
                created_at=placed,
                updated_at=placed,
                lines=lines,
                events=[OrderEvent(type="order.placed", actor="demo", created_at=placed)],
            )
        )


def _line(product: Product, chance: random.Random, rank: int, placed: dt.datetime) -> OrderLine:
    variant = chance.choice(product.variants)
    quantity = chance.choice((1, 1, 1, 2, 3))
    price = next(price for price in variant.prices if price.currency_code == "eur")
    return OrderLine(
        kind="product",
        product_id=product.id,
        variant_id=variant.id,
        title=product.title,
        variant_title=variant.title,
        sku=variant.sku,
        thumbnail=product.thumbnail,
        quantity=quantity,
        fulfilled_quantity=quantity,
        unit_price=price.amount,
        total=price.amount * quantity,
        rank=rank,
        created_at=placed,
        updated_at=placed,
    )


async def _add_open_orders(
    session: WriteSession, chance: random.Random, products: Sequence[Product]
) -> None:
    """Orders of today, by the same road as a shopper's."""
    for_sale = [product for product in products if product.status == "published"]
    for number in range(_OPEN_ORDERS):
        variants = [
            chance.choice(product.variants)
            for product in chance.sample(for_sale, chance.randrange(1, 4))
        ]
        basket = Basket(
            lines={variant.id: 1 for variant in variants},
            pointers={variant.id: "/lines" for variant in variants},
            currency_code="eur",
            email=f"guest{number}@example.com",
        )
        await place(session, basket, Claim(None))
