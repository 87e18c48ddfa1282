"""/schema as people read it: in a real browser, which asks nobody else for anything."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from impact.settings import Settings
from impact.stack import Stack
from support.browser import browsing
from support.served import Served, serving

pytestmark = pytest.mark.xdist_group("browser")


@pytest.fixture
async def served(stack: Stack, settings: Settings, worker_id: str) -> AsyncIterator[Served]:
    async with serving(stack, settings, f"schema_{worker_id}") as found:
        yield found


async def test_an_operation_opens_and_its_schema_is_found(served: Served, tmp_path: Path) -> None:
    with browsing(served.base, tmp_path / "profile") as browser:
        browser.open("/schema")
        operation = browser.one("#storeCreateOrder")
        table = browser.one("#storeCreateOrder table")
        assert not table.is_displayed()
        browser.one("#storeCreateOrder summary").click()
        assert table.is_displayed()
        assert "idempotency-key" in operation.text
        link = browser.one("#storeCreateOrder a[href='#schema-CreateOrder']")
        link.click()
        schema = browser.one(":target")
        assert schema.get_attribute("id") == "schema-CreateOrder"
        browser.looks("dark", 400, 800, phone=True)
        assert browser.run("return document.documentElement.scrollWidth <= innerWidth")
        assert browser.errors() == []
        assert browser.hosts() == {f"127.0.0.1:{served.port}"}
