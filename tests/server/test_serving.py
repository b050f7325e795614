"""`velatura serve`: started as people start it, in a process of its own."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import pytest
import requests
import uvicorn
from command_line import velatura
from playground_server import opened

from velatura.commands.serving import address, listen, read_token
from velatura.errors import InputError
from velatura.playground.library import weights_folder
from velatura.server import create_app
from velatura.server.stopping import Server

TOKEN = "a-token-of-the-tests"
LORAS = sorted((weights_folder() / "loras").glob("*.safetensors"))[:2]


@dataclass
class Started:
    url: str
    folder: Path
    process: subprocess.Popen[str]

    def get(self, path: str, **headers: str) -> Any:
        with urlopen(Request(self.url + path, headers=headers), timeout=20) as answer:
            return json.load(answer)


@pytest.fixture
def started(tmp_path: Path) -> Iterator[Started]:
    """A server with a token over a catalogue of one file, whose folder it watches; it has nothing to paint with."""
    loras = tmp_path / "loras"
    loras.mkdir()
    shutil.copy(LORAS[0], loras)
    assert velatura("index", loras, "--no-embed", home=tmp_path).returncode == 0
    environment = os.environ | {"VELATURA_HOME": str(tmp_path), "VELATURA_TOKEN": TOKEN}
    process = subprocess.Popen(
        [sys.executable, "-m", "velatura", "serve", "--port", "0", "--json", "--watch", str(loras)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment, cwd=tmp_path,
    )  # fmt: skip
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line, process.stderr and process.stderr.read()
        yield Started(json.loads(line)["url"], loras, process)
    finally:
        process.kill()
        process.communicate()


def test_serves_watches_and_ends_when_asked_to(started: Started) -> None:
    assert started.get("/health")["adapters"] == 1  # it needs no token
    assert started.get("/stats", Authorization=f"Bearer {TOKEN}")["files"] == 1
    shutil.copy(LORAS[1], started.folder)
    end = time.monotonic() + 60
    while started.get("/health")["adapters"] == 1 and time.monotonic() < end:
        time.sleep(0.2)
    assert started.get("/health")["adapters"] == 2
    started.process.send_signal(signal.SIGINT)
    output, errors = started.process.communicate(timeout=30)
    assert (started.process.returncode, output) == (0, "")
    assert errors.rstrip().endswith("stopped")
    assert "nothing can be painted here; give --model" in errors
    assert "Traceback" not in errors
    assert TOKEN not in errors


def test_without_a_token_only_this_machine_may_ask(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("VELATURA_TOKEN", raising=False)
    assert read_token("127.0.0.1") is read_token("::1") is read_token("localhost") is None
    for host in ("0.0.0.0", "::", "192.0.2.7", "pictures.example.org"):
        with pytest.raises(InputError, match=r"set VELATURA_TOKEN first, for instance to [\w-]{32}$"):
            read_token(host)
    monkeypatch.setenv("VELATURA_TOKEN", TOKEN)
    assert read_token("0.0.0.0") == TOKEN


@pytest.mark.parametrize("token", ["short", " a token with spaces ", "a-token-that-is-n\u00f6t-ascii"])
def test_a_token_that_would_be_guessed_or_cannot_be_sent_is_refused(
    token: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VELATURA_TOKEN", token)
    with pytest.raises(InputError, match="at least 16 characters of ASCII") as refused:
        read_token("127.0.0.1")
    assert token not in str(refused.value)


def test_a_port_that_is_taken_is_one_sentence(tmp_path: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        with pytest.raises(InputError, match=r"cannot be listened on .*give another --port"):
            listen("127.0.0.1", other.getsockname()[1])
    with pytest.raises(InputError, match="no address of this machine"):
        listen("not a host", 0)


def test_the_address_is_one_that_a_browser_opens() -> None:
    with listen("127.0.0.1", 0) as one:
        assert address(one) == f"http://127.0.0.1:{one.getsockname()[1]}"
    with listen("0.0.0.0", 0) as every:
        assert address(every) == f"http://127.0.0.1:{every.getsockname()[1]}"


def test_a_catalogue_that_is_not_there_is_one_sentence(tmp_path: Path) -> None:
    done = velatura("serve", home=tmp_path)
    assert done.returncode == 1
    assert "run `velatura index FOLDER" in done.stderr


def test_whoever_waits_when_the_server_is_stopped_is_answered(playground: Path) -> None:
    """With what was painted so far: cut off, clients would read of a server that failed."""
    with opened(playground) as velatura, listen("127.0.0.1", 0) as listening, ThreadPoolExecutor(1) as pool:
        app = create_app(velatura)
        server = Server(app, uvicorn.Config(app, log_level="warning"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
        thread.start()
        asked = {"prompt": "a fox", "steps": 150, "batch_size": 16, "width": 32, "height": 32}
        answer = pool.submit(requests.post, f"{address(listening)}/sdapi/v1/txt2img", json=asked, timeout=60)
        end = time.monotonic() + 60
        while not (server.started and app.state.studio.jobs.at_work):
            assert time.monotonic() < end, "nothing is painted"
            time.sleep(0.01)
        server.should_exit = True
        thread.join(20)
        assert not thread.is_alive()
        assert answer.result().status_code == 200
        assert len(answer.result().json()["images"]) < 16
