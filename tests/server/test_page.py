"""The web page: its files as they are served, and what a person does on it, in a real browser against a real server."""

from __future__ import annotations

import gzip
import io
import json
import re
import shutil
from collections.abc import Iterator
from html import escape
from pathlib import Path

import pytest
import requests
from browser import LACKING, Browser, opened_browser
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from playground_server import Served, opened, serving

from velatura.generation.story import read_story
from velatura.playground.library import find_weights
from velatura.server import page

FOLDER = Path(page.__file__).parent / "page"
FILES = sorted(path.name for path in FOLDER.iterdir())
TOKEN = "a-token-of-the-tests"
EVIL = "<img src=x onerror=\"document.title='owned'\"><script>document.title='owned'</script> Fox"
PROMPT = "a red rocket at sunset, stained glass style"

needs_browser = pytest.mark.skipif(LACKING is not None, reason=LACKING or "")


# ------------------------------------------------------------------------------------------------ files


def test_page_is_small_and_whole_by_itself() -> None:
    assert sum((FOLDER / name).stat().st_size for name in FILES) < 150_000
    for name in FILES:
        text = (FOLDER / name).read_text(encoding="utf-8")
        assert not re.search(r"(src|href|import|url\()[\s=\"'(]*https?:", text), f"{name} asks another site"
        assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(", text), name
        assert not re.search(r"<[^>]*\s(style|on\w+)=", text), f"{name} has what the policy forbids"


def test_every_module_is_asked_for_at_once() -> None:
    index = (FOLDER / "index.html").read_text(encoding="utf-8")
    named = set(re.findall(r'(?:href|src)="page/([\w.]+)"', index))
    assert named == {name for name in FILES if name != "index.html"}


def test_nobody_may_frame_it_or_run_anything_else_in_it(served: Served) -> None:
    answer = requests.get(served.url, timeout=10)
    policy = dict(part.strip().split(" ", 1) for part in answer.headers["Content-Security-Policy"].split(";"))
    assert policy["default-src"] == policy["script-src"] == policy["style-src"] == policy["connect-src"] == "'self'"
    assert policy["frame-ancestors"] == "'none'"
    assert policy["img-src"] == "'self' data: blob:"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Cache-Control"] == "no-store"


def test_files_are_sent_once(served: Served) -> None:
    first = requests.get(f"{served.url}/page/compose.js", headers={"Accept-Encoding": "identity"}, timeout=10)
    assert first.headers["Content-Type"].startswith("text/javascript")
    assert first.content == (FOLDER / "compose.js").read_bytes()
    again = {"If-None-Match": first.headers["ETag"]}
    second = requests.get(f"{served.url}/page/compose.js", headers=again, timeout=10)
    assert (second.status_code, second.content) == (304, b"")
    zipped = requests.get(f"{served.url}/page/compose.js", headers={"Accept-Encoding": "gzip"}, stream=True, timeout=10)
    assert gzip.decompress(zipped.raw.read()) == first.content


@pytest.mark.parametrize("name", ["page.py", "..%2fpage.py", "%2e%2e%2fguard.py", "none.js", "compose.js%00"])
def test_nothing_else_is_served(served: Served, name: str) -> None:
    assert requests.get(f"{served.url}/page/{name}", timeout=10).status_code == 404


def test_page_needs_no_token_and_tells_nothing(guarded: Served) -> None:
    for path in ("/", "/page/main.js", "/favicon.ico"):
        assert requests.get(f"{guarded.url}{path}", timeout=10).status_code == 200
    assert requests.get(f"{guarded.url}/about", timeout=10).status_code == 401


# ------------------------------------------------------------------------------------------------ in the browser


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A server with a token and no checkpoint, whose only adapter has a hostile title."""
    folder = tmp_path_factory.mktemp("guarded")
    file = next((find_weights() / "loras").rglob("*.safetensors"))
    (folder / "loras").mkdir()
    shutil.copyfile(file, folder / "loras" / "fox.safetensors")
    page = {"name": EVIL, "type": "LORA", "description": escape(EVIL), "tags": [EVIL], "creator": {"username": EVIL}}
    told = {
        "id": 2, "modelId": 1, "name": EVIL, "trainedWords": ["foxy", EVIL], "description": escape(EVIL),
        "baseModel": EVIL, "model": page,
        "images": [{"url": "javascript:document.title='owned'", "meta": {"prompt": EVIL}}],
    }  # fmt: skip
    (folder / "loras" / "fox.civitai.info").write_text(json.dumps(told), encoding="utf-8")
    with opened(folder) as velatura:
        velatura.index(folder / "loras")
        velatura.embed()
    with serving(folder, token=TOKEN, model=None) as server:
        yield server


@pytest.fixture(scope="module")
def window(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with opened_browser(tmp_path_factory.mktemp("browser")) as browser:
        yield browser


@pytest.fixture
def browser(window: Browser) -> Iterator[Browser]:
    """The window, at a desk; whatever it complains of on its console fails the test."""
    window.look()
    window.driver.get_log("browser")
    yield window
    told = [entry["message"] for entry in window.driver.get_log("browser") if entry["level"] == "SEVERE"]
    assert not [
        line for line in told if "401" not in line and "INTERNET_DISCONNECTED" not in line and "422" not in line
    ]


def settle(browser: Browser) -> None:
    browser.until("document.querySelectorAll('.card').length && !document.querySelector('#choices[aria-busy]')")


def paint(browser: Browser, **fields: str) -> None:
    for name, value in {"steps": "4", "guidance": "2", **fields}.items():
        browser.write(f"#{name}", value)
    browser.find("#paint").click()


_PICTURES = "return [...document.querySelectorAll('#jobs .frame img')].map((one) => one.src)"


def press(browser: Browser, name: str) -> None:
    """Press a button of the newest picture."""
    browser.js(
        "[...document.querySelectorAll('#jobs .acts button')].find((one) => one.textContent === arguments[0]).click()",
        name,
    )


def painted(browser: Browser) -> None:
    browser.until("document.querySelector('#jobs .job[aria-busy=false] img')?.complete")


@needs_browser
def test_from_a_prompt_to_a_picture_that_tells_its_story(browser: Browser, served: Served) -> None:
    browser.open(served.url)
    browser.find("#prompt").send_keys(PROMPT)  # nothing is pressed: adapters are chosen when the typing pauses
    settle(browser)
    assert "rocket-retro" in browser.texts(".card-title")
    assert "red rocket" in browser.texts(".chip-words")
    assert any("rocket" in words for words in browser.texts(".chip .under"))
    assert all(browser.texts(".card .reason"))
    place = browser.texts("#choices .card-title").index("rocket-retro")
    slider = browser.find(f'[data-place="{place}"] .slider')
    before = float(slider.get_attribute("value"))
    slider.send_keys("\ue014" * 3)  # right, three times
    weight = float(browser.find(f'[data-place="{place}"] .weight').get_attribute("value"))
    assert weight == pytest.approx(before + 0.15)
    assert slider.get_attribute("aria-valuetext") == f"{weight:g}"
    assert browser.find(f'[data-place="{place}"] .lock').get_attribute("aria-pressed") == "true"
    paint(browser, count="2", seed="77")
    painted(browser)
    assert browser.texts("#jobs figcaption .quiet") == ["seed 77", "seed 78"]
    assert f"rocket-retro {weight:g}" in browser.texts("#jobs .laid li")
    browser.find("#jobs .acts a").click()
    story = read_story(browser.saved("77.png"))
    assert story["request"]["composition"]["prompt"] == PROMPT
    laid = {choice["title"]: choice["weight"] for choice in story["request"]["composition"]["choices"]}
    assert laid["rocket-retro"] == pytest.approx(weight)
    assert (story["seed"], story["request"]["steps"], story["request"]["guidance"]) == (77, 4, 2)
    press(browser, "ComfyUI")
    workflow = json.loads(browser.saved(".json").read_text(encoding="utf-8"))
    assert any(node.get("class_type") == "LoraLoader" for node in workflow.values() if isinstance(node, dict))


@needs_browser
def test_what_was_painted_is_there_after_a_reload_and_can_be_gone_on_from(browser: Browser, served: Served) -> None:
    browser.open(served.url)
    browser.find("#prompt").send_keys("a red rocket", "\ue007")
    settle(browser)
    paint(browser, seed="5", count="1")
    painted(browser)
    browser.open(served.url, fresh=False)
    settle(browser)
    painted(browser)
    assert browser.find("#prompt").get_attribute("value") == "a red rocket"
    assert browser.find("#steps").get_attribute("value") == "4"
    browser.write("#prompt", "a blue house", "\ue007")
    browser.until("document.querySelector('#jobs .acts')")
    press(browser, "Again")
    browser.until("document.getElementById('prompt').value === 'a red rocket'")
    browser.find("#paint").click()
    browser.until("document.querySelectorAll('#jobs .job[aria-busy=false] img').length === 2")
    new, old = (requests.get(url, timeout=10).content for url in browser.js(_PICTURES))
    with Image.open(io.BytesIO(new)) as one, Image.open(io.BytesIO(old)) as other:
        assert one.tobytes() == other.tobytes()
    press(browser, "Vary")
    browser.until("document.querySelector('#start img')?.complete")
    paint(browser, seed="6", steps="2")
    browser.until("document.querySelectorAll('#jobs .job[aria-busy=false] img').length === 3")
    press(browser, "Story")
    browser.until("document.querySelector('#sheet pre')")
    assert json.loads(browser.texts("#sheet pre")[0])["request"]["start"] is not None


@needs_browser
def test_lock_ban_and_masks(browser: Browser, served: Served) -> None:
    browser.open(f"{served.url}/#/compose?prompt={PROMPT}")
    settle(browser)
    first = browser.texts("#choices .card-title")[0]
    browser.js("document.getElementById('masks').click()")
    browser.write("#count", "3")
    browser.until("document.querySelectorAll('.masks tbody tr').length === 3")
    assert browser.js("return [...document.querySelector('.masks tbody tr').querySelectorAll('.cell')].length") > 0
    assert not browser.js("return document.querySelectorAll('.masks tbody tr:first-child .cell:not(.on)').length")
    titles = "[...document.querySelectorAll('#choices .card-title')].map((one) => one.textContent)"
    wanted = json.dumps(first)
    browser.find('.card [aria-label^="never take"]').click()
    browser.until(f"document.querySelector('.tag.out')?.textContent === {wanted} && !{titles}.includes({wanted})")
    browser.find(".tag.out button").click()
    browser.until(f"{titles}.includes({wanted})")
    browser.find(".card .lock").click()
    browser.write("#prompt", "a plain background", "\ue007")
    browser.until(f"{titles}.join() === {wanted}")


@needs_browser
def test_keys_paint_and_cancel(browser: Browser, served: Served) -> None:
    browser.open(f"{served.url}/#/compose?prompt=a red rocket")
    settle(browser)
    for name, value in (("steps", "150"), ("count", "8"), ("guidance", "2")):
        browser.write(f"#{name}", value)
    browser.find("#prompt").send_keys("\ue009", "\ue007")  # Control and Enter
    browser.until("document.querySelector('.job-status')?.textContent.startsWith('painting')")
    browser.find("#prompt").send_keys("\ue00c")  # Escape
    browser.until("document.querySelector('.job-status').textContent.startsWith('cancelled')")
    browser.write("#steps", "151")
    browser.js("document.getElementById('steps').max = ''")  # so that the server says it, not the browser
    browser.find("#paint").click()
    browser.until("document.getElementById('paint-error').textContent")
    assert "150" in browser.texts("#paint-error")[0]
    assert browser.find("#prompt").get_attribute("value") == "a red rocket", "nothing is lost"


@needs_browser
def test_what_other_tools_made_is_read(browser: Browser, served: Served, tmp_path: Path) -> None:
    browser.open(served.url)
    told = PngInfo()
    told.add_text("parameters", "a crown <lora:rocket-retro:0.3> <lora:nobody:1>\nSteps: 4, Seed: 1, Size: 8x8")
    Image.new("RGB", (8, 8)).save(tmp_path / "theirs.png", pnginfo=told)
    browser.find("#open-file").send_keys(str(tmp_path / "theirs.png"))
    settle(browser)
    assert browser.find("#prompt").get_attribute("value") == "a crown"
    assert browser.texts("#choices .card-title") == ["rocket-retro"]
    assert browser.find(".weight").get_attribute("value") == "0.3"
    assert browser.texts("#notes[open] li") == ["“nobody” is not in the catalogue"]
    browser.js(_DROP, "not a picture", "theirs.png")
    browser.until("document.getElementById('prompt-error').textContent")
    assert "no PNG" in browser.texts("#prompt-error")[0]
    assert browser.find("#prompt").get_attribute("value") == "a crown", "nothing is lost"


_DROP = """
const dropped = new DataTransfer();
dropped.items.add(new File([arguments[0]], arguments[1]));
const event = new DragEvent('drop', {dataTransfer: dropped, bubbles: true, cancelable: true});
document.getElementById('prompt').dispatchEvent(event);
"""


@needs_browser
def test_the_page_does_not_wait_for_the_checkpoint(
    browser: Browser, served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(served.studio, "glance", lambda: None)
    with served.studio._opening:  # as whoever is loading it holds it
        browser.open(served.url)
        assert "base is being loaded …" in browser.texts("#about span")
        assert browser.find("#prompt").is_displayed()
        browser.find("#prompt").send_keys("a red rocket", "\ue007")
        browser.until("document.getElementById('compose-status').textContent.includes('once the checkpoint is loaded')")
    settle(browser)
    browser.until("[...document.querySelectorAll('#about span')].some((one) => one.textContent === 'base')")
    assert browser.texts("#painter") == ["base"]
    assert browser.find("#width").get_attribute("placeholder") == "32"


@needs_browser
def test_search_leads_into_the_prompt_and_back(browser: Browser, served: Served) -> None:
    browser.open(f"{served.url}/#/search?q=stained glass")
    browser.until("document.querySelector('.result')")
    assert all(re.fullmatch(r"\d+ %", text) for text in browser.texts(".score > span:first-child"))
    title = browser.texts(".result .card-title")[0]
    browser.find("#search-filters summary").click()
    browser.find("#search-filters select option[value=sdxl]").click()
    browser.until("/kept out by their base|^0 adapters/.test(document.getElementById('search-status').textContent)")
    browser.find("#search-filters select option[value='']").click()
    browser.until(f"document.querySelector('.result .card-title')?.textContent === {json.dumps(title)}")
    browser.find(".result .card-title").click()
    browser.until("document.querySelector('#sheet dl')")
    browser.find("#sheet-close").click()
    browser.find(".result-acts button").click()
    browser.until("location.hash.startsWith('#/compose')")
    assert browser.texts(".tag.kept") == [title]
    browser.driver.back()
    browser.until("!document.getElementById('search').hidden && document.querySelector('.result')")
    assert browser.find("#query").get_attribute("value") == "stained glass"


@needs_browser
def test_compare_lays_pictures_of_one_seed_side_by_side(browser: Browser, served: Served) -> None:
    browser.open(f"{served.url}/#/compare?prompt=a red rocket")
    for name, value in (("steps", "2"), ("guidance", "2"), ("sweep", "0.5 1")):
        browser.write(f"#compare-{name}", value)
    browser.find("#compare-go").click()
    browser.until("document.querySelector('#compared .job[aria-busy=false]')")
    labels = browser.texts("#compared .label")
    assert labels[:2] == ["without adapters", "with"]
    assert labels[-3:] == ["without adapters", "alone at 0.5", "alone at 1"]
    browser.find("#compared .frame").click()
    browser.until("document.querySelector('#sheet .acts')")
    browser.find("#sheet-close").click()
    browser.write("#compare-sweep", "much")
    browser.find("#compare-go").click()
    assert "numbers" in browser.texts("#compare-error")[0]


@needs_browser
def test_catalogue_counts_and_tells_what_is_wrong(browser: Browser, served: Served) -> None:
    browser.open(f"{served.url}/#/catalogue")
    browser.until("document.querySelector('#rejected li') && document.querySelector('#duplicates li')")
    stats = requests.get(f"{served.url}/stats", timeout=10).json()
    assert browser.texts("#totals dd")[0] == str(stats["files"])
    assert any("is cut off" in text for text in browser.texts("#rejected li"))
    browser.until(
        "![...document.querySelectorAll('#duplicates .tag')].some((one) => one.textContent.startsWith('no. '))"
    )


@needs_browser
def test_a_token_is_asked_for_and_hostile_titles_are_text(browser: Browser, guarded: Served) -> None:
    browser.driver.get(f"{guarded.url}/#/search?q=foxy")
    browser.until("document.getElementById('login').open")
    browser.find("#token").send_keys("wrong", "\ue007")
    browser.until("document.getElementById('login-error').textContent")
    browser.write("#token", TOKEN, "\ue007")
    browser.until("document.querySelector('.result')")
    assert EVIL in browser.texts(".result .card-title")
    browser.find(".result .card-title").click()
    browser.until("document.querySelector('#sheet dl')")
    assert browser.texts("#sheet-title") == [EVIL]
    assert "onerror" in browser.texts("#sheet")[0].replace(EVIL, "", 1), "more than the title is shown, as text"
    assert not browser.js("return document.querySelectorAll('img[src=x], a[href^=javascript]').length")
    browser.find("#sheet-close").click()
    browser.find(".result-acts button").click()
    browser.until("document.querySelector('.tag.kept')")
    browser.write("#prompt", "a foxy thing", "\ue007")
    settle(browser)
    assert EVIL in browser.texts("#choices .card-title")
    assert browser.driver.title == "Velatura"
    assert not browser.js("return document.querySelectorAll('main img[src=x], main script').length")
    assert not browser.find("#paint").is_displayed(), "there is no checkpoint"
    assert "velatura serve --model FILE" in browser.texts("#paint-error")[0]


@needs_browser
def test_an_empty_catalogue_says_what_to_do(browser: Browser, tmp_path: Path) -> None:
    with opened(tmp_path) as velatura:
        velatura.store.stats()
    with serving(tmp_path, model=None) as empty:
        browser.open(empty.url)
        assert "velatura index FOLDER" in browser.texts("#notice")[0]


@needs_browser
def test_a_server_that_is_gone_is_waited_for(browser: Browser, served: Served) -> None:
    browser.open(f"{served.url}/#/compose?prompt=a red rocket")
    settle(browser)
    lost = {"offline": True, "latency": 0, "downloadThroughput": -1, "uploadThroughput": -1}
    browser.driver.execute_cdp_cmd("Network.enable", {})
    browser.driver.execute_cdp_cmd("Network.emulateNetworkConditions", lost)
    browser.write("#prompt", "a blue house", "\ue007")
    browser.until("document.querySelector('#notice [data-name=gone]')")
    assert "does not answer" in browser.texts("#prompt-error")[0]
    browser.driver.execute_cdp_cmd("Network.emulateNetworkConditions", lost | {"offline": False})
    browser.until("!document.querySelector('#notice [data-name=gone]')")
    assert browser.find("#prompt").get_attribute("value") == "a blue house"


# ------------------------------------------------------------------------------------------------ for everybody

_UNNAMED = """
const named = (one) => one.labels?.length || one.getAttribute('aria-label') || one.textContent.trim() || one.title;
return [...document.querySelectorAll('button, a, input, select, textarea, progress')]
  .filter((one) => one.checkVisibility() && !named(one)).map((one) => one.outerHTML);
"""
_SMALL = """
const controls = ['button', 'input', 'select', 'textarea', 'a.button', 'summary'].map((one) => `main ${one}`);
controls.push('header button', 'nav a');
return [...document.querySelectorAll(controls)]
  .filter((one) => one.checkVisibility() && !one.matches('.inline'))
  .map((one) => [one, (one.closest('label') ?? one).getBoundingClientRect().height])
  .filter(([, height]) => height < 39.5)
  .map(([one, height]) => `${one.outerHTML.slice(0, 90)}: ${height}`);
"""
_WIDE = """
const width = document.documentElement.clientWidth;
if (document.documentElement.scrollWidth <= width) return [];
return [...document.querySelectorAll('body *')]
  .filter((one) => one.getBoundingClientRect().right > width + 1)
  .map((one) => one.outerHTML.slice(0, 120));
"""
_CONTRAST = """
const canvas = new OffscreenCanvas(1, 1).getContext('2d', {willReadFrequently: true});
const rgba = (color) => {
  canvas.clearRect(0, 0, 1, 1);
  canvas.fillStyle = color;
  canvas.fillRect(0, 0, 1, 1);
  return [...canvas.getImageData(0, 0, 1, 1).data];
};
const linear = (part) => (part /= 255) <= .04045 ? part / 12.92 : ((part + .055) / 1.055) ** 2.4;
const light = ([r, g, b]) => .2126 * linear(r) + .7152 * linear(g) + .0722 * linear(b);
const ground = (one) => {
  const color = rgba(getComputedStyle(one).backgroundColor);
  return color[3] === 255 || !one.parentElement ? color : ground(one.parentElement);
};
const found = [];
for (const one of document.querySelectorAll('body *')) {
  const hasText = [...one.childNodes].some((node) => node.nodeType === 3 && node.textContent.trim());
  if (!hasText || !one.checkVisibility() || one.closest('.unseen, :disabled') || one.matches('option')) continue;
  const [front, back] = [light(rgba(getComputedStyle(one).color)), light(ground(one))];
  const ratio = (Math.max(front, back) + .05) / (Math.min(front, back) + .05);
  if (ratio < 4.5) found.push(`${ratio.toFixed(2)} ${one.outerHTML.slice(0, 90)}`);
}
return found;
"""


@pytest.fixture(scope="module")
def filled(window: Browser, served: Served) -> None:
    """A page that has painted is open."""
    window.look()
    window.open(f"{served.url}/#/compose?prompt={PROMPT}")
    settle(window)
    paint(window, count="1", seed="3")
    painted(window)


PAGES = {
    f"compose?prompt={PROMPT}": ".card",
    "search?q=stained glass": ".result",
    "compare?prompt=a red rocket": "#compare-go",
    "catalogue": "#rejected li",
}


def visit(browser: Browser, path: str) -> None:
    """Go to a page of the site that is open, and unfold all that is folded."""
    browser.js("location.hash = '#/' + arguments[0]", path)
    browser.until(f"document.querySelector('{PAGES[path]}')?.checkVisibility()")
    browser.js("for (const fold of document.querySelectorAll('details')) fold.open = true")


@needs_browser
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_every_page_is_for_everybody(browser: Browser, filled: None, theme: str) -> None:
    wrong: dict[str, list[str]] = {}
    for path in PAGES:
        browser.look(width=390, height=844, theme=theme)
        visit(browser, path)
        for what, script in (("unnamed", _UNNAMED), ("small", _SMALL), ("wide", _WIDE), ("faint", _CONTRAST)):
            wrong[f"{path} {what}"] = browser.js(script)
        browser.look(width=320, height=640, theme=theme)
        wrong[f"{path} wide at 320"] = browser.js(_WIDE)
    assert not {where: found for where, found in wrong.items() if found}


@needs_browser
def test_the_tab_key_reaches_every_control(browser: Browser, filled: None) -> None:
    visit(browser, f"compose?prompt={PROMPT}")
    controls = "'a[href], button, input, select, textarea, summary'"
    can = "one.checkVisibility() && !one.matches(':disabled') && one.tabIndex >= 0"
    shown = f"[...document.querySelectorAll({controls})].filter((one) => {can})"
    wanted = browser.js(f"document.activeElement.blur(); window.reached = new Set(); return {shown}.length")
    browser.js("document.addEventListener('focusin', (event) => reached.add(event.target))")
    for _ in range(wanted + 5):
        browser.press("Tab", 9)
    missed = browser.js(f"return {shown}.filter((one) => !reached.has(one)).map((one) => one.outerHTML.slice(0, 100))")
    assert missed == []


@needs_browser
def test_the_theme_can_be_chosen_and_is_kept(browser: Browser, served: Served) -> None:
    browser.open(served.url)
    colour = "return getComputedStyle(document.body).backgroundColor"
    light = browser.js(colour)
    for _ in range(2):
        browser.find("#theme").click()
    dark = browser.js(colour)
    assert dark != light
    browser.open(served.url, fresh=False)
    assert browser.js(colour) == dark
