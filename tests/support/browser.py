"""A headless Chromium that notes what it logs and whom it asks."""

import base64
import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from selenium.webdriver import Chrome, ChromeOptions
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.ui import WebDriverWait

from support.programs import needed

_PATIENCE = 30
_FLAGS = (
    "--headless",
    "--no-sandbox",  # which cannot be had as root
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--window-size=1360,900",
)


class Browser:
    """``errors`` and ``hosts`` are of the whole life of the browser."""

    def __init__(self, base: str, profile: Path) -> None:
        options = ChromeOptions()
        options.binary_location = needed("chromium")
        for flag in (*_FLAGS, f"--user-data-dir={profile}"):
            options.add_argument(flag)
        logged = {"browser": "ALL", "performance": "ALL"}
        options.set_capability("goog:loggingPrefs", logged)
        self.base = base
        self.driver = Chrome(options, Service(needed("chromedriver", package="chromium-driver")))
        self._requests: list[str] = []
        self._console: list[str] = []

    def open(self, path: str) -> None:
        self.driver.get(self.base + path)

    def one(self, css: str) -> WebElement:
        return self.driver.find_element(By.CSS_SELECTOR, css)

    def all(self, css: str) -> list[WebElement]:
        return self.driver.find_elements(By.CSS_SELECTOR, css)

    def run(self, script: str, *arguments: Any) -> Any:
        return self.driver.execute_script(script, *arguments)

    def until(self, script: str, *arguments: Any) -> Any:
        """Wait for what the script returns to be true; answers it."""
        return WebDriverWait(self.driver, _PATIENCE, 0.1).until(
            lambda driver: driver.execute_script(script, *arguments), script
        )

    def command(self, name: str, **parameters: Any) -> Any:
        return self.driver.execute_cdp_cmd(name, parameters)

    def looks(self, scheme: str, width: int, height: int, *, phone: bool = False) -> None:
        """As if the system were set to ``light`` or ``dark``, on a screen of that size."""
        feature = {"name": "prefers-color-scheme", "value": scheme}
        self.command("Emulation.setEmulatedMedia", features=[feature])
        self.command(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=2 if phone else 1,
            mobile=phone,
        )

    def picture(self, path: Path) -> Path:
        """The whole page."""
        self.run("scrollTo(0, 0)")
        found = self.command("Page.captureScreenshot", captureBeyondViewport=True)
        path.write_bytes(base64.b64decode(found["data"]))
        return path

    def errors(self) -> list[str]:
        self._console += [
            entry["message"]
            for entry in self.driver.get_log("browser")
            if entry["level"] in {"SEVERE", "WARNING"}
        ]
        return self._console

    def hosts(self) -> set[str]:
        for entry in self.driver.get_log("performance"):
            message = json.loads(entry["message"])["message"]
            if message["method"] == "Network.requestWillBeSent":
                self._requests.append(message["params"]["request"]["url"])
        urls = map(urlsplit, self._requests)
        return {url.netloc for url in urls if url.scheme not in {"data", "chrome", "about"}}


@contextlib.contextmanager
def browsing(base: str, profile: Path) -> Iterator[Browser]:
    """A browser with a profile of its own."""
    made = Browser(base, profile)
    try:
        yield made
    finally:
        made.driver.quit()
