"""Paints `docs/images/page-*.png`: every page of the web page at a desk's width and a phone's, light and dark.

    velatura demo demo
    velatura serve --db demo/catalogue.db --model playground/weights/base --port 7870 &
    python tests/page_pictures.py http://127.0.0.1:7870

It needs Chromium, and drives it as the tests do.
"""

from __future__ import annotations

import base64
import io
import sys
import tempfile
from pathlib import Path
from typing import Any

from browser import opened_browser
from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
IMAGES = ROOT / "docs" / "images"
PROMPT = "a red rocket at sunset, stained glass style"
DESK, PHONE = 1280, 390


def main() -> None:
    """Open a browser and take the pictures."""
    url = sys.argv[1].rstrip("/")
    with tempfile.TemporaryDirectory() as folder, opened_browser(Path(folder)) as browser:
        browser.look(width=DESK)
        browser.open(f"{url}/#/compose?prompt={PROMPT}")
        compose(browser)
        take(browser, "compose", DESK, "light")
        take(browser, "compose-dark", DESK, "dark")
        take(browser, "compose-phone", PHONE, "light")
        go(browser, "search?q=stained glass window", ".result")
        take(browser, "search", DESK, "light", 900)
        take(browser, "search-phone", PHONE, "dark", 1100)
        go(browser, "catalogue", "#rejected li")
        take(browser, "catalogue", DESK, "dark", 835)  # above what was rejected, which tells where files lie
        take(browser, "catalogue-phone", PHONE, "light", 1300)
        go(browser, f"compare?prompt={PROMPT}", "#compare-go")
        fill(browser, {"#compare-steps": "20", "#compare-guidance": "2", "#compare-seed": "7"})
        browser.find("#compare-go").click()
        browser.until("document.querySelector('#compared .job[aria-busy=false]')", 120)
        take(browser, "compare", DESK, "light", 1250)
        take(browser, "compare-phone", PHONE, "dark", 1300)


def compose(browser: Any) -> None:
    """Paint four pictures, the adapters differing."""
    browser.until("document.querySelector('.card')")
    fill(browser, {"#count": "4", "#steps": "20", "#guidance": "2", "#seed": "7"})
    browser.js("document.getElementById('masks').click()")
    browser.until("document.querySelectorAll('.masks tbody tr').length === 4")
    browser.find("#paint").click()
    browser.until("document.querySelector('#jobs .job[aria-busy=false]')", 120)


def go(browser: Any, path: str, awaited: str) -> None:
    """Go to another page."""
    browser.js("location.hash = '#/' + arguments[0]", path)
    browser.until(f"document.querySelector('{awaited}')?.checkVisibility()")
    browser.until(
        "![...document.querySelectorAll('#duplicates .tag')].some((one) => one.textContent.startsWith('no. '))"
    )


def fill(browser: Any, fields: dict[str, str]) -> None:
    """Write into fields."""
    for selector, value in fields.items():
        browser.write(selector, value)


def take(browser: Any, name: str, width: int, theme: str, most: int = 10_000) -> None:
    """Save the page from its top, at most so many pixels of it."""
    browser.look(width=width, theme=theme)
    browser.js("document.activeElement.blur(); document.getElementById('told').textContent = ''")
    height = min(most, browser.js("return document.documentElement.scrollHeight"))
    browser.look(width=width, height=height, theme=theme)  # so that what sticks to the window's edge is at its place
    browser.until("[...document.images].every((image) => image.complete)")
    clip = {"x": 0, "y": 0, "width": width, "height": height, "scale": 1}
    told = browser.driver.execute_cdp_cmd("Page.captureScreenshot", {"format": "png", "clip": clip})
    path = IMAGES / f"page-{name}.png"
    with Image.open(io.BytesIO(base64.b64decode(told["data"]))) as image:
        image.convert("RGB").save(path, optimize=True)
    sys.stdout.write(f"{path.relative_to(ROOT)}\n")


if __name__ == "__main__":
    main()
