"""Which base model a set of tensors was made for, told from their names and shapes alone.

Names are compared with every dot turned into an underscore, so that kohya's and everybody else's spelling are one.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from ..families import OTHER, UNKNOWN
from .header import TensorType


class Architecture(NamedTuple):
    """A family and the reason for it."""

    family: str
    """A name of `velatura.families`; of a group that shares its tensors, the group's first."""
    evidence: str


_NOTHING = Architecture(UNKNOWN, "")

# Families that share one set of tensors: only a name can tell them apart.
_SIBLINGS: dict[str, frozenset[str]] = {
    "sdxl": frozenset({"sdxl", "pony", "illustrious", "noobai", "kolors"}),
    "flux1": frozenset({"flux1", "chroma"}),
    "sd3": frozenset({"sd3", "sd35"}),
}

_CROSS_WIDTHS = {768: "sd1", 1024: "sd2", 2048: "sdxl", 128: "miniature"}
_TEXT_WIDTHS = {768: "sd1", 1024: "sd2"}

_UNET = ("down_blocks", "up_blocks", "mid_block", "input_blocks", "output_blocks", "middle_block")
_SMALL_UNET_ONLY = ("down_blocks_0_attentions", "up_blocks_3_attentions", "input_blocks_1_1", "output_blocks_9_1")

# Tried in order, where no UNet was found: the first row with a word that is found decides.
_TRANSFORMERS: tuple[tuple[tuple[str, ...], str], ...] = (
    (("double_stream_blocks_",), "hidream"),
    (("distilled_guidance_layer",), "chroma"),
    (("img_mod_linear", "txt_mod_linear", "modulation_linear", "token_refiner"), "hunyuan"),
    (("joint_transformer_blocks_", "double_layers_"), "auraflow"),
    (("stream_modulation",), "flux2"),
    (("double_blocks_", "single_blocks_", "single_transformer_blocks_"), "flux1"),
    (("joint_blocks_",), "sd3"),
    (("_img_mlp_", "_img_mod_"), "qwen"),
    (("_attn_add_", "_attn_to_add"), "sd3"),
    (("noise_refiner", "context_refiner"), "lumina"),
)
_WAN = re.compile(r"blocks_\d+_(?:cross|self)_attn_[qkvo](?!_proj)(?:_|$)", re.MULTILINE)
_LANGUAGE = re.compile(r"(?<!diffusion_)model_layers_\d+_(?:self_attn|mlp)|lm_head")
_LUMINA = re.compile(r"(?<!encoder_)layers_\d+_attention_")


def related(family: str, architecture: str) -> bool:
    """Whether tensors of an architecture can belong to a family.

    >>> related("pony", "sdxl"), related("sd1", "sdxl"), related("chroma", "flux1")
    (True, False, True)
    """
    return family in _SIBLINGS.get(architecture, {architecture})


def read_architecture(heads: str, types: Mapping[str, TensorType], inner: Sequence[str]) -> Architecture:
    """Return the base family that the tensors of an adapter speak of.

    Args:
        heads: The distinct beginnings of the tensors' names, one a line.
        types: All tensors.
        inner: The names of the tensors whose shape shows how many features go into their layer.
    """
    heads = heads.replace(".", "_")
    if any(word in heads for word in _UNET):
        return _of_unet(types, inner, heads)
    for words, family in _TRANSFORMERS:
        word = next((word for word in words if word in heads), None)
        if word is not None:
            return _by_width(types, inner, family, word.strip("_"))
    if "transformer_blocks_" in heads:
        return _of_plain_transformer(types, inner)
    if _LANGUAGE.search(heads):
        return Architecture(OTHER, "a language model's layers")
    if _WAN.search(heads):
        return Architecture("wan", "cross_attn of bare blocks")
    if _LUMINA.search(heads):
        return _by_width(types, inner, "lumina", "attention of bare layers")
    if "unet:" in heads or "text_encoder:" in heads:
        return _of_numbered(types, inner)
    return _of_text_encoder(types, inner, heads)


def read_embedding(types: Mapping[str, TensorType]) -> Architecture:
    """Return the base family that a textual inversion was made for."""
    if "clip_g" in types:
        return Architecture("sdxl", "an embedding for two text encoders")
    for type_ in types.values():
        if type_.shape and type_.shape[-1] in _TEXT_WIDTHS:
            return Architecture(_TEXT_WIDTHS[type_.shape[-1]], f"embedding width {type_.shape[-1]}")
    return _NOTHING


def _width(name: str, types: Mapping[str, TensorType]) -> int | None:
    """Return the number of features that go into the layer of a tensor."""
    shape = types[name].shape
    if len(shape) < 2:
        return None
    module, _, word = name.rpartition(".")
    if not word.startswith("lokr_w1"):
        return shape[1]
    for factor in (".lokr_w2", ".lokr_w2_b"):
        other = types.get(module + factor)
        if other is not None and len(other.shape) > 1:
            return shape[1] * other.shape[1]
    return None


def _widths(types: Mapping[str, TensorType], names: Iterable[str]) -> Iterator[int]:
    return (width for name in names if (width := _width(name, types)) is not None)


def _first(widths: Iterable[int], known: Mapping[int, str], what: str) -> Architecture:
    for width in widths:
        if width in known:
            return Architecture(known[width], f"{what} {width}")
    return _NOTHING


def _of_unet(types: Mapping[str, TensorType], inner: Sequence[str], heads: str) -> Architecture:
    cross = (name for name in inner if "attn2" in name and ("to_k" in name or "to_v" in name))
    width = next(_widths(types, cross), None)
    if width is not None:
        return Architecture(_CROSS_WIDTHS.get(width, UNKNOWN), f"cross-attention width {width}")
    if "_te2_" in heads or "text_encoder_2_" in heads or "_te1_" in heads:
        return Architecture("sdxl", "a UNet with two text encoders")
    if not any(word in heads for word in _SMALL_UNET_ONLY):
        if any(re.search(r"transformer_blocks[._][2-9]", name) for name in inner):
            return Architecture("sdxl", "more than two transformer blocks in one place")
        return _NOTHING
    for name in inner:
        # SD 1 projects into its attention by a convolution, SD 2 by a linear layer.
        if "proj_in" in name:
            convolution = len(types[name].shape) == 4
            return Architecture("sd1" if convolution else "sd2", "the shape of proj_in")
    text = (name for name in inner if name.startswith(("lora_te_", "text_encoder.")))
    return _first(_widths(types, text), _TEXT_WIDTHS, "text encoder width")


def _by_width(types: Mapping[str, TensorType], inner: Sequence[str], family: str, word: str) -> Architecture:
    """Tell apart what the same names stand for in models of different size."""
    widths = set(_widths(types, inner))
    if family == "flux1" and (6144 in widths or (3072 not in widths and 4096 in widths) or _gated(types)):
        return Architecture("flux2", f"{word}, FLUX.2's widths")
    if family == "sd3" and 3072 in widths:
        return _flux_or_qwen(inner)
    if family == "sd3" and 2432 in widths:
        return Architecture("sd35", f"{word}, width 2432")
    if family == "lumina" and 3840 in widths:
        return Architecture("zimage", f"{word}, width 3840")
    return Architecture(family, word)


def _gated(types: Mapping[str, TensorType]) -> bool:
    """Whether the MLPs have the two halves that only FLUX.2's have; its smallest model shares FLUX.1's width."""
    outputs = {18432: "img_mlp", 27648: "linear1"}
    return any(
        "to_qkv_mlp_proj" in name or (type_.shape and type_.shape[0] in outputs and outputs[type_.shape[0]] in name)
        for name, type_ in types.items()
    )


def _of_plain_transformer(types: Mapping[str, TensorType], inner: Sequence[str]) -> Architecture:
    if 3072 in set(_widths(types, inner)):
        return _flux_or_qwen(inner)
    attention = (name for name in inner if "attn1" in name)
    return _first(_widths(types, attention), {1152: "pixart", 2048: "ltx", 4096: "ltx"}, "transformer width")


def _flux_or_qwen(inner: Sequence[str]) -> Architecture:
    """Both spell their joint blocks alike at width 3072: FLUX.1 has 19 of them, Qwen-Image 60."""
    numbers = re.findall(r"transformer_blocks[._](\d{1,4})", "\n".join(inner))
    blocks = max(map(int, numbers), default=0) + 1
    return Architecture("qwen" if blocks > 19 else "flux1", f"{blocks} joint blocks of width 3072")


def _of_numbered(types: Mapping[str, TensorType], inner: Sequence[str]) -> Architecture:
    """Cloneofsimo's files number their layers: only the set of widths is left to go by."""
    widths = set(_widths(types, (name for name in inner if name.startswith("unet:"))))
    return _first((width for width in _CROSS_WIDTHS if width in widths), _CROSS_WIDTHS, "cross-attention width")


def _of_text_encoder(types: Mapping[str, TensorType], inner: Sequence[str], heads: str) -> Architecture:
    if "_te2_" in heads or "text_encoder_2_" in heads:
        return Architecture("sdxl", "two text encoders")
    text = (name for name in inner if name.startswith("lora_te_"))
    return _first(_widths(types, text), _TEXT_WIDTHS, "text encoder width")
