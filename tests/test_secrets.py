"""No secret is written anywhere: a whole run with keys in the environment, servers that repeat them, and a search of
every byte that came of it."""

from __future__ import annotations

import base64
import gzip
import hashlib
import io
import json
import logging
import shutil
import sqlite3
import zlib
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import anyio
import pytest
import requests
from batch_server import batch_server
from chat_server import chat_server, refused, said
from command_line import velatura
from leaks import files_under, leaks, spellings
from mcp import Client
from PIL import Image, PngImagePlugin
from playground_server import serving
from public_site import PUBLIC, Site, give, moved, running_site
from shelf import Given

from velatura.db import open_store
from velatura.fetching import run
from velatura.playground.library import weights_folder
from velatura.records import AdapterRecord, Hashes
from velatura.server.mcp.server import make

SECRETS = {
    "OPENAI_API_KEY": "sk-openai+velvet/Otter=1",
    "CIVITAI_API_TOKEN": "civitai+velvet/Heron=2",
    "HF_TOKEN": "hf_velvet/Marten=3+",
    "VELATURA_TOKEN": "server+velvet/Badger=4",
    "VELATURA_A1111_AUTH": "ada:velvet-Crow-9",
    "VELATURA_MILVUS_TOKEN": "milvus+velvet/Stoat=5",
    "a database password": "velvet-Lynx-6",
    "a server password": "velvet-Crane-7",
    "a signed address": "velvet-Wren-8",
}
VARIABLES = {name: value for name, value in SECRETS.items() if name.isupper()}
DATABASE = f"postgresql://ada:{SECRETS['a database password']}@127.0.0.1:1/loras"
SIGNED = f"https://storage.example/cat?X-Signature={SECRETS['a signed address']}"


class Told:
    """What commands, servers and logs said."""

    def __init__(self, home: Path, environment: dict[str, str]) -> None:
        self.home, self.environment = home, environment
        self.written: dict[str, bytes] = {}

    def keep(self, place: str, text: str) -> None:
        self.written[f"{len(self.written)}: {place}"] = text.encode("utf-8", "surrogatepass")

    def run(self, *arguments: object, fails: bool | None = False, **environment: str) -> None:
        done = velatura(*arguments, home=self.home, **{**self.environment, **environment})
        self.keep(f"velatura {' '.join(map(str, arguments))}", f"{done.stdout}\n{done.stderr}")
        assert fails is None or done.returncode == int(fails), (arguments, done.stderr)
        assert "Traceback" not in done.stderr

    def ask(self, method: str, url: str, **options: Any) -> int:
        answer = requests.request(method, url, timeout=60, **options)
        self.keep(f"{method} {url.partition('//')[2].partition('/')[2]}", f"{answer.text}\n{answer.headers}")
        return answer.status_code


def echo(handler: BaseHTTPRequestHandler) -> None:
    """A server that repeats what it was sent, in its body and in its headers."""
    sent = str(handler.headers)
    give(sent.encode(), "application/json", 401, X_Echo=handler.headers.get("Authorization", ""))(handler)


def test_no_secret_is_written_anywhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    for name, value in VARIABLES.items():
        monkeypatch.setenv(name, value)
    home = tmp_path / "home"
    (home / "loras").mkdir(parents=True)
    for name in ("cat", "rocket", "sketch_style"):
        shutil.copy(weights_folder() / "loras" / f"{name}.safetensors", home / "loras")
    (home / "prompts.txt").write_text("a cat\na red rocket\n", "utf-8")
    with chat_server() as script, batch_server() as mill, running_site() as site:
        script.answers = [repeating(script)]
        url = script.url
        told = Told(home, {
            "VELATURA_LLM": "eye", "VELATURA_LLM_URL": url, "VELATURA_MODEL": str(weights_folder() / "base"),
            "VELATURA_DEVICE": "cpu", "VELATURA_STEPS": "2", "VELATURA_FETCH_PICTURES": "false",
            "NO_PROXY": "127.0.0.1", "VELATURA_OFFLINE": "true",
        })  # fmt: skip
        find_and_choose(told)
        in_batches(told, mill.url, mill.broken)
        paint_and_measure(told)
        ask_sites(told, site, monkeypatch)
        elsewhere(told)
        serve(told, url)
    shouted = capfd.readouterr()
    told.keep("the process's own output", shouted.out + shouted.err)
    # Whoever has the libraries log everything has addresses logged, as they were given; keys not even then.
    libraries = ("urllib3", "requests", "httpx", "httpcore", "openai")
    own = [record for record in caplog.records if not record.name.startswith(libraries)]
    told.keep("the log", "\n".join(map(logging.Formatter().format, own)))
    theirs = "\n".join(record.getMessage() for record in caplog.records if record not in own)
    for name in ("a signed address", "a server password"):
        theirs = theirs.replace(SECRETS[name], "")
    told.keep("the libraries' log", theirs)
    assert len(script.asked) > 8
    assert f"Bearer {SECRETS['OPENAI_API_KEY']}" in script.keys
    assert leaks(told.written | files_under(home), SECRETS) == []


def repeating(script: Any) -> Callable[[dict[str, Any]], Any]:
    """Answer with the caller's key, each time in another way."""

    def answer(_: dict[str, Any]) -> Any:
        key = f"Incorrect API key provided: {script.keys[-1]}"
        ways = [
            refused(401, key, key),
            refused(400, key),
            said(key),
            (500, key.encode()),
            refused(403, key),
            said(None),
        ]
        return ways[len(script.asked) % len(ways)]

    return answer


def find_and_choose(told: Told) -> None:
    told.run("index", "loras", "--no-embed")
    told.run("search", "a cat", "--json")
    for _ in range(3):
        told.run("refine", "--describer", "vlm", "--no-embed", "--retry", fails=None)
    told.run("refine", "--describer", "vlm", "--failures", "--dry-run")
    for _ in range(3):
        told.run("compose", "a red rocket", "--composer", "llm", fails=None)
    told.run("compose", "a red rocket", "--json")
    told.run("export", "a red rocket", "--to", "comfyui")
    told.run("search", "a cat", "--reranker", "llm", fails=None)


def in_batches(told: Told, url: str, broken: dict[str, tuple[int, str]]) -> None:
    key = f"Incorrect API key provided: {SECRETS['OPENAI_API_KEY']}"
    batch = ("refine", "--describer", "vlm", "--no-embed", "--batch")
    broken["POST /files"] = (401, key)
    told.run(*batch, "submit", fails=True, VELATURA_LLM_URL=url)
    broken.clear()
    told.run(*batch, "submit", VELATURA_LLM_URL=url)
    broken["GET /batches"] = (403, key)
    told.run(*batch, "collect", fails=True, VELATURA_LLM_URL=url)


def paint_and_measure(told: Told) -> None:
    told.run("run", "prompts.txt", "-o", "pictures", "--guidance", 2)
    told.run("generate", "a cat", "--composer", "llm", fails=None)
    told.run("eval", "report", "pictures", "-o", "page", "--clip", weights_folder() / "evaluator", fails=None)
    told.run("interrogate", next((told.home / "pictures").glob("*.png")), fails=None)


def ask_sites(told: Told, site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    content = (weights_folder() / "loras" / "duck.safetensors").read_bytes()
    digest = Hashes(sha256=hashlib.sha256(content).hexdigest())
    pages = [AdapterRecord(source="civitai", key=f"{number}/1", title=f"Duck {number}", model_id=number,
                           version_id=number, file_name=f"duck{number}.safetensors", hashes=digest)
             for number in (71, 72, 73)]  # fmt: skip
    with open_store(told.home / "catalogue.db") as store:
        source = Given(pages)
        source.name = "civitai"
        store.sync(source)
    site.names = {"civitai.com": [PUBLIC], "storage.example": [PUBLIC]}
    site.routes = {
        "/api/download/models/71": echo,
        "/api/download/models/72": moved(SIGNED),
        "/cat": give(content, "x/y"),
    }
    site.routes["/api/download/models/73"] = moved(SIGNED.replace("/cat", "/gone"))
    monkeypatch.setattr(run, "open_session", site.safe_session)
    told.run("fetch", "71@71", "72@72", "73@73", "--to", "loras", fails=True)
    told.run("fetch", "72@72", "--to", "loras", "--json", "--dry-run")
    assert any(SECRETS["CIVITAI_API_TOKEN"] in str(sent) for sent in site.headers)

    def repeat(_: requests.Session, request: requests.PreparedRequest, **__: Any) -> requests.Response:
        answer = requests.Response()
        answer.status_code, answer.raw = 401, io.BytesIO(str(request.headers).encode())
        answer.headers.update(request.headers)
        return answer

    with monkeypatch.context() as patch:
        patch.setattr(requests.Session, "send", repeat)
        told.run("index", "civitai", "--no-embed", fails=True)
    told.run("index", "huggingface", "--no-embed", fails=True)
    for path in ("options", "sd-models", "txt2img", "loras", "samplers"):
        site.routes[f"/sdapi/v1/{path}"] = echo
    told.run("generate", "a cat", "--backend", "a1111", fails=True, VELATURA_SERVER=f"http://127.0.0.1:{site.port}")


def elsewhere(told: Told) -> None:
    server = told.environment["VELATURA_LLM_URL"].replace("//", f"//ada:{SECRETS['a server password']}@")
    told.run("config", VELATURA_LLM_URL=server, VELATURA_SERVER=server)
    told.run("compose", "a red rocket", "--composer", "llm", fails=None, VELATURA_LLM_URL=server)
    told.run("generate", "a cat", "--backend", "a1111", fails=True, VELATURA_SERVER=server.replace("/v1", ""))
    told.run("config", "--json", VELATURA_DB=DATABASE)
    told.run("doctor", fails=True, VELATURA_DB=DATABASE)
    for command in (("stats",), ("index", "loras"), ("search", "a cat")):
        told.run(*command, fails=True, VELATURA_DB=DATABASE)
    told.run("search", "a cat", fails=True, VELATURA_INDEX="milvus", VELATURA_MILVUS="http://127.0.0.1:1")


def serve(told: Told, llm_url: str) -> None:
    secret = SECRETS["VELATURA_TOKEN"]
    with serving(told.home, token=secret, llm="eye", llm_url=llm_url, composer="llm") as server:
        known = {"Authorization": f"Bearer {secret}"}
        for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": f"Basic {secret}"}):
            assert told.ask("POST", f"{server.url}/search", json={"prompt": "a cat"}, headers=headers) == 401
        logging.disable()  # what is asked for here is no concern of the server's
        assert told.ask("GET", f"{server.url}/stats?token={secret}") == 401
        logging.disable(logging.NOTSET)
        assert told.ask("POST", f"{server.url}/login", json={"token": secret}) < 300
        assert told.ask("POST", f"{server.url}/search", json={"prompt": "a cat"}, headers=known) == 200
        for _ in range(2):
            told.ask("POST", f"{server.url}/compose", json={"prompt": "a red rocket"}, headers=known)
        for path in ("/", "/health", "/metrics", "/openapi.json", "/nothing", "/v1/models"):
            told.ask("GET", f"{server.url}{path}", headers=known)

        async def suggest() -> str:
            async with Client(make(lambda: server.studio), mode="legacy") as client:
                return repr(await client.call_tool("suggest_adapters", {"prompt": "a red rocket"}))

        told.keep("mcp", anyio.run(suggest))


# ---------------------------------------------------------------- the search itself


def _png(text: str) -> bytes:
    info, file = PngImagePlugin.PngInfo(), io.BytesIO()
    info.add_itxt("parameters", text * 3, zip=True)
    Image.new("RGB", (4, 4)).save(file, "PNG", pnginfo=info)
    return file.getvalue()


def _database(text: str) -> bytes:
    connection = sqlite3.connect(":memory:")
    connection.execute("CREATE TABLE reply (text)")
    connection.execute("INSERT INTO reply VALUES (?)", (f"before {text} after",))
    return connection.serialize()


PLACES: dict[str, Callable[[str], bytes]] = {
    "plain": lambda text: f"error: {text}!".encode(),
    "json": lambda text: json.dumps({"key": text}).encode(),
    "basic": lambda text: b"Basic " + base64.b64encode(f"ada:{text}".encode()),
    "basic2": lambda text: b"Basic " + base64.b64encode(f"adam:{text}:x".encode()),
    "address": lambda text: requests.Request("GET", "http://a.example/", params={"token": text}).prepare().url.encode(),
    "png": _png,
    "page with a picture": lambda text: b"<img src='data:image/png;base64," + base64.b64encode(_png(text)) + b"'>",
    "gzip": lambda text: gzip.compress(text.encode()),
    "zlib": lambda text: b"x" + zlib.compress(f"a long enough text with {text} in the midst of it".encode()),
    "database": _database,
    "utf-16": lambda text: text.encode("utf-16"),
}


@pytest.mark.parametrize("place", PLACES)
def test_the_search_finds_a_secret_that_was_planted(place: str) -> None:
    for name, secret in SECRETS.items():
        assert leaks({"there": PLACES[place](secret)}, SECRETS) == [f"there: {name}"]
        assert len(spellings(secret)) > 6
    assert leaks({"there": PLACES[place]("nothing of the kind, and long enough to be looked at")}, SECRETS) == []


def test_a_run_that_writes_a_key_is_caught(tmp_path: Path) -> None:
    (tmp_path / f"{SECRETS['a signed address']}.txt").write_text("x")
    (tmp_path / "log").write_text(SECRETS["HF_TOKEN"])
    found = leaks(files_under(tmp_path), SECRETS)
    assert found == ["the names of files: a signed address", f"{tmp_path / 'log'}: HF_TOKEN"]
