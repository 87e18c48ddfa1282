"""How many streams there may be, of one shop and in all."""

import asyncio
import contextlib

import pytest

from impact.engine.http.streaming import Streams
from impact.errors import UnavailableError
from impact.settings import Settings


def streams(limit: int) -> Streams:
    settings = Settings(primary_url="", signing_keys="k:" + "x" * 32, export_limit=limit)
    return Streams(settings, asyncio.Event())


def test_a_shop_has_half_of_them() -> None:
    found = streams(4)
    with contextlib.ExitStack() as stack:
        for tenant in ("paris", "paris", "lyon", "lyon"):
            stack.enter_context(found.taking(tenant))
        for tenant in ("paris", "nice"):
            with pytest.raises(UnavailableError) as raised, found.taking(tenant):
                pytest.fail("there was room")
            assert raised.value.retry_after
    with contextlib.ExitStack() as stack:
        for _ in range(2):
            stack.enter_context(found.taking("paris"))
        with pytest.raises(UnavailableError, match="2 exports of this shop"):
            stack.enter_context(found.taking("paris"))
        stack.enter_context(found.taking("nice"))


def test_where_there_is_but_one() -> None:
    found = streams(1)
    with found.taking("paris"):
        for tenant in ("paris", "lyon"):
            with pytest.raises(UnavailableError), found.taking(tenant):
                pytest.fail("there was room")
    with found.taking("lyon"):
        pass
