"""How Stability's own code names the modules of a UNet: `input_blocks.4.1...` for `down_blocks.1.attentions.0...`.

Most SDXL adapters, and checkpoints themselves, are spelt this way. The names are counted forward from those of
diffusers, so they follow the model that is really there.
"""

from __future__ import annotations

import re
from collections.abc import Collection

_OUTSIDE = {
    "conv_in": "input_blocks.0.0",
    "time_embedding.linear_1": "time_embed.0",
    "time_embedding.linear_2": "time_embed.2",
    "add_embedding.linear_1": "label_emb.0.0",
    "add_embedding.linear_2": "label_emb.0.2",
    "conv_norm_out": "out.0",
    "conv_out": "out.2",
}
_RESNET = {
    "norm1": "in_layers.0",
    "conv1": "in_layers.2",
    "time_emb_proj": "emb_layers.1",
    "norm2": "out_layers.0",
    "conv2": "out_layers.3",
    "conv_shortcut": "skip_connection",
}
_UP_RESNET = re.compile(r"up_blocks\.(\d+)\.resnets\.(\d+)\.")


def sgm_names(names: Collection[str]) -> dict[str, str]:
    """Return {name in diffusers: name in Stability's code} for the modules of one UNet.

    Modules between the blocks and inside attentions keep their names. A UNet whose levels differ in their number of
    layers has no such names, because there they cannot be counted.

    Args:
        names: Names without `unet.`; those of a part of a UNet are enough, if its highest layers are among them.

    >>> sgm_names(["up_blocks.0.resnets.2.conv1", "down_blocks.1.attentions.0.proj_in", "conv_out"])
    ... # doctest: +NORMALIZE_WHITESPACE
    {'up_blocks.0.resnets.2.conv1': 'output_blocks.2.0.in_layers.2',
     'down_blocks.1.attentions.0.proj_in': 'input_blocks.4.1.proj_in', 'conv_out': 'out.2'}
    """
    depth = _depth(names)
    attended = {name.partition(".proj_in")[0] for name in names if name.endswith(".proj_in")}
    found = {}
    for name in names:
        spelt = _OUTSIDE.get(name)
        if spelt is None and depth is not None:
            spelt = _in_block(name, depth, attended)
        if spelt is not None:
            found[name] = spelt
    return found


def _depth(names: Collection[str]) -> int | None:
    """Count the layers of a level on the way down; on the way up each has one more, so it is the highest number."""
    highest: dict[str, int] = {}
    for name in names:
        if match := _UP_RESNET.match(name):
            highest[match[1]] = max(highest.get(match[1], 0), int(match[2]))
    depths = set(highest.values())
    return depths.pop() if len(depths) == 1 else None


def _in_block(name: str, depth: int, attended: Collection[str]) -> str | None:
    """Name a module inside the blocks; each level down ends in a downsampler that has a number of its own."""
    match name.split(".", 4):
        case ["down_blocks", level, ("resnets" | "attentions") as kind, layer, inner]:
            number = 1 + int(level) * (depth + 1) + int(layer)
            return f"input_blocks.{number}.{_inside(kind, inner)}"
        case ["down_blocks", level, "downsamplers", _, "conv"]:
            return f"input_blocks.{(int(level) + 1) * (depth + 1)}.0.op"
        case ["mid_block", "resnets", layer, inner]:
            return f"middle_block.{2 * int(layer)}.{_RESNET.get(inner, inner)}"
        case ["mid_block", "attentions", layer, *inner]:
            return f"middle_block.{2 * int(layer) + 1}.{'.'.join(inner)}"
        case ["up_blocks", level, ("resnets" | "attentions") as kind, layer, inner]:
            return f"output_blocks.{int(level) * (depth + 1) + int(layer)}.{_inside(kind, inner)}"
        case ["up_blocks", level, "upsamplers", _, "conv"]:
            after = 2 if f"up_blocks.{level}.attentions.{depth}" in attended else 1
            return f"output_blocks.{int(level) * (depth + 1) + depth}.{after}.conv"
    return None


def _inside(kind: str, inner: str) -> str:
    return f"1.{inner}" if kind == "attentions" else f"0.{_RESNET.get(inner, inner)}"
