"""Every format of the table that `benchmarks/formats.py` prints does what it says, or is refused with the reason."""

from __future__ import annotations

import sys
from dataclasses import replace
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

from velatura.errors import IncompatibleAdapter
from velatura.generation.adapters.coverage import coverage
from velatura.generation.adapters.file import AdapterFile
from velatura.generation.adapters.plan import match, plan
from velatura.generation.checkpoint import quiet

BENCHMARKS = Path(__file__).resolve().parents[3] / "benchmarks"


def script(name: str) -> ModuleType:
    spec = spec_from_file_location(name, BENCHMARKS / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[name] = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


format_files = script("format_files")
formats = script("formats")


@pytest.fixture(scope="module")
def pipes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    with quiet():
        return format_files.make_models(tmp_path_factory.mktemp("formats") / "tiny")


@pytest.fixture(scope="module")
def rows(pipes: dict[str, Any]) -> dict[str, Any]:
    modules = {model: format_files.modules_of(pipe) for model, pipe in pipes.items()}
    return {row.name: row for row in format_files.rows(modules)}


@pytest.mark.parametrize("name", [name for name in format_files.TABLE if name not in format_files.FOREIGN])
def test_a_file_does_what_it_says_and_leaves_no_trace(
    name: str, rows: dict[str, Any], pipes: dict[str, Any], tmp_path: Path
) -> None:
    row = rows[name]
    modules = format_files.modules_of(pipes[row.model])
    before = formats.weights(modules)
    assert len(row.effects) > 10
    assert formats.with_velatura(row, row.write(tmp_path / "a.safetensors"), pipes[row.model]) == formats.RIGHT
    assert all(torch.equal(values, before[key]) for key, values in formats.weights(modules).items())


@pytest.mark.parametrize("name", format_files.FOREIGN)
def test_a_file_for_another_model_is_refused_and_changes_nothing(
    name: str, rows: dict[str, Any], pipes: dict[str, Any], tmp_path: Path
) -> None:
    modules = format_files.modules_of(pipes["sd15"])
    file = AdapterFile(rows[name].write(tmp_path / "a.safetensors"))
    with pytest.raises(IncompatibleAdapter, match="fits no module of this model: "):
        plan(file, modules, force=True)
    report = coverage(match(file, modules), modules)
    assert (report.lays, report.mapped) == (False, 0)
    assert len(report.missing) + len(report.mismatched) == len(file.networks) > 10


@pytest.mark.parametrize("name", format_files.TABLE)
def test_no_tensor_is_dropped_without_being_named(
    name: str, rows: dict[str, Any], pipes: dict[str, Any], tmp_path: Path
) -> None:
    row = rows[name]
    modules = format_files.modules_of(pipes[row.model])
    file = AdapterFile(row.write(tmp_path / "a.safetensors"))
    found = match(file, modules)
    report = coverage(found, modules)
    lost = {network for network in file.networks if network.stem in {*report.missing, *report.mismatched}}
    laid, named = (
        {part.key for network in networks for part in network.parts.values()} | {f"{n.stem}.alpha" for n in networks}
        for networks in (found.placed, lost)
    )
    named |= {*report.dropped, *file.embeddings}
    assert set(row.tensors) <= laid | named
    assert not laid & named
    if name not in format_files.FOREIGN:
        assert {key for key in row.tensors if key not in laid} == set(format_files.BESIDE.get(name, {}))


def test_what_is_beside_the_networks_is_reported(rows: dict[str, Any], pipes: dict[str, Any], tmp_path: Path) -> None:
    modules = format_files.modules_of(pipes["sd15"])
    reports = {}
    for name in format_files.BESIDE:
        file = AdapterFile(rows[name].write(tmp_path / "a.safetensors"))
        reports[name] = coverage(match(file, modules), modules)
    bundle, foreign, odd = reports.values()
    assert (bundle.tokens, bundle.lays, bundle.coverage) == (("style",), True, 1.0)
    assert (foreign.missing, foreign.lays) == (("lora_unet_somewhere_else_to_q",), True)
    assert (odd.dropped, odd.lays, odd.coverage) == (("trainer.moments",), True, 1.0)


def test_the_table_tells_wrong_from_right(rows: dict[str, Any], pipes: dict[str, Any], tmp_path: Path) -> None:
    """A judge that lets everything pass would make the other tests worthless."""
    row, pipe = rows["kohya LoRA, attention"], pipes["sd15"]
    path = row.write(tmp_path / "a.safetensors")
    off = dict(row.effects)
    first, *others = off
    off[first] = lambda old: 1.0001 * row.effects[first](old)
    count = len(off)
    assert formats.with_velatura(replace(row, effects=off), path, pipe) == f"1 with a wrong effect, of {count}"
    more = row.effects | {"unet.conv_in.weight": torch.ones_like}
    assert formats.with_velatura(replace(row, effects=more), path, pipe) == f"1 without effect, of {count + 1}"
    fewer = {name: row.effects[name] for name in others}
    told = f"1 touched that are not in the file, of {count - 1}"
    assert formats.with_velatura(replace(row, effects=fewer), path, pipe) == told
    elsewhere = {"unet.conv_in.weight": torch.ones_like, "unet.conv_out.weight": torch.ones_like}
    assert formats.with_velatura(replace(row, effects=elsewhere), path, pipe) == "loads nothing, no error"
    assert formats.with_velatura(replace(row, effects={}), path, pipe) == "lays what is for another model"
