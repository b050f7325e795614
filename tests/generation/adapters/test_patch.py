"""Laying is exact, in place, one pass, and leaves no trace."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from velatura.errors import InputError, UnreadableFile
from velatura.generation.adapters.file import AdapterFile
from velatura.generation.adapters.names import targets
from velatura.generation.adapters.patch import Layers
from velatura.generation.adapters.plan import AdapterPlan, plan

DTYPES = (torch.float32, torch.bfloat16, torch.float16)


@pytest.fixture
def plans(adapters: list[Path], modules: dict[str, nn.Module]) -> list[AdapterPlan]:
    return [plan(AdapterFile(path), modules) for path in adapters]


def copies(modules: dict[str, nn.Module]) -> dict[str, Tensor]:
    return {f"{name}.weight": module.weight.detach().clone() for name, module in modules.items()}


def same(modules: dict[str, nn.Module], weights: dict[str, Tensor]) -> bool:
    return all(torch.equal(module.weight, weights[f"{name}.weight"]) for name, module in modules.items())


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_restore_is_bit_exact_after_a_hundred_swaps(
    dtype: torch.dtype, models: dict[str, Any], adapters: list[Path]
) -> None:
    modules = targets(**{part: model.to(dtype) for part, model in models.items()})
    modules = {name: module for name, module in modules.items() if "down_blocks.0" in name or "text_enc" in name}
    one, two, three = (plan(AdapterFile(path), modules, force=True) for path in adapters)
    before = copies(modules)
    layers = Layers(modules)
    for turn in range(50):
        layers.lay({one: 0.8, two: -0.3})
        layers.lay({three: 1.0 + turn})
    assert not same(modules, before)
    layers.restore()
    assert same(modules, before)
    assert layers.laid == {}


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_a_sum_is_rounded_once(dtype: torch.dtype, models: dict[str, Any], adapters: list[Path]) -> None:
    """The laid weight is the float64 sum, rounded to the module's precision; one in a thousand rounds the other way."""
    modules = targets(**{part: model.to(dtype) for part, model in models.items()})
    one, two, _ = (plan(AdapterFile(path), modules) for path in adapters)
    before = copies(modules)
    Layers(modules).lay({one: 0.8, two: -0.3})
    otherwise = values = 0
    for name in one.parts:
        exact = before[name].double()
        for laid, weight in ((one, 0.8), (two, -0.3)):
            up, down = laid.parts[name].factors()
            exact += weight * (up.double() @ down.double()).reshape(exact.shape)
        got = modules[name.removesuffix(".weight")].weight.detach()
        assert torch.allclose(got.double(), exact, rtol=2 * torch.finfo(dtype).eps, atol=1e-6), name
        otherwise += int((got != exact.to(dtype)).sum())
        values += got.numel()
    assert dtype == torch.float32 or otherwise < 1e-3 * values


def test_another_set_is_what_it_would_have_been_alone(
    modules: dict[str, nn.Module], plans: list[AdapterPlan], models: dict[str, Any]
) -> None:
    one, two, three = plans
    layers = Layers(modules)
    layers.lay({two: 0.5})
    alone = copies(modules)
    layers.lay({one: 1.0, three: 1.0})
    layers.lay({two: 0.5})
    assert same(modules, alone)
    assert layers.laid == {two: 0.5}


def test_modules_that_the_next_set_does_not_touch_go_back(
    tmp_path: Path, adapters: list[Path], modules: dict[str, nn.Module], plans: list[AdapterPlan]
) -> None:
    part = {key: value for key, value in load_file(adapters[0]).items() if "down_blocks_0" in key}
    save_file(part, tmp_path / "part.safetensors")
    small = plan(AdapterFile(tmp_path / "part.safetensors"), modules)
    before = copies(modules)
    layers = Layers(modules)
    layers.lay({plans[1]: 1.0})
    layers.lay({small: 1.0})
    changed = {name for name, weight in copies(modules).items() if not torch.equal(weight, before[name])}
    assert changed == set(small.parts)


def test_weights_are_written_in_place(modules: dict[str, nn.Module], plans: list[AdapterPlan]) -> None:
    holders = {name: (module.weight, module.weight.data_ptr()) for name, module in modules.items()}
    layers = Layers(modules)
    layers.lay({plans[0]: 1.0})
    layers.restore()
    for name, (weight, address) in holders.items():
        assert modules[name].weight is weight
        assert weight.data_ptr() == address


def test_channels_last_weights_stay_so(models: dict[str, Any], adapters: list[Path]) -> None:
    modules = targets(**models)
    contiguous = plan(AdapterFile(adapters[0]), modules)
    layers = Layers(modules)
    layers.lay({contiguous: 1.0})
    expected = copies(modules)
    layers.restore()
    models["unet"].to(memory_format=torch.channels_last)
    before = copies(modules)
    layers = Layers(modules)
    layers.lay({contiguous: 1.0})
    convolution = modules["unet.down_blocks.0.resnets.0.conv1"].weight
    assert convolution.is_contiguous(memory_format=torch.channels_last)
    assert all(torch.allclose(weight, expected[name], atol=1e-6) for name, weight in copies(modules).items())
    layers.restore()
    assert same(modules, before)


def damaged(path: Path, to: Path, key: str) -> Path:
    tensors = load_file(path)
    tensors[key] = torch.full_like(tensors[key], float("nan"))
    save_file(tensors, to)
    return to


def test_a_failure_in_the_middle_leaves_the_model_as_it_was(
    tmp_path: Path, adapters: list[Path], modules: dict[str, nn.Module], plans: list[AdapterPlan]
) -> None:
    before = copies(modules)
    last = list(plans[1].parts.values())[-1].network.parts["up"].key
    broken = plan(AdapterFile(damaged(adapters[1], tmp_path / "broken.safetensors", last)), modules)
    layers = Layers(modules)
    layers.lay({plans[0]: 0.5})
    with pytest.raises(UnreadableFile, match="NaN or infinity"):
        layers.lay({plans[2]: 1.0, broken: 1.0})
    assert same(modules, before)
    assert layers.laid == {}
    layers.lay({plans[0]: 0.5})
    assert layers.verify() == ()


def test_leaving_the_context_takes_all_off_even_after_an_error(
    modules: dict[str, nn.Module], plans: list[AdapterPlan]
) -> None:
    before = copies(modules)

    def fail_with_it_on() -> None:
        with Layers(modules) as layers:
            layers.lay({plans[0]: 1.0})
            assert not same(modules, before)
            raise KeyError

    with pytest.raises(KeyError):
        fail_with_it_on()
    assert same(modules, before)


def test_verify_names_what_somebody_else_wrote(modules: dict[str, nn.Module], plans: list[AdapterPlan]) -> None:
    layers = Layers(modules)
    layers.lay({plans[0]: 0.7, plans[1]: 0.2})
    assert layers.verify() == ()
    victim = next(iter(plans[0].parts))
    with torch.no_grad():
        modules[victim.removesuffix(".weight")].weight[0] += 1
    assert layers.verify() == (victim,)


def test_weight_zero_touches_nothing(modules: dict[str, nn.Module], plans: list[AdapterPlan]) -> None:
    before = copies(modules)
    layers = Layers(modules)
    layers.lay({plans[0]: 0.0})
    assert same(modules, before)
    assert layers.laid == {}


@pytest.mark.parametrize("weight", [float("nan"), float("inf")])
def test_a_weight_must_be_finite(weight: float, modules: dict[str, nn.Module], plans: list[AdapterPlan]) -> None:
    before = copies(modules)
    with pytest.raises(InputError, match="must be a finite number"):
        Layers(modules).lay({plans[0]: weight})
    assert same(modules, before)


def test_a_plan_for_another_model_is_refused(modules: dict[str, nn.Module], plans: list[AdapterPlan]) -> None:
    few = {name: module for name, module in modules.items() if "up_blocks" not in name}
    before = copies(modules)
    with pytest.raises(InputError, match="made for another model"):
        Layers(few).lay({plans[0]: 1.0})
    assert same(modules, before)


def test_threads_take_turns(modules: dict[str, nn.Module], plans: list[AdapterPlan]) -> None:
    layers = Layers(modules)
    before = copies(modules)

    def work(laid: AdapterPlan) -> Callable[[], None]:
        return lambda: [layers.lay({laid: 1.0}) for _ in range(5)] and None

    threads = [threading.Thread(target=work(laid)) for laid in plans]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(layers.laid) == 1
    assert layers.verify() == ()
    layers.restore()
    assert same(modules, before)


def test_after_a_restoring_that_failed_nothing_is_taken_for_granted(
    modules: dict[str, nn.Module], plans: list[AdapterPlan]
) -> None:
    before = copies(modules)
    layers = Layers(modules)
    layers.lay({plans[0]: 1.0})
    name = next(name for name in modules if name.startswith("text_encoder") and f"{name}.weight" in plans[0].parts)
    kept = modules[name].weight
    modules[name].weight = nn.Parameter(kept.to("meta"))
    with pytest.raises(InputError, match="offloaded or quantised"):
        layers.lay({plans[1]: 1.0})
    assert layers.laid == {}
    modules[name].weight = kept
    layers.lay({plans[0]: 1.0})
    assert layers.verify() == ()
    layers.restore()
    assert same(modules, before)


def test_a_weight_that_two_modules_share_is_refused(modules: dict[str, nn.Module], plans: list[AdapterPlan]) -> None:
    names = [name.removesuffix(".weight") for name in plans[0].parts]
    one = names[0]
    other = next(n for n in names[1:] if modules[n].weight.shape == modules[one].weight.shape)
    modules[other].weight = modules[one].weight
    before = copies(modules)
    with pytest.raises(InputError, match="share one weight"):
        Layers(modules).lay({plans[0]: 1.0})
    assert same(modules, before)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_laying_inside_inference_mode_and_autocast_is_laying(
    dtype: torch.dtype, models: dict[str, Any], adapters: list[Path]
) -> None:
    modules = targets(**{part: model.to(dtype) for part, model in models.items()})
    one, two, _ = (plan(AdapterFile(path), modules) for path in adapters)
    layers = Layers(modules)
    layers.lay({one: 1.0})
    expected = copies(modules)
    layers.restore()
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        layers.lay({one: 1.0})
    assert same(modules, expected)
    layers.lay({two: 1.0})
    layers.lay({one: 1.0})
    assert same(modules, expected)


@pytest.mark.parametrize("weight", ["0.5", None, [1.0]])
def test_a_weight_that_is_no_number_is_refused(weight: Any, modules: Any, plans: list[AdapterPlan]) -> None:
    with pytest.raises(InputError, match="must be a finite number"):
        Layers(modules).lay({plans[0]: weight})
