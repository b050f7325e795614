"""One spelling for every module's name, told from a stem alone, without a model.

`names` goes forward from the modules of a live model and is never wrong; this goes backward and serves where there is
no model: to see that two files hold the same adapter though their trainers spell it differently. Told as one are
kohya and LyCORIS, diffusers new and old, PEFT, Stability's own names (for UNets with two layers a level: SD 1, SD 2,
SDXL), cloneofsimo's numbered layers (SD 1, SD 2), and for FLUX.1 Black Forest Labs', XLabs' and diffusers' names.

Not told as one: the whole and the split projections of other transformers (SD 3), the last modulation of FLUX.1,
whose halves change places, and whatever else a model's authors and diffusers call differently.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import cache
from typing import NamedTuple

from .flux import SWAPPED, bfl_names, split_names, xlabs_names
from .names import spellings
from .sgm import sgm_names

REST = "rest"
"""The block of what lies in none: the first and last layers, the embeddings of time and size."""

_WRAPPERS = re.compile(r"(?:lora|lycoris|oft|base_model_model|model_diffusion_model|diffusion_model|unet)_")
_BACKBONE = re.compile(r"transformer_(?!blocks_)")
_TEXT = re.compile(
    r"(?:te|text_encoder_?)(?P<number>[123]?)_|(?:text_encoders_)?clip_(?P<letter>[lgh])_|(?:text_encoders_t5xxl|t5)_"
)
_NUMBERS = {"": "text", "1": "text", "l": "text", "h": "text", "2": "text_2", "g": "text_2", "3": "text_3"}
_BARE_TEXT = re.compile(r"text_model_|encoder_layers_\d+_|final_layer_norm$")
_T5 = re.compile(r"encoder_block_\d+_|encoder_final_layer_norm$")
_CLIP_OLD = {"to_q": "q_proj", "to_k": "k_proj", "to_v": "v_proj", "to_out": "out_proj"}
_SGM = re.compile(r"(?:input_blocks_\d+|middle_block|output_blocks_\d+)_1_(?=\D)")
_FLUX = re.compile(r"(double|single)_blocks_(\d+)_(.+)")
_BLOCK = re.compile(
    r"(?P<text>text(?:_\d)?|t5)\.|model\.(?:"
    r"(?P<side>down|up)_blocks_(?P<level>\d)_|(?P<mid>mid)_block_|(?P<single>single)_(?:transformer_)?blocks_\d"
    r"|(?P<double>(?:joint_|double_)?(?:transformer_)?blocks|layers)_\d)"
)


class Share(NamedTuple):
    """The part from `start` to `stop`, of `whole` equal ones."""

    start: int
    stop: int
    whole: int

    def rows(self, outputs: int) -> slice:
        """Return the outputs that it has."""
        return slice(outputs * self.start // self.whole, outputs * self.stop // self.whole)


def spell(stem: str) -> str:
    """Return the one spelling of the module that a stem names: `model.`, `text.`, ... and a path with underscores.

    >>> spell("lora_unet_input_blocks_4_1_transformer_blocks_0_attn1_to_out_0")
    'model.down_blocks_1_attentions_0_transformer_blocks_0_attn1_to_out'
    >>> spell("unet.down_blocks.1.attentions.0.transformer_blocks.0.attn1.processor.to_out")
    'model.down_blocks_1_attentions_0_transformer_blocks_0_attn1_to_out'
    >>> spell("lora_te_text_model_encoder_layers_0_self_attn_q_proj"), spell("text_encoder_2.encoder.layers.1.mlp.fc1")
    ('text.encoder_layers_0_self_attn_q_proj', 'text_2.encoder_layers_1_mlp_fc1')
    """
    name, part = stem.lower().replace(".", "_"), "model"
    while True:
        if found := _WRAPPERS.match(name):
            name = name[found.end() :]
        elif part == "model" and (found := _TEXT.match(name)):
            part = _NUMBERS[found["number"] or found["letter"] or ""]
            name = name[found.end() :].removeprefix("transformer_")
        elif part == "model" and (found := _BACKBONE.match(name)):
            name = name[found.end() :]
        else:
            break
    if _T5.match(name):  # the second encoder of one model is the third of another
        return f"t5.{name}"
    if part != "model" or _BARE_TEXT.match(name):
        return f"{'text' if part == 'model' else part}.{_clip(name)}"
    return f"model.{_backbone(name)}"


def modules_of(stem: str, numbered: Mapping[str, str]) -> Iterator[tuple[str, Share]]:
    """Yield the modules, in the one spelling, that a stem stands for, each with its share of the outputs.

    One module with all outputs as a rule; the three projections of attention where a FLUX.1 file keeps them whole.

    Args:
        stem: The stem as the file spells it.
        numbered: The modules of cloneofsimo's numbers (see `numbered_modules`).

    >>> [(name, share.rows(12)) for name, share in modules_of("lora_unet_double_blocks_0_img_attn_qkv", {})][1]
    ('model.transformer_blocks_0_attn_to_k', slice(4, 8, None))
    """
    name = spell(numbered.get(stem, stem))
    found = _FLUX.fullmatch(name.removeprefix("model."))
    inner = _flux().get(f"{found[1]}_blocks_0_{found[3]}") if found else _flux().get(name.removeprefix("model."))
    if inner is None:
        yield name, Share(0, 1, 1)
        return
    # The MLP beside the attention of a single block is four times as wide as one projection.
    widths = [4 if leaf.endswith("proj_mlp") and len(inner) > 1 else 1 for leaf in inner]
    for place, leaf in enumerate(inner):
        module = leaf.replace("blocks_0_", f"blocks_{found[2]}_", 1) if found else leaf
        yield f"model.{module}", Share(sum(widths[:place]), sum(widths[: place + 1]), sum(widths))


def numbered_modules(header: Mapping[str, str]) -> dict[str, str]:
    """Return {numbered layer of a safelora: module}; the file's metadata tells the walk."""
    levels = [*(f"down_blocks.{n}" for n in range(3)), "mid_block", *(f"up_blocks.{n}" for n in (1, 2, 3))]
    leaves = [f"attn{number}.{leaf}" for number in (1, 2) for leaf in ("to_q", "to_k", "to_v", "to_out.0")]
    names = [
        f"unet.{level}.attentions.{layer}.transformer_blocks.0.{leaf}"
        for level in levels
        for layer in range(3)
        for leaf in (*leaves, "ff.net.0.proj")
        if layer < 2 or level.startswith("up")
    ]
    names += [
        f"text_encoder.encoder.layers.{layer}.self_attn.{leaf}"
        for layer in range(24)
        for leaf in ("q_proj", "k_proj", "v_proj", "out_proj")
    ]
    return {spelt: place.modules[0] for spelt, place in spellings(names, header, {}) if ":" in spelt}


def block_of(name: str) -> str:
    """Return the block of a module in the one spelling: `down.0`, `mid`, `up.3`, `double`, `single`, `text`, ...

    >>> [block_of(spell(stem)) for stem in ("unet.up_blocks.2.resnets.0.conv1", "text_encoder_2.encoder.layers.0.mlp")]
    ['up.2', 'text 2']
    >>> block_of(spell("lora_unet_time_embedding_linear_1"))
    'rest'
    """
    found = _BLOCK.match(name)
    if found is None:
        return REST
    if found["side"]:
        return f"{found['side']}.{found['level']}"
    if found["text"]:
        return found["text"].replace("_", " ")
    return next(block for block in ("mid", "single", "double") if found[block])


def _clip(name: str) -> str:
    name = name.removeprefix("text_model_")
    head, _, leaf = name.partition("_self_attn_")
    return f"{head}_self_attn_{_CLIP_OLD.get(leaf, leaf)}" if leaf else name


def _backbone(name: str) -> str:
    table = _sgm()
    if name in table:
        name = table[name]
    elif (found := _SGM.match(name)) and found[0] in table:
        name = table[found[0]] + name[found.end() :]
    name = re.sub(r"_processor_(to_[qkv]|to_out)", r"_\1", name)
    return re.sub(r"_to_out_0$", "_to_out", name)


@cache
def _sgm() -> dict[str, str]:
    """Return {Stability's name: that of diffusers}, with underscores; those of attentions as far as they differ."""
    leaves = ("norm1", "conv1", "time_emb_proj", "norm2", "conv2", "conv_shortcut")
    names = ["conv_in", "conv_norm_out", "conv_out"]
    names += [f"{part}_embedding.linear_{n}" for part in ("time", "add") for n in (1, 2)]
    names += [f"mid_block.resnets.{layer}.{leaf}" for layer in (0, 1) for leaf in leaves]
    attended = ["mid_block.attentions.0.proj_in"]
    for side, layers in (("down", 2), ("up", 3)):
        for level in range(4):
            names.append(f"{side}_blocks.{level}.{side}samplers.0.conv")
            for layer in range(layers):
                names += [f"{side}_blocks.{level}.resnets.{layer}.{leaf}" for leaf in leaves]
                attended.append(f"{side}_blocks.{level}.attentions.{layer}.proj_in")
    # An upsampler's number depends on whether its level attends.
    found = {spelt: name for some in (names, names + attended) for name, spelt in sgm_names(some).items()}
    return {
        spelt.replace(".", "_").removesuffix("proj_in"): name.replace(".", "_").removesuffix("proj_in")
        for spelt, name in found.items()
    }


@cache
def _flux() -> dict[str, tuple[str, ...]]:
    """Return {name of Black Forest Labs or XLabs: names of diffusers}, with underscores, for the first blocks."""
    double = [f"attn.{leaf}" for leaf in ("to_q", "to_k", "to_v", "to_out.0", "to_add_out")]
    double += [f"attn.add_{leaf}_proj" for leaf in "qkv"] + ["norm1.linear", "norm1_context.linear"]
    double += [f"attn.norm_{leaf}" for leaf in ("q", "k", "added_q", "added_k")]
    double += [f"{stream}.net.{leaf}" for stream in ("ff", "ff_context") for leaf in ("0.proj", "2")]
    single = [f"attn.{leaf}" for leaf in ("to_q", "to_k", "to_v", "norm_q", "norm_k")]
    single += ["proj_mlp", "proj_out", "norm.linear"]
    embedders = ("timestep", "text", "guidance")
    names = [f"time_text_embed.{part}_embedder.linear_{n}" for part in embedders for n in (1, 2)]
    names += ["x_embedder", "context_embedder", "proj_out"]
    names += [f"transformer_blocks.0.{leaf}" for leaf in double]
    names += [f"single_transformer_blocks.0.{leaf}" for leaf in single]
    tables = {**bfl_names(names), **split_names(names), **xlabs_names(names)}
    return {
        spelt.replace(".", "_"): tuple(re.sub(r"_to_out_0$", "_to_out", name.replace(".", "_")) for name in several)
        for spelt, several in tables.items()
        if spelt not in SWAPPED
    }
