"""Every model belongs to a tenant, or says why not; every tenant table leads with the tenant."""

from sqlalchemy import UniqueConstraint

import impact.models
from impact.engine.db.base import Base, TenantScoped

# Tables that belong to no tenant, with the reason.
PLATFORM_TABLES = {"tenant": "the register of tenants itself"}


def mappers() -> list[type[Base]]:
    return [mapper.class_ for mapper in impact.models.Base.registry.mappers]


def test_every_model_has_a_tenant_or_a_mark() -> None:
    without = {m.__tablename__ for m in mappers() if not issubclass(m, TenantScoped)}
    assert without == set(PLATFORM_TABLES)


def test_primary_keys_lead_with_the_tenant() -> None:
    for table in impact.models.metadata.tables.values():
        if table.name not in PLATFORM_TABLES:
            assert next(iter(table.primary_key.columns)).name == "tenant_id", table.name


def test_foreign_keys_stay_within_the_tenant() -> None:
    for table in impact.models.metadata.tables.values():
        for key in table.foreign_key_constraints:
            first = key.elements[0]
            assert (first.parent.name, first.column.name) == ("tenant_id", "tenant_id"), key.name


def test_indexes_and_unique_keys_lead_with_the_tenant() -> None:
    for table in impact.models.metadata.tables.values():
        if table.name in PLATFORM_TABLES:
            continue
        for index in table.indexes:
            assert getattr(index.expressions[0], "name", "") == "tenant_id", index.name
        for key in table.constraints:
            if isinstance(key, UniqueConstraint):
                assert next(iter(key.columns)).name == "tenant_id", key.name


def test_relationships_are_never_loaded_by_accident() -> None:
    for model in mappers():
        for relationship in model.__mapper__.relationships:
            assert relationship.lazy == "raise", f"{model.__name__}.{relationship.key}"
