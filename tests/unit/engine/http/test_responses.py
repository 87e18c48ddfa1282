"""Selecting fields of JSON that is ready made."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from impact.engine.http.responses import select_fields

BODY = '{"id" : "1", "title" : "é \\"x\\"", "tags" : [{"a":1.50}], "none" : null}'


@pytest.mark.parametrize(
    "fields", [None, "", " , ", "*tags", "+title", " title", "-title", "title,tags.a"]
)
def test_all_of_it(fields):
    assert select_fields(BODY, fields) == BODY


@pytest.mark.parametrize(
    ("fields", "names"),
    [
        ("title", ["id", "title"]),
        ("tags,none", ["id", "tags", "none"]),
        ("id", ["id"]),
        ("nope", ["id"]),
    ],
)
def test_some_of_it(fields, names):
    whole, some = msgspec.json.decode(BODY), msgspec.json.decode(select_fields(BODY, fields))
    assert some == {name: whole[name] for name in names}


def test_values_pass_untouched():
    assert '"tags":[{"a":1.50}]' in select_fields(BODY, "tags")


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner, max_size=3),
    max_leaves=5,
)
names = st.text("abcdefg_", min_size=1, max_size=5)


@given(st.dictionaries(names, values, max_size=6), st.lists(names, min_size=1, max_size=4))
def test_against_the_obvious(entity, wanted):
    entity["id"] = 1
    body = msgspec.json.encode(entity).decode()
    selected = msgspec.json.decode(select_fields(body, ",".join(wanted)))
    assert selected == {k: v for k, v in entity.items() if k in {"id", *wanted}}
