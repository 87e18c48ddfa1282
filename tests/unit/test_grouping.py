"""Tests that share a server run one after the other, on one worker."""

import pytest

pytestmark = pytest.mark.xdist_group("grouping")


def test_the_group_is_part_of_the_id(request: pytest.FixtureRequest) -> None:
    if not getattr(request.config.option, "loadgroup", False):
        pytest.skip("not distributed by group")
    assert request.node.nodeid.endswith("@grouping")
