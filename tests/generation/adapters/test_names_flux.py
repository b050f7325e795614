"""Names of FLUX outside diffusers, against the way diffusers itself converts checkpoints and adapters."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import FluxTransformer2DModel
from torch import Tensor, nn
from transformers import CLIPTextConfig, CLIPTextModel, T5Config, T5EncoderModel

from velatura.generation.adapters.flux import bfl_names, xlabs_names
from velatura.generation.adapters.keys import role_of
from velatura.generation.adapters.names import Place, places, targets

Modules = dict[str, nn.Module]


@pytest.fixture(scope="module")
def modules() -> Modules:
    """FLUX.1-dev with its two text encoders in their true sizes, without memory."""
    clip = {"hidden_size": 768, "intermediate_size": 3072, "num_attention_heads": 12}
    t5 = {"d_model": 4096, "d_ff": 10240, "num_heads": 64, "num_layers": 24, "feed_forward_proj": "gated-gelu"}
    with torch.device("meta"):
        return targets(
            transformer=FluxTransformer2DModel(guidance_embeds=True),
            text_encoder=CLIPTextModel(CLIPTextConfig(**clip)),
            text_encoder_2=T5EncoderModel(T5Config(**t5)),
        )


@pytest.fixture(scope="module")
def two_blocks() -> Modules:
    with torch.device("meta"):
        return targets(transformer=FluxTransformer2DModel(num_layers=2, num_single_layers=2, guidance_embeds=True))


def rows(place: Place, modules: Modules) -> list[int]:
    return [modules[name].weight.shape[0] for name in place.modules]


def shared_out(stacked: Tensor, place: Place, modules: Modules) -> dict[str, Tensor]:
    """What a place says that its modules get of the rows."""
    if place.swapped:
        stacked = torch.cat(stacked.chunk(2)[::-1])
    return dict(zip(place.modules, stacked.split(rows(place, modules)), strict=True))


def numbered(counts: Mapping[str, int]) -> dict[str, Tensor]:
    """Columns of numbers, no number twice, so that whatever moves can be followed."""
    found, start = {}, 0
    for key, count in counts.items():
        found[key] = torch.arange(start, start + count, dtype=torch.float64).reshape(-1, 1)
        start += count
    return found


def test_every_row_of_a_checkpoint_lands_where_diffusers_puts_it(two_blocks: Modules) -> None:
    from diffusers.loaders.single_file_utils import convert_flux_transformer_checkpoint_to_diffusers

    found = places(two_blocks, {})
    names = [name.removeprefix("transformer.") for name in two_blocks]
    stems = [stem for stem in bfl_names(dict.fromkeys(names)) if not stem.endswith("linear1_qkv")]
    weights = numbered({stem: sum(rows(found[stem], two_blocks)) for stem in stems})
    checkpoint = {f"{s}.scale" if s.endswith("_norm") else f"{s}.weight": tensor for s, tensor in weights.items()}
    checkpoint |= {f"{stem}.bias": tensor for stem, tensor in weights.items()}
    converted = convert_flux_transformer_checkpoint_to_diffusers(checkpoint)
    ours = {name: part for s in stems for name, part in shared_out(weights[s], found[s], two_blocks).items()}
    assert set(ours) == set(two_blocks)
    for name, part in ours.items():
        assert torch.equal(part, converted[f"{name.removeprefix('transformer.')}.weight"]), name


def test_every_row_of_an_xlabs_adapter_lands_where_diffusers_puts_it(two_blocks: Modules) -> None:
    from diffusers.loaders.lora_conversion_utils import _convert_xlabs_flux_lora_to_diffusers

    found = places(two_blocks, {})
    stems = xlabs_names(dict.fromkeys(name.removeprefix("transformer.") for name in two_blocks))
    full = [stem for stem in stems if "_lora" in stem]
    assert {stem.removesuffix("_lora") for stem in full if stem.startswith("single_blocks")} < set(stems)
    ups = numbered({stem: sum(rows(found[stem], two_blocks)) for stem in full})
    state = {f"{stem}.{role}.weight": ups[stem] for stem in full for role in ("down", "up")}
    converted = _convert_xlabs_flux_lora_to_diffusers(state)
    ours = {name: part for stem in full for name, part in shared_out(ups[stem], found[stem], two_blocks).items()}
    assert {f"{name}.lora_B.weight" for name in ours} == {key for key in converted if ".lora_B." in key}
    for name, part in ours.items():
        assert torch.equal(part, converted[f"{name}.lora_B.weight"]), name


DOUBLE, SINGLE = "transformer.transformer_blocks.7", "transformer.single_transformer_blocks.30"
IMAGE_QKV = tuple(f"{DOUBLE}.attn.to_{x}" for x in "qkv")
SINGLE_QKV = tuple(f"{SINGLE}.attn.to_{x}" for x in "qkv")
TEXT_QKV = tuple(f"{DOUBLE}.attn.add_{x}_proj" for x in "qkv")


@pytest.mark.parametrize(
    ("stem", "place"),
    [
        ("double_blocks.7.img_attn.qkv", Place(IMAGE_QKV)),
        ("diffusion_model.double_blocks.7.img_attn.qkv", Place(IMAGE_QKV)),
        ("model.diffusion_model.double_blocks.7.txt_attn.qkv", Place(TEXT_QKV)),
        ("base_model.model.double_blocks.7.txt_attn.qkv", Place(TEXT_QKV)),
        ("lora_unet_double_blocks_7_txt_attn_qkv", Place(TEXT_QKV)),
        ("lycoris_unet_double_blocks_7_txt_attn_qkv", Place(TEXT_QKV)),
        ("lycoris_double_blocks_7_txt_attn_qkv", Place(TEXT_QKV)),
        ("double_blocks.7.processor.qkv_lora1", Place(IMAGE_QKV)),
        ("double_blocks.7.processor.qkv_lora2", Place(TEXT_QKV)),
        ("double_blocks.7.processor.proj_lora1", Place((f"{DOUBLE}.attn.to_out.0",))),
        ("diffusion_model.double_blocks.7.processor.proj_lora2", Place((f"{DOUBLE}.attn.to_add_out",))),
        ("single_blocks.30.processor.qkv", Place(SINGLE_QKV)),
        ("single_blocks.30.processor.proj_lora", Place((f"{SINGLE}.proj_out",))),
        ("lora_unet_single_blocks_30_linear1", Place((*SINGLE_QKV, f"{SINGLE}.proj_mlp"))),
        ("diffusion_model.single_blocks.30.linear1_qkv", Place(SINGLE_QKV)),
        ("transformer.double_blocks.7.img_attn.qkv.1", Place((f"{DOUBLE}.attn.to_k",))),
        ("transformer.single_blocks.30.linear1.3", Place((f"{SINGLE}.proj_mlp",))),
        ("transformer.img_in.proj", Place(("transformer.x_embedder",))),
        ("lora_unet_final_layer_adaLN_modulation_1", Place(("transformer.norm_out.linear",), swapped=True)),
        ("transformer.final_layer.adaLN_modulation.1", Place(("transformer.norm_out.linear",), swapped=True)),
        ("transformer.norm_out.linear", Place(("transformer.norm_out.linear",))),
        ("double_blocks.7.img_attn.norm.query_norm", Place((f"{DOUBLE}.attn.norm_q",))),
        ("lora_transformer_transformer_blocks_7_attn_to_out_0", Place((f"{DOUBLE}.attn.to_out.0",))),
        ("lycoris_transformer_blocks_7_attn_to_out_0", Place((f"{DOUBLE}.attn.to_out.0",))),
        ("lycoris_transformer_single_transformer_blocks_30_proj_mlp", Place((f"{SINGLE}.proj_mlp",))),
        ("base_model.model.single_transformer_blocks.30.proj_mlp", Place((f"{SINGLE}.proj_mlp",))),
        ("single_transformer_blocks.30.proj_mlp", Place((f"{SINGLE}.proj_mlp",))),
        ("transformer.base_model.model.single_transformer_blocks.30.proj_mlp", Place((f"{SINGLE}.proj_mlp",))),
    ],
)
def test_a_spelling_means_its_modules(stem: str, place: Place, modules: Modules) -> None:
    assert places(modules, {})[stem] == place


def test_what_is_there_in_part_is_not_claimed() -> None:
    """A model that fuses the projections, or has no guidance, keeps the names of what it has."""
    whole = targets(transformer=FluxTransformer2DModel(num_layers=1, num_single_layers=1, **TINY))
    del whole["transformer.transformer_blocks.0.attn.to_k"]
    found = places(whole, {})
    assert "double_blocks.0.img_attn.qkv" not in found
    assert "double_blocks.0.txt_attn.qkv" in found
    assert "guidance_in.in_layer" not in found
    assert "single_blocks.0.linear1" in found


TINY: dict[str, Any] = {"attention_head_dim": 4, "num_attention_heads": 2, "joint_attention_dim": 8}
TINY |= {"pooled_projection_dim": 8, "axes_dims_rope": (2, 2, 0)}


def read(folder: Path, name: str) -> dict[str, dict[str, list[int]]]:
    """Return {stem: {part: shape}} for one of the real lists of keys; a norm's own scale is a part `scale`."""
    keys: dict[str, list[int]] = json.loads((folder / "lora_keys" / f"{name}.json").read_text())["state_dict_keys"]
    stems: dict[str, dict[str, list[int]]] = defaultdict(dict)
    for key, shape in keys.items():
        role = role_of(key)
        if role is None:
            assert key.endswith("_norm.scale"), key
            stems[key.removesuffix(".scale")]["scale"] = shape
        else:
            stems[role.stem][role.part] = shape
    return stems


def made_for(parts: Mapping[str, list[int]]) -> tuple[int, ...]:
    """The shape of the weight that a stem changes."""
    if "scale" in parts:
        return tuple(parts["scale"])
    if "w1" in parts:
        return tuple(a * b for a, b in zip(parts["w1"], parts["w2"], strict=True))
    assert parts["up"][1] == parts["down"][0]
    return parts["up"][0], parts["down"][1]


def is_of(place: Place, modules: Modules) -> tuple[int, ...]:
    return sum(rows(place, modules)), *modules[place.modules[0]].weight.shape[1:]


REAL = {
    "flux_control_lora_format": 466,
    "flux_dora_onetrainer_format": 506,
    "flux_lora_aitoolkit_format": 228,
    "flux_lora_diffusers_base_model_format": 381,
    "flux_lora_diffusers_format": 494,
    "flux_lora_diffusers_no_proj_mlp_format": 342,
    "flux_lora_kohya_format": 304,
    "flux_lora_kohya_with_te1_format": 376,
    "flux_lora_xlabs_format": 12,
}


@pytest.mark.real_data
@pytest.mark.parametrize("name", REAL)
def test_every_stem_of_a_real_file_finds_its_place(name: str, real_data: Path, modules: Modules) -> None:
    stems, found = read(real_data, name), places(modules, {})
    assert len(stems) == REAL[name]
    assert [stem for stem in stems if stem not in found] == []
    unlike = {s: made_for(parts) for s, parts in stems.items() if made_for(parts) != is_of(found[s], modules)}
    # A control adapter reads the picture and the control picture side by side: twice 64 channels.
    assert unlike == ({"img_in": (3072, 128)} if name == "flux_control_lora_format" else {})
    taken = [module for stem in stems for module in found[stem].modules]
    assert len(taken) == len(set(taken))


@pytest.mark.real_data
def test_the_real_lokr_keys_are_known_and_their_invented_shapes_fit_nothing(real_data: Path, modules: Modules) -> None:
    """The list was written for a test of names: the products of its factors have the size of no layer of FLUX."""
    stems, found = read(real_data, "flux_lokr_bfl_format"), places(modules, {})
    assert [stem for stem in stems if stem not in found] == []
    assert [stem for stem, parts in stems.items() if made_for(parts) == is_of(found[stem], modules)] == []


def from_kohya(state: dict[str, Tensor]) -> dict[str, Tensor]:
    from diffusers.loaders.lora_conversion_utils import _convert_kohya_flux_lora_to_diffusers

    return _convert_kohya_flux_lora_to_diffusers(state)


def from_control(state: dict[str, Tensor]) -> dict[str, Tensor]:
    from diffusers.loaders.lora_conversion_utils import _convert_bfl_flux_control_lora_to_diffusers

    return _convert_bfl_flux_control_lora_to_diffusers(state)


def from_xlabs(state: dict[str, Tensor]) -> dict[str, Tensor]:
    from diffusers.loaders.lora_conversion_utils import _convert_xlabs_flux_lora_to_diffusers

    return _convert_xlabs_flux_lora_to_diffusers(state)


@pytest.mark.real_data
@pytest.mark.parametrize(
    ("name", "convert"),
    [
        ("flux_control_lora_format", from_control),
        ("flux_lora_kohya_format", from_kohya),
        ("flux_lora_kohya_with_te1_format", from_kohya),
        ("flux_lora_xlabs_format", from_xlabs),
    ],
)
def test_diffusers_puts_every_row_of_a_real_file_there_too(
    name: str, convert: Callable[[dict[str, Tensor]], dict[str, Tensor]], real_data: Path, modules: Modules
) -> None:
    """The real keys and heights, the rows numbered; only of the up factors, which are what a place speaks of."""
    keys = json.loads((real_data / "lora_keys" / f"{name}.json").read_text())["state_dict_keys"]
    ups = numbered({key: shape[0] for key, shape in keys.items() if (r := role_of(key)) and r.part in ("up", "bias")})
    rest = {key: torch.tensor(2.0) if key.endswith(".alpha") else torch.ones(2, 1) for key in keys if key not in ups}
    converted = convert(rest | ups)
    found = places(modules, {})
    followed = 0
    for key, up in ups.items():
        role = role_of(key)
        assert role is not None
        if role.stem.startswith("lora_te1_"):
            continue
        for module, part in shared_out(up, found[role.stem], modules).items():
            theirs = f"{module}.lora_B.{'bias' if role.part == 'bias' else 'weight'}"
            assert torch.equal(part, converted[theirs]), (key, module)
            followed += 1
    assert followed == len([key for key in converted if key.startswith("transformer.") and ".lora_B." in key])
