"""Beside the weights, every image of a batch gets what patched weights would have given it alone."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import ImageChops
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional

from velatura.errors import InputError, UnreadableFile
from velatura.generation.adapters.choice import choose
from velatura.generation.adapters.file import AdapterFile
from velatura.generation.adapters.names import targets
from velatura.generation.adapters.patch import Layers
from velatura.generation.adapters.plan import AdapterPlan, plan
from velatura.generation.adapters.side import SideBranch
from velatura.generation.sd import StableDiffusionBackend
from velatura.protocols import Watch
from velatura.records import GenerationRequest

Modules = dict[str, nn.Module]
Parts = dict[str, Tensor]
Maker = Callable[[Tensor, torch.Generator], Parts]
Sets = list[dict[AdapterPlan, float]]


def around(shape: tuple[int, ...], generator: torch.Generator, size: float = 0.1, middle: float = 0.0) -> Tensor:
    return middle + size * torch.randn(*shape, generator=generator)


def lora(weight: Tensor, generator: torch.Generator) -> Parts:
    outputs, inputs, *kernel = weight.shape
    ones = [1] * len(kernel)
    return {
        ".lora_down.weight": around((3, inputs, *kernel), generator, 0.3),
        ".lora_up.weight": around((outputs, 3, *ones), generator),
        ".alpha": torch.tensor(1.5),
    }


def dora(weight: Tensor, generator: torch.Generator) -> Parts:
    norms = weight.flatten(1).norm(dim=1)
    return lora(weight, generator) | {".dora_scale": norms.view(-1, *[1] * (weight.ndim - 1)) * 1.1}


def loha(weight: Tensor, generator: torch.Generator) -> Parts:
    outputs, inputs = weight.shape[0], math.prod(weight.shape[1:])
    sides = {f"w{n}_a": (outputs, 3) for n in (1, 2)} | {f"w{n}_b": (3, inputs) for n in (1, 2)}
    return {f".hada_{name}": around(shape, generator, 0.2) for name, shape in sides.items()}


def lokr(weight: Tensor, generator: torch.Generator) -> Parts:
    outputs, inputs, *kernel = weight.shape
    whole = (outputs // 4, inputs // 4, *kernel)
    return {".lokr_w1": around((4, 4), generator, 0.3), ".lokr_w2": around(whole, generator)}


def glora(weight: Tensor, generator: torch.Generator) -> Parts:
    outputs, inputs = weight.shape
    shapes = {"a1": (inputs, 3), "a2": (3, inputs), "b1": (outputs, 3), "b2": (3, inputs)}
    return {f".{name}.weight": around(shape, generator) for name, shape in shapes.items()}


def full(weight: Tensor, generator: torch.Generator) -> Parts:
    return {".diff": around(tuple(weight.shape), generator, 0.03)}


def bias(weight: Tensor, generator: torch.Generator) -> Parts:
    return {".diff_b": around((weight.shape[0],), generator)}


def norm(weight: Tensor, generator: torch.Generator) -> Parts:
    return {".w_norm": around((weight.shape[0],), generator), ".b_norm": around((weight.shape[0],), generator)}


def oft(weight: Tensor, generator: torch.Generator) -> Parts:
    return {".oft_blocks": around((weight.shape[0] // 8, 8, 8), generator, 0.05)}


def ia3(weight: Tensor, generator: torch.Generator) -> Parts:
    return {".weight": around((weight.shape[0],), generator), ".on_input": torch.tensor([False])}


def timed(weight: Tensor, generator: torch.Generator) -> Parts:
    outputs, inputs = weight.shape
    shapes = {"q_layer.weight": (4, inputs), "p_layer.weight": (outputs, 4), "lambda_layer": (1, 4)}
    shapes |= {"base_q": (4, inputs), "base_p": (outputs, 4), "base_lambda": (1, 4)}
    return {f".{name}": around(shape, generator, 0.3) for name, shape in shapes.items()}


CONVOLUTIONS = ("conv_in", "conv_out", "conv1", "conv2", "conv_shortcut", "samplers.0.conv", "proj_in", "proj_out")
"""Of strides 1 and 2, of one pixel and of nine."""
ATTENTION = ("to_q", "to_k", "to_v", "to_out.0", "q_proj", "k_proj", "v_proj", "out_proj", "fc1", "fc2")
EMBEDDINGS = ("time_emb_proj", "linear_1", "linear_2")
ADAPTERS: dict[str, dict[tuple[str, ...], Maker]] = {
    "lora": {ATTENTION: lora, EMBEDDINGS: lora, ("ff.net.0.proj", "ff.net.2"): lora},
    "locon": {CONVOLUTIONS: lora, ("to_q",): lora},
    "text": {("q_proj", "fc1"): lora, ("layer_norm1", "final_layer_norm"): norm, ("fc2",): bias},
    "norms": {("norm", "norm1", "norm2", "norm3", "conv_norm_out", "layer_norm2"): norm, ("conv1", "fc1"): bias},
    "biases": {("conv_in", "conv2", "proj_in", "to_out.0", "time_emb_proj", "out_proj"): bias},
    "dense": {("to_q", "conv1"): loha, ("to_v", "conv2"): lokr, ("ff.net.2", "conv_out"): full, ("to_out.0",): glora},
    "dora": {("to_q", "to_k", "conv1", "samplers.0.conv", "fc1"): dora},
    "turning": {("to_v", "conv2", "fc2"): oft, ("to_k", "ff.net.2"): ia3},
}


def spelt(name: str) -> str:
    part, _, rest = name.partition(".")
    return ("lora_unet_" if part == "unet" else "lora_te_text_model_") + rest.replace(".", "_")


def adapter(path: Path, modules: Modules, layout: dict[tuple[str, ...], Maker], seed: int) -> AdapterPlan:
    generator, tensors = torch.Generator().manual_seed(seed), {}
    for name, module in modules.items():
        for leaves, make in layout.items():
            if not name.endswith(leaves) or (make is bias and module.bias is None):
                continue
            if make in (loha, lokr, dora, oft) and "conv_out" in name:
                continue
            parts = make(module.weight.detach().float(), generator)
            tensors |= {spelt(name) + suffix: values.contiguous() for suffix, values in parts.items()}
    save_file(tensors, path)
    return plan(AdapterFile(path), modules)


@pytest.fixture(scope="module")
def plans(pristine: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> dict[str, AdapterPlan]:
    """By name; a plan serves every model of the same modules."""
    folder, modules = tmp_path_factory.mktemp("sorts"), targets(**pristine)
    return {
        name: adapter(folder / f"{name}.safetensors", modules, layout, seed)
        for seed, (name, layout) in enumerate(ADAPTERS.items())
    }


def every_sort(plans: dict[str, AdapterPlan]) -> Sets:
    """Sets for nine images."""
    chosen: list[dict[str, float]] = [
        {},
        {"lora": 1.0},
        {"lora": -0.6, "locon": 0.8},
        {"locon": 1.0, "norms": 0.7, "biases": -0.4},
        {"dense": 0.9},
        {"dora": 0.8, "lora": 0.4},
        {"turning": 0.6, "locon": 0.5},
        {"turning": 1.0, "dora": 0.5, "dense": 0.3, "norms": 1.0},
        dict.fromkeys(plans, 0.5),
    ]
    return [{plans[name]: weight for name, weight in one.items()} for one in chosen]


def inputs(count: int, dtype: torch.dtype = torch.float32) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(9)
    return {
        "sample": torch.randn(count, 4, 16, 16, generator=generator).to(dtype),
        "encoder_hidden_states": torch.randn(count, 7, 64, generator=generator).to(dtype),
    }


def painted(unet: nn.Module, given: dict[str, Tensor], time: float = 400) -> Tensor:
    with torch.no_grad():
        out: Tensor = unet(given["sample"], time, encoder_hidden_states=given["encoder_hidden_states"]).sample
    return out


def one_by_one(unet: nn.Module, given: dict[str, Tensor], sets: Sets, modules: Modules) -> Tensor:
    """Paint each image alone, on patched weights."""
    found, layers = [], Layers(modules)
    for row in range(given["sample"].shape[0]):
        layers.lay(sets[row % len(sets)])
        found.append(painted(unet, {name: values[row : row + 1] for name, values in given.items()}))
    layers.restore()
    return torch.cat(found)


def bare(modules: Modules) -> bool:
    return not any(module._forward_hooks or module._forward_pre_hooks for module in modules.values())


def copies(modules: Modules) -> dict[str, Tensor]:
    return {name: module.weight.detach().clone() for name, module in modules.items()}


def test_each_image_of_a_batch_wears_its_own_set(
    models: dict[str, Any], modules: Modules, plans: dict[str, AdapterPlan]
) -> None:
    sets, before = every_sort(plans), copies(modules)
    given = inputs(len(sets))
    expected = one_by_one(models["unet"], given, sets, modules)
    plain = painted(models["unet"], given)
    with SideBranch(modules) as side:
        side.wear(sets)
        got = painted(models["unet"], given)
        assert all(torch.equal(module.weight, before[name]) for name, module in modules.items())
    assert (got - expected).abs().max() < 1e-5
    moved = (expected - plain).abs().amax((1, 2, 3))
    assert moved[0] < 1e-5
    assert moved[1:].min() > 1e-2, "the sets must matter for this to prove anything"
    assert torch.equal(painted(models["unet"], given), plain)
    assert bare(modules)


def test_a_batch_with_guidance_wears_the_sets_twice_over(
    models: dict[str, Any], modules: Modules, plans: dict[str, AdapterPlan]
) -> None:
    sets = [{plans["lora"]: 1.0}, {}, {plans["dense"]: 0.5, plans["norms"]: 1.0}]
    given = inputs(6)
    expected = one_by_one(models["unet"], given, sets, modules)
    with SideBranch(modules) as side:
        side.wear(sets)
        got = painted(models["unet"], given)
    assert (got - expected).abs().max() < 1e-5


def test_rows_are_told_apart(models: dict[str, Any], modules: Modules, plans: dict[str, AdapterPlan]) -> None:
    """The same image four times: rows of equal sets are equal, and others are not."""
    given = {name: values.expand(4, *values.shape[1:]) for name, values in inputs(1).items()}
    with SideBranch(modules) as side:
        side.wear([{plans["lora"]: 1.0}, {plans["lora"]: 0.5}])
        one, half, again, also = painted(models["unet"], given)
    assert (one - again).abs().max() < 1e-6
    assert (half - also).abs().max() < 1e-6
    assert (one - half).abs().max() > 1e-3


def test_one_set_serves_any_batch(models: dict[str, Any], modules: Modules, plans: dict[str, AdapterPlan]) -> None:
    one = [{plans["locon"]: 1.0, plans["biases"]: 1.0}]
    with SideBranch(modules) as side:
        for count in (1, 3):
            given = inputs(count)
            side.off()
            expected = one_by_one(models["unet"], given, one, modules)
            side.wear(one)
            assert (painted(models["unet"], given) - expected).abs().max() < 1e-5


def test_the_text_encoder_reads_each_prompt_with_its_own_set(
    models: dict[str, Any], modules: Modules, plans: dict[str, AdapterPlan]
) -> None:
    encoder = models["text_encoder"]
    sets = [
        {plans["text"]: 1.0},
        {},
        {plans["text"]: -0.5, plans["lora"]: 0.5},
        {plans["dora"]: 1.0, plans["norms"]: 1.0},
    ]
    words = torch.randint(0, 50, (4, 9), generator=torch.Generator().manual_seed(2))

    def read(rows: Tensor) -> Tensor:
        with torch.no_grad():
            found: Tensor = encoder(rows).last_hidden_state
        return found

    expected, layers = [], Layers(modules)
    for row, one in enumerate(sets):
        layers.lay(one)
        expected.append(read(words[row : row + 1]))
    layers.restore()
    with SideBranch(modules) as side:
        side.wear(sets)
        got = read(words)
    assert (got - torch.cat(expected)).abs().max() < 1e-5
    assert (got - read(words)).abs().amax((1, 2)).gt(1e-2).tolist() == [True, False, True, True]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_in_half_precision_it_is_as_exact_as_patched_weights(
    dtype: torch.dtype, models: dict[str, Any], modules: Modules, plans: dict[str, AdapterPlan]
) -> None:
    sets = [
        {plans["lora"]: 1.0, plans["locon"]: 0.5},
        {},
        {plans["dense"]: 0.5, plans["dora"]: 0.5, plans["norms"]: 1.0},
    ]
    given = inputs(3)
    whole = one_by_one(models["unet"], given, sets, modules)
    models["unet"].to(dtype)
    half = inputs(3, dtype)
    patched = one_by_one(models["unet"], half, sets, modules)
    with SideBranch(modules) as side:
        side.wear(sets)
        got = painted(models["unet"], half)
    assert got.dtype == dtype
    error = (patched.float() - whole).norm() / whole.norm()
    assert (got.float() - whole).norm() / whole.norm() < 2 * error


def test_convolutions_keep_their_stride_padding_and_groups(tmp_path: Path) -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.strided = nn.Conv2d(8, 12, 3, stride=2, padding=1)
            self.seamless = nn.Conv2d(8, 12, 3, padding=1, padding_mode="circular")
            self.grouped = nn.Conv2d(8, 12, 3, padding="same", groups=2)
            self.dilated = nn.Conv2d(8, 12, (3, 1), dilation=2)

    torch.manual_seed(0)
    modules = targets(unet=Net())
    found = adapter(tmp_path / "a.safetensors", modules, {("strided", "seamless", "grouped", "dilated"): lora}, 1)
    assert len(found.parts) == 4
    picture = torch.randn(2, 8, 9, 9, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        plain = [module(picture) for module in modules.values()]
        with Layers(modules) as layers:
            layers.lay({found: 1.0})
            laid = [module(picture) for module in modules.values()]
        with SideBranch(modules) as side:
            side.wear([{found: 1.0}, {}])
            got = [module(picture) for module in modules.values()]
    for one, on, off in zip(got, laid, plain, strict=True):
        assert (on - off).abs().max() > 1e-2
        assert (one[0] - on[0]).abs().max() < 1e-5
        assert (one[1] - off[1]).abs().max() < 1e-5


# Time


def masked(parts: dict[str, Tensor], acting: int) -> Tensor:
    """P diag(l m) Q - P0 diag(l0 m) Q0 of the first ranks (T-LoRA, equations 3 to 5)."""
    mask = (torch.arange(4) < acting).double()
    p, q, values = (parts[name].double() for name in (".p_layer.weight", ".q_layer.weight", ".lambda_layer"))
    p0, q0, values0 = (parts[name].double() for name in (".base_p", ".base_q", ".base_lambda"))
    return p * (values * mask) @ q - p0 * (values0 * mask) @ q0


@pytest.mark.parametrize(("floor", "power"), [(1, 1.0), (2, 0.5)])
def test_ranks_follow_the_unets_time(
    floor: int, power: float, tmp_path: Path, models: dict[str, Any], modules: Modules, plans: dict[str, AdapterPlan]
) -> None:
    unet, times = models["unet"], (999, 750, 500, 250, 1)
    layout: dict[tuple[str, ...], Maker] = {("to_q", "to_k"): timed}
    found, given = adapter(tmp_path / "timed.safetensors", modules, layout, 7), inputs(2)
    first = {name: values[:1] for name, values in given.items()}
    before, expected = copies(modules), []
    for time in times:
        acting = int(((1000 - time) / 1000) ** power * (4 - floor)) + floor
        generator = torch.Generator().manual_seed(7)
        for name, module in modules.items():
            if name.endswith(("to_q", "to_k")):
                delta = 0.8 * masked(timed(module.weight, generator), acting)
                module.weight.data.copy_(before[name].double() + delta)
        expected.append(painted(unet, first, time)[0])
        for name, module in modules.items():
            module.weight.data.copy_(before[name])
    with SideBranch(modules, rank_floor=floor, rank_power=power) as side:
        side.follow(unet)
        side.wear([{found: 1.0}])
        side.wear([{found: 0.8}, {plans["lora"]: 1.0}])
        got = [painted(unet, given, time)[0] for time in times]
    for one, other in zip(got, expected, strict=True):
        assert (one - other).abs().max() < 1e-5
    assert (painted(unet, first)[0] - got[2]).abs().max() > 1e-2
    assert not unet._forward_pre_hooks
    assert bare(modules)


def test_the_time_is_read_however_the_unet_is_called(tmp_path: Path, models: dict[str, Any], modules: Modules) -> None:
    found = adapter(tmp_path / "timed.safetensors", modules, {("to_q",): timed}, 7)
    unet, given = models["unet"], inputs(1)
    with SideBranch(modules) as side, torch.no_grad():
        side.follow(unet)
        side.wear([{found: 1.0}])
        expected = painted(unet, given, 999)
        for time in (999, 999.0, torch.tensor(999), torch.tensor([999])):
            named = unet(sample=given["sample"], timestep=time, encoder_hidden_states=given["encoder_hidden_states"])
            assert torch.equal(named.sample, expected)
        assert not torch.equal(painted(unet, given, 10), expected)


# What cannot be


def test_a_batch_that_cannot_be_shared_out_is_one_sentence(
    models: dict[str, Any], modules: Modules, plans: dict[str, AdapterPlan]
) -> None:
    with SideBranch(modules) as side:
        side.wear([{plans["lora"]: 1.0}, {}, {plans["norms"]: 1.0}])
        for count in (1, 2, 4, 5):
            with pytest.raises(InputError, match=f"^a batch of {count} cannot be shared out to 3 sets of adapters$"):
                painted(models["unet"], inputs(count))
        painted(models["unet"], inputs(3))
    assert bare(modules)


@pytest.mark.parametrize("weight", [float("nan"), float("inf")])
def test_a_weight_must_be_finite(weight: float, modules: Modules, plans: dict[str, AdapterPlan]) -> None:
    side = SideBranch(modules)
    with pytest.raises(InputError, match="must be a finite number"):
        side.wear([{plans["lora"]: 1.0}, {plans["locon"]: weight}])
    assert bare(modules)


def test_a_failure_in_the_middle_leaves_no_hook(
    tmp_path: Path, modules: Modules, plans: dict[str, AdapterPlan]
) -> None:
    layout: dict[tuple[str, ...], Maker] = {
        ATTENTION: lora,
        ("conv_out",): lambda *_: {".diff": torch.full((4, 32, 3, 3), math.nan)},
    }
    broken = adapter(tmp_path / "broken.safetensors", modules, layout, 1)
    side = SideBranch(modules)
    side.wear([{plans["lora"]: 1.0}])
    assert not bare(modules)
    with pytest.raises(UnreadableFile, match="NaN or infinity"):
        side.wear([{plans["locon"]: 1.0}, {broken: 1.0}])
    assert bare(modules)
    side.wear([{plans["lora"]: 1.0}])
    side.off()
    assert bare(modules)


def test_a_plan_for_another_model_is_refused(modules: Modules, plans: dict[str, AdapterPlan]) -> None:
    few = {name: module for name, module in modules.items() if "up_blocks" not in name}
    with pytest.raises(InputError, match="made for another model"):
        SideBranch(few).wear([{plans["lora"]: 1.0}])
    assert bare(modules)


def test_a_module_without_a_branch_is_refused_before_anything_is_painted(tmp_path: Path) -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm = nn.RMSNorm(8)

    modules = targets(unet=Net())
    save_file({"lora_unet_norm.w_norm": torch.ones(8)}, tmp_path / "a.safetensors")
    found = plan(AdapterFile(tmp_path / "a.safetensors"), modules)
    with pytest.raises(InputError, match=r"unet\.norm is a RMSNorm, which wears adapters on its weights only"):
        SideBranch(modules).wear([{found: 1.0}])
    assert bare(modules)


# Quantised weights


class Int8Linear(nn.Linear):
    """As quantising libraries do it: packed whole numbers, a scale, and a forward of its own."""

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__(linear.in_features, linear.out_features, bias=False)
        scale = linear.weight.detach().abs().amax(1, keepdim=True) / 127
        self.register_buffer("scale", scale)
        packed = (linear.weight.detach() / scale).round().to(torch.int8).view(-1, 1)
        self.weight = nn.Parameter(packed, requires_grad=False)

    def whole(self) -> Tensor:
        return self.weight.view(self.out_features, self.in_features).float() * self.scale

    def forward(self, given: Tensor) -> Tensor:
        return functional.linear(given, self.whole())


class Quantised(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.linear = Int8Linear(nn.Linear(24, 40))


def packed(path: Path, make: Maker) -> tuple[Modules, AdapterPlan]:
    modules = targets(unet=Quantised())
    stood_for = modules["unet.linear"].whole()
    parts = make(stood_for, torch.Generator().manual_seed(3))
    save_file({f"lora_unet_linear{suffix}": values.contiguous() for suffix, values in parts.items()}, path)
    return modules, plan(AdapterFile(path), modules)


@pytest.mark.parametrize("make", [lora, loha, lokr, full], ids=lambda make: make.__name__)
def test_a_quantised_weight_wears_what_does_not_ask_for_it(make: Maker, tmp_path: Path) -> None:
    modules, found = packed(tmp_path / "a.safetensors", make)
    linear = modules["unet.linear"]
    given = torch.randn(2, 5, 24, generator=torch.Generator().manual_seed(4))
    delta = found.parts["unet.linear.weight"].delta()
    with SideBranch(modules) as side:
        side.wear([{found: 0.7}, {}])
        got = linear(given)
    expected = functional.linear(given, linear.whole() + 0.7 * delta)
    assert (got[0] - expected[0]).abs().max() < 1e-5
    assert torch.equal(got[1], linear(given)[1])
    assert choose([{found: 1.0}], modules, samples=1000, height=64, width=64) == "beside"


@pytest.mark.parametrize("make", [dora, glora, oft, ia3], ids=lambda make: make.__name__)
def test_a_quantised_weight_refuses_what_would_turn_or_rescale_it(make: Maker, tmp_path: Path) -> None:
    modules, found = packed(tmp_path / "a.safetensors", make)
    with pytest.raises(InputError, match="cannot be worn beside a quantised one"):
        SideBranch(modules).wear([{found: 1.0}])
    assert bare(modules)


def test_nothing_is_laid_on_a_quantised_weight(tmp_path: Path) -> None:
    modules, found = packed(tmp_path / "a.safetensors", lora)
    before = modules["unet.linear"].weight.detach().clone()
    with pytest.raises(InputError, match=r"unet\.linear cannot wear an adapter: its weight is offloaded or quantised"):
        Layers(modules).lay({found: 1.0})
    assert torch.equal(modules["unet.linear"].weight, before)


# Painting

Asked = Callable[..., GenerationRequest]


def pictures(backend: StableDiffusionBackend, request: GenerationRequest, count: int = 1) -> list[Any]:
    return [made.image for made in backend.generate(request, count)]


def hooks(backend: StableDiffusionBackend) -> int:
    parts = (backend._pipe.unet, backend._pipe.text_encoder)
    return sum(
        len(module._forward_hooks) + len(module._forward_pre_hooks) for part in parts for module in part.modules()
    )


@pytest.fixture(scope="module")
def beside(checkpoint: Path) -> StableDiffusionBackend:
    return StableDiffusionBackend(str(checkpoint), device="cpu", laying="beside", batch_size=2)


def test_beside_the_weights_the_same_picture_is_painted(
    beside: StableDiffusionBackend, adapters: list[Path], asked: Asked, monkeypatch: pytest.MonkeyPatch
) -> None:
    worn = asked("a red fox", (adapters[0], 0.8), (adapters[1], -0.5), seed=5)
    plain = pictures(beside, asked(seed=5))[0].tobytes()
    found = pictures(beside, worn, 3)
    assert beside.laid == {}
    assert hooks(beside) == 0
    monkeypatch.setattr(beside, "_laying_way", "weights")
    for one, other in zip(pictures(beside, worn, 3), found, strict=True):
        assert np.asarray(ImageChops.difference(one, other)).max() <= 1
    assert beside.laid == {str(adapters[0]): 0.8, str(adapters[1]): -0.5}
    # What lies on the weights is taken off before anything is worn beside them.
    monkeypatch.undo()
    for one, other in zip(pictures(beside, worn, 3), found, strict=True):
        assert one.tobytes() == other.tobytes()
    assert beside.laid == {}
    assert found[0].tobytes() != plain
    assert pictures(beside, asked(seed=5))[0].tobytes() == plain


def test_what_is_painted_often_is_laid_on_the_weights(
    backend: StableDiffusionBackend, adapters: list[Path], asked: Asked
) -> None:
    pictures(backend, asked("a red fox", (adapters[0], 0.8), steps=8))
    assert backend.laid == {str(adapters[0]): 0.8}


def test_an_adapter_that_follows_time_is_painted_beside_the_weights(
    tmp_path: Path, backend: StableDiffusionBackend, modules: Modules, asked: Asked, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "timed.safetensors"
    adapter(path, modules, {("to_q", "to_k", "to_v"): timed}, 7)
    worn = asked("a red fox", (path, 1.0), steps=3)
    before = hooks(backend)  # transformers leaves some of its own
    first = pictures(backend, worn)[0].tobytes()
    assert backend.laid == {}
    assert hooks(backend) == before
    assert first != pictures(backend, asked("a red fox", steps=3))[0].tobytes()
    assert first == pictures(backend, worn)[0].tobytes()
    monkeypatch.setattr(backend, "_laying_way", "weights")
    with pytest.raises(InputError, match="acts differently at every time step and cannot lie on the weights"):
        pictures(backend, worn)


def test_a_failure_while_painting_takes_everything_off(
    beside: StableDiffusionBackend, adapters: list[Path], asked: Asked
) -> None:
    def stop(_: float) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        list(beside.generate(asked("a red fox", (adapters[0], 0.8)), watch=Watch(progress=stop)))
    assert hooks(beside) == 0
    assert beside.laid == {}
