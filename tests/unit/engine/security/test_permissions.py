"""Permission sets against the obvious, slow way to say what they mean."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from impact.engine.security.permissions import PermissionSet, is_permission, public, requires

part = st.sampled_from(["*", "product", "order", "read", "update", "api-key"])
permission = st.builds("{}:{}".format, part, part)


def covers(granted: str, wanted: str) -> bool:
    """Part by part, a star covers everything, also a star."""
    pairs = zip(granted.split(":"), wanted.split(":"), strict=True)
    return all(mine in ("*", theirs) for mine, theirs in pairs)


@given(st.sets(permission, max_size=5), permission)
def test_against_the_obvious(granted, wanted):
    expected = any(covers(each, wanted) for each in granted)
    assert PermissionSet(granted).allows(wanted) is expected
    assert PermissionSet(granted).check([wanted]) == {wanted: expected}


@given(st.sets(permission, max_size=5), permission)
def test_more_is_never_less(granted, added):
    before, after = PermissionSet(granted), PermissionSet({*granted, added})
    assert all(after.allows(each) for each in granted if before.allows(each))
    assert after.allows(added)


def test_nobody_may_anything():
    assert not PermissionSet([]).allows("product:read")


@pytest.mark.parametrize("text", ["a:b", "*:*", "api-key:read", "product:*", "*:read"])
def test_permissions(text):
    assert is_permission(text)


@pytest.mark.parametrize(
    "text", ["", "a", "a:", ":b", "a:b:c", "A:b", "a:b\n", "a b:c", "-a:b", "a-:b", "**:a", "a:1"]
)
def test_no_permissions(text):
    assert not is_permission(text)
    with pytest.raises(ValueError, match="not a permission"):
        requires(text)


def test_a_route_names_one_permission():
    assert requires("product:read") == {"permission": "product:read"}
    assert public() == {"permission": "public"}
    with pytest.raises(ValueError, match="not a permission"):
        requires("product:*")
