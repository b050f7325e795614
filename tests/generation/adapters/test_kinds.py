"""Every kind does to a weight what its definition says, computed here again in float64."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from velatura.generation.adapters.file import AdapterFile
from velatura.generation.adapters.names import targets
from velatura.generation.adapters.patch import Layers
from velatura.generation.adapters.plan import plan

WEIGHTS = (1.0, 0.7, -0.5)
RANK = 3


class Net(nn.Module):
    """One module of every sort, with sides that no mistake of axes survives."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(24, 40)
        self.square = nn.Linear(24, 24)
        self.point = nn.Conv2d(12, 20, 1)
        self.conv = nn.Conv2d(12, 20, 3)
        self.cube = nn.Conv2d(16, 16, 3)
        self.norm = nn.LayerNorm(24)
        self.group = nn.GroupNorm(4, 20)


class Draw:
    """Draws factors; the same for the same case."""

    def __init__(self, seed: int) -> None:
        self.generator = torch.Generator().manual_seed(seed)

    def __call__(self, *shape: int) -> Tensor:
        return torch.randn(*shape, generator=self.generator) / 2

    def near_one(self, *shape: int) -> Tensor:
        return 1 + torch.rand(*shape, generator=self.generator)


Formula = Callable[[Tensor, float], Tensor]
"""The weight in float64 and the adapter's weight -> what is to lie there."""


class Case(NamedTuple):
    kind: str
    module: str
    make: Callable[[tuple[int, ...], Draw], tuple[dict[str, Tensor], Formula]]


CASES: list[Case] = []


def on(*modules: str, kind: str) -> Callable[..., Callable[..., object]]:
    """Register a kind, made for the shape of each of the modules."""

    def keep(make: Callable[..., tuple[dict[str, Tensor], Formula]]) -> Callable[..., object]:
        CASES.extend(Case(kind, module, make) for module in modules)
        return make

    return keep


def adds(delta: Tensor) -> Formula:
    return lambda old, weight: old + weight * delta.reshape(old.shape)


def towards(whole: Callable[[Tensor], Tensor]) -> Formula:
    """Go a part of the way to what lies there at weight 1."""
    return lambda old, weight: old + weight * (whole(old) - old)


def product(up: Tensor, down: Tensor) -> Tensor:
    """(outputs, rank, ...) times (rank, inputs, *kernel), in float64."""
    return torch.einsum("or,rik->oik", up.double().flatten(1), down.double().reshape(*down.shape[:2], -1))


def contracted(core: Tensor, up: Tensor, down: Tensor) -> Tensor:
    """Tucker: core (p, q, *kernel), up (p, outputs), down (q, inputs)."""
    return torch.einsum("pqk,po,qi->oik", core.double().flatten(2), up.double(), down.double())


def kronecker(one: Tensor, two: Tensor) -> Tensor:
    """The block (a, c) of the product is one[a, c] times the whole of two, at every place of the kernel."""
    (a, c), (b, d, *kernel) = one.shape, two.shape
    blocks = torch.einsum("ac,bdk->abcdk", one.double(), two.double().reshape(b, d, -1))
    return blocks.reshape(a * b, c * d, *kernel)


def norm_of(weight: Tensor, axis: int) -> Tensor:
    """The length of each output's inputs (axis 0) or of each input's outputs (axis 1), to be broadcast."""
    others = [n for n in range(weight.ndim) if n != axis]
    return weight.square().sum(others, keepdim=True).sqrt()


@on("linear", "point", "conv", kind="LoRA")
def lora(shape: tuple[int, ...], draw: Draw) -> tuple[dict[str, Tensor], Formula]:
    outputs, inputs, *kernel = shape
    up, down = draw(outputs, RANK, *[1] * len(kernel)), draw(RANK, inputs, *kernel)
    parts = {"lora_up.weight": up, "lora_down.weight": down, "alpha": torch.tensor(2.0)}
    return parts, adds(2 / RANK * product(up, down))


@on("linear", kind="LoRA without an alpha")
def bare(shape: tuple[int, ...], draw: Draw) -> tuple[dict[str, Tensor], Formula]:
    up, down = draw(shape[0], RANK), draw(RANK, shape[1])
    return {"lora_up.weight": up, "lora_down.weight": down}, adds(product(up, down))


@on("conv", kind="LoCon with a Tucker core")
def tucker(shape: tuple[int, ...], draw: Draw) -> tuple[dict[str, Tensor], Formula]:
    outputs, inputs, *kernel = shape
    up, down, mid = draw(outputs, 4, 1, 1), draw(RANK, inputs, 1, 1), draw(4, RANK, *kernel)
    parts = {"lora_up.weight": up, "lora_down.weight": down, "lora_mid.weight": mid, "alpha": torch.tensor(2.0)}
    return parts, adds(2 / 4 * contracted(mid, up.flatten(1).T, down.flatten(1)))


@on("linear", "point", "conv", kind="LoHa")
def loha(shape: tuple[int, ...], draw: Draw) -> tuple[dict[str, Tensor], Formula]:
    outputs, columns = shape[0], torch.Size(shape[1:]).numel()
    one, two = ((draw(outputs, RANK), draw(RANK, columns)) for _ in range(2))
    parts = {
        f"hada_w{n}_{side}": part for n, pair in ((1, one), (2, two)) for side, part in zip("ab", pair, strict=True)
    }
    first, second = (torch.matmul(a.double(), b.double()) for a, b in (one, two))
    return parts | {"alpha": torch.tensor(1.5)}, adds(1.5 / RANK * first * second)


@on("conv", kind="LoHa with Tucker cores")
def loha_tucker(shape: tuple[int, ...], draw: Draw) -> tuple[dict[str, Tensor], Formula]:
    outputs, inputs, *kernel = shape
    parts, halves = {"alpha": torch.tensor(1.5)}, []
    for n in (1, 2):
        core, a, b = draw(RANK, RANK, *kernel), draw(RANK, outputs), draw(RANK, inputs)
        parts |= {f"hada_t{n}": core, f"hada_w{n}_a": a, f"hada_w{n}_b": b}
        halves.append(contracted(core, a, b))
    return parts, adds(1.5 / RANK * halves[0] * halves[1])


@on("linear", "point", "conv", kind="LoKr of two whole factors")
def lokr_whole(shape: tuple[int, ...], draw: Draw) -> tuple[dict[str, Tensor], Formula]:
    """Its alpha means nothing, for there is no rank."""
    outputs, inputs, *kernel = shape
    one, two = draw(4, 2), draw(outputs // 4, inputs // 2, *kernel)
    return {"lokr_w1": one, "lokr_w2": two, "alpha": torch.tensor(7.0)}, adds(kronecker(one, two))


@on("linear", "conv", kind="LoKr with a product for its second factor")
def lokr_second(shape: tuple[int, ...], draw: Draw) -> tuple[dict[str, Tensor], Formula]:
    outputs, inputs, *kernel = shape
    columns = inputs // 2 * torch.Size(kernel).numel()
    one, a, b = draw(4, 2), draw(outputs // 4, RANK), draw(RANK, columns)
    two = (a.double() @ b.double()).reshape(outputs // 4, inputs // 2, *kernel)
    parts = {"lokr_w1": one, "lokr_w2_a": a, "lokr_w2_b": b, "alpha": torch.tensor(2.0)}
    return parts, adds(2 / RANK * kronecker(one, two))


@on("linear", "conv", kind="LoKr with a product for its first factor")
def lokr_first(shape: tuple[int, ...], draw: Draw) -> tuple[dict[str, Tensor], Formula]:
    outputs, inputs, *kernel = shape
    a, b, two = draw(4, RANK), draw(RANK, 2), draw(outputs // 4, inputs // 2, *kernel)
    parts = {"lokr_w1_a": a, "lokr_w1_b": b, "lokr_w2": two, "alpha": torch.tensor(2.0)}
    return parts, adds(2 / RANK * kronecker(a.double() @ b.double(), two))


@on("linear", "conv", kind="LoKr of two products")
def lokr_products(shape: tuple[int, ...], draw: Draw) -> tuple[dict[str, Tensor], Formula]:
    outputs, inputs, *kernel = shape
    columns = inputs // 2 * torch.Size(kernel).numel()
    one, two = (draw(4, RANK), draw(RANK, 2)), (draw(outputs // 4, RANK), draw(RANK, columns))
    parts = {
        f"lokr_w{n}_{side}": part for n, pair in ((1, one), (2, two)) for side, part in zip("ab", pair, strict=True)
    }
    first, second = (torch.matmul(a.double(), b.double()) for a, b in (one, two))
    delta = kronecker(first, second.reshape(outputs // 4, inputs // 2, *kernel))
    return parts | {"alpha": torch.tensor(2.0)}, adds(2 / RANK * delta)


@on("conv", kind="LoKr with a Tucker core")
def lokr_tucker(shape: tuple[int, ...], draw: Draw) -> tuple[dict[str, Tensor], Formula]:
    outputs, inputs, *kernel = shape
    one, core = draw(4, 2), draw(RANK, RANK, *kernel)
    a, b = draw(RANK, outputs // 4), draw(RANK, inputs // 2)
    parts = {"lokr_w1": one, "lokr_t2": core, "lokr_w2_a": a, "lokr_w2_b": b, "alpha": torch.tensor(2.0)}
    return parts, adds(2 / RANK * kronecker(one, contracted(core, a, b)))


def decomposed(inner: Callable[..., tuple[dict[str, Tensor], Formula]], axis: int) -> Callable[..., object]:
    """DoRA over another kind, with a magnitude for each output (axis 0) or input (axis 1)."""

    def make(shape: tuple[int, ...], draw: Draw) -> tuple[dict[str, Tensor], Formula]:
        parts, formula = inner(shape, draw)
        sides = [1] * len(shape)
        sides[axis] = shape[axis]
        magnitude = draw.near_one(*sides)

        def whole(old: Tensor) -> Tensor:
            direction = formula(old, 1.0)
            return magnitude.double() * direction / norm_of(direction, axis)

        return parts | {"dora_scale": magnitude}, towards(whole)

    return make


for over in (lora, loha, lokr_second):
    for side, axis in (("output", 0), ("input", 1)):
        on("linear", "square", "conv", "cube", kind=f"DoRA by {side} over {over.__name__}")(decomposed(over, axis))
on("conv", kind="DoRA by output over tucker")(decomposed(tucker, 0))
on("conv", kind="DoRA by input over lokr_tucker")(decomposed(lokr_tucker, 1))


@on("linear", "conv", "norm", "group", kind="full difference")
def full(shape: tuple[int, ...], draw: Draw) -> tuple[dict[str, Tensor], Formula]:
    diff = draw(*shape)
    return {"diff": diff}, adds(diff.double())


@on("norm", "group", kind="norm difference")
def norm(shape: tuple[int, ...], draw: Draw) -> tuple[dict[str, Tensor], Formula]:
    diff = draw(*shape)
    return {"w_norm": diff}, adds(diff.double())


@on("linear", "point", "conv", kind="GLoRA")
def glora(shape: tuple[int, ...], draw: Draw) -> tuple[dict[str, Tensor], Formula]:
    outputs, inputs, *kernel = shape
    ones = [1] * len(kernel)
    a1, a2 = draw(inputs, RANK, *ones), draw(RANK, inputs, *ones)
    b1, b2 = draw(outputs, RANK, *ones), draw(RANK, inputs, *kernel)
    parts = {"a1.weight": a1, "a2.weight": a2, "b1.weight": b1, "b2.weight": b2, "alpha": torch.tensor(2.0)}
    return parts, multiplied(a1.flatten(1), a2.flatten(1), product(b1, b2))


@on("conv", kind="GLoRA with a Tucker core")
def glora_tucker(shape: tuple[int, ...], draw: Draw) -> tuple[dict[str, Tensor], Formula]:
    outputs, inputs, *kernel = shape
    a1, a2, b1 = draw(inputs, RANK, 1, 1), draw(RANK, inputs, 1, 1), draw(outputs, RANK, 1, 1)
    b2, core = draw(RANK, inputs, 1, 1), draw(RANK, RANK, *kernel)
    parts = {"a1.weight": a1, "a2.weight": a2, "b1.weight": b1, "b2.weight": b2, "bm.weight": core}
    delta = contracted(core, b1.flatten(1).T, b2.flatten(1))
    return parts | {"alpha": torch.tensor(2.0)}, multiplied(a1.flatten(1), a2.flatten(1), delta)


@on("linear", "square", "point", kind="GLoRA of the first releases")
def glora_old(shape: tuple[int, ...], draw: Draw) -> tuple[dict[str, Tensor], Formula]:
    outputs, inputs, *kernel = shape
    ones = [1] * len(kernel)
    a1, a2 = draw(RANK, inputs, *ones), draw(inputs, RANK, *ones)
    b1, b2 = draw(RANK, inputs, *ones), draw(outputs, RANK, *ones)
    parts = {"a1.weight": a1, "a2.weight": a2, "b1.weight": b1, "b2.weight": b2, "alpha": torch.tensor(2.0)}
    return parts, multiplied(a2.flatten(1), a1.flatten(1), product(b2, b1))


def multiplied(first: Tensor, second: Tensor, beside: Tensor) -> Formula:
    """2 / rank (W first second + beside), the matrices acting on the inputs at every place of the kernel."""

    def make(old: Tensor, weight: float) -> Tensor:
        turned = torch.einsum("oik,ij->ojk", old.reshape(*old.shape[:2], -1), first.double() @ second.double())
        return old + weight * 2 / RANK * (turned.reshape(old.shape) + beside.reshape(old.shape))

    return make


def written(folder: Path, tensors: dict[str, Tensor]) -> AdapterFile:
    save_file({key: tensor.contiguous() for key, tensor in tensors.items()}, folder / "a.safetensors")
    return AdapterFile(folder / "a.safetensors")


def laid(folder: Path, modules: dict[str, nn.Module], case: Case, weight: float) -> Formula:
    """Make the case's adapter, lay it, and return its formula."""
    parts, formula = case.make(tuple(modules[f"unet.{case.module}"].weight.shape), Draw(len(case.kind)))
    file = written(folder, {f"lora_unet_{case.module}.{name}": part for name, part in parts.items()})
    found = plan(file, modules)
    assert file.ignored == ()
    assert list(found.parts) == [f"unet.{case.module}.weight"]
    Layers(modules).lay({found: weight})
    return formula


def error(got: Tensor, expected: Tensor, old: Tensor) -> float:
    """The error relative to the effect."""
    return float((got.detach().double() - expected).norm() / (expected - old).norm())


def one_case(case: Case) -> str:
    return f"{case.kind}-{case.module}"


@pytest.fixture
def modules() -> dict[str, nn.Module]:
    torch.manual_seed(0)
    return targets(unet=Net())


@pytest.mark.parametrize("weight", WEIGHTS)
@pytest.mark.parametrize("case", CASES, ids=one_case)
def test_a_kind_does_to_a_weight_what_its_definition_says(
    case: Case, weight: float, tmp_path: Path, modules: dict[str, nn.Module]
) -> None:
    live = modules[f"unet.{case.module}"].weight
    old = live.detach().double()
    formula = laid(tmp_path, modules, case, weight)
    assert error(live, formula(old, weight), old) < 1e-5


@pytest.mark.parametrize("case", [case for case in CASES if case.module in ("conv", "cube")], ids=one_case)
def test_a_kind_does_the_same_to_weights_whose_channels_lie_last(case: Case, tmp_path: Path) -> None:
    torch.manual_seed(0)
    modules = targets(unet=Net().to(memory_format=torch.channels_last))
    live = modules[f"unet.{case.module}"].weight
    old = live.detach().double()
    formula = laid(tmp_path, modules, case, 0.7)
    assert live.is_contiguous(memory_format=torch.channels_last)
    assert error(live, formula(old, 0.7), old) < 1e-5


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("case", CASES, ids=one_case)
def test_a_kind_is_rounded_once_on_a_model_of_low_precision(case: Case, dtype: torch.dtype, tmp_path: Path) -> None:
    """Not by more than float32 leaves open at the middle between two values."""
    torch.manual_seed(0)
    modules = targets(unet=Net().to(dtype))
    live = modules[f"unet.{case.module}"].weight
    old = live.detach().double()
    exact = laid(tmp_path, modules, case, 0.7)(old, 0.7)
    nearest = (exact.to(dtype).double() - exact).abs()
    assert ((live.detach().double() - exact).abs() <= nearest + 1e-5 * exact.abs().max()).all()
