"""How Black Forest Labs and XLabs name the modules of FLUX, against the names of diffusers.

Black Forest Labs keep query, key and value in one matrix, and in the single blocks the first layer of the MLP with
them; diffusers keeps them apart. So one of their names stands for several modules, in the order of the rows.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping

SWAPPED = frozenset({"final_layer.adaLN_modulation.1"})
"""Where their rows are shift, then scale, and those of diffusers are scale, then shift."""

Table = Mapping[str, tuple[str, ...]]

_OUTSIDE: Table = {
    "img_in": ("x_embedder",),
    "txt_in": ("context_embedder",),
    "time_in.in_layer": ("time_text_embed.timestep_embedder.linear_1",),
    "time_in.out_layer": ("time_text_embed.timestep_embedder.linear_2",),
    "vector_in.in_layer": ("time_text_embed.text_embedder.linear_1",),
    "vector_in.out_layer": ("time_text_embed.text_embedder.linear_2",),
    "guidance_in.in_layer": ("time_text_embed.guidance_embedder.linear_1",),
    "guidance_in.out_layer": ("time_text_embed.guidance_embedder.linear_2",),
    "final_layer.linear": ("proj_out",),
    "final_layer.adaLN_modulation.1": ("norm_out.linear",),
}
_IMAGE_QKV = ("attn.to_q", "attn.to_k", "attn.to_v")
_TEXT_QKV = ("attn.add_q_proj", "attn.add_k_proj", "attn.add_v_proj")
_DOUBLE: Table = {
    "img_attn.qkv": _IMAGE_QKV,
    "img_attn.proj": ("attn.to_out.0",),
    "img_attn.norm.query_norm": ("attn.norm_q",),
    "img_attn.norm.key_norm": ("attn.norm_k",),
    "img_mlp.0": ("ff.net.0.proj",),
    "img_mlp.2": ("ff.net.2",),
    "img_mod.lin": ("norm1.linear",),
    "txt_attn.qkv": _TEXT_QKV,
    "txt_attn.proj": ("attn.to_add_out",),
    "txt_attn.norm.query_norm": ("attn.norm_added_q",),
    "txt_attn.norm.key_norm": ("attn.norm_added_k",),
    "txt_mlp.0": ("ff_context.net.0.proj",),
    "txt_mlp.2": ("ff_context.net.2",),
    "txt_mod.lin": ("norm1_context.linear",),
}
_SINGLE: Table = {
    "linear1": (*_IMAGE_QKV, "proj_mlp"),
    "linear1_qkv": _IMAGE_QKV,  # ComfyUI's name for that part of the matrix
    "linear2": ("proj_out",),
    "modulation.lin": ("norm.linear",),
    "norm.query_norm": ("attn.norm_q",),
    "norm.key_norm": ("attn.norm_k",),
}
# The image stream is 1 and the text stream 2. In the single blocks the ending `_lora` may count as the name's or not.
_XLABS_DOUBLE: Table = {
    "processor.qkv_lora1": _IMAGE_QKV,
    "processor.proj_lora1": ("attn.to_out.0",),
    "processor.qkv_lora2": _TEXT_QKV,
    "processor.proj_lora2": ("attn.to_add_out",),
}
_XLABS_SINGLE: Table = {
    "processor.qkv": _IMAGE_QKV,
    "processor.qkv_lora": _IMAGE_QKV,
    "processor.proj": ("proj_out",),
    "processor.proj_lora": ("proj_out",),
}


def bfl_names(names: Collection[str]) -> dict[str, tuple[str, ...]]:
    """Return {name at Black Forest Labs: names in diffusers, in the order of the rows} for one transformer.

    Only what is whole: a name of several modules is left out when one of them is not there.

    Args:
        names: Names in diffusers, without `transformer.`.
    """
    return {**_whole(names, "", "", _OUTSIDE), **_blocks(names, _DOUBLE, _SINGLE)}


def split_names(names: Collection[str]) -> dict[str, tuple[str, ...]]:
    """Return what the Open Model Initiative's standard adds to `bfl_names`: numbered parts, `qkv.0` for the query.

    OneTrainer writes it.
    """
    numbered = _whole(names, "", "", {"img_in.proj": ("x_embedder",)})
    for spelt, several in bfl_names(names).items():
        if len(several) > 1 and not spelt.endswith("_qkv"):
            numbered |= {f"{spelt}.{number}": (one,) for number, one in enumerate(several)}
    return numbered


def xlabs_names(names: Collection[str]) -> dict[str, tuple[str, ...]]:
    """Return {name at XLabs: names in diffusers, in the order of the rows}."""
    return _blocks(names, _XLABS_DOUBLE, _XLABS_SINGLE)


def _blocks(names: Collection[str], double: Table, single: Table) -> dict[str, tuple[str, ...]]:
    found: dict[str, tuple[str, ...]] = {}
    for theirs, ours, table in (
        ("double_blocks", "transformer_blocks", double),
        ("single_blocks", "single_transformer_blocks", single),
    ):
        for number in _numbers(names, ours):
            found |= _whole(names, f"{theirs}.{number}.", f"{ours}.{number}.", table)
    return found


def _numbers(names: Collection[str], blocks: str) -> Iterator[str]:
    """Yield the numbers of the blocks that are there, each once."""
    start = f"{blocks}."
    yield from dict.fromkeys(name.split(".", 2)[1] for name in names if name.startswith(start))


def _whole(names: Collection[str], theirs: str, ours: str, table: Table) -> dict[str, tuple[str, ...]]:
    found = {f"{theirs}{spelt}": tuple(ours + one for one in several) for spelt, several in table.items()}
    return {spelt: several for spelt, several in found.items() if all(one in names for one in several)}
