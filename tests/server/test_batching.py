"""Texts that threads ask for at a time are embedded together, and each gets its own rows."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from velatura.errors import InputError
from velatura.server.batching import Gathered

WAIT = 10


class Slow:
    """Embeds a text as its length; the first pass lasts until it is let go."""

    model = "slow"
    revision = "1"

    def __init__(self) -> None:
        self.passes: list[list[str]] = []
        self.under_way = threading.Event()
        self.go_on = threading.Event()
        self.inside = 0

    def embed(self, texts: Sequence[str]) -> np.ndarray:
        self.inside += 1
        assert self.inside == 1, "two threads are in the embedder"
        self.passes.append(list(texts))
        self.under_way.set()
        assert self.go_on.wait(WAIT)
        self.inside -= 1
        if "bad" in texts:
            raise InputError("this text cannot be embedded")
        if "broken" in texts:
            raise ZeroDivisionError("a fault")
        return np.array([[len(text)] for text in texts], np.float32)


@pytest.fixture
def slow() -> Slow:
    return Slow()


def together(slow: Slow, asked: Sequence[Sequence[str]]) -> list[np.ndarray | BaseException]:
    """Ask for the first, and for all others while it is under way; return what each got."""
    gathered = Gathered(slow)

    def ask(texts: Sequence[str]) -> np.ndarray | BaseException:
        try:
            return gathered.embed(texts)
        except Exception as error:  # what a thread gets is looked at below
            return error

    with ThreadPoolExecutor(len(asked)) as threads:
        first = threads.submit(ask, asked[0])
        assert slow.under_way.wait(WAIT)
        others = [threads.submit(ask, texts) for texts in asked[1:]]
        deadline = time.monotonic() + WAIT
        while len(gathered._waiting) < len(others) and time.monotonic() < deadline:
            time.sleep(0.001)
        slow.go_on.set()
        return [future.result(WAIT) for future in (first, *others)]


def test_text_alone_is_embedded_at_once(slow: Slow) -> None:
    slow.go_on.set()
    gathered = Gathered(slow)
    assert gathered.embed(["fox"]).tolist() == [[3.0]]
    assert gathered.embed(["a", "four"]).tolist() == [[1.0], [4.0]]
    assert (gathered.model, gathered.revision) == ("slow", "1")


def test_what_waits_goes_together_and_each_gets_its_own(slow: Slow) -> None:
    asked = [["a"], ["bb", "ccc"], ["dddd"], ["eeeee"], ["ffffff"]]
    told = together(slow, asked)
    assert [rows.tolist() for rows in told if isinstance(rows, np.ndarray)] == [
        [[float(len(text))] for text in texts] for texts in asked
    ]
    assert [len(texts) for texts in slow.passes] == [1, 5]


def test_no_pass_is_too_large(slow: Slow) -> None:
    together(slow, [["a"], ["b"] * 20, ["c"] * 20, ["d"] * 40])
    assert len(slow.passes[0]) == 1
    assert sorted(len(texts) for texts in slow.passes[1:]) == [20, 20, 40]


def test_error_reaches_only_who_asked_for_it(slow: Slow) -> None:
    first, good, bad, fine = together(slow, [["a"], ["good"], ["bad"], ["fine!"]])
    assert isinstance(bad, InputError)
    assert [rows.tolist() for rows in (first, good, fine) if isinstance(rows, np.ndarray)] == [
        [[1.0]],
        [[4.0]],
        [[5.0]],
    ]


def test_fault_leaves_nobody_waiting(slow: Slow) -> None:
    told = together(slow, [["a"], ["broken"], ["x"]])
    assert [type(each) for each in told[1:]] == [ZeroDivisionError, ZeroDivisionError]
    assert Gathered(slow).embed(["again"]).tolist() == [[5.0]]
