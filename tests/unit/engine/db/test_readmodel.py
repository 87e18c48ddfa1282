"""The SQL that a struct becomes."""

from uuid import UUID

import msgspec
import pytest

from impact.engine.db.readmodel import json_list, json_object


class Thing(msgspec.Struct):
    id: UUID
    name: str
    kind: str = msgspec.field(name="type", default="")


def test_fields_are_columns_of_their_name():
    assert json_object(Thing, "t") == (
        "json_build_object('id', t.id, 'name', t.name, 'type', t.type)"
    )


def test_an_expression_stands_in_for_a_column():
    made = json_object(Thing, "t", name="upper(t.name)", type="'x'")
    assert made == "json_build_object('id', t.id, 'name', upper(t.name), 'type', 'x')"


@pytest.mark.parametrize("names", [["title"], ["kind"], ["b", "a"]])
def test_an_expression_for_no_field(names):
    with pytest.raises(TypeError, match=f"Thing has no field {', '.join(sorted(names))}"):
        json_object(Thing, "t", **dict.fromkeys(names, "1"))


def test_a_list_is_never_null():
    made = json_list("t.name", "thing t", where="t.x = p.x", order="t.id")
    assert made.startswith("coalesce((SELECT json_agg(t.name ORDER BY t.id) FROM thing t WHERE")
    assert made.endswith("'[]'::json)")
