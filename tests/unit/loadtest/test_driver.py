"""Visits that raise end the load by what they raised."""

from typing import Any

import pytest

from impact.loadtest.scenarios.client import CannotRunError, Visit
from impact.loadtest.scenarios.driver import Load, drive


async def test_what_a_visit_raises_is_what_the_load_raises() -> None:
    async def visit(visit: Visit) -> None:
        raise CannotRunError("another server")

    nothing: Any = None
    with pytest.raises(CannotRunError, match="another server"):
        await drive(Load(2, visits=4), nothing, visit, lambda _: None)
