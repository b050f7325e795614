"""Weights of equal shape composed in one launch are what they are one by one, and go back to what they were."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from velatura.errors import UnreadableFile
from velatura.generation.adapters import patch
from velatura.generation.adapters.bases import stored_weights
from velatura.generation.adapters.file import AdapterFile
from velatura.generation.adapters.names import targets
from velatura.generation.adapters.patch import Layers
from velatura.generation.adapters.plan import AdapterPlan, plan

Modules = dict[str, nn.Module]
HALVES = (torch.float16, torch.bfloat16)


def copies(modules: Modules) -> dict[str, Tensor]:
    return {name: module.weight.detach().clone() for name, module in modules.items()}


def same(modules: Modules, weights: dict[str, Tensor]) -> bool:
    return all(torch.equal(module.weight, weights[name]) for name, module in modules.items())


def mixed(path: Path, modules: Modules) -> Path:
    """Write an adapter of convolutions, of two ranks, and of kinds that no group can take."""
    generator, tensors = torch.Generator().manual_seed(4), {}
    for number, (name, module) in enumerate(modules.items()):
        stem = ("lora_unet_" if name.startswith("unet") else "lora_te_text_model_") + name.partition(".")[2].replace(
            ".", "_"
        )
        outputs, *inputs = module.weight.shape
        if name.endswith(("conv1", "conv2", "samplers.0.conv", "to_q", "fc1")):
            rank = 2 + number % 2
            tensors[f"{stem}.lora_down.weight"] = torch.randn(rank, *inputs, generator=generator) / 9
            ones = [1] * (len(inputs) - 1)
            tensors[f"{stem}.lora_up.weight"] = torch.randn(outputs, rank, *ones, generator=generator) / 9
            if name.endswith("to_q") and number % 3 == 0:
                tensors[f"{stem}.dora_scale"] = torch.ones(outputs, 1)
        elif name.endswith("to_v"):
            tensors[f"{stem}.diff"] = torch.randn(outputs, *inputs, generator=generator) / 99
        elif name.endswith("norm1"):
            tensors[f"{stem}.w_norm"] = torch.randn(outputs, generator=generator) / 9
    save_file(tensors, path)
    return path


@pytest.fixture(scope="module")
def plans(
    adapters: list[Path], pristine: dict[str, Any], tmp_path_factory: pytest.TempPathFactory
) -> list[AdapterPlan]:
    modules = targets(**pristine)
    files = [*adapters, mixed(tmp_path_factory.mktemp("mixed") / "mixed.safetensors", modules)]
    return [plan(AdapterFile(path), modules) for path in files]


def sets(plans: list[AdapterPlan]) -> list[dict[AdapterPlan, float]]:
    one, two, three, several = plans
    return [{one: 0.8}, {several: 1.0}, {one: 0.8, two: -0.5, several: 0.6}, {three: 1.3, two: 0.2}, {}]


def side_by_side(models: dict[str, Any], plans: list[AdapterPlan], dtype: torch.dtype) -> list[tuple[Tensor, Tensor]]:
    """Lay the sets after each other, in groups and one by one; return what lay on each weight each time."""
    modules = targets(**{part: model.to(dtype) for part, model in models.items()})
    before, found = copies(modules), []
    alone, grouped = Layers(modules), Layers(modules, grouped=True)
    for wanted in sets(plans):
        alone.lay(wanted)
        expected = copies(modules)
        alone.restore()
        grouped.lay(wanted)
        found += [(expected[name], module.weight.detach().clone()) for name, module in modules.items()]
        grouped.restore()
        assert same(modules, before)
    return found


def test_in_whole_precision_groups_are_the_same_to_rounding(models: dict[str, Any], plans: list[AdapterPlan]) -> None:
    for alone, grouped in side_by_side(models, plans, torch.float32):
        assert torch.allclose(alone, grouped, rtol=0, atol=1e-6)


@pytest.mark.parametrize("dtype", HALVES, ids=str)
def test_in_half_precision_groups_are_the_same_but_for_ties(
    dtype: torch.dtype, models: dict[str, Any], plans: list[AdapterPlan]
) -> None:
    """Both sum in float32, in another order; on the edge between two numbers they may part by one step."""
    values = otherwise = 0
    for alone, grouped in side_by_side(models, plans, dtype):
        differing = alone != grouped
        steps = (alone[differing].view(torch.int16).int() - grouped[differing].view(torch.int16).int()).abs()
        assert steps.le(1).all()
        values, otherwise = values + alone.numel(), otherwise + int(differing.sum())
    assert otherwise < 1e-5 * values


def test_another_set_is_what_it_would_have_been_alone(modules: Modules, plans: list[AdapterPlan]) -> None:
    before, layers = copies(modules), Layers(modules, grouped=True)
    alone = []
    for wanted in sets(plans):
        layers.lay(wanted)
        alone.append(copies(modules))
        layers.restore()
        assert same(modules, before)
    for wanted, expected in zip(sets(plans), alone, strict=True):
        layers.lay(wanted)
        assert same(modules, expected)
    assert same(modules, before)


@pytest.mark.parametrize("dtype", [torch.float32, *HALVES], ids=str)
def test_verify_knows_what_groups_laid(dtype: torch.dtype, models: dict[str, Any], plans: list[AdapterPlan]) -> None:
    modules = targets(**{part: model.to(dtype) for part, model in models.items()})
    layers = Layers(modules, grouped=True)
    for wanted in sets(plans)[1:3]:
        layers.lay(wanted)
        assert layers.verify() == ()
    layers.lay(sets(plans)[0])
    victim = next(iter(plans[0].parts))
    with torch.no_grad():
        modules[victim.removesuffix(".weight")].weight[0] += 1
    assert layers.verify() == (victim,)


@pytest.mark.parametrize("values", [1, 3 * 64 * 64, 1 << 30])
def test_the_size_of_groups_changes_rounding_only(
    values: int, modules: Modules, plans: list[AdapterPlan], monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted, layers = sets(plans)[2], Layers(modules)
    layers.lay(wanted)
    expected = copies(modules)
    layers.restore()
    monkeypatch.setattr(patch, "_GROUP", values)
    grouped = Layers(modules, grouped=True)
    grouped.lay(wanted)
    assert all(torch.allclose(module.weight, expected[name], rtol=0, atol=1e-6) for name, module in modules.items())


def test_groups_are_really_made(modules: Modules, plans: list[AdapterPlan], monkeypatch: pytest.MonkeyPatch) -> None:
    groups: list[int] = []
    write = Layers._write_group

    def counting(self: Layers, names: Any, parts: Any) -> None:
        groups.append(len(names))
        write(self, names, parts)

    monkeypatch.setattr(Layers, "_write_group", counting)
    Layers(modules).lay({plans[0]: 1.0})
    assert groups == []
    Layers(modules, grouped=True).lay({plans[0]: 1.0})
    assert 200 <= sum(groups) <= len(plans[0].parts) == 204
    assert len(groups) < 20


def test_weights_are_written_in_place_whatever_their_memory_format(
    models: dict[str, Any], plans: list[AdapterPlan]
) -> None:
    models["unet"].to(memory_format=torch.channels_last)
    modules = targets(**models)
    layers = Layers(modules)
    layers.lay({plans[3]: 1.0})
    expected, strides = copies(modules), {name: module.weight.stride() for name, module in modules.items()}
    layers.restore()
    before = copies(modules)
    holders = {name: (module.weight, module.weight.data_ptr()) for name, module in modules.items()}
    grouped = Layers(modules, grouped=True)
    grouped.lay({plans[3]: 1.0})
    for name, (weight, place) in holders.items():
        assert modules[name].weight is weight
        assert (weight.data_ptr(), weight.stride()) == (place, strides[name])
        assert torch.allclose(weight, expected[name], rtol=0, atol=1e-6)
    grouped.restore()
    assert same(modules, before)


def test_groups_start_from_the_checkpoints_files(checkpoint: Path, modules: Modules, plans: list[AdapterPlan]) -> None:
    """Which hold float16, where the model is float32; and one weight of a group is not what they hold."""
    changed = modules["unet.up_blocks.1.attentions.0.transformer_blocks.0.attn1.to_k"].weight
    with torch.no_grad():
        changed[0] += 0.1
    before, layers = copies(modules), Layers(modules, stored=stored_weights(checkpoint), grouped=True)
    layers.lay(sets(plans)[2])
    assert layers.copied == changed.nbytes
    got = copies(modules)
    layers.restore()
    assert same(modules, before)
    Layers(modules).lay(sets(plans)[2])
    assert all(torch.allclose(module.weight, got[name], rtol=0, atol=1e-6) for name, module in modules.items())


def test_a_failure_in_the_middle_leaves_the_model_as_it_was(
    tmp_path: Path, adapters: list[Path], modules: Modules, plans: list[AdapterPlan]
) -> None:
    tensors = load_file(adapters[1])
    last = list(plans[1].parts.values())[-1].network.parts["up"].key
    tensors[last] = torch.full_like(tensors[last], float("inf"))
    save_file(tensors, tmp_path / "broken.safetensors")
    broken = plan(AdapterFile(tmp_path / "broken.safetensors"), modules)
    before, layers = copies(modules), Layers(modules, grouped=True)
    layers.lay({plans[0]: 1.0})
    with pytest.raises(UnreadableFile, match="NaN or infinity"):
        layers.lay({plans[3]: 1.0, broken: 1.0})
    assert same(modules, before)
    assert layers.laid == {}
