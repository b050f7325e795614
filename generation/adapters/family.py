"""Which base family an adapter was made for, and which a model is of, with what tells so."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from torch import nn

from ...families import OTHER, UNKNOWN, family_of
from .file import AdapterFile
from .names import Place
from .sdxs import stand_ins

_WIDTHS = {768: "sd1", 1024: "sd2", 2048: "sdxl", 128: "miniature"}
"""Families by the width of the text that their UNet attends to."""

_READ = 200
"""Letters of a header's field that are looked at."""

_SD_BLOCKS = (
    {f"unet.down_blocks.{n}" for n in range(3)} | {f"unet.up_blocks.{n}" for n in (1, 2, 3)} | {"unet.mid_block"}
)


class Told(NamedTuple):
    """A family and its evidence."""

    family: str
    """A name of `velatura.families`."""
    evidence: str
    """What tells so, for people."""


def adapter_family(file: AdapterFile, names: Mapping[str, Place]) -> Told:
    """Tell the family that an adapter was made for: by its shapes, which cannot lie, else by its header.

    Args:
        file: The opened adapter.
        names: The modules that its stems may mean (see `names.places`).
    """
    for network in file.networks:
        place = names.get(network.stem)
        name = place.modules[0] if place else network.stem
        down = network.parts.get("down")
        if down is None or len(down.shape) < 2:
            continue
        if "attn2" in name and name.endswith(("to_k", "to_v")) and (family := _WIDTHS.get(down.shape[1])):
            return Told(family, f"its cross attention reads text {down.shape[1]} wide")
        if "single_transformer_blocks." in name and down.shape[1] in (3072, 15360):
            return Told("flux1", f"it reaches single transformer blocks {down.shape[1]} wide")
    for field in ("ss_base_model_version", "modelspec.architecture"):
        if value := file.header.get(field):
            named = family_of(value[:_READ])
            if named not in (OTHER, UNKNOWN):
                return Told(named, f"its header says {field} {value[:40]!r}")
    return Told(UNKNOWN, "neither its shapes nor its header tell")


def model_family_of(modules: Mapping[str, nn.Module]) -> str:
    """Tell the family of a model: by the width of its cross attention, else by its blocks.

    The second rule serves models in other widths: SDXL alone is told sizes, SD 2 projects with linear layers where SD 1
    does not, and SDXS has what is left of them without a middle.
    """
    if any(name.startswith("transformer.single_transformer_blocks.") for name in modules):
        return "flux1"
    reading = [module for name, module in modules.items() if name.startswith("unet.") and name.endswith("attn2.to_k")]
    if not reading:
        return UNKNOWN
    if isinstance(reading[0], nn.Linear) and (family := _WIDTHS.get(reading[0].in_features)):
        return family
    if "unet.add_embedding.linear_1" in modules:
        return "sdxl"
    attended = {name.partition(".attentions.")[0] for name in modules if ".attentions." in name}
    if attended != _SD_BLOCKS and not stand_ins(modules):
        return UNKNOWN
    projections = (module for name, module in modules.items() if name.endswith(".attentions.0.proj_in"))
    return "sd2" if isinstance(next(projections), nn.Linear) else "sd1"
