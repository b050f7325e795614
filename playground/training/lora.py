"""Low-rank changes to a UNet's weights (Hu and others, 2022), and the files that carry them in kohya's layout."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import torch
from torch import Tensor, nn
from torch.func import functional_call

from .checkpoint import save_tensors

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

ATTENTION: Final = ("to_q", "to_k", "to_v", "to_out.0")
CONVOLUTIONS: Final = ("conv1", "conv2")


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranks:
    """How many directions each kind of layer may change in."""

    attention: int = 6
    convolution: int = 5
    thorough: int = 8
    """Of every layer of an adapter that changes them all."""


def touched_layers(unet: nn.Module, *, thorough: bool = False) -> dict[str, nn.Module]:
    """Return the layers that an adapter changes: attention, and both convolutions of every residual block.

    Args:
        unet: What is changed.
        thorough: Change whatever lies inside the blocks: projections, feed-forward, shortcuts and changes of size too,
            but not what reads the time.
    """
    parts = tuple(f".{part}" for part in (*ATTENTION, *CONVOLUTIONS))
    layers = {name: layer for name, layer in unet.named_modules() if isinstance(layer, nn.Linear | nn.Conv2d)}
    if thorough:
        return {name: layer for name, layer in layers.items() if "block" in name and "time_emb" not in name}
    return {name: layer for name, layer in layers.items() if name.endswith(parts)}


class LoraUnet(nn.Module):
    """A frozen UNet with low-rank changes that are trained, or laid on at a weight."""

    def __init__(self, unet: Any, ranks: Ranks, *, thorough: bool = False) -> None:
        super().__init__()
        self.touched = tuple(touched_layers(unet, thorough=thorough))
        self.base = [unet.requires_grad_(False)]  # in a list: its weights are not this module's
        self.downs, self.ups = nn.ParameterDict(), nn.ParameterDict()
        for name in self.touched:
            weight = unet.get_parameter(f"{name}.weight")
            rank = ranks.thorough if thorough else ranks.convolution if weight.ndim == 4 else ranks.attention
            inputs = weight[0].numel()
            self.downs[_flat(name)] = nn.Parameter(torch.randn(rank, inputs) * inputs**-0.5)
            self.ups[_flat(name)] = nn.Parameter(torch.zeros(len(weight), rank))

    def forward(self, noisy: Tensor, times: Tensor, hidden: Tensor) -> Tensor:
        """Predict the velocity with the changed weights."""
        unet = self.base[0]
        changed = {}
        for name in self.touched:
            weight = unet.get_parameter(f"{name}.weight")
            change = self.ups[_flat(name)] @ self.downs[_flat(name)]
            changed[f"{name}.weight"] = weight + change.view_as(weight)
        velocity: Tensor = functional_call(unet, changed, (noisy, times, hidden)).sample
        return velocity

    def to(self, *args: Any, **named: Any) -> LoraUnet:
        """Move the frozen UNet too."""
        self.base[0].to(*args, **named)
        return super().to(*args, **named)


def _flat(name: str) -> str:
    return name.replace(".", "_")


def save_lora(
    file: Path, unet: nn.Module, weights: Mapping[str, Tensor], metadata: Mapping[str, str], *, strength: float = 1.0
) -> None:
    """Write an adapter as kohya's trainer does: `lora_unet_*`, halves in fp16, and an alpha for each layer.

    Args:
        file: Of safetensors.
        unet: What the adapter was trained on.
        weights: Of a `LoraUnet`, by name.
        metadata: The header's `ss_*` entries.
        strength: How much of the trained change the file makes at a weight of one.

    """
    tensors: dict[str, Tensor] = {}
    for name, layer in touched_layers(unet, thorough=True).items():
        if f"downs.{_flat(name)}" not in weights:
            continue
        shape = layer.get_parameter("weight").shape
        down, up = weights[f"downs.{_flat(name)}"], weights[f"ups.{_flat(name)}"]
        rank = len(down)
        key = f"lora_unet_{_flat(name)}"
        tensors[f"{key}.lora_down.weight"] = down.view(rank, *shape[1:]).half()
        tensors[f"{key}.lora_up.weight"] = up.view(shape[0], rank, *(1 for _ in shape[2:])).half()
        tensors[f"{key}.alpha"] = torch.tensor(rank * strength).half()
    save_tensors(file, tensors, metadata)


def laid_on(unet: nn.Module, adapters: Mapping[Path, float]) -> dict[str, Tensor]:
    """Return the weights of a UNet that differ once adapters' files are laid on it at their weights."""
    from .checkpoint import load_tensors

    changed: dict[str, Tensor] = {}
    for file, strength in adapters.items():
        tensors, _ = load_tensors(file)
        for name, layer in touched_layers(unet, thorough=True).items():
            key, weight = f"lora_unet_{_flat(name)}", layer.get_parameter("weight")
            if f"{key}.alpha" not in tensors:
                continue
            down, up = tensors[f"{key}.lora_down.weight"].float(), tensors[f"{key}.lora_up.weight"].float()
            scale = strength * float(tensors[f"{key}.alpha"]) / len(down)
            change = (up.flatten(1) @ down.flatten(1)).view_as(weight) * scale
            changed[f"{name}.weight"] = changed.get(f"{name}.weight", weight.detach()) + change
    return changed
