"""Which part of an adapter goes onto which module of a model, found by name and proved by shape."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor, nn

from ..errors import IncompatibleAdapter, UnreadableFile
from ..families import OTHER, TITLES, UNKNOWN, family_of, support
from .adapter_file import AdapterFile, Network
from .aliases import aliases

THRESHOLD = 0.95
"""The share of an adapter's modules that must fit a model of its own family."""

_WIDTHS = {768: "sd1", 1024: "sd2", 2048: "sdxl"}
"""Families by the width of the text that their UNet attends to."""

_SD_BLOCKS = (
    {f"unet.down_blocks.{n}" for n in range(3)} | {f"unet.up_blocks.{n}" for n in (1, 2, 3)} | {"unet.mid_block"}
)


@dataclass(frozen=True, slots=True, eq=False)
class LowRank:
    """One module's share of an adapter: delta = scale * up @ down, over the weight as (outputs, all else)."""

    file: AdapterFile
    network: Network

    def factors(self) -> tuple[Tensor, Tensor]:
        """Read (up, down) of shapes (outputs, rank) and (rank, inputs * kernel), float32, unscaled.

        A Tucker core is contracted into the down factor (LyCORIS: `lora_mid`).
        """
        network = self.network
        up = self.file.tensor(network.up).reshape(network.up_shape[0], -1)
        down = self.file.tensor(network.down)
        if network.mid is not None:
            core = self.file.tensor(network.mid)
            down = (core.flatten(2).transpose(1, 2) @ down.flatten(1)).transpose(1, 2)
        return up, down.reshape(down.shape[0], -1)

    @property
    def scale(self) -> float:
        """The file's own strength: alpha / rank."""
        return self.network.scale


@dataclass(frozen=True, slots=True, eq=False)
class AdapterPlan:
    """How one adapter lies on one model. Compared and hashed by identity: a plan is one laying's unit."""

    file: AdapterFile
    parts: Mapping[str, LowRank]
    """By the module's name in `targets`."""
    missing: tuple[str, ...]
    """Stems that name no module of the model."""
    mismatched: tuple[str, ...]
    """Stems whose module is there with another shape."""
    family: str
    model_family: str

    @property
    def coverage(self) -> float:
        """The share of the adapter's modules that found their place, between 0 and 1."""
        return len(self.parts) / (len(self.parts) + len(self.missing) + len(self.mismatched))


def plan(file: AdapterFile, modules: Mapping[str, nn.Module], *, force: bool = False) -> AdapterPlan:
    """Match an adapter with the modules of a model (see `aliases.targets`).

    Args:
        file: The opened adapter.
        modules: The model's modules by name.
        force: Lay even what fits in part, or is of another family. What fits nowhere is refused all the same.

    Raises:
        IncompatibleAdapter: of another kind or family, or too little of it fits; one sentence says which.
        UnreadableFile: two parts of the file claim the same module.
    """
    if file.other_kinds:
        raise IncompatibleAdapter(f"{file.name} is a {file.other_kinds[0]}; this version lays LoRA and LoCon only")
    names = aliases(modules, file.header)
    family, model_family = adapter_family(file, names), model_family_of(modules)
    level = support(family, model_family)
    if level == "none" and not force:
        raise IncompatibleAdapter(
            f"{file.name} is made for {TITLES[family]} and this model is {TITLES[model_family]}, "
            "which does not wear its adapters"
        )
    parts: dict[str, LowRank] = {}
    missing, mismatched = [], []
    for stem, network in file.networks.items():
        name = names.get(stem)
        if name is None:
            missing.append(stem)
        elif not _fits(network, modules[name]):
            mismatched.append(stem)
        elif name in parts:
            raise UnreadableFile(f"{file.path.name} names the module {name} twice")
        else:
            parts[name] = LowRank(file, network)
    result = AdapterPlan(file, parts, tuple(missing), tuple(mismatched), family, model_family)
    _require(result, force=force)
    return result


def adapter_family(file: AdapterFile, names: Mapping[str, str]) -> str:
    """Tell the family that an adapter was made for: by its shapes, which cannot lie, else by its header.

    Args:
        file: The opened adapter.
        names: The modules that its stems may mean (see `aliases.aliases`).
    """
    for stem, network in file.networks.items():
        name = names.get(stem, stem)
        if "attn2" in name and name.endswith(("to_k", "to_v")) and (family := _WIDTHS.get(network.down_shape[1])):
            return family
    header = file.header
    named = family_of(header.get("ss_base_model_version") or header.get("modelspec.architecture"))
    return UNKNOWN if named == OTHER else named


def model_family_of(modules: Mapping[str, nn.Module]) -> str:
    """Tell the family of a model: by the width of its cross attention, else by the blocks that SD 1 and SD 2 share.

    The second rule serves models of those blocks in other widths; SD 2 projects with linear layers, SD 1 does not.
    """
    reading = [module for name, module in modules.items() if name.startswith("unet.") and name.endswith("attn2.to_k")]
    if not reading:
        return UNKNOWN
    if isinstance(reading[0], nn.Linear) and (family := _WIDTHS.get(reading[0].in_features)):
        return family
    attended = {name.partition(".attentions.")[0] for name in modules if ".attentions." in name}
    if attended != _SD_BLOCKS:
        return UNKNOWN
    return "sd2" if isinstance(modules["unet.mid_block.attentions.0.proj_in"], nn.Linear) else "sd1"


def _fits(network: Network, module: nn.Module) -> bool:
    """Whether the product of the factors has the shape of the module's weight.

    A linear layer and a 1x1 convolution are the same map, and files disagree with models about which it is.
    """
    weight = module.weight
    if not isinstance(weight, Tensor):
        return False
    outputs, inputs, *kernel = weight.shape
    down, up, mid = network.down_shape, network.up_shape, network.mid_shape
    if math.prod(up[2:]) != 1 or up[0] != outputs or down[1] != inputs:
        return False
    if mid is None:
        return down[0] == up[1] and _squeeze(down[2:]) == _squeeze(kernel)
    return mid[:2] == (up[1], down[0]) and math.prod(down[2:]) == 1 and _squeeze(mid[2:]) == _squeeze(kernel)


def _squeeze(kernel: tuple[int, ...] | list[int]) -> tuple[int, ...]:
    return () if math.prod(kernel) == 1 else tuple(kernel)


def _require(found: AdapterPlan, *, force: bool) -> None:
    name, total = found.file.name, len(found.file.networks)
    why = "the names are there with other shapes" if found.mismatched else "none of the names is known"
    if not found.parts:
        raise IncompatibleAdapter(f"{name} fits no module of this model: {why}")
    if found.coverage < THRESHOLD and not force:
        raise IncompatibleAdapter(
            f"{name} fits {len(found.parts)} of its {total} modules on this model ({found.coverage:.0%}, at least "
            f"{THRESHOLD:.0%} is asked): {len(found.missing)} are missing and {len(found.mismatched)} of another shape"
        )
