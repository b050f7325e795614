"""Every adapter is described once: whatever fails, whoever stops it, and however often it is run."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from velatura.db import Store, open_store
from velatura.errors import (
    InputError,
    LanguageModelError,
    LanguageModelRefusal,
    MissingDependency,
    SourceUnavailable,
    UnreadableFile,
)
from velatura.protocols import Described, Entry
from velatura.records import AdapterRecord, RefinedAdapter, Refinement, Usage
from velatura.refiner.embed import embed
from velatura.refiner.refine import Estimate, RefineReport, estimate, refine

SCRIPT = Path(__file__).with_name("refine_process.py")


class Shelf:
    """A complete source of local files."""

    name = "folder"
    scope = "/adapters"
    complete = True

    def __init__(self, records: Sequence[AdapterRecord]) -> None:
        self.records = records

    def entries(self) -> Iterator[Entry]:
        for record in self.records:
            yield Entry(locator=record.key, stamp=repr(record), read=lambda record=record: [record])


class Fake:
    """Says the key of each adapter; origins are the titles."""

    def __init__(self, answer: Callable[[RefinedAdapter], Any] | None = None, *, name: str = "fake/1") -> None:
        self.name = name
        self.answer = answer
        self.asked: list[str] = []
        self.pictures: dict[str, str] = {}
        self._lock = threading.Lock()

    def origin(self, adapter: RefinedAdapter) -> str:
        return adapter.record.title + self.pictures.get(adapter.record.key, "")

    def describe(self, adapter: RefinedAdapter) -> Described:
        with self._lock:
            self.asked.append(adapter.record.key)
        told = self.answer(adapter) if self.answer else None
        if isinstance(told, BaseException):
            raise told
        refinement = told if isinstance(told, Refinement) else Refinement(description=f"paints {adapter.record.key}")
        return Described(refinement=refinement, usage=Usage(calls=1, read=10, written=1))


def record(key: str, **fields: Any) -> AdapterRecord:
    return AdapterRecord(**({"source": "folder", "key": key, "title": f"T{key}", "path": f"/adapters/{key}"} | fields))


def fill(store: Store, count: int, **fields: Any) -> None:
    store.sync(Shelf([record(f"{number}", **fields) for number in range(1, count + 1)]))


def failing(*keys: str, error: Callable[[str], BaseException] = LanguageModelError) -> Callable[[RefinedAdapter], Any]:
    return lambda adapter: error(f"no {adapter.record.key}") if adapter.record.key in keys else None


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with open_store(tmp_path / "c.db") as store:
        yield store


# ---------------------------------------------------------------- asked once


@pytest.mark.parametrize("workers", [1, 7])
def test_all_are_described_and_nobody_is_asked_again(store: Store, workers: int) -> None:
    fill(store, 300)
    fake = Fake()
    report = refine(store, fake, workers=workers)
    usage = Usage(calls=300, read=3000, written=300)
    assert replace(report, seconds=0.0) == RefineReport(adapters=300, done=300, asked=300, usage=usage)
    assert store.adapter(250).refinement == Refinement(description="paints 250", writer="fake/1")
    assert store.mentions(["paints 250"], 9) == {"paints 250": {250}}
    assert replace(refine(store, fake, workers=workers), seconds=0.0) == RefineReport()
    assert len(fake.asked) == 300


def test_they_are_taken_in_order(store: Store) -> None:
    fill(store, 300)
    fake = Fake()
    refine(store, fake)
    assert fake.asked == [f"{number}" for number in range(1, 301)]


def test_adapters_that_say_the_same_are_asked_once(store: Store) -> None:
    """At once, later in what is read together, and far behind."""
    store.sync(Shelf([record(f"{number}", title=f"T{number % 3}") for number in range(1, 601)]))
    fake = Fake(lambda _: time.sleep(0.01))
    report = refine(store, fake, workers=8)
    assert (report.asked, report.reused, report.done) == (3, 597, 600)
    assert len(fake.asked) == 3
    assert store.stale_refinements("fake/1") == []
    assert store.adapter(598).refinement == store.adapter(1).refinement


def test_another_describer_and_back_again_costs_nothing(store: Store) -> None:
    fill(store, 5)
    one, other = Fake(), Fake(lambda _: Refinement(description="other words"), name="other/2")
    refine(store, one)
    refine(store, other)
    assert store.adapter(3).refinement == Refinement(description="other words", writer="other/2")
    report = refine(store, one)
    assert (report.asked, report.reused, report.usage) == (0, 5, Usage())
    assert store.adapter(3).refinement == Refinement(description="paints 3", writer="fake/1")
    store.clear_refinements()
    assert refine(store, one).asked == 0
    assert (len(one.asked), len(other.asked)) == (5, 5)


def test_input_that_changes_and_comes_back_is_asked_once(store: Store) -> None:
    fake = Fake()
    for title in ("old", "new", "old", "new"):
        store.sync(Shelf([record("1", title=title)]))
        assert refine(store, fake).done == 1
    assert len(fake.asked) == 2


def test_a_record_that_changed_in_what_is_not_read_is_not_asked_about(store: Store) -> None:
    fill(store, 3)
    fake = Fake()
    refine(store, fake)
    fill(store, 3, downloads=7)
    report = refine(store, fake)
    assert (report.adapters, report.asked, report.reused) == (3, 0, 3)


def test_other_pictures_beside_an_adapter_are_read_though_its_record_is_the_same(store: Store) -> None:
    store.sync(Shelf([record("1"), record("2", previews=("/adapters/2.png",)), record("3", previews=("3.jpg",))]))
    fake = Fake()
    refine(store, fake)
    fake.pictures = {"1": "other", "2": "other"}
    assert refine(store, fake).asked == 1
    assert fake.asked == ["1", "2", "3", "2"]
    assert refine(store, fake).adapters == 0
    fake.pictures = {}
    report = refine(store, fake)
    assert (report.asked, report.reused) == (0, 1)


# ---------------------------------------------------------------- failures


def test_failures_and_refusals_are_kept_and_asked_again_on_demand(store: Store) -> None:
    fill(store, 8)
    fake = Fake(lambda adapter: failing("2", "5")(adapter) or failing("6", error=LanguageModelRefusal)(adapter))
    report = refine(store, fake, workers=3)
    assert (report.done, report.asked, report.failed, report.refused, report.stopped) == (8, 8, 2, 1, None)
    failures = [(2, "no 2", False), (5, "no 5", False), (6, "no 6", True)]
    assert store.unrefined_failures("fake/1") == failures
    report = refine(store, fake)
    assert (report.adapters, report.done, report.passed, report.asked, report.failed) == (3, 3, 3, 0, 0)
    assert len(fake.asked) == 8
    fake.answer = failing("5")
    report = refine(store, fake, retry=True)
    assert (report.asked, report.failed, report.refused) == (3, 1, 0)
    assert store.unrefined_failures("fake/1") == [(5, "no 5", False)]
    assert len(fake.asked) == 11


def test_equal_adapters_fail_together_and_are_tried_again_once(store: Store) -> None:
    store.sync(Shelf([record(f"{number}", title="same") for number in range(1, 301)]))
    fake = Fake(lambda _: LanguageModelError("no"))
    assert (refine(store, fake).failed, len(fake.asked)) == (300, 1)
    assert (refine(store, fake, retry=True).done, len(fake.asked)) == (300, 2)
    assert len(store.unrefined_failures("fake/1")) == 300


def test_what_was_said_before_stays_where_a_describer_fails(store: Store) -> None:
    fill(store, 2)
    refine(store, Fake())
    refine(store, Fake(failing("1"), name="other/2"))
    assert [adapter.refinement.writer for adapter in store.adapters([1, 2])] == ["fake/1", "other/2"]


@pytest.mark.parametrize(
    "error",
    [ZeroDivisionError("oh\nno"), UnreadableFile("the picture is damaged"), SourceUnavailable("gone"), OSError()],
)
def test_whatever_goes_wrong_with_one_costs_no_other(store: Store, error: Exception) -> None:
    fill(store, 5)
    report = refine(store, Fake(lambda adapter: error if adapter.record.key == "2" else None))
    assert (report.failed, report.done, report.stopped) == (1, 5, None)
    [(number, reason, refused)] = store.unrefined_failures("fake/1")
    assert (number, refused) == (2, False)
    assert reason
    assert "\n" not in reason


def test_a_server_that_is_gone_ends_the_run_and_is_nobodys_failure(store: Store) -> None:
    fill(store, 200)
    fake = Fake(lambda adapter: LanguageModelError("it\u2019s off") if int(adapter.record.key) not in (1, 3) else None)
    report = refine(store, fake)
    assert report.stopped is not None
    assert "failed 10 times" in report.stopped
    assert "it\u2019s off" in report.stopped
    assert (report.asked, report.failed, report.done) == (3, 1, 3)
    assert store.unrefined_failures("fake/1") == [(2, "it\u2019s off", False)], "the others are not to blame"
    fake.answer = None
    report = refine(store, fake)
    assert (report.done, report.passed, report.asked, report.stopped) == (198, 1, 197, None)


def test_many_failures_among_answers_do_not_end_the_run(store: Store) -> None:
    fill(store, 100)
    fake = Fake(lambda adapter: LanguageModelError("no") if int(adapter.record.key) % 9 else None)
    report = refine(store, fake)
    assert (report.failed, report.done, report.stopped) == (89, 100, None)


@pytest.mark.parametrize("error", [InputError("the key is wrong"), MissingDependency("openai", extra="llm")])
def test_a_describer_that_cannot_be_used_ends_the_run_and_what_was_done_is_kept(store: Store, error: Exception) -> None:
    fill(store, 50)
    fake = Fake(lambda adapter: error if adapter.record.key == "20" else None)
    with pytest.raises(type(error), match=str(error).split(";")[0]):
        refine(store, fake)
    assert len(fake.asked) < 30
    assert store.stale_refinements("fake/1") == list(range(20, 51))


def test_numbers_that_make_no_sense_are_told(store: Store) -> None:
    with pytest.raises(InputError, match="workers"):
        refine(store, Fake(), workers=0)
    with pytest.raises(InputError, match="limit"):
        refine(store, Fake(), limit=0)


# ---------------------------------------------------------------- bounds


def test_a_limit_counts_what_is_asked(store: Store) -> None:
    fill(store, 300)
    fake = Fake()
    assert [refine(store, fake, workers=4, limit=150).done for _ in range(3)] == [150, 150, 0]
    assert len(fake.asked) == 300


def test_a_spent_budget_waits_for_what_is_under_way_and_asks_no_more(store: Store) -> None:
    fill(store, 300)
    fake = Fake(lambda _: time.sleep(0.02))
    report = refine(store, fake, workers=4, spend=lambda usage: usage.calls >= 20)
    assert report.stopped == "the budget is spent; what was done is kept"
    assert 20 <= report.asked == report.usage.calls == len(fake.asked) <= 20 + 2 * 4
    assert len(store.stale_refinements("fake/1")) == 300 - report.asked


def test_an_estimate_asks_and_writes_nothing(store: Store) -> None:
    store.sync(Shelf([record(f"{number}", title=f"T{number // 2}") for number in range(2, 302)]))
    fake = Fake(failing("2"))
    refine(store, fake, limit=20)
    asked, mark = len(fake.asked), store.mark()
    told = estimate(store, fake, tokens=lambda _: Usage(calls=1, read=7))
    assert told == Estimate(adapters=262, reused=130, failed_before=2, to_ask=130, usage=Usage(calls=130, read=910))
    assert estimate(store, fake, retry=True).to_ask == 131
    assert (len(fake.asked), store.mark()) == (asked, mark)
    assert refine(store, fake).asked == told.to_ask


def test_progress_grows_to_the_end(store: Store) -> None:
    fill(store, 300)
    told: list[RefineReport] = []
    report = refine(store, Fake(lambda _: time.sleep(0.005)), workers=2, progress=told.append)
    assert told[0].adapters == 300
    assert [each.done for each in told] == sorted(each.done for each in told)
    assert (told[-1].done, told[-1].asked) == (report.done, report.asked) == (300, 300)
    assert len(told) > 2


# ---------------------------------------------------------------- what follows


class Counting:
    """Embeds a text as its length, and counts."""

    model, revision = "length", "1"

    def __init__(self) -> None:
        self.texts = 0

    def embed(self, texts: Sequence[str]) -> Any:
        self.texts += len(texts)
        return np.array([[len(text), 1.0] for text in texts], np.float32)


def test_only_what_says_something_new_is_embedded_again(store: Store) -> None:
    fill(store, 10)
    embedder = Counting()
    embed(store, embedder)
    fake = Fake(lambda adapter: Refinement(weight=0.5) if int(adapter.record.key) > 3 else None)
    refine(store, fake)
    report = embed(store, embedder)
    assert (report.adapters, report.texts, embedder.texts) == (3, 3, 13)
    store.clear_refinements()
    assert (embed(store, embedder).adapters, embedder.texts) == (3, 13), "the vectors of before are still there"


# ---------------------------------------------------------------- time


def test_many_at_once_take_hardly_longer_than_their_answers(store: Store) -> None:
    fill(store, 1000, description="a fox in the snow " * 50)
    fake = Fake(lambda _: time.sleep(0.05))
    started = time.perf_counter()
    report = refine(store, fake, workers=64)
    seconds = time.perf_counter() - started
    assert report.done == len(set(fake.asked)) == 1000
    assert seconds < 12, "one after the other takes 50"


def test_what_came_back_is_written_while_others_are_under_way(store: Store) -> None:
    fill(store, 6)
    seen: list[int] = []

    def look(adapter: RefinedAdapter) -> None:
        if adapter.record.key != "1":
            return
        with open_store(store.path, read_only=True) as other:
            ends = time.perf_counter() + 30
            while time.perf_counter() < ends and len(other.stale_refinements("fake/1")) > 1:
                time.sleep(0.02)
            seen.extend(other.stale_refinements("fake/1"))

    refine(store, Fake(look), workers=2)
    assert seen == [1]


def start(path: Path, log: Path, seconds: float, workers: int) -> subprocess.Popen[str]:
    command = [sys.executable, SCRIPT, path, log, str(seconds), str(workers)]
    return subprocess.Popen([str(part) for part in command], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def lines(log: Path, kind: str) -> dict[str, float]:
    told = [line.split() for line in log.read_text().splitlines()] if log.exists() else []
    return {key: float(moment) for name, key, moment in told if name == kind}


def wait_for(log: Path, kind: str, count: int) -> None:
    ends = time.monotonic() + 60
    while len(lines(log, kind)) < count:
        assert time.monotonic() < ends
        time.sleep(0.02)


def test_killed_in_the_middle_it_asks_again_only_what_was_under_way(store: Store, tmp_path: Path) -> None:
    fill(store, 600)
    first, second = tmp_path / "first", tmp_path / "second"
    process = start(store.path, first, 0.2, 16)
    wait_for(first, "answered", 250)
    process.kill()
    killed = time.time()
    process.communicate(timeout=60)
    assert process.returncode == -signal.SIGKILL
    answered = lines(first, "answered")
    kept = set(store.replies("slow/1", answered))
    assert len(answered) < 550, "it was killed too late"
    # What came is written half a second later, and on a busy machine a little after that.
    long_ago = {key for key, moment in answered.items() if moment < killed - 1.5}
    assert len(long_ago) > 50
    assert long_ago <= kept
    undone = len(store.stale_refinements("slow/1"))
    process = start(store.path, second, 0.0, 16)
    assert process.communicate(timeout=60)[0] == f"{undone}\n"
    asked = Counter(line.split()[1] for line in second.read_text().splitlines() if line.startswith("asked"))
    assert set(asked) == {f"{number}" for number in range(1, 601)} - kept
    assert set(asked.values()) == {1}
    assert store.stale_refinements("slow/1") == []


def test_an_interrupt_ends_it_at_once_and_keeps_what_came(store: Store, tmp_path: Path) -> None:
    fill(store, 40)
    log = tmp_path / "log"
    process = start(store.path, log, 0.3, 4)
    wait_for(log, "answered", 8)
    process.send_signal(signal.SIGINT)
    interrupted = time.monotonic()
    _, told = process.communicate(timeout=60)
    assert time.monotonic() - interrupted < 10
    assert "KeyboardInterrupt" in told
    assert set(store.replies("slow/1", lines(log, "answered"))) >= set(list(lines(log, "answered"))[:8])


def test_an_interrupt_does_not_wait_for_answers(store: Store, tmp_path: Path) -> None:
    fill(store, 4)
    log = tmp_path / "log"
    process = start(store.path, log, 300.0, 4)
    wait_for(log, "asked", 4)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=20)
    assert process.returncode != 0
