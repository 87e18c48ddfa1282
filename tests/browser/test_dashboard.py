"""/ops as people use it: in a real browser, on a server with two worker processes."""

import asyncio
import re
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import pytest
from selenium.webdriver.common.keys import Keys

from impact.stack import Stack
from support.browser import Browser, browsing
from support.dev import Dev, free_port
from support.programs import needed

pytestmark = pytest.mark.xdist_group("browser")

SHOP = {"x-tenant-id": "paris"}
SLOW = "checkout.take_stock"
_WAITS = """
SELECT EXISTS (SELECT FROM pg_stat_activity WHERE wait_event_type = 'Lock'
               AND clock_timestamp() - query_start > interval '0.6 s')
"""
# Of each element with text of its own: how its colour stands out from what is behind it.
CONTRAST = """
function parts(colour) {
  const canvas = document.createElement('canvas').getContext('2d');
  canvas.fillStyle = colour; canvas.fillRect(0, 0, 1, 1);
  return [...canvas.getImageData(0, 0, 1, 1).data];
}
function light([r, g, b]) {
  const [x, y, z] = [r, g, b].map(
    c => (c /= 255) <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
  return 0.2126 * x + 0.7152 * y + 0.0722 * z;
}
const found = [];
for (const each of document.querySelectorAll('body *')) {
  const own = [...each.childNodes].some(n => n.nodeType === 3 && n.data.trim());
  if (!own || !each.checkVisibility() || each.closest('.hidden, script, noscript')) continue;
  const style = getComputedStyle(each);
  const colour = parts(each.namespaceURI.endsWith('svg') ? style.fill : style.color);
  let behind = each, ground;
  do ground = parts(getComputedStyle(behind).backgroundColor);
  while (ground[3] < 255 && (behind = behind.parentElement));
  const [a, b] = [light(colour), light(ground)].sort((x, y) => y - x);
  const ratio = (a + 0.05) / (b + 0.05);
  if (ratio < 4.5) found.push([each.outerHTML.slice(0, 80), ratio]);
}
return found;
"""


@pytest.fixture(scope="module")
def served() -> Iterator[Dev]:
    needed("chromium")
    directory = Path(tempfile.mkdtemp(prefix="impact-browser-"))
    directory.chmod(0o711)
    with Dev(directory / "data", free_port(), "--workers", "2") as dev:
        yield dev
    shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture
def browser(served: Dev, tmp_path: Path) -> Iterator[Browser]:
    with browsing(served.base, tmp_path / "profile") as made:
        yield made


def log_in(browser: Browser, served: Dev, tenant: str = "hq", password: str | None = None) -> None:
    email = re.search(r"e-mail +(\S+)", served.output)
    secret = re.search(r"password +(\S+)", served.output)
    assert email is not None
    assert secret is not None
    browser.open("/ops")
    browser.until("return document.activeElement.name === 'email'")
    field = browser.one("input[name=tenant]")
    field.clear()
    field.send_keys(tenant)
    browser.one("input[name=email]").send_keys(email[1])
    browser.one("input[name=password]").send_keys(password or secret[1], Keys.ENTER)


async def cause_a_slow_statement(served: Dev) -> None:
    """Somebody else holds what an order needs, for as long as raises an alert."""
    holder = await asyncpg.connect(Stack(served.data_dir).endpoints().admin_url)
    async with httpx.AsyncClient(base_url=served.base, headers=SHOP, timeout=30) as client:
        listed = await client.get("/store/products?limit=20")
        variant = listed.json()["products"][0]["variants"][0]["id"]
        body = {"email": "a@b.example", "lines": [{"variant_id": variant, "quantity": 1}]}
        async with holder.transaction():
            await holder.execute("LOCK TABLE inventory_level IN SHARE MODE")
            order = asyncio.create_task(client.post("/store/orders", json=body))
            async with asyncio.timeout(20):
                while not await holder.fetchval(_WAITS):
                    pass
        answer = await order
    await holder.close()
    assert answer.status_code < 500, answer.text


def cells(browser: Browser, table: str, column: int) -> list[str]:
    found: list[str] = browser.run(
        "return [...document.querySelectorAll(`[data-table=${arguments[0]}] tbody tr`)]"
        ".map(row => row.children[arguments[1]].firstChild.textContent)",
        table,
        column,
    )
    return found


def numbers(texts: list[str]) -> list[float]:
    return [float(text.replace(",", "").replace("\N{EN DASH}", "-1")) for text in texts]


def test_who_may_not_look_is_told_why(browser: Browser, served: Dev) -> None:
    log_in(browser, served, password="not this one")
    browser.until("return document.getElementById('login-error').textContent")
    assert "Invalid email or password" in browser.one("#login-error").text

    log_in(browser, served, tenant="paris")
    browser.until(
        "return document.getElementById('login-error').textContent.includes('headquarters')"
    )
    assert not browser.one("#board").is_displayed()
    assert browser.run("return sessionStorage.length") == 0


def test_a_slow_query_appears_and_shows_its_plan(
    browser: Browser, served: Dev, tmp_path: Path
) -> None:
    browser.looks("light", 1360, 900)
    log_in(browser, served)
    browser.until("return document.querySelectorAll('#charts svg').length === 8")
    assert SLOW not in cells(browser, "slow", 0)

    asyncio.run(cause_a_slow_statement(served))
    button = f"[data-table=slow] button[aria-label='Plan of {SLOW}']"
    browser.until(f'return document.querySelector("{button}")')
    row = browser.run(f'return document.querySelector("{button}").closest("tr").innerText')
    assert "paris" in row
    assert "primary" in row
    browser.until("return document.querySelector('#standing li')")
    assert "slow-query" in browser.run("return document.querySelector('#standing li').dataset.key")

    browser.one(button).send_keys(Keys.ENTER)
    browser.until("return document.querySelector('#plan-body pre')")
    assert "Update on" in browser.one("#plan-body pre").text
    assert SLOW in browser.one("#plan h2").text
    browser.picture(tmp_path / "plan.png")
    browser.run("return document.activeElement").send_keys(Keys.ESCAPE)
    browser.until("return !document.getElementById('plan').open")
    # Where the keyboard was, it is again.
    assert browser.run(f'return document.activeElement.matches("{button}")')

    for scheme, width, height in (("light", 1360, 900), ("dark", 1360, 900), ("light", 390, 844)):
        browser.looks(scheme, width, height, phone=width < 500)
        # The body is as wide as the screen: nothing but the tables' boxes scrolls sideways.
        browser.until("const e = document.documentElement; return e.scrollWidth === e.clientWidth")
        assert browser.run(CONTRAST) == []
        browser.picture(tmp_path / f"{scheme}-{width}.png")

    assert browser.errors() == []
    assert browser.hosts() == {f"127.0.0.1:{served.port}"}


def test_it_is_used_by_keyboard(browser: Browser, served: Dev) -> None:
    log_in(browser, served)
    browser.until("return document.querySelectorAll('[data-table=queries] tbody tr').length > 3")

    head = browser.one("[data-table=queries] thead th:nth-child(4) button")
    head.send_keys(Keys.ENTER)
    column = "return document.querySelector('[data-table=queries] thead th:nth-child(4)')"
    assert browser.run(f"{column}.ariaSort") == "descending"
    runs = numbers(cells(browser, "queries", 3))
    assert runs == sorted(runs, reverse=True)
    browser.run("return document.activeElement").send_keys(Keys.SPACE)
    assert browser.run(f"{column}.ariaSort") == "ascending"
    runs = numbers(cells(browser, "queries", 3))
    assert runs == sorted(runs)
    sorts = "return document.querySelectorAll('[data-table=queries] [aria-sort]').length"
    assert browser.run(sorts) == 1

    # The next figures come, and the focus stays where it is.
    held = browser.run(
        "window.row = document.querySelector('[data-table=queries] tbody tr:nth-child(2)');"
        "window.focused = document.activeElement; window.at = document.title;"
        "window.changes = 0;"
        "new MutationObserver(() => window.changes++).observe("
        "document.getElementById('charts'), {childList: true, subtree: true});"
        "return document.activeElement.textContent"
    )
    assert held.strip() == "Runs"
    browser.until("return window.changes > 0")
    assert browser.run("return document.activeElement === window.focused && row.isConnected")

    browser.one("#filter").send_keys("tenants.")
    browser.until("return document.querySelectorAll('[data-table=queries] tbody tr').length === 1")
    assert " of " in browser.one("[data-table=queries] .count").text
    browser.one("#filter").clear()

    browser.one("#pause").send_keys(Keys.ENTER)
    browser.until("return document.getElementById('state').textContent.startsWith('Paused')")
    assert browser.one("#pause").get_attribute("aria-pressed") == "true"
    browser.one("#pause").send_keys(Keys.ENTER)
    browser.until("return document.getElementById('state').textContent.startsWith('Live')")

    browser.one("#theme").send_keys("Dark")
    browser.until("return document.documentElement.dataset.theme === 'dark'")
    browser.driver.refresh()
    browser.until("return document.querySelectorAll('#charts svg').length === 8")
    assert browser.run("return document.documentElement.dataset.theme") == "dark"

    token = browser.run("return sessionStorage.getItem('impact.ops.token')")
    browser.one("#leave").send_keys(Keys.ENTER)
    browser.until("return document.activeElement.name === 'email'")
    assert browser.run("return sessionStorage.length") == 0
    # Nor does the server take it any more.
    bearer = {"authorization": f"Bearer {token}"}
    deadline = time.monotonic() + 20
    while httpx.get(f"{served.base}/admin/users/me", headers=bearer).status_code != 401:
        assert time.monotonic() < deadline
    assert browser.errors() == []


def test_everything_has_a_name_for_who_does_not_see_it(browser: Browser, served: Dev) -> None:
    log_in(browser, served)
    browser.until("return document.querySelectorAll('#charts svg').length === 8")
    nodes: list[dict[str, Any]] = browser.command("Accessibility.getFullAXTree")["nodes"]
    roles: dict[str, list[str]] = {}
    for node in nodes:
        if not node.get("ignored"):
            name = node.get("name", {}).get("value", "")
            roles.setdefault(node["role"]["value"], []).append(name)
    for role in ("button", "table", "image", "searchbox", "combobox", "heading", "region"):
        assert roles[role], role
        assert all(roles[role]), role
    assert any("last 15 minutes" in name for name in roles["image"])
    assert len(roles["main"]) == len(roles["banner"]) == 1
    assert len(set(roles["table"])) == len(roles["table"]) == 8
