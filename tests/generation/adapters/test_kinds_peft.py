"""Adapters that PEFT trains and saves do here what PEFT makes of them when it merges them."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from velatura.generation.adapters.file import AdapterFile
from velatura.generation.adapters.names import targets
from velatura.generation.adapters.patch import Layers
from velatura.generation.adapters.plan import plan

peft = pytest.importorskip("peft")

WEIGHTS = (1.0, 0.7, -0.5)
ALL = ["linear", "bare", "point", "conv"]


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(24, 40)
        self.bare = nn.Linear(40, 24, bias=False)
        self.point = nn.Conv2d(12, 20, 1)
        self.conv = nn.Conv2d(12, 20, 3)


CONFIGS: dict[str, Callable[[], Any]] = {
    "LoRA": lambda: peft.LoraConfig(r=4, lora_alpha=6, target_modules=ALL),
    "rank-stabilised LoRA": lambda: peft.LoraConfig(r=4, lora_alpha=6, target_modules=ALL, use_rslora=True),
    "LoRA, an alpha of its own": lambda: peft.LoraConfig(
        r=4, lora_alpha=6, target_modules=ALL, alpha_pattern={"conv": 3}, rank_pattern={"linear": 2}
    ),
    "LoRA with a bias": lambda: peft.LoraConfig(r=4, lora_alpha=6, target_modules=["linear", "conv"], lora_bias=True),
    "DoRA": lambda: peft.LoraConfig(r=4, lora_alpha=6, target_modules=ALL, use_dora=True),
    "LoHa": lambda: peft.LoHaConfig(r=4, alpha=4, target_modules=ALL),
    "LoHa with Tucker cores": lambda: peft.LoHaConfig(r=4, alpha=4, target_modules=ALL, use_effective_conv2d=True),
    "LoKr": lambda: peft.LoKrConfig(r=2, alpha=2, target_modules=ALL),
    "LoKr of whole factors": lambda: peft.LoKrConfig(r=64, alpha=64, target_modules=ALL),
    "LoKr of products": lambda: peft.LoKrConfig(
        r=1, alpha=1, target_modules=ALL, decompose_both=True, decompose_factor=4
    ),
    "LoKr with a Tucker core": lambda: peft.LoKrConfig(r=2, alpha=2, target_modules=ALL, use_effective_conv2d=True),
    "LoHa, an alpha other than the rank": lambda: peft.LoHaConfig(r=4, alpha=6, target_modules=ALL),
    "LoKr, an alpha other than the rank": lambda: peft.LoKrConfig(r=2, alpha=3, target_modules=ALL),
    "LoKr of whole factors, an alpha other than the rank": lambda: peft.LoKrConfig(r=64, alpha=96, target_modules=ALL),
}


def trained(net: nn.Module, config: Any, folder: Path) -> dict[str, Tensor]:
    """Save random factors as PEFT does, and return the parameters that PEFT merges from them, in float64."""
    model = peft.get_peft_model(deepcopy(net), config)
    generator = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for name, values in model.named_parameters():
            if values.requires_grad:
                drawn = torch.randn(values.shape, generator=generator) / 2
                values.copy_(drawn.abs() + 1 if "magnitude" in name else drawn)
    model.save_pretrained(folder)
    return dict(model.double().merge_and_unload().named_parameters())


@pytest.mark.parametrize("weight", WEIGHTS)
@pytest.mark.parametrize("kind", list(CONFIGS))
@pytest.mark.filterwarnings("ignore::UserWarning:peft")
def test_what_peft_saved_is_what_peft_merges(kind: str, weight: float, tmp_path: Path) -> None:
    torch.manual_seed(0)
    net = Net()
    old = {name: values.detach().double() for name, values in net.named_parameters()}
    merged = trained(net, CONFIGS[kind](), tmp_path)
    modules = targets(unet=net)
    file = AdapterFile(tmp_path / "adapter_model.safetensors")
    found = plan(file, modules)
    assert (file.ignored, found.missing, found.mismatched) == ((), (), ())
    Layers(modules).lay({found: weight})
    changed = {name for name, values in merged.items() if not torch.equal(values, old[name])}
    assert {f"unet.{name}" for name in changed} == set(found.parts)
    for name in changed:
        expected = old[name] + weight * (merged[name].detach() - old[name])
        got = dict(net.named_parameters())[name].detach().double()
        assert float((got - expected).norm() / (expected - old[name]).norm()) < 1e-5, name
