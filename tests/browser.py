"""A headless Chromium, and how tests of pages speak with it."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

CHROMIUM = next(
    (found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))), None
)
DRIVER = shutil.which("chromedriver")
LACKING = None if CHROMIUM and DRIVER else "no browser: chromium and chromedriver are not installed"

_FLAGS = [
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-software-rasterizer",
    "--disable-extensions",
    "--force-prefers-reduced-motion",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
]


class Browser:
    """One window; elements are named by CSS selectors.

    Args:
        driver: Selenium's.
        downloads: The folder that it saves files in.
    """

    def __init__(self, driver: Any, downloads: Path) -> None:
        self.driver = driver
        self.downloads = downloads
        driver.execute_cdp_cmd(
            "Browser.setDownloadBehavior", {"behavior": "allow", "downloadPath": str(downloads), "eventsEnabled": False}
        )

    def look(self, *, width: int = 1280, height: int = 900, theme: str = "light") -> None:
        """Take a size and a theme; narrow ones are touched, not pointed at."""
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        self.driver.execute_cdp_cmd("Emulation.setTouchEmulationEnabled", {"enabled": width < 600})
        features = [{"name": "prefers-color-scheme", "value": theme}]
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})

    def open(self, url: str, *, fresh: bool = True) -> None:
        """Open the page at an address, by default with nothing remembered, and wait until it is put together."""
        self.driver.get("about:blank")
        if fresh:
            origin = "/".join(url.split("/")[:3])
            self.driver.execute_cdp_cmd(
                "Storage.clearDataForOrigin", {"origin": origin, "storageTypes": "local_storage,cookies"}
            )
        self.driver.get(url)
        self.until("document.documentElement.dataset.ready === 'yes'")

    def js(self, script: str, *arguments: Any) -> Any:
        """Return what a script returns."""
        return self.driver.execute_script(script, *arguments)

    def until(self, condition: str, seconds: float = 60) -> None:
        """Wait until an expression is true."""
        end, pause = time.monotonic() + seconds, 0.02
        while not self.js(f"return Boolean({condition})"):
            assert time.monotonic() < end, f"not within {seconds} s: {condition}\n{self.driver.get_log('browser')}"
            time.sleep(pause)
            pause = min(pause * 1.2, 0.2)  # each look costs the browser and its driver some milliseconds of work

    def find(self, selector: str) -> Any:
        """Return the first element."""
        return self.driver.find_element("css selector", selector)

    def texts(self, selector: str) -> list[str]:
        """Return what all such elements say, shown or not."""
        return list(
            self.js("return [...document.querySelectorAll(arguments[0])].map((one) => one.textContent)", selector)
        )

    def write(self, selector: str, *keys: str) -> None:
        """Replace what a field holds."""
        field = self.find(selector)
        field.clear()
        field.send_keys(*keys)

    def press(self, key: str, code: int) -> None:
        """Press and release a key, wherever the focus is."""
        for kind in ("rawKeyDown", "keyUp"):
            told = {"type": kind, "key": key, "code": key, "windowsVirtualKeyCode": code}
            self.driver.execute_cdp_cmd("Input.dispatchKeyEvent", told)

    def saved(self, ending: str) -> Path:
        """Return the file that it has saved, once it is whole."""
        end = time.monotonic() + 10
        while not (found := sorted(self.downloads.glob(f"*{ending}"))):
            assert time.monotonic() < end, f"nothing was saved as {ending}"
            time.sleep(0.02)
        return found[0]

    def shot(self, path: Path) -> None:
        """Save a picture of the window."""
        self.driver.save_screenshot(str(path))


@contextmanager
def opened_browser(folder: Path) -> Iterator[Browser]:
    """Open a browser that keeps everything in a folder."""
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for flag in (*_FLAGS, f"--user-data-dir={folder / 'profile'}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(DRIVER))
    try:
        downloads = folder / "downloads"
        downloads.mkdir()
        yield Browser(driver, downloads)
    finally:
        driver.quit()
