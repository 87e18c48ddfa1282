"""Keys and tags of two tenants never meet (P3)."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from impact.engine.cache import keys
from impact.errors import InvalidDataError

ANYTHING = st.text(max_size=40) | st.sampled_from(
    ["paris", "lyon", "paris:product", "*", "a:b", "{x}", "product", "", "none", "paris\n"]
)
SLUG = st.from_regex(r"\A[a-z][a-z0-9-]{0,20}\Z").filter(lambda slug: slug != "none")
PART = st.from_regex(r"\A[A-Za-z0-9_.~-]{1,20}\Z")
ENTITY = st.from_regex(r"\A[a-z]{1,8}(-[a-z]{1,8})?\Z")


@given(ANYTHING, ANYTHING, ANYTHING, ANYTHING)
def test_no_part_can_be_read_as_two(tenant: str, entity: str, id: str, operation: str) -> None:
    with contextlib.suppress(ValueError, InvalidDataError):
        key = keys.make_key(tenant, entity, id, operation)
        parts = key.redis("impact", "run").split(":")
        assert parts[:5] == ["impact", f"{{{tenant}}}", entity, id, operation]
        assert len(parts) == 6


@given(st.tuples(SLUG, ENTITY, PART, PART), st.tuples(SLUG, ENTITY, PART, PART))
def test_different_questions_have_different_keys(
    a: tuple[str, str, str, str], b: tuple[str, str, str, str]
) -> None:
    names = {keys.make_key(*parts).redis("impact", "run") for parts in (a, b)}
    assert len(names) == len({a, b})


@given(SLUG, SLUG, ENTITY, PART)
def test_tags_of_two_tenants_are_apart(a: str, b: str, entity: str, id: str) -> None:
    def tags(tenant: str) -> set[str]:
        all_of = {*keys.depends(tenant, [entity], id), *keys.depends(tenant, [entity], None)}
        all_of |= {*keys.changed(tenant, entity, id), *keys.changed(tenant, entity, None)}
        return {keys.tag_key(tag, "impact", "run") for tag in all_of}

    assert (a == b) or tags(a).isdisjoint(tags(b))


@given(SLUG, ENTITY, PART)
def test_what_is_raised_ends_what_depends(tenant: str, entity: str, id: str) -> None:
    page = set(keys.depends(tenant, [entity], id))
    everything = set(keys.depends(tenant, [entity], None))
    other = set(keys.depends(tenant, [entity], f"{id}x"))
    row, unknown = keys.changed(tenant, entity, id), keys.changed(tenant, entity, None)
    assert page & set(row)
    assert everything & set(row)
    assert not other & set(row)
    assert page & set(unknown)
    assert everything & set(unknown)
    for pattern in (f"{entity}:{tenant}:*", f"*:{tenant}:*", f"{entity}:{tenant}:{id}"):
        found, tags = keys.tags_of_pattern(pattern)
        assert found == tenant
        assert page & set(tags)


@pytest.mark.parametrize("tenant", ["", "none", "Paris", "a:b", "*", "paris\n", "pa ris"])
def test_there_is_no_key_without_a_tenant(tenant: str) -> None:
    for make in (
        lambda: keys.make_key(tenant, "product", "1", "page"),
        lambda: keys.depends(tenant, ["product"], "1"),
        lambda: keys.changed(tenant, "product", "1"),
        lambda: keys.whole_tenant(tenant),
    ):
        with pytest.raises(InvalidDataError):
            make()


@pytest.mark.parametrize(
    "pattern", ["", "product", "a:b", "*:paris:1", "product:paris:", "::", "a:b:c:d"]
)
def test_a_pattern_that_is_none(pattern: str) -> None:
    with pytest.raises(InvalidDataError):
        keys.tags_of_pattern(pattern)
