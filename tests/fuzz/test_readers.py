"""Every reader of strangers' bytes, over what once made one fall, and over variations: a sentence, or what can be read.

The readers, their promises and their samples stand in `benchmarks/faults/targets.py`, where atheris looks on for hours
(`benchmarks/faults/fuzz.py`). `corpus/<target>/` has each input that was a finding, and a few that reach far.
"""

from __future__ import annotations

import importlib.util
import json
import random
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from velatura.errors import VelaturaError

HERE = Path(__file__).resolve().parent
CORPUS = HERE / "corpus"
SECONDS = 5.0
"""CPU time of one input here: what takes quadratic time takes minutes."""


def _load() -> Any:
    source = HERE.parents[1] / "benchmarks" / "faults" / "targets.py"
    spec = importlib.util.spec_from_file_location("fuzz_targets", source)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # its dataclasses look themselves up there
    spec.loader.exec_module(module)
    return module


targets = _load()

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | st.sampled_from(targets.CONSTANTS),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
JUNK = st.one_of(
    st.binary(max_size=120),
    st.text(max_size=120).map(lambda text: text.encode("utf-8", "surrogatepass")),
    JSON.map(lambda value: json.dumps(value).encode()),
)


def held(target: Any, data: bytes) -> None:
    began = time.process_time()
    with suppress(VelaturaError):
        target.read(data)
    assert time.process_time() - began < SECONDS, f"{target.name} took too long for {len(data)} bytes: {data[:80]!r}"


@pytest.mark.parametrize("name", sorted(targets.TARGETS))
def test_a_reader_answers_with_a_sentence_or_with_what_can_be_read(name: str) -> None:
    target = targets.TARGETS[name]
    kept = [path.read_bytes() for path in sorted((CORPUS / name).glob("*"))]
    for data in (*target.seeds, *kept, b"", b"\0", b"[" * 5000, b'{"a":' * 5000, b"9" * 5000):
        held(target, data)
    draw = random.Random(name)
    for size in (2000, 20_000):
        held(target, targets.pumped(draw.choice(target.seeds), draw, size))

    @settings(max_examples=20, derandomize=True, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(junk=JUNK, seed=st.integers(0, 2**32))
    def vary(junk: bytes, seed: int) -> None:
        chance = random.Random(seed)
        known = chance.choice((*target.seeds, *kept))
        held(target, junk if chance.random() < 0.25 else targets.varied(known, chance, target.form))

    vary()


def test_the_corpus_is_of_readers_that_are_there_and_small() -> None:
    assert {path.name for path in CORPUS.iterdir()} <= set(targets.TARGETS)
    assert sum(path.stat().st_size for path in CORPUS.rglob("*") if path.is_file()) < 300_000
