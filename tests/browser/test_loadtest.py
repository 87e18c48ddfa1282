"""The page of ``impact loadtest --html`` in a real browser: light, dark, on a phone, on its own."""

import datetime as dt
from pathlib import Path

import pytest

from impact.loadtest.scenarios import page
from impact.loadtest.scenarios.driver import Effort, Load
from impact.loadtest.scenarios.recording import Recording
from impact.loadtest.scenarios.report import Report, ScenarioReport, machine
from impact.loadtest.scenarios.server import ServerFigures
from impact.loadtest.scenarios.targets import TARGETS, below
from support.browser import browsing

pytestmark = pytest.mark.xdist_group("browser")


def report() -> Report:
    """An open loop of two kinds of requests, of which one has a name that is no HTML."""
    recording = Recording(0.0)
    for n in range(300):
        due = n / 100
        recording.add("<b>order" if n % 3 else "cart", due, due + 0.01, due + 0.02 + n / 1000)
    found = ScenarioReport(
        name="orders",
        title="Order creation",
        loop="open",
        load=Load(concurrency=5, visits=300, rate=100.0),
        requests=300,
        failed=0,
        per_second=100.0,
        kinds=recording.figures(),
        over_time=recording.slices(),
        failures={"cart: 503 overloaded": 2},
        server=ServerFigures(),
        client=Effort(3.0, 0.9, bottleneck=True),
        checks=[below("order, p95", 320.0, 300.0)],
        met=False,
        left=0,
    )
    at = dt.datetime(2026, 1, 2, 3, 4, tzinfo=dt.UTC)
    return Report("http://localhost:9000", TARGETS["production"], at, machine(), [found])


def test_the_page(tmp_path: Path) -> None:
    file = tmp_path / "report.html"
    file.write_text(page.written(report()))
    with browsing("file://", tmp_path / "profile") as browser:
        browser.open(str(file))
        grounds = set()
        for scheme in ("light", "dark"):
            browser.looks(scheme, 1280, 900)
            grounds.add(browser.run("return getComputedStyle(document.body).backgroundColor"))
        assert len(grounds) == 2
        lines = browser.all("figure > svg polyline")
        # Two kinds, corrected and not, and two percentiles over time.
        assert len(lines) == 6
        assert all(line.rect["width"] > 100 for line in lines)
        text = browser.one("body").text
        for said in ("<b>order", "320.0 ms", "not met", "from sending", "cart: 503 overloaded"):
            assert said in text
        browser.looks("light", 390, 844, phone=True)
        assert browser.run("return document.documentElement.scrollWidth <= innerWidth")
        assert browser.errors() == []
        assert browser.hosts() <= {""}
