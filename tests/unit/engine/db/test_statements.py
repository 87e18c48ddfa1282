"""Named statements: their parameters, and the tenant that each must name."""

import pytest

from impact.engine.db.statements import Statement, registry


def statement(sql, name="tests.parse", **options):
    return Statement(name, sql, **options)


@pytest.mark.parametrize(
    ("sql", "parsed", "parameters"),
    [
        ("SELECT :a", "SELECT $1", ("a",)),
        ("SELECT :a, :b, :a", "SELECT $1, $2, $1", ("a", "b")),
        ("SELECT :a::uuid[]", "SELECT $1::uuid[]", ("a",)),
        ("SELECT x::text, :a", "SELECT x::text, $1", ("a",)),
        ("SELECT x ::text", "SELECT x ::text", ()),
        ("SELECT (:a)::int", "SELECT ($1)::int", ("a",)),
        ("SELECT '12:30', ':a', :b", "SELECT '12:30', ':a', $1", ("b",)),
        ("SELECT 'it''s :a', :b", "SELECT 'it''s :a', $1", ("b",)),
        ("SELECT '', :a, ''", "SELECT '', $1, ''", ("a",)),
        ('SELECT "a:b", ":c", :d', 'SELECT "a:b", ":c", $1', ("d",)),
        ("SELECT :a -- :b, it's\n, :c", "SELECT $1 -- :b, it's\n, $2", ("a", "c")),
        ("SELECT /* :b, it's\n */ :a", "SELECT /* :b, it's\n */ $1", ("a",)),
        ("SELECT a[1:2], :b", "SELECT a[1:2], $1", ("b",)),
        ("SELECT :a_1,:b2", "SELECT $1,$2", ("a_1", "b2")),
        ("SELECT x=:a AND y<:b", "SELECT x=$1 AND y<$2", ("a", "b")),
        ("f(n => :a)", "f(n => $1)", ("a",)),
        ("  SELECT 1  ", "SELECT 1", ()),
    ],
)
def test_parameters(sql, parsed, parameters):
    made = statement(sql, tenantless=True)
    assert made.sql == f"{parsed} /*db_operation='tests.parse'*/"
    assert made.parameters == parameters


def test_values_go_where_their_names_stand():
    made = statement("SELECT :b, :tenant_id, :a, :b")
    assert made.bind("paris", {"a": 1, "b": 2}) == [2, "paris", 1]


def test_a_statement_names_its_tenant():
    for sql in ("SELECT 1", "SELECT ':tenant_id'", "SELECT 1 -- :tenant_id"):
        with pytest.raises(ValueError, match="tenant_id"):
            statement(sql)


def test_nobody_else_names_the_tenant():
    made = statement("SELECT :tenant_id")
    with pytest.raises(TypeError, match="bound by the session"):
        made.bind("paris", {"tenant_id": "lyon"})


@pytest.mark.parametrize(
    ("values", "missing"), [({}, "a"), ({"a": 1}, "b"), ({"b": 1, "c": 2}, "a")]
)
def test_a_missing_value(values, missing):
    with pytest.raises(TypeError, match=f"needs '{missing}'"):
        statement("SELECT :tenant_id, :a, :b").bind("paris", values)


@pytest.mark.parametrize("values", [{"a": 1, "b": 2}, {"a": 1, "b": 2, "c": 3}])
@pytest.mark.parametrize("sql", ["SELECT :tenant_id, :a", "SELECT :a"])
def test_a_value_that_no_parameter_takes(sql, values):
    made = statement(sql, tenantless=True)
    with pytest.raises(TypeError, match=r"does not take b"):
        made.bind("paris", values)


@pytest.mark.parametrize("name", ["x", "a.b.c", "A.b", "a.b-c", "a.1", "a.b'", "a.b\n", "a_.b"])
def test_names(name):
    with pytest.raises(ValueError, match="form domain"):
        statement("SELECT :tenant_id", name=name)


def test_the_register_keeps_variants_together():
    made = [statement(f"SELECT :tenant_id, {n}", name="tests.kept") for n in range(2)]
    assert registry["tests.kept"][-2:] == made
    assert repr(made[0]) == "<Statement tests.kept>"
