"""What adapters do to pictures: kept while their files stay what they are, one for each base."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from velatura.db import Store
from velatura.errors import CatalogueError
from velatura.probe_rules import METHOD
from velatura.records import Probe, ProbedWeight


def probed(seed: int = 0, **fields: object) -> Probe:
    direction = np.random.default_rng(seed).standard_normal(64).astype(np.float32)
    weight = ProbedWeight(weight=1.0, change=0.9 + seed, consistency=0.3, gain=0.1, collapse=-0.02)
    known = Probe(
        method=METHOD,
        family="sd1",
        model="models/base",
        clip="clip",
        told="a fox",
        prompts=4,
        seeds=2,
        weights=(replace(weight, weight=0.5), weight),
        at=1.0,
        direction=tuple(direction.tolist()),
        consistency=(0.3, 0.1, 0.5),
        alignment=0.4,
        best=0.85,
        flags=("too strong",),
    )
    return replace(known, **fields)  # type: ignore[arg-type]


@pytest.fixture
def numbers(store: Store, make) -> list[int]:
    store.sync(make.source([make.file("a.safetensors", "fa"), make.file("b.safetensors", "fb"), make.file("c")]))
    return [store.find(name)[0] for name in ("a.safetensors", "b.safetensors", "c")]


def test_probe_comes_back_as_it_was(store: Store, numbers: list[int]) -> None:
    first, second, third = numbers
    bare = probed(best=None, flags=(), direction=(), told="half \ud800")
    store.put_probes([(first, "s1", probed(1)), (second, "s2", bare)])
    assert store.probes(numbers) == {first: [probed(1)], second: [replace(bare, told="half \\ud800")]}
    assert store.probes([third]) == {}


def test_next_probe_on_the_same_base_takes_the_place_and_on_another_stands_beside(
    store: Store, numbers: list[int]
) -> None:
    first = numbers[0]
    store.put_probes([(first, "s1", probed(1)), (first, "x", probed(2, family="sdxl"))])
    store.put_probes([(first, "s2", probed(3))])
    assert store.probes([first]) == {first: [probed(3), probed(2, family="sdxl")]}
    assert store.probes([first], "sdxl") == {first: [probed(2, family="sdxl")]}
    assert store.probe_stamps(numbers, "sd1") == {first: "s2"}
    assert store.probe_stamps(numbers, "flux1") == {}


def test_changed_file_has_no_probe_and_a_moved_one_keeps_it(store: Store, make, numbers: list[int]) -> None:
    store.put_probes([(number, "s", probed(number)) for number in numbers])
    store.sync(
        make.source(
            [make.file("a.safetensors", "changed", stamp="2"), make.file("new/b.safetensors", "fb"), make.file("c")]
        )
    )
    assert set(store.probes(numbers)) == set(numbers[1:]) == set(store.probe_stamps(numbers, "sd1"))
    store.put_probes([(numbers[0], "s", probed(9))])
    assert store.probes(numbers[:1]) == {numbers[0]: [probed(9)]}


def test_probe_of_another_method_counts_for_nothing(store: Store, numbers: list[int]) -> None:
    store.put_probes([(numbers[0], "s", probed(method="0")), (numbers[1], "s", probed())])
    assert store.probes(numbers) == {numbers[1]: [probed()]}


def test_adapter_that_is_no_more_is_left_out(store: Store, numbers: list[int]) -> None:
    store.put_probes([(10_000, "s", probed()), (numbers[0], "s", probed())])
    assert set(store.probes([*numbers, 10_000])) == {numbers[0]}


@pytest.mark.parametrize(
    "change",
    [
        "json = 'not json'",
        "json = '[]'",
        "json = replace(json, '0.85', '\"NaN\"')",
        "json = replace(json, 'too strong', 'too odd')",
        "json = replace(json, '\"gain\"', '\"pain\"')",
        "direction = x'00'",
    ],
)
def test_damage_is_told_in_a_sentence(
    store: Store, target: str | Path, numbers: list[int], change: str, damage
) -> None:
    store.put_probes([(numbers[0], "s", probed())])
    damage(target, f"UPDATE probe SET {change}")
    with pytest.raises(CatalogueError, match="probes is damaged"):
        store.probes(numbers)
