"""Many adapters described over real HTTP by the command: as fast as answers come, and nobody is asked about twice."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

from batch_server import described
from chat_server import Reply, Script, chat_server, said
from shelf import Given, adapter

from velatura.db import open_store
from velatura.llm import LanguageModel
from velatura.refiner.refine import refine
from velatura.refiner.vlm import VlmDescriber

WRITER = "vlm 1 eye"
SECONDS = 0.25
ANSWER = Reply(*said(described()), delay=SECONDS)


def fill(folder: Path, count: int) -> Path:
    path = folder / "catalogue.db"
    with open_store(path) as store:
        store.sync(Given([adapter(f"Fox {number}", description="a fox " * 200) for number in range(count)]))
    return path


def start(path: Path, url: str, workers: int) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "velatura", "refine", "--describer", "vlm", "--no-embed", "--json"]
    command += ["--db", str(path), "--workers", str(workers)]
    environment = {
        **os.environ, "VELATURA_HOME": str(path.parent), "VELATURA_LLM": "eye", "VELATURA_LLM_URL": url,
        "NO_PROXY": "127.0.0.1",
    }  # fmt: skip
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def titles(asked: list[dict[str, Any]]) -> list[str]:
    return [re.search(r"title: (.*)", body["messages"][1]["content"])[1] for body in asked]


def wait_for(script: Script, count: int) -> None:
    ends = time.monotonic() + 60
    while len(script.asked) < count:
        assert time.monotonic() < ends
        time.sleep(0.01)


def test_many_at_once_take_hardly_longer_than_their_answers(tmp_path: Path) -> None:
    path = fill(tmp_path, 256)
    with chat_server(ANSWER) as script, open_store(path) as store:
        began = time.monotonic()
        report = refine(store, VlmDescriber(LanguageModel("eye", url=script.url)), workers=64)
        seconds = time.monotonic() - began
    assert (report.done, report.usage.calls) == (256, 256)
    assert len(set(titles(script.asked))) == len(script.asked) == 256
    assert script.at_once > 32
    assert seconds < 20, "one after the other takes 64"


def test_killed_and_resumed_it_asks_nothing_twice_that_was_kept(tmp_path: Path) -> None:
    path = fill(tmp_path, 200)
    with chat_server(ANSWER) as script:
        process = start(path, script.url, 16)
        wait_for(script, 100)
        time.sleep(SECONDS / 2)
        process.kill()
        killed = time.monotonic()
        process.communicate(timeout=60)
        assert process.returncode == -signal.SIGKILL
        with open_store(path) as store:
            left = {found.record.title for found in store.adapters(store.stale_refinements(WRITER))}
        kept = {f"Fox {number}" for number in range(200)} - left
        time.sleep(SECONDS)
        before, moments = titles(script.asked), list(script.times)
        process = start(path, script.url, 16)
        _, told = process.communicate(timeout=60)
        assert (process.returncode, told) == (0, "")
        asked = Counter(titles(script.asked))
        # On a busy machine an answer may lie unread for a while.
        answered = {title for title, moment in zip(before, moments, strict=True) if moment + SECONDS < killed - 1.5}
        assert len(kept) > 40
        assert answered <= kept
        assert set(asked) == {f"Fox {number}" for number in range(200)}
        assert {asked[title] for title in kept} == {1}
        # A reply may be kept whose adapter has not got it yet: that is not asked for again.
        assert 0 <= len(before) + len(left) - sum(asked.values()) <= 16
        process = start(path, script.url, 16)
        process.communicate(timeout=60)
        assert (process.returncode, len(script.asked)) == (0, sum(asked.values()))


def test_what_is_under_way_elsewhere_is_left_out(tmp_path: Path) -> None:
    path = fill(tmp_path, 6)
    with chat_server(said(described())) as script, open_store(path) as store:
        describer = VlmDescriber(LanguageModel("eye", url=script.url))
        elsewhere = {describer.origin(found) for found in store.adapters([2, 5])}
        report = refine(store, describer, under_way=elsewhere)
        assert (report.adapters, report.done, report.under_way) == (6, 4, 2)
        assert store.stale_refinements(describer.name) == [2, 5]
    assert sorted(titles(script.asked)) == ["Fox 0", "Fox 2", "Fox 3", "Fox 5"]
