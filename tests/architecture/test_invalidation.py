"""What a write touches is declared: beside the models for tables, on the statement for SQL."""

import importlib
import pkgutil

import pytest

import impact
import impact.models
from impact.engine.cache.invalidation import declared, tags_of_table
from impact.engine.db.statements import Statement, registry


def load_everything() -> None:
    for module in pkgutil.walk_packages(impact.__path__, "impact."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)


def test_every_table_says_what_it_touches() -> None:
    assert set(impact.models.metadata.tables) <= set(declared())


def test_effects_name_columns_that_exist() -> None:
    for name, effects in declared().items():
        table = impact.models.metadata.tables.get(name)
        for effect in effects if table is not None else ():
            columns = {effect.key, effect.tenant} - {None}
            assert columns <= set(table.columns.keys()), name


def test_every_statement_that_writes_says_what() -> None:
    load_everything()
    silent = [
        statement.name
        for statements in registry.values()
        for statement in statements
        if statement.writes and not statement.declared and not statement.name.startswith("tests.")
    ]
    assert silent == []


@pytest.mark.parametrize(
    ("sql", "tables"),
    [
        ("INSERT INTO product (tenant_id) VALUES (:tenant_id)", {"product"}),
        ('UPDATE "order" SET x = 1 WHERE tenant_id = :tenant_id', {"order"}),
        ("DELETE FROM cart_line c WHERE tenant_id = :tenant_id", {"cart_line"}),
        ("SELECT 1 FROM cart WHERE tenant_id = :tenant_id FOR UPDATE OF cart", set()),
        ("SELECT 1 FROM cart WHERE tenant_id = :tenant_id FOR NO KEY UPDATE", set()),
        (
            "INSERT INTO a (tenant_id) VALUES (:tenant_id) ON CONFLICT DO UPDATE SET x = 1",
            {"a"},
        ),
        (
            "WITH gone AS (DELETE FROM a WHERE tenant_id = :tenant_id RETURNING 1)"
            " UPDATE b SET x = 1",
            {"a", "b"},
        ),
        ("SELECT updated_at FROM a WHERE tenant_id = :tenant_id", set()),
    ],
)
def test_targets_are_found_in_the_sql(sql: str, tables: set[str]) -> None:
    statement = Statement("tests.targets", sql)
    assert set(statement.writes) == tables
    assert not statement.declared


def test_an_unknown_parameter_is_refused() -> None:
    with pytest.raises(ValueError, match="no parameter :cart"):
        Statement(
            "tests.unknown",
            "DELETE FROM cart WHERE tenant_id = :tenant_id",
            writes={"cart": ":cart"},
        )


def test_a_table_nobody_declared_touches_the_whole_tenant() -> None:
    assert tags_of_table("unheard_of", "paris", ["x"]) == ("paris:*",)
