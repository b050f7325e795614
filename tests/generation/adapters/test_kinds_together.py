"""Kinds beside each other: in one set, and in one file."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import permutations
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from velatura.errors import UnreadableFile
from velatura.generation.adapters.coverage import coverage
from velatura.generation.adapters.file import AdapterFile
from velatura.generation.adapters.names import targets
from velatura.generation.adapters.patch import Layers
from velatura.generation.adapters.plan import AdapterPlan, plan


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(24, 40)
        self.other = nn.Linear(24, 40)
        self.conv = nn.Conv2d(12, 20, 3)
        self.norm = nn.LayerNorm(24)
        self.group = nn.GroupNorm(4, 20)


@pytest.fixture
def modules() -> dict[str, nn.Module]:
    torch.manual_seed(0)
    return targets(unet=Net().requires_grad_(False))


Plan = Callable[[dict[str, Tensor]], AdapterPlan]


@pytest.fixture
def planned(tmp_path: Path, modules: dict[str, nn.Module]) -> Plan:
    """Write the parts of one adapter, by `module.part`, and plan it."""

    def make(parts: dict[str, Tensor]) -> AdapterPlan:
        path = tmp_path / f"{len(list(tmp_path.iterdir()))}.safetensors"
        save_file({f"lora_unet_{key}": part.contiguous() for key, part in parts.items()}, path)
        return plan(AdapterFile(path), modules, force=True)

    return make


def draw(*shape: int) -> Tensor:
    return torch.randn(*shape) / 2


def lora(module: str = "linear") -> dict[str, Tensor]:
    return {f"{module}.lora_up.weight": draw(40, 3), f"{module}.lora_down.weight": draw(3, 24)}


def loha(module: str = "linear") -> dict[str, Tensor]:
    sides = {"w1_a": draw(40, 2), "w1_b": draw(2, 24), "w2_a": draw(40, 2), "w2_b": draw(2, 24)}
    return {f"{module}.hada_{side}": part for side, part in sides.items()}


def lokr(module: str = "linear") -> dict[str, Tensor]:
    return {f"{module}.lokr_w1": draw(4, 2), f"{module}.lokr_w2": draw(10, 12)}


def dora(module: str = "linear") -> dict[str, Tensor]:
    return lora(module) | {f"{module}.dora_scale": 1 + torch.rand(40, 1)}


def glora(module: str = "linear") -> dict[str, Tensor]:
    shapes = {"a1": (24, 2), "a2": (2, 24), "b1": (40, 2), "b2": (2, 24)}
    return {f"{module}.{side}.weight": draw(*shape) for side, shape in shapes.items()}


def full(module: str = "linear") -> dict[str, Tensor]:
    return {f"{module}.diff": draw(40, 24)}


def oft() -> dict[str, Tensor]:
    return {"linear.oft_blocks": draw(8, 5, 5)}


def ia3(side: int) -> dict[str, Tensor]:
    return {"linear.weight": draw((40, 24)[side]), "linear.on_input": torch.tensor(side)}


ADDITIVE = [lora, loha, lokr, dora, glora, full]


def effect(modules: dict[str, nn.Module], sets: Sequence[tuple[AdapterPlan, float]]) -> Tensor:
    """What a set adds to the linear layer, in float64."""
    live = modules["unet.linear"].weight
    before = live.double()
    with Layers(modules) as layers:
        layers.lay(dict(sets))
        return live.double() - before


def test_additive_kinds_lie_in_any_order_and_sum(modules: dict[str, nn.Module], planned: Plan) -> None:
    """Even those that read the weight they lie on: they all read the unchanged one."""
    plans = [(planned(make()), weight) for make, weight in zip(ADDITIVE, (1.0, 0.7, -0.5, 0.6, -0.3, 0.9), strict=True)]
    total = sum((effect(modules, [one]) for one in plans), torch.zeros(40, 24, dtype=torch.float64))
    for number, order in enumerate(permutations(plans)):
        if number % 60 == 0:
            assert float((effect(modules, order) - total).norm() / total.norm()) < 1e-6


def test_turning_kinds_act_on_the_sum_in_the_order_of_the_set(modules: dict[str, nn.Module], planned: Plan) -> None:
    """Wherever additive ones stand in the set."""
    add, turn, outputs, inputs = (planned(parts) for parts in (lora(), oft(), ia3(0), ia3(1)))
    old = modules["unet.linear"].weight.double()
    summed = old + 0.7 * add.parts["unet.linear.weight"].delta().double()
    blocks = AdapterFile(turn.file.path).tensor("lora_unet_linear.oft_blocks").double()
    skew = blocks - blocks.transpose(1, 2)
    one = torch.eye(5, dtype=torch.float64)
    rotation = torch.block_diag(*((one + s) @ torch.linalg.inv(one - s) for s in skew)).T

    def scale(found: AdapterPlan, weight: float) -> Tensor:
        return 1 + weight * AdapterFile(found.file.path).tensor("lora_unet_linear.weight").double()

    def rotated(weight: Tensor) -> Tensor:
        return weight + 0.5 * (rotation @ weight - weight)

    rows, columns = scale(outputs, 0.8)[:, None], scale(inputs, -0.6)[None]
    first = rotated(rows * summed * columns)
    last = rows * rotated(summed) * columns
    orders = {
        "scaled, then turned": ([(outputs, 0.8), (add, 0.7), (inputs, -0.6), (turn, 0.5)], first),
        "turned, then scaled": ([(turn, 0.5), (inputs, -0.6), (outputs, 0.8), (add, 0.7)], last),
    }
    for name, (order, expected) in orders.items():
        got = effect(modules, order)
        assert float((got - (expected - old)).norm() / (expected - old).norm()) < 1e-6, name
    assert float((first - last).norm() / (first - old).norm()) > 1e-2


def test_one_file_may_hold_a_kind_for_every_module(modules: dict[str, nn.Module], planned: Plan) -> None:
    parts = (
        lora("linear")
        | lokr("other")
        | {
            "linear.diff_b": draw(40),
            "conv.diff": draw(20, 12, 3, 3),
            "conv.diff_b": draw(20),
            "norm.w_norm": draw(24),
            "norm.b_norm": draw(24),
            "group.diff": draw(20),
            "group.diff_b": draw(20),
        }
    )
    found = planned(parts)
    assert found.file.kinds == {
        "norm difference": 3,
        "bias difference": 3,
        "LoKr": 1,
        "LoRA": 1,
        "full difference": 1,
    }
    report = coverage(found, modules)
    assert (report.mapped, report.missing, report.mismatched, report.dropped) == (9, (), (), ())
    expected = {
        "linear.weight": parts["linear.lora_up.weight"].double() @ parts["linear.lora_down.weight"].double(),
        "linear.bias": parts["linear.diff_b"],
        "other.weight": torch.kron(parts["other.lokr_w1"].double(), parts["other.lokr_w2"].double()),
        "conv.weight": parts["conv.diff"],
        "conv.bias": parts["conv.diff_b"],
        "norm.weight": parts["norm.w_norm"],
        "norm.bias": parts["norm.b_norm"],
        "group.weight": parts["group.diff"],
        "group.bias": parts["group.diff_b"],
    }
    live = {name: getattr(modules[f"unet.{name.split('.')[0]}"], name.split(".")[1]) for name in expected}
    before = {name: values.clone() for name, values in live.items()}
    layers = Layers(modules)
    layers.lay({found: 0.7})
    for name, delta in expected.items():
        wanted = before[name].double() + 0.7 * delta.double()
        assert float((live[name].double() - wanted).norm() / (0.7 * delta.double()).norm()) < 1e-5, name
    layers.restore()
    assert all(torch.equal(values, before[name]) for name, values in live.items())


def test_the_bias_of_a_lora_shares_its_scale(modules: dict[str, nn.Module], tmp_path: Path) -> None:
    bias = draw(40)
    parts = {
        "lora_A.weight": draw(3, 24),
        "lora_B.weight": draw(40, 3),
        "lora_B.bias": bias,
        "alpha": torch.tensor(1.5),
    }
    save_file({f"unet.linear.{name}": part for name, part in parts.items()}, tmp_path / "b.safetensors")
    live = modules["unet.linear"].bias
    before = live.double()
    found = plan(AdapterFile(tmp_path / "b.safetensors"), modules)
    assert found.file.kinds == {"LoRA": 1, "LoRA bias": 1}
    Layers(modules).lay({found: -0.5})
    assert torch.allclose(live.double(), before - 0.5 * 0.5 * bias.double(), rtol=1e-6, atol=1e-7)


REFUSED: dict[str, tuple[dict[str, Tensor], str]] = {
    "two kinds for one weight": (lora() | lokr(), "two kinds of network at once"),
    "a whole difference and a LoRA": (lora() | full(), "two kinds of network at once"),
    "a magnitude alone": ({"linear.dora_scale": draw(40, 1)}, "magnitude without a direction"),
    "a magnitude for a rotation": (oft() | {"linear.dora_scale": draw(40, 1)}, "magnitude without a direction"),
    "two magnitudes": (dora() | {"linear.lora_magnitude_vector": draw(40)}, "two magnitudes"),
    "a factor whole and as a product": (
        lokr() | {"linear.lokr_w2_a": draw(10, 2), "linear.lokr_w2_b": draw(2, 12)},
        "w2 both whole and as a product",
    ),
    "half of a Tucker pair": (loha() | {"linear.hada_t1": draw(2, 2)}, "lacks its t2"),
    "half of a LoRA": ({"linear.lora_up.weight": draw(40, 3)}, "lacks its down"),
    "half of a LoKr": ({"linear.lokr_w1": draw(4, 2), "linear.lokr_w2_a": draw(10, 2)}, "lacks its w2_b"),
    "two biases": (full() | {"linear.diff_b": draw(40), "linear.b_norm": draw(40)}, "two differences of its bias"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_has_no_one_meaning_is_refused_and_no_part_dropped(case: str, planned: Plan) -> None:
    parts, reason = REFUSED[case]
    with pytest.raises(UnreadableFile, match=reason):
        planned(parts)


WRONG: dict[str, dict[str, Tensor]] = {
    "a magnitude of outputs as one of inputs": lora() | {"linear.dora_scale": draw(1, 40)},
    "a magnitude of neither side": lora() | {"linear.dora_scale": draw(7, 1)},
    "a Tucker core for a matrix": {
        "linear.lora_up.weight": draw(40, 3),
        "linear.lora_down.weight": draw(3, 24),
        "linear.lora_mid.weight": draw(3, 3, 3, 3),
    },
    "a rotation of too few outputs": {"linear.oft_blocks": draw(4, 5, 5)},
    "a scale of neither side": {"linear.weight": draw(7), "linear.on_input": torch.tensor(1)},
    "a product of another shape": {"linear.lokr_w1": draw(4, 2), "linear.lokr_w2": draw(10, 10)},
    "a convolution for a matrix": {"linear.lora_up.weight": draw(40, 3), "linear.lora_down.weight": draw(3, 24, 3, 3)},
}


@pytest.mark.parametrize("case", WRONG)
def test_what_does_not_fit_is_named_and_nothing_of_it_laid(
    case: str, planned: Plan, modules: dict[str, nn.Module]
) -> None:
    before = modules["unet.linear"].weight.clone()
    found = planned(WRONG[case] | full("other"))
    report = coverage(found, modules)
    assert (report.lays, report.mapped, report.mismatched) == (False, 1, ("lora_unet_linear",))
    Layers(modules).lay({found: 1.0})
    assert torch.equal(modules["unet.linear"].weight, before)


def test_a_tucker_core_may_be_flat_on_a_matrix(planned: Plan, modules: dict[str, nn.Module]) -> None:
    up, down, mid = draw(40, 4), draw(3, 24), draw(4, 3)
    found = planned({"linear.lora_up.weight": up, "linear.lora_down.weight": down, "linear.lora_mid.weight": mid})
    expected = up.double() @ mid.double() @ down.double()
    assert float((effect(modules, [(found, 1.0)]) - expected).norm() / expected.norm()) < 1e-6
