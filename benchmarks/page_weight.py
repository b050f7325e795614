"""What the web page weighs, beside the page that Gradio makes of the same controls.

    python -m venv /tmp/gradio && /tmp/gradio/bin/pip install gradio
    python benchmarks/page_weight.py --gradio /tmp/gradio/bin/python [--views 5] [--json]

Both are served on this machine and opened in headless Chromium with an empty cache, in turn. Measured are the bytes
that come over the wire and the requests until the page has been still for a second, and the time from the navigation
until the prompt can be written in: the median of several views. Gradio's page has a prompt, the settings of a painting,
a table of adapters and a gallery, and calls nothing: less than ours does. Beside that: what Gradio and what it needs
take on the disk beyond what Velatura needs anyway, and the seconds that importing each takes beside FastAPI.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import uvicorn
from selenium import webdriver
from selenium.webdriver.chrome.service import Service

from velatura.pipeline import Velatura
from velatura.server import create_app
from velatura.server import page as our_page
from velatura.settings import default_settings

GRADIO = """
import sys
import gradio as gr

with gr.Blocks(title="Velatura") as page:
    with gr.Tab("Compose"):
        prompt = gr.Textbox(label="What shall be painted?", lines=2)
        gr.HighlightedText(label="Words")
        gr.Button("Choose adapters")
        with gr.Row():
            with gr.Column():
                for place in range(3):
                    gr.Slider(0, 2, 0.8, label=f"adapter {place}")
                gr.Dataframe(headers=["adapter", "reason"])
            with gr.Column():
                for name in ("Pictures", "Seed", "Steps", "Guidance"):
                    gr.Number(1, label=name)
                gr.Textbox(label="Negative prompt"); gr.Image(label="Start"); gr.Checkbox(label="masks")
                gr.Button("Paint", variant="primary"); gr.Gallery(label="Pictures")
    with gr.Tab("Search"):
        gr.Textbox(label="Search"); gr.Dropdown(["sd1", "sdxl"], label="Family"); gr.Dataframe()
    with gr.Tab("Compare"):
        gr.Textbox(label="Prompt"); gr.Gallery()
    with gr.Tab("Catalogue"):
        gr.JSON(); gr.Dataframe()
page.launch(server_name="127.0.0.1", server_port=int(sys.argv[1]), quiet=True)
"""
SHARED = (
    "fastapi", "starlette", "uvicorn", "pydantic", "anyio", "h11", "click", "idna", "sniffio", "typing", "annotated",
    "numpy", "pillow", "pil", "huggingface_hub", "hf_xet", "yaml", "_yaml", "pyyaml", "typer", "rich", "markdown_it",
    "mdurl", "pygments", "filelock", "fsspec", "tqdm", "certifi", "shellingham", "packaging", "pip", "setuptools",
)  # fmt: skip
"""Packages that Velatura needs anyway, by how their folders begin."""
READY = {
    "velatura": "document.documentElement.dataset.ready === 'yes'",
    "gradio": "[...document.querySelectorAll('textarea')].some((one) => !one.disabled && one.checkVisibility())",
}
FLAGS = [
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@dataclass(frozen=True)
class View:
    """One opening of a page."""

    bytes: int
    requests: int
    seconds: float


def main() -> None:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gradio", type=Path, required=True, help="the Python of an environment with Gradio")
    parser.add_argument("--views", type=int, default=5, help="how often each page is opened")
    parser.add_argument("--chromium", default="/usr/bin/chromium")
    parser.add_argument("--driver", default="/usr/bin/chromedriver")
    parser.add_argument("--json", action="store_true", help="print one JSON object last")
    asked = parser.parse_args()
    views: dict[str, list[View]] = {name: [] for name in READY}
    with ours() as velatura, theirs(asked.gradio) as gradio:
        for _ in range(asked.views):
            for name, url in (("velatura", velatura), ("gradio", gradio)):
                views[name].append(view(asked, url, READY[name]))
    figures = {
        name: {
            "kB": round(statistics.median(each.bytes for each in seen) / 1000, 1),
            "requests": statistics.median(each.requests for each in seen),
            "seconds until it can be written in": round(statistics.median(each.seconds for each in seen), 3),
        }
        for name, seen in views.items()
    }
    figures["velatura"] |= {
        "MB on the disk": round(size(Path(our_page.__file__).parent / "page") / 1e6, 2),
        "seconds to import": imported(Path(sys.executable), "velatura.server.page", "fastapi"),
    }
    figures["gradio"] |= {
        "MB on the disk": round(installed(asked.gradio) / 1e6, 1),
        "seconds to import": imported(asked.gradio, "gradio", "fastapi"),
    }
    for name, told in figures.items():
        print(name, told)
    ratios = {what: round(figures["gradio"][what] / max(value, 1e-3), 1) for what, value in figures["velatura"].items()}
    print("gradio / velatura", ratios)
    if asked.json:
        print(json.dumps({**figures, "ratios": ratios}))


@contextlib.contextmanager
def ours() -> Iterator[str]:
    """Serve our page on an empty catalogue."""
    with tempfile.TemporaryDirectory() as folder, Velatura(default_settings(db=f"{folder}/catalogue.db")) as velatura:
        server = uvicorn.Server(uvicorn.Config(create_app(velatura), port=0, log_level="warning"))
        thread = threading.Thread(target=server.run, daemon=True)
        thread.start()
        while not server.started:
            time.sleep(0.01)
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
        server.should_exit = True
        thread.join(10)


@contextlib.contextmanager
def theirs(python: Path) -> Iterator[str]:
    """Serve Gradio's page."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder) / "page.py"
        script.write_text(GRADIO, encoding="utf-8")
        quiet = {"GRADIO_ANALYTICS_ENABLED": "False", "HF_HUB_OFFLINE": "1", "PATH": "/usr/bin:/bin", "HOME": folder}
        process = subprocess.Popen([python, script, str(port)], cwd=folder, env=quiet)
        try:
            for _ in range(600):
                with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 0.2):
                    break
                time.sleep(0.2)
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()
            process.wait(10)


def view(asked: argparse.Namespace, url: str, ready: str) -> View:
    """Open a page in a browser that has never seen it."""
    options = webdriver.ChromeOptions()
    options.binary_location = asked.chromium
    for flag in FLAGS:
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"performance": "ALL"})
    with tempfile.TemporaryDirectory() as profile:
        options.add_argument(f"--user-data-dir={profile}")
        driver = webdriver.Chrome(options=options, service=Service(asked.driver))
        try:
            driver.get("about:blank")
            driver.get_log("performance")  # what the browser itself loaded
            begun = time.monotonic()
            driver.get(url)
            while not driver.execute_script(f"return Boolean({ready})"):
                time.sleep(0.01)
            seconds = time.monotonic() - begun
            done = finished(driver, url)
            return View(bytes=sum(done), requests=len(done), seconds=seconds)
        finally:
            driver.quit()


def finished(driver: Any, url: str) -> list[int]:
    """Return the bytes on the wire of each request of a page, once there has been none for a second."""
    done: list[int] = []
    asked: set[str] = set()
    while True:
        events = [json.loads(entry["message"])["message"] for entry in driver.get_log("performance")]
        told = [(each["method"], each["params"]) for each in events]
        asked |= {
            each["requestId"]
            for method, each in told
            if method == "Network.requestWillBeSent"
            and each["documentURL"].startswith(url)
            and each["request"]["url"].startswith("http")
        }
        new = [
            int(each["encodedDataLength"])
            for method, each in told
            if method == "Network.loadingFinished" and each["requestId"] in asked
        ]
        done += new
        if done and not new:
            return done
        time.sleep(1)


def size(folder: Path) -> int:
    """Return the bytes of all files below a folder, compiled ones aside."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file() and path.suffix != ".pyc")


def installed(python: Path) -> int:
    """Return the bytes of an environment's packages, less those that Velatura needs anyway."""
    script = "import sysconfig; print(sysconfig.get_paths()['purelib'])"
    folder = Path(subprocess.run([python, "-c", script], check=True, capture_output=True, text=True).stdout.strip())
    return sum(
        size(path) if path.is_dir() else path.stat().st_size
        for path in folder.iterdir()
        if not path.name.lower().startswith(SHARED)
    )


def imported(python: Path, module: str, before: str) -> float:
    """Return the least seconds of five to import a module where another is imported already."""
    script = f"import {before}, time; begun = time.perf_counter(); import {module}; print(time.perf_counter() - begun)"
    runs = [subprocess.run([python, "-c", script], check=True, capture_output=True, text=True) for _ in range(5)]
    return round(min(float(run.stdout) for run in runs), 3)


if __name__ == "__main__":
    main()
