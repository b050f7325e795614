"""Datasets on a hub: pushed to and pulled from a scripted stand-in for its server, over real HTTP.

The stand-in answers the calls that `huggingface_hub` makes for small files; how the true hub keeps large ones is the
client's affair and is not tried here.
"""

from __future__ import annotations

import base64
import hashlib
import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import HfApi

from velatura.dataset import pull_dataset, push_dataset, read_manifest
from velatura.errors import InputError, SourceError, SourceUnavailable

TOKEN = "hf_top_secret"
SHA = "c" * 40


class Hub:
    """One repository, and what was asked."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.exists = False
        self.private = True
        self.status: int | None = None
        self.asked: list[str] = []
        self.url = ""
        self.routes: dict[str, Callable[[str, bytes], Any]] = {
            "/api/repos/create": self.create,
            "/api/validate-yaml": lambda _, body: {"errors": [], "warnings": []},
            "/api/datasets/ada/set/preupload/": self.preupload,
            "/api/datasets/ada/set/commit/": self.commit,
            "/api/datasets/ada/set/tree/": self.tree,
            "/api/datasets/ada/set": self.info,
            f"/datasets/ada/set/resolve/{SHA}/": lambda path, _: self.files[path.rpartition("/")[2]],
        }

    def answer(self, path: str, body: bytes, key: str | None) -> tuple[int, Any]:
        if self.status is not None:
            return self.status, {"error": f"bad token {TOKEN}"}
        if key != f"Bearer {TOKEN}":
            return 401, {"error": "who?"}
        route = next(route for begin, route in self.routes.items() if path.startswith(begin))
        return 200, route(path, body)

    def create(self, path: str, body: bytes) -> Any:
        if not self.exists:
            told = json.loads(body)  # older clients say `private`
            self.exists, self.private = True, told.get("visibility") == "private" or told.get("private") is True
        return {"url": f"{self.url}/datasets/ada/set"}

    def preupload(self, path: str, body: bytes) -> Any:
        paths = [one["path"] for one in json.loads(body)["files"]]
        return {"files": [{"path": one, "uploadMode": "regular", "shouldIgnore": False} for one in paths]}

    def commit(self, path: str, body: bytes) -> Any:
        for told in map(json.loads, body.splitlines()):
            if told["key"] == "file":
                self.files[told["value"]["path"]] = base64.b64decode(told["value"]["content"])
            if told["key"] == "deletedFile":
                del self.files[told["value"]["path"]]
        return {"commitUrl": f"{self.url}/datasets/ada/set/commit/{SHA}", "commitOid": SHA, "success": True}

    def tree(self, path: str, body: bytes) -> Any:
        files = self.files.items()
        return [{"type": "file", "path": name, "size": len(content), "oid": "0" * 40} for name, content in files]

    def info(self, path: str, body: bytes) -> Any:
        siblings = [{"rfilename": name, "size": len(content)} for name, content in self.files.items()]
        return {"id": "ada/set", "sha": SHA, "private": self.private, "siblings": siblings}


def _handler(hub: Hub) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: Any) -> None:
            pass

        def handle_any(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            path = self.path.split("?")[0]
            hub.asked.append(f"{self.command} {path}")
            status, told = hub.answer(path, body, self.headers.get("Authorization"))
            content = told if isinstance(told, bytes) else json.dumps(told).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            self.send_header("X-Repo-Commit", SHA)
            self.send_header("ETag", f'"{hashlib.sha256(content).hexdigest()}"')
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(content)

        do_GET = do_POST = do_HEAD = handle_any  # noqa: N815

    return Handler


@pytest.fixture
def hub() -> Iterator[Hub]:
    script = Hub()
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(script))
    script.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield script
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def api(hub: Hub) -> HfApi:
    return HfApi(endpoint=hub.url, token=TOKEN)


def test_what_is_pushed_is_pulled_again_and_old_files_go(hub: Hub, api: HfApi, dataset: Path, tmp_path: Path) -> None:
    hub.files = {"adapters-00002-of-00002.parquet": b"old", ".gitattributes": b""}
    (dataset / "mine.txt").write_text("not for the hub")
    try:
        pushed = push_dataset(dataset, "ada/set", api=api)
    finally:
        (dataset / "mine.txt").unlink()
    names = {path.name for path in dataset.iterdir()}
    assert pushed.is_private
    assert hub.private
    assert set(hub.files) == names | {".gitattributes"}
    hub.files["run.py"] = b"import os"
    for _ in range(2):
        pulled = pull_dataset("ada/set", tmp_path / "set", api=api)
    assert (pulled.adapters, pulled.commit) == (3, SHA)
    assert {path.name for path in (tmp_path / "set").iterdir() if not path.name.startswith(".")} == names
    for name in names:
        assert (tmp_path / "set" / name).read_bytes() == (dataset / name).read_bytes()
    assert not [line for line in hub.asked if "run.py" in line]


def test_nothing_is_published_that_nobody_wants_published(hub: Hub, api: HfApi, dataset: Path) -> None:
    hub.exists, hub.private = True, False
    with pytest.raises(InputError, match="ada/set is public; give --public"):
        push_dataset(dataset, "ada/set", api=api)
    assert hub.files == {}
    assert not push_dataset(dataset, "ada/set", public=True, api=api).is_private


def test_files_that_are_not_what_the_manifest_tells_are_not_asked_for(
    hub: Hub, api: HfApi, dataset: Path, tmp_path: Path
) -> None:
    hub.exists = True
    hub.files = {path.name: path.read_bytes() for path in dataset.iterdir()}
    hub.files["adapters.parquet"] += b"more"
    with pytest.raises(InputError, match=r"ada/set has another adapters\.parquet than its manifest tells of"):
        pull_dataset("ada/set", tmp_path / "set", api=api)
    assert not [line for line in hub.asked if "parquet" in line]
    hub.files["adapters.parquet"] = bytes(len(hub.files["adapters.parquet"]) - 4)
    with pytest.raises(InputError, match="its SHA-256 is another"):
        pull_dataset("ada/set", tmp_path / "set", api=api)
    del hub.files["velatura.json"]
    with pytest.raises(InputError, match="ada/set holds no dataset of this format"):
        pull_dataset("ada/set", tmp_path / "other", api=api)


@pytest.mark.parametrize(
    ("status", "error", "sentence"),
    [
        (401, SourceError, "does not let you"),
        (404, SourceError, "there is no dataset"),
        (503, SourceUnavailable, "503"),
    ],
)
def test_a_hub_that_will_not_is_told_in_a_sentence_without_the_token(
    hub: Hub, api: HfApi, dataset: Path, tmp_path: Path, status: int, error: type[Exception], sentence: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr("time.sleep", lambda _: None)
    hub.status = status
    with pytest.raises(error, match=sentence) as caught:
        pull_dataset("ada/set", tmp_path / "set", api=api)
    assert TOKEN not in str(caught.value)
    with pytest.raises(error) as caught:
        push_dataset(dataset, "ada/set", api=api)
    assert TOKEN not in str(caught.value)


@pytest.mark.parametrize("name", ["../set", "a/b/c", "https://evil.example/x", "", "a b", "ada/--x"])
def test_names_that_are_none_are_refused(dataset: Path, tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match="a repository is named"):
        pull_dataset(name, tmp_path / "set")
    with pytest.raises(InputError, match="a revision is"):
        push_dataset(dataset, "ada/set", revision="../main")
    assert read_manifest(dataset).adapters == 3
