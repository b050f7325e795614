"""What the tensors of a file are: the kind of network, how its keys are spelt, its rank, its base.

Everything here comes from the names and shapes in the header; no tensor is read.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from ..families import UNKNOWN
from .architecture import read_architecture, read_embedding
from .header import Tensors, TensorType, remembered

LAYOUTS: dict[str, str] = {
    "kohya": "lora_unet_..., lora_te_... (kohya sd-scripts, LyCORIS)",
    "lycoris": "lycoris_... (LyCORIS as a wrapper of its own)",
    "onetrainer": "lora_transformer_... over diffusers' module names",
    "diffusers": "unet....to_k.lora.down.weight",
    "diffusers-old": "...attn1.processor.to_k_lora.down.weight",
    "peft": "unet. or transformer. and PEFT's lora_A, lora_B",
    "peft-raw": "base_model.model. and PEFT's lora_A, lora_B",
    "peft-unprefixed": "PEFT's lora_A, lora_B over bare module names",
    "safeloras": "unet:0:down (cloneofsimo): numbered layers",
    "comfy": "diffusion_model. over the model's original names (ComfyUI, ai-toolkit)",
    "bfl": "the model's original names, bare",
    "xlabs": "double_blocks.0.processor.qkv_lora1.down.weight",
    "a1111": "emb_params of a textual inversion",
    "clip": "clip_l and clip_g of a textual inversion",
}
"""Every spelling that is told apart, with an example."""

# The last word of a key, before `.weight`, and the network that it belongs to.
_KINDS: dict[str, str] = {
    **dict.fromkeys(("lora_down", "lora_up", "lora_A", "lora_B", "lora_embedding_A", "lora_embedding_B"), "lora"),
    **dict.fromkeys(("down", "up"), "lora"),
    **dict.fromkeys(("lora_mid",), "tucker"),
    **dict.fromkeys(("dora_scale", "lora_magnitude_vector"), "dora"),
    **dict.fromkeys(("hada_w1_a", "hada_w1_b", "hada_w2_a", "hada_w2_b", "hada_t1", "hada_t2"), "loha"),
    **dict.fromkeys(("lokr_w1", "lokr_w1_a", "lokr_w1_b", "lokr_w2", "lokr_w2_a", "lokr_w2_b", "lokr_t2"), "lokr"),
    **dict.fromkeys(("oft_blocks", "oft_diag", "oft_R", "oft_r"), "oft"),
    **dict.fromkeys(("boft_R", "boft_s"), "boft"),
    **dict.fromkeys(("on_input", "ia3_l"), "ia3"),
    **dict.fromkeys(("a1", "a2", "b1", "b2"), "glora"),
    **dict.fromkeys(("diff", "diff_b"), "full"),
    **dict.fromkeys(("w_norm", "b_norm"), "norm"),
    "alpha": "alpha",
}
_TRAILERS = frozenset({"weight", "bias", "default"})
_NETWORKS = ("lora", "loha", "lokr", "oft", "boft", "ia3", "glora")
_INNER = frozenset({"lora_down", "lora_A", "down", "hada_w1_b", "lokr_w1", "lokr_w1_b", "diff"})
"""The words of the tensors whose second extent is the number of features that go into the layer."""
_RANKED = frozenset({"lora_down", "lora_A", "down", "hada_w1_b", "lokr_w1_b", "lokr_w2_b", "a1"})

# Long enough to hold every word that tells layouts and architectures apart, short enough to be shared by many names.
_HEAD = 50
# Likewise for what a key begins with: its prefix.
_START = 18
# Long enough to settle a key's word in every file that a trainer writes, short enough to be shared by many keys.
_TAIL = 22

# What a file without adapter weights may be; tried in order on its keys, one a line.
_OTHERS: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(pattern, re.MULTILINE), what)
    for pattern, what in (
        (r"^(?:ip_adapter|image_proj)\.", "an IP-Adapter"),
        (r"^lora_controlnet$", "a Control-LoRA"),
        (r"^(?:control_model|controlnet)\.|controlnet_cond_embedding|input_hint_block|^zero_convs", "a ControlNet"),
        (r"^adapter\.body|^body\.\d+\.(?:block|resnets)", "a T2I-Adapter"),
        (r"^model\.diffusion_model\.", "a whole checkpoint"),
        (r"motion_modules|temporal_transformer", "a motion module"),
        (r"(?:^|\.)embeddings\.token_embedding\.", "a text encoder"),
        (r"^(?:first_stage_model\.)?(?:vae\.)?(?:encoder|decoder)\.(?:conv_in|down|up|mid|layers|\d)", "a VAE"),
        (r"^(?:unet\.)?down_blocks\.|^input_blocks\.", "a whole UNet"),
        (r"^(?:vision_model|visual)\.", "an image encoder"),
        (r"(?:^|\.)text_model\.|^encoder\.block\.|^shared\.weight", "a text encoder"),
        (
            r"^(?:model\.|transformer\.)?(?:double_blocks|single_blocks|transformer_blocks|joint_blocks)\.",
            "a whole model",
        ),
        (r"^(?:diffusion_model\.)?(?:blocks|double_blocks|joint_blocks)\.\d", "a whole model"),
        (r"^model\.layers\.\d|^lm_head", "a language model"),
        (r"rdb1\.conv1|RDB1\.conv1|^body\.0\.", "an upscaler"),
    )
)


@dataclass(frozen=True, slots=True)
class Layout:
    """What the tensors of a file are."""

    kind: str | None
    """As `AdapterRecord.kind`; None when the file is no adapter, and then `other` says what it is."""
    other: str | None = None
    layout: str | None = None
    """A key of `LAYOUTS`; None when the spelling is none of them."""
    rank: int | None = None
    """The commonest."""
    alpha: str | None = None
    """The name of one tensor that holds an alpha."""
    family: str = UNKNOWN
    evidence: str = ""
    """What the family was told from."""
    parts: tuple[str, ...] = ()
    """Of `model`, `te1`, `te2`, `te3`: the networks that are changed."""
    bundled: tuple[str, ...] = ()
    """The names of embeddings that LyCORIS packs beside the network."""


@remembered
def read_layout(tensors: Tensors) -> Layout:
    """Tell what a file is from the names, dtypes and shapes of its tensors."""
    types = tensors.types
    embedding = _read_embedding(types)
    if embedding is not None:
        return embedding
    words = _words(types)
    heads = "\n".join(sorted({name[:_HEAD] for name in types}))
    kind = _kind(types, words)
    starts = sorted({name[:_START] for name in types})
    if kind is None or _any_starts(starts, "ip_adapter.", "image_proj.", "lora_controlnet"):
        return Layout(kind=None, other=_other(types))
    inner = [name for word in words if word in _INNER for name in words[word]]
    architecture = read_architecture(heads, types, inner)
    return Layout(
        kind=kind,
        layout=_spelling(starts, words),
        rank=_rank(types, words),
        alpha=words["alpha"][0] if "alpha" in words else None,
        family=architecture.family,
        evidence=architecture.evidence,
        parts=_parts(starts),
        bundled=_bundled(types) if _any_starts(starts, "bundle_emb.") else (),
    )


def _words(types: Mapping[str, TensorType]) -> dict[str, list[str]]:
    """Group the keys by the word that tells their role, such as `lora_down` or `alpha`."""
    words: dict[str, list[str]] = {}
    of_tail: dict[str, list[str]] = {}
    for name in types:
        tail = name[-_TAIL:]
        names = of_tail.get(tail)
        if names is None:
            names = of_tail[tail] = words.setdefault(_word(name), [])
        names.append(name)
    return words


def _word(name: str) -> str:
    module, _, last = name.rpartition(".")
    while last in _TRAILERS:
        module, _, last = module.rpartition(".")
    if last in ("down", "up"):
        # `down` is a common word: it counts as half of a LoRA only where the word before it says so.
        return last if "lora" in module[-18:] else ""
    if last in _KINDS:
        return last
    if name.endswith((":down", ":up")):
        return last.rpartition(":")[2]
    if last.endswith(("_lora_down", "_lora_up")):
        return "lora_down" if last.endswith("down") else "lora_up"
    return ""


def _kind(types: Mapping[str, TensorType], words: Mapping[str, list[str]]) -> str | None:
    """Return the network; differences and norms beside another network are its company, not a network."""
    kinds = {_KINDS[word] for word in words if word in _KINDS}
    if any(len(types[name].shape) == 4 for name in words.get("oft_blocks", ())):
        kinds = (kinds - {"oft"}) | {"boft"}
    networks = [kind for kind in _NETWORKS if kind in kinds]
    if len(networks) > 1:
        return "mixed"
    if not networks:
        return next((kind for kind in ("full", "norm") if kind in kinds), None)
    if networks[0] != "lora":
        return networks[0]
    if "dora" in kinds:
        return "dora"
    shapes = {types[name].shape for word in ("lora_down", "lora_A", "down") for name in words.get(word, ())}
    if "tucker" in kinds or any(len(shape) == 4 and shape[2:] != (1, 1) for shape in shapes):
        return "locon"
    return "lora"


def _rank(types: Mapping[str, TensorType], words: Mapping[str, list[str]]) -> int | None:
    ranks: Counter[int] = Counter()
    for word in words.keys() & _RANKED:
        shapes = [types[name].shape for name in words[word]]
        # GLoRA is stored in either orientation: its rank is the smaller extent.
        ranks.update(min(shape) if word == "a1" else shape[0] for shape in shapes if shape)
    return max(ranks, key=lambda rank: (ranks[rank], rank)) if ranks else None


def _spelling(starts: Sequence[str], words: Mapping[str, list[str]]) -> str | None:
    """Return the layout by the prefixes in use and by PEFT's or diffusers' words."""
    peft = "lora_A" in words or "lora_embedding_A" in words
    down = words.get("down", [""])[0]
    start = partial(_any_starts, starts)
    for layout, matches in (
        ("safeloras", start("unet:", "text_encoder:")),
        ("onetrainer", start("lora_transformer_")),
        ("lycoris", start("lycoris_")),
        ("kohya", start("lora_unet_", "lora_te", "lora_prior_") and not start("lora_unet_unet_")),
        ("peft-raw", start("base_model.model.")),
        ("comfy", start("diffusion_model.")),
        ("xlabs", start("double_blocks.", "single_blocks.") and ".processor." in down),
        ("bfl", start("double_blocks.", "single_blocks.", "joint_blocks.")),
        ("diffusers-old", ".processor." in down),
        ("peft", peft and start("unet.", "transformer.", "text_encoder")),
        ("peft-unprefixed", peft),
        ("diffusers", bool(down) or start("unet.", "transformer.", "text_encoder")),
    ):
        if matches:
            return layout
    return None


def _any_starts(starts: Sequence[str], *prefixes: str) -> bool:
    return any(start.startswith(prefixes) for start in starts)


def _parts(starts: Sequence[str]) -> tuple[str, ...]:
    found = {_part(start) for start in starts}
    return tuple(part for part in ("model", "te1", "te2", "te3") if part in found)


def _bundled(types: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name.split(".", 2)[1] for name in types if name.startswith("bundle_emb.")))


def _part(start: str) -> str:
    if start.startswith(("<", "bundle_emb")):
        return "words"
    for part, starts in (("te3", ("lora_te3", "text_encoder_3")), ("te2", ("lora_te2", "text_encoder_2"))):
        if start.startswith(starts):
            return part
    return "te1" if start.startswith(("lora_te", "lycoris_te", "text_encoder", "text_model")) else "model"


def _read_embedding(types: Mapping[str, TensorType]) -> Layout | None:
    """Recognise a textual inversion: few tensors, each one vector or a few."""
    if not types or len(types) > 4:
        return None
    names = set(types)
    if names <= {"clip_l", "clip_g", "t5xxl"}:
        layout: str | None = "clip"
    elif "emb_params" in names:
        layout = "a1111"
    elif len(names) == 1 and _is_token(*next(iter(types.items()))):
        layout = "diffusers"
    else:
        return None
    architecture = read_embedding(types)
    return Layout(kind="embedding", layout=layout, family=architecture.family, evidence=architecture.evidence)


def _is_token(name: str, type_: TensorType) -> bool:
    """Whether a lone tensor is a new word of diffusers: its name is the word, its rows are few enough for a prompt."""
    shape = type_.shape
    few = len(shape) == 1 or (len(shape) == 2 and shape[0] <= 75)
    return few and shape[-1] in (768, 1024, 1280) and name not in ("weight", "bias") and not set(".:") & set(name)


def _other(types: Mapping[str, TensorType]) -> str:
    keys = "\n".join(types)
    return next((what for pattern, what in _OTHERS if pattern.search(keys)), "no adapter that is known")
