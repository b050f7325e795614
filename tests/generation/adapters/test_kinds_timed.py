"""T-LoRA acts by the first of its ranks at noisy steps and by all of them at the end, beside the weights."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from velatura.errors import InputError
from velatura.generation.adapters.coverage import coverage
from velatura.generation.adapters.file import AdapterFile
from velatura.generation.adapters.names import targets
from velatura.generation.adapters.patch import Layers
from velatura.generation.adapters.plan import AdapterPlan, plan
from velatura.generation.adapters.side import SideBranch

WEIGHTS = (1.0, 0.7, -0.5)
TIMES = (0, 1, 250, 500, 900, 999, 1000)
RANK, FLOOR, POWER = 6, 2, 1.5


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(24, 40)
        self.point = nn.Conv2d(12, 20, 1)
        self.conv = nn.Conv2d(12, 20, 3)

    def forward(self, given: Tensor, timestep: int) -> Tensor:
        return self.linear(given)


@pytest.fixture
def net() -> Net:
    torch.manual_seed(0)
    return Net().requires_grad_(False)


Halves = tuple[tuple[Tensor, Tensor, Tensor], tuple[Tensor, Tensor, Tensor]]
"""(P, l, Q) as trained, and as the training began."""


def orthogonal(rows: int, columns: int) -> Tensor:
    return torch.linalg.qr(torch.randn(max(rows, columns), min(rows, columns)))[0].reshape(rows, columns)


def drawn(outputs: int, inputs: int) -> tuple[Tensor, Tensor, Tensor]:
    return torch.randn(outputs, RANK) / 2, torch.rand(1, RANK) + 1, torch.randn(RANK, inputs) / 2


def papers(weight: Tensor, prefix: str) -> tuple[dict[str, Tensor], Halves]:
    """The layers that the paper's trainer saves: what it began with lies beside what it came to."""
    outputs, inputs = weight.flatten(1).shape
    now, start = drawn(outputs, inputs), drawn(outputs, inputs)
    tensors = {}
    for half, (p, values, q) in (("", now), ("base_", start)):
        layer = "" if half else "_layer"
        tensors |= {f"{prefix}.{half}p{layer}.weight": p, f"{prefix}.{half}q{layer}.weight": q}
        tensors[f"{prefix}.{half}lambda{layer}"] = values
    return tensors, (now, start)


def lycoris(weight: Tensor, prefix: str) -> tuple[dict[str, Tensor], Halves]:
    """LyCORIS leaves out the beginning: the first singular vectors and values of the unchanged weight."""
    outputs, inputs = weight.flatten(1).shape
    now = drawn(outputs, inputs)
    ones = [1] * (weight.ndim - 2)
    tensors = {
        f"{prefix}.p_layer.weight": now[0].reshape(outputs, RANK, *ones),
        f"{prefix}.q_layer.weight": now[2].reshape(RANK, inputs, *ones),
        f"{prefix}.lambda_layer": now[1],
    }
    u, s, v = torch.linalg.svd(weight.flatten(1).double(), full_matrices=False)
    return tensors, (now, (u[:, :RANK], s[:RANK], v[:RANK]))


def acting(step: int) -> int:
    """The ranks that act at a step of 1000: eq. 4 of the paper, as its trainer computes it."""
    return int(((1000 - step) / 1000) ** POWER * (RANK - FLOOR)) + FLOOR


def difference(halves: Halves, ranks: int, scale: float) -> Tensor:
    """scale (P diag(l m) Q - P0 diag(l0 m) Q0)"""
    mask = (torch.arange(RANK) < ranks).double()
    products = [p.double() @ torch.diag(values.double().flatten() * mask) @ q.double() for p, values, q in halves]
    return scale * (products[0] - products[1])


FORMS = {"paper": (papers, "unet.{}.lora"), "LyCORIS": (lycoris, "lora_unet_{}")}


def made(form: str, module: str, net: Net, folder: Path) -> tuple[AdapterPlan, Halves]:
    make, prefix = FORMS[form]
    tensors, halves = make(getattr(net, module).weight, prefix.format(module))
    tensors[f"{prefix.format(module)}.alpha"] = torch.tensor(3.0)
    save_file(tensors, folder / "t.safetensors")
    file = AdapterFile(folder / "t.safetensors")
    assert file.kinds == {"T-LoRA": 1}
    assert file.ignored == ()
    return plan(file, targets(unet=net)), halves


@pytest.mark.parametrize("weight", WEIGHTS)
@pytest.mark.parametrize("module", ["linear", "point"])
@pytest.mark.parametrize("form", FORMS)
def test_the_ranks_that_act_are_those_of_the_step(
    form: str, module: str, weight: float, net: Net, tmp_path: Path
) -> None:
    found, halves = made(form, module, net, tmp_path)
    layer = getattr(net, module)
    given = torch.randn(2, 24) if module == "linear" else torch.randn(2, 12, 5, 5)
    plain = layer(given).double()
    with SideBranch(targets(unet=net), rank_floor=FLOOR, rank_power=POWER) as side:
        side.wear([{found: weight}])
        for step in TIMES:
            side.at(step / 1000)
            delta = difference(halves, acting(step), 3.0 / RANK)
            effect = weight * torch.einsum("oi,bi...->bo...", delta, given.double())
            got = layer(given).double() - plain
            assert float((got - effect).norm() / effect.norm()) < 1e-5, step
    assert torch.equal(layer(given).double(), plain)


@pytest.mark.parametrize(("rank", "floor", "power"), [(6, 2, 1.5), (11, 1, 1.0), (21, 1, 1.0), (24, 12, 2.0)])
def test_at_every_step_as_many_ranks_act_as_in_training(
    rank: int, floor: int, power: float, net: Net, tmp_path: Path
) -> None:
    """Every rank writes to an output of its own, so that they can be counted."""
    layers = {"p_layer.weight": torch.eye(40, rank), "q_layer.weight": torch.eye(rank, 24)}
    start = {f"base_{name[0]}.weight": torch.zeros_like(layer) for name, layer in layers.items()}
    values = {"lambda_layer": torch.ones(1, rank), "base_lambda": torch.zeros(1, rank)}
    tensors = layers | start | values
    save_file({f"unet.linear.lora.{name}": part for name, part in tensors.items()}, tmp_path / "t.safetensors")
    found = plan(AdapterFile(tmp_path / "t.safetensors"), targets(unet=net))
    given = torch.ones(1, 24)
    plain = net(given, 0)
    with SideBranch(targets(unet=net), rank_floor=floor, rank_power=power) as side:
        side.wear([{found: 1.0}])
        side.follow(net)
        counted = [int((net(given, step) - plain > 0.5).sum()) for step in range(1001)]
    expected = [int(((1000 - step) / 1000) ** power * (rank - floor)) + floor for step in range(1001)]
    assert [step for step in range(1001) if counted[step] != expected[step]] == []


def test_the_step_is_read_from_the_calls_of_the_denoiser(net: Net, tmp_path: Path) -> None:
    found, halves = made("paper", "linear", net, tmp_path)
    given = torch.randn(2, 24)
    plain = net(given, 0).double()
    with SideBranch(targets(unet=net), rank_floor=FLOOR, rank_power=POWER) as side:
        side.wear([{found: 1.0}])
        side.follow(net)
        for step in (900, 0, 500):
            effect = given.double() @ difference(halves, acting(step), 3.0 / RANK).T
            got = net(given, timestep=step).double() - plain
            assert float((got - effect).norm() / effect.norm()) < 1e-5, step


@pytest.mark.parametrize("form", FORMS)
def test_it_cannot_lie_on_the_weights(form: str, net: Net, tmp_path: Path) -> None:
    found, _ = made(form, "linear", net, tmp_path)
    modules = targets(unet=net)
    before = net.linear.weight.clone()
    with pytest.raises(InputError, match="acts differently at every time step"):
        Layers(modules).lay({found: 1.0})
    assert torch.equal(net.linear.weight, before)
    assert "acts differently at every time step" in " ".join(coverage(found, modules).warnings)


def test_it_shares_a_module_with_adapters_that_always_act(net: Net, tmp_path: Path) -> None:
    found, halves = made("LyCORIS", "linear", net, tmp_path)
    up, down = torch.randn(40, 3), torch.randn(3, 24)
    save_file(
        {"lora_unet_linear.lora_up.weight": up, "lora_unet_linear.lora_down.weight": down}, tmp_path / "l.safetensors"
    )
    always = plan(AdapterFile(tmp_path / "l.safetensors"), targets(unet=net))
    given = torch.randn(4, 24)
    plain = net.linear(given).double()
    with SideBranch(targets(unet=net), rank_floor=FLOOR, rank_power=POWER) as side:
        side.wear([{found: 0.7, always: -0.5}, {always: 2.0}])
        side.at(0.5)
        got = net.linear(given).double() - plain
    delta = 0.7 * difference(halves, acting(500), 3.0 / RANK) - 0.5 * up.double() @ down.double()
    effect = torch.stack(
        [row @ (delta if n % 2 == 0 else 2 * up.double() @ down.double()).T for n, row in enumerate(given.double())]
    )
    assert float((got - effect).norm() / effect.norm()) < 1e-5
