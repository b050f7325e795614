"""What a tensor's key says: which stem, which kind of network, which part of it.

A stem is what stands before the suffixes below, whatever way the trainer spelt the module; `names` says which module
of a live model it means.
"""

from __future__ import annotations

import re
from typing import NamedTuple

SHARED = "shared"
"""Parts that any kind may have: `alpha`, `dora_scale`, `magnitude`."""


class Role(NamedTuple):
    """The place of one tensor in an adapter."""

    stem: str
    kind: str
    """`lora`, `tlora`, `loha`, `lokr`, `glora`, `full`, `norm`, `oft`, `ia3`, or SHARED."""
    part: str


_LORA = r"[._]lora(?:_linear_layer)?"
_SUFFIXES: tuple[tuple[str, str], ...] = (
    ("lora", rf"{_LORA}[._](?P<{{}}>down|up|mid)\.weight"),  # kohya, diffusers old and new
    ("lora", r"_lora(?P<stream>[12])\.(?P<{}>down|up)\.weight"),  # XLabs: two streams beside each other
    ("lora", r"\.lora_(?P<{}>[AB])(?:\.[^.]+)?\.weight"),
    ("lora", r":(?P<{}>down|up)"),  # cloneofsimo's safeloras: unet:12:down
    ("lora", r"\.lora_B(?:\.[^.]+)?\.(?P<{}>bias)"),
    (SHARED, rf"(?:{_LORA})?\.(?P<{{}}>alpha)"),
    (SHARED, r"\.(?P<{}>dora_scale)"),
    (SHARED, r"\.lora_(?P<{}>magnitude)_vector(?:\.[^.]+)?(?:\.weight)?"),
    ("loha", r"\.hada_(?P<{}>w[12]_[ab]|t[12])"),
    ("lokr", r"\.lokr_(?P<{}>w[12](?:_[ab])?|t2)"),
    ("tlora", rf"(?:{_LORA})?\.(?P<{{}}>[qp]_layer|base_[qp])(?:\.weight)?"),
    ("tlora", rf"(?:{_LORA})?\.(?P<{{}}>lambda_layer|base_lambda)"),
    ("glora", r"\.(?P<{}>[ab][12]|bm)\.weight"),
    ("full", r"\.(?P<{}>diff|diff_b)"),
    ("norm", r"\.(?P<{}>[wb]_norm)"),
    ("oft", r"\.(?P<{}>oft_blocks|rescale)"),
    ("ia3", r"\.(?P<{}>on_input)"),
)
_PARTS = {
    "A": "down",
    "B": "up",
    "q_layer": "q",
    "p_layer": "p",
    "lambda_layer": "lambda",
    "oft_blocks": "blocks",
    "w_norm": "w",
    "b_norm": "b",
}
_KEY = re.compile(
    "(?P<stem>.+?)(?:" + "|".join(suffix.format(f"part{n}") for n, (_, suffix) in enumerate(_SUFFIXES)) + ")",
    re.DOTALL,
)
_EMBEDDING = re.compile(r"bundle_emb\.|<[^<>]+>$|emb_params$|clip_[lg]$")
_CHECKPOINT = re.compile(r"model\.diffusion_model\.|first_stage_model\.|cond_stage_model\.")


def role_of(key: str) -> Role | None:
    """Return the place of a tensor in an adapter, or None where it has none.

    >>> role_of("lora_unet_mid_block_attentions_0_proj_in.lora_down.weight")
    Role(stem='lora_unet_mid_block_attentions_0_proj_in', kind='lora', part='down')
    >>> role_of("double_blocks.0.processor.qkv_lora1.up.weight").stem
    'double_blocks.0.processor.qkv_lora1'
    >>> role_of("unet.conv_in.hada_w1_a").kind, role_of("first_stage_model.encoder.conv_in.weight")
    ('loha', None)
    """
    match = _KEY.fullmatch(key)
    if match is None:
        return None
    number = int(str(match.lastgroup).removeprefix("part"))
    stem = match["stem"] + (f"_lora{match['stream']}" if match["stream"] else "")
    part = match[f"part{number}"]
    return Role(stem, _SUFFIXES[number][0], _PARTS.get(part, part))


def is_embedding(key: str) -> bool:
    """Whether a key names learned token embeddings: bundled, a safelora's, or those of a textual inversion."""
    return _EMBEDDING.match(key) is not None


def is_checkpoint(key: str) -> bool:
    """Whether a key belongs to a whole checkpoint."""
    return _CHECKPOINT.match(key) is not None
