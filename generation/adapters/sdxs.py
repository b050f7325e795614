"""Which module of SD 1.5 each module of SDXS stands in for.

SDXS (arXiv:2403.16627) is Stable Diffusion without the middle, the innermost level and every second layer, by the
rule of BK-SDM (arXiv:2305.15798); what is left keeps its shapes and gets new numbers. An adapter of SD 1.5 therefore
fits by structure where it misses, or hits the wrong layer, by name. How much of its effect outlives the distillation
is another question: whoever lays one on says that it is approximate.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

_LAYERS = frozenset(
    [f"down_blocks.{level}.resnets.0" for level in range(3)]
    + [f"up_blocks.{level}.resnets.{layer}" for level in range(3) for layer in range(2)]
)
_LAYER = re.compile(r"mid_block|(?:down|up)_blocks\.\d+\.resnets\.\d+")
_LEAF = re.compile(r"\.(resnets|attentions)\.\d+(\..+)")
_UP = re.compile(r"up_blocks\.(\d+)\.(?:(resnets|attentions)\.(\d+)|upsamplers\.0)\.")


def stand_ins(modules: Iterable[str]) -> dict[str, str]:
    """Return {module of the UNet: the module of SD 1.5 that it stands in for}; {} for any other structure.

    The structure is read from the names: three levels of one layer, no middle, and not the size embedding of SDXL.

    Args:
        modules: The names of `targets`, or the mapping itself.

    >>> stand_ins(["unet.conv_in", "unet.mid_block.resnets.0.conv1"])
    {}
    """
    names = [name.removeprefix("unet.") for name in modules if name.startswith("unet.")]
    layers = {match[0] for name in names if (match := _LAYER.match(name))}
    if layers != _LAYERS or any(name.startswith("add_embedding.") for name in names):
        return {}
    return {f"unet.{name}": f"unet.{_UP.sub(_up, name)}" for name in names}


def left_out(modules: Iterable[str]) -> list[str]:
    """Return the modules of SD 1.5 that nothing in SDXS stands in for; none for any other structure."""
    kept = set(stand_ins(modules).values())
    leaves: dict[str, set[str]] = {"resnets": set(), "attentions": set(), "samplers": {".conv"}}
    for name in kept:
        if match := _LEAF.search(name):
            leaves[match[1]].add(match[2])
    layers = [("mid_block.resnets", 2), ("mid_block.attentions", 1)]
    for level in range(4):
        layers += [(f"down_blocks.{level}.resnets", 2), (f"up_blocks.{level}.resnets", 3)]
        layers += [(f"down_blocks.{level}.attentions", 2)] * (level < 3)
        layers += [(f"up_blocks.{level}.attentions", 3)] * (level > 0)
        layers += [(f"down_blocks.{level}.downsamplers", 1), (f"up_blocks.{level}.upsamplers", 1)] * (level < 3)
    names = [
        f"unet.{layer}.{number}{leaf}"
        for layer, count in layers
        for number in range(count)
        for leaf in sorted(leaves["samplers" if layer.endswith("samplers") else layer.rpartition(".")[2]])
    ]
    return [name for name in names if name not in kept] if kept else []


def _up(match: re.Match[str]) -> str:
    """The first level up is the second of SD 1.5, and of the three layers there the first and the last are kept."""
    level = f"up_blocks.{int(match[1]) + 1}"
    return f"{level}.{match[2]}.{2 * int(match[3])}." if match[2] else f"{level}.upsamplers.0."
