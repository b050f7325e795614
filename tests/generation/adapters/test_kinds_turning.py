"""The kinds that multiply do what their definitions say, computed here again in float64."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from velatura.generation.adapters.file import AdapterFile
from velatura.generation.adapters.names import targets
from velatura.generation.adapters.patch import Layers
from velatura.generation.adapters.plan import plan

WEIGHTS = (1.0, 0.7, -0.5)
Turned = Callable[[Tensor, float], Tensor]


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(24, 40)
        self.square = nn.Linear(24, 24)
        self.conv = nn.Conv2d(12, 20, 3)
        self.cube = nn.Conv2d(16, 16, 3)


@pytest.fixture
def modules() -> dict[str, nn.Module]:
    torch.manual_seed(0)
    return targets(unet=Net().to(memory_format=torch.channels_last))


@pytest.fixture
def check(tmp_path: Path, modules: dict[str, nn.Module]) -> Callable[..., None]:
    """Lay the parts on a module, and compare with what is expected of the old weight."""

    def lay(module: str, parts: dict[str, Tensor], weight: float, turned: Callable[[Tensor], Tensor]) -> None:
        live = modules[f"unet.{module}"].weight
        old = live.detach().double()
        save_file({f"lora_unet_{module}.{name}": part for name, part in parts.items()}, tmp_path / "a.safetensors")
        file = AdapterFile(tmp_path / "a.safetensors")
        assert file.ignored == ()
        layers = Layers(modules)
        layers.lay({plan(file, modules): weight})
        expected = turned(old)
        assert float((live.detach().double() - expected).norm() / (expected - old).norm()) < 1e-5
        layers.restore()
        assert torch.equal(live.detach().double(), old)

    return lay


def shape_of(module: str) -> tuple[int, ...]:
    return tuple(getattr(Net(), module).weight.shape)


def draw(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape))) / 2


def near_one(*shape: int) -> Tensor:
    return 1 + torch.rand(*shape, generator=torch.Generator().manual_seed(sum(shape)))


def cayley(blocks: Tensor, limit: float | None = None) -> Tensor:
    """(1 + S)(1 - S)^-1 of each block's skew part, S shrunk as a whole to the limit."""
    skew = blocks.double() - blocks.double().transpose(-1, -2)
    if limit is not None:
        skew = skew * limit / float(skew.norm())
    one = torch.eye(blocks.shape[-1], dtype=torch.float64)
    return torch.matmul(one + skew, torch.linalg.inv(one - skew))


@pytest.mark.parametrize("weight", WEIGHTS)
@pytest.mark.parametrize(("alpha", "binds"), [(None, False), (0.0, False), (9.0, False), (0.05, True)])
@pytest.mark.parametrize("module", ["linear", "conv"])
def test_oft_turns_the_outputs_block_by_block(
    module: str, alpha: float | None, binds: bool, weight: float, check: Callable[..., None]
) -> None:
    """A trainer turns a row y of outputs to y R, and so the weight to R^T W; alpha times outputs is the constraint."""
    outputs = shape_of(module)[0]
    blocks = draw(outputs // 5, 5, 5)
    turn = torch.block_diag(*cayley(blocks, alpha * outputs if alpha and binds else None))
    assert torch.allclose(turn @ turn.T, torch.eye(outputs, dtype=torch.float64))
    parts = {"oft_blocks": blocks} | ({} if alpha is None else {"alpha": torch.tensor(alpha)})
    check(module, parts, weight, lambda old: old + weight * (torch.einsum("po,p...->o...", turn, old) - old))


@pytest.mark.parametrize("weight", WEIGHTS)
@pytest.mark.parametrize("module", ["linear", "conv"])
def test_oft_scales_the_outputs_that_it_has_turned(module: str, weight: float, check: Callable[..., None]) -> None:
    outputs, *others = shape_of(module)
    blocks, scale = draw(outputs // 4, 4, 4), near_one(outputs, *[1] * len(others))
    turn = torch.block_diag(*cayley(blocks))

    def turned(old: Tensor) -> Tensor:
        whole = scale.double() * torch.einsum("po,p...->o...", turn, old)
        return old + weight * (whole - old)

    check(module, {"oft_blocks": blocks, "rescale": scale, "alpha": torch.tensor(0.0)}, weight, turned)


def butterfly(outputs: int, size: int, stage: int) -> list[int]:
    """Which output stands where in the blocks of a stage: pairs of outputs that are 2^stage * size / 2 apart."""
    reach = 2**stage * size // 2
    starts = range(0, outputs, 2 * reach)
    return [start + place + half * reach for start in starts for place in range(reach) for half in (0, 1)]


@pytest.mark.parametrize("weight", WEIGHTS)
@pytest.mark.parametrize("scaled", [False, True])
@pytest.mark.parametrize(("module", "stages"), [("linear", 2), ("conv", 1), ("cube", 3)])
def test_boft_turns_the_outputs_stage_by_stage(
    module: str, stages: int, scaled: bool, weight: float, check: Callable[..., None]
) -> None:
    """Every stage is drawn towards the identity by what the weight lacks of 1."""
    outputs, *others = shape_of(module)
    blocks, scale = draw(stages, outputs // 4, 4, 4), near_one(outputs, *[1] * len(others))
    rotations = cayley(blocks, 0.1 * outputs)
    one = torch.eye(outputs, dtype=torch.float64)

    def turned(old: Tensor) -> Tensor:
        whole = old
        for stage in range(stages):
            order = one[butterfly(outputs, 4, stage)]
            turn = order.T @ torch.block_diag(*rotations[stage]) @ order
            whole = torch.einsum("op,p...->o...", weight * turn + (1 - weight) * one, whole)
        return whole * (1 + weight * (scale.double() - 1)) if scaled else whole

    parts = {"oft_blocks": blocks, "alpha": torch.tensor(0.1)} | ({"rescale": scale} if scaled else {})
    check(module, parts, weight, turned)


@pytest.mark.parametrize("weight", WEIGHTS)
@pytest.mark.parametrize("axis", [0, 1], ids=["outputs", "inputs"])
@pytest.mark.parametrize("module", ["linear", "square", "conv"])
def test_ia3_scales_outputs_or_inputs(module: str, axis: int, weight: float, check: Callable[..., None]) -> None:
    shape = shape_of(module)
    scale = draw(shape[axis])
    sides = [-1 if n == axis else 1 for n in range(len(shape))]
    parts = {"weight": scale if len(shape) == 2 else scale.view(1, -1, 1, 1), "on_input": torch.tensor(axis)}
    check(module, parts, weight, lambda old: old * (1 + weight * scale.double().view(sides)))
