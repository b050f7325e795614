"""Files of every format with random factors, for a tiny SD 1.5 and a tiny SDXL, and what each is to do in float64."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from velatura.generation.adapters.names import targets
from velatura.playground.sample import make_checkpoint

RANK = 4
PARTS = ("unet", "text_encoder", "text_encoder_2")

Shape = tuple[int, ...]
Effect = Callable[[Tensor], Tensor]
"""A parameter in float64 -> what is added to it, in any shape of as many values."""
Made = tuple[dict[str, Tensor], dict[str, Effect]]
"""Tensors by suffix, effects by parameter."""
Kind = Callable[[Shape], Made]
Spelling = Callable[[str], str]
Modules = Mapping[str, nn.Module]


@dataclass
class Row:
    """One file, and what it is to do."""

    name: str
    model: str
    tensors: dict[str, Tensor] = field(default_factory=dict)
    effects: dict[str, Effect] = field(default_factory=dict)
    """By the parameter's name, as in `targets`; none where the file is for another model and is to be refused."""

    def write(self, path: Path) -> Path:
        """Write the file."""
        save_file({key: part.contiguous() for key, part in self.tensors.items()}, path)
        return path


def make_models(folder: Path) -> dict[str, Any]:
    """Make pipelines of a tiny SD 1.5 and a tiny SDXL, in float32."""
    from diffusers import StableDiffusionPipeline, StableDiffusionXLPipeline, UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

    sd15 = StableDiffusionPipeline.from_pretrained(make_checkpoint(folder)).to(torch.float32)
    torch.manual_seed(0)
    unet = UNet2DConditionModel(
        sample_size=16,
        block_out_channels=(32, 32, 64),
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        transformer_layers_per_block=(1, 1, 2),
        attention_head_dim=(2, 4, 8),
        cross_attention_dim=48,
        use_linear_projection=True,
        addition_embed_type="text_time",
        addition_time_embed_dim=8,
        projection_class_embeddings_input_dim=6 * 8 + 32,
    )
    size = {"num_hidden_layers": 2, "num_attention_heads": 2, "projection_dim": 32, "vocab_size": 600}
    texts = [CLIPTextConfig(hidden_size=width, intermediate_size=2 * width, **size) for width in (16, 32)]
    sdxl = StableDiffusionXLPipeline(
        unet=unet,
        text_encoder=CLIPTextModel(texts[0]),
        text_encoder_2=CLIPTextModelWithProjection(texts[1]),
        vae=sd15.vae,
        tokenizer=sd15.tokenizer,
        tokenizer_2=sd15.tokenizer,
        scheduler=sd15.scheduler,
        add_watermarker=False,
    )
    return {"sd15": sd15, "sdxl": sdxl}


def modules_of(pipe: Any) -> dict[str, nn.Module]:
    """What adapters can reach of a pipeline."""
    parts = {part: getattr(pipe, part, None) for part in PARTS}
    return targets(**{part: model for part, model in parts.items() if model is not None})


def draw(*shape: int) -> Tensor:
    return torch.randn(*shape) / 2


def number(value: float) -> Tensor:
    return torch.tensor(value)


def always(delta: Tensor) -> dict[str, Effect]:
    return {"weight": lambda old: delta}


def lora(shape: Shape, alpha: float = 2.0) -> Made:
    """Kohya's LoRA; over convolutions, LoCon."""
    outputs, inputs, *window = shape
    up, down = draw(outputs, RANK, *[1] * len(window)), draw(RANK, inputs, *window)
    parts = {".lora_up.weight": up, ".lora_down.weight": down, ".alpha": number(alpha)}
    return parts, always(alpha / RANK * up.double().flatten(1) @ down.double().flatten(1))


def named(up: str, down: str, inner: Kind = lambda shape: lora(shape, RANK), **others: str) -> Kind:
    """Write a LoRA under other suffixes and without its alpha, which is the rank then."""

    def make(shape: Shape) -> Made:
        parts, effects = inner(shape)
        names = {".lora_up.weight": up, ".lora_down.weight": down} | {f".{name}": new for name, new in others.items()}
        return {names[suffix]: part for suffix, part in parts.items() if suffix in names}, effects

    return make


def tucker(shape: Shape) -> Made:
    if len(shape) == 2:
        return lora(shape)
    outputs, inputs, *window = shape
    up, down, mid = draw(outputs, RANK, 1, 1), draw(RANK, inputs, 1, 1), draw(RANK, RANK, *window)
    parts = {".lora_up.weight": up, ".lora_down.weight": down, ".lora_mid.weight": mid, ".alpha": number(2.0)}
    return parts, always(2 / RANK * contracted(mid, up.flatten(1).T, down.flatten(1)))


def contracted(core: Tensor, up: Tensor, down: Tensor) -> Tensor:
    return torch.einsum("pqk,po,qi->oik", core.double().flatten(2), up.double(), down.double())


def loha(shape: Shape, *, cores: bool = False) -> Made:
    outputs, inputs, *window = shape
    parts, halves = {".alpha": number(2.0)}, []
    for n in (1, 2):
        if cores and window:
            core, a, b = draw(RANK, RANK, *window), draw(RANK, outputs), draw(RANK, inputs)
            parts |= {f".hada_t{n}": core}
            halves.append(contracted(core, a, b))
        else:
            a, b = draw(outputs, RANK), draw(RANK, inputs * math.prod(window))
            halves.append(a.double() @ b.double())
        parts |= {f".hada_w{n}_a": a, f".hada_w{n}_b": b}
    return parts, always(2 / RANK * halves[0] * halves[1])


def lokr(shape: Shape, form: str = "product") -> Made:
    outputs, inputs, *window = (shape[0] // 4, shape[1] // 4, *shape[2:])
    one, scale = draw(4, 4), 1 / 2
    if form == "whole":
        two, scale = draw(outputs, inputs, *window), 1.0
        parts = {".lokr_w2": two}
    elif form == "core" and window:
        a, b, core = draw(2, outputs), draw(2, inputs), draw(2, 2, *window)
        parts, two = {".lokr_w2_a": a, ".lokr_w2_b": b, ".lokr_t2": core}, contracted(core, a, b)
    else:
        a, b = draw(outputs, 2), draw(2, inputs * math.prod(window))
        parts, two = {".lokr_w2_a": a, ".lokr_w2_b": b}, a.double() @ b.double()
    blocks = torch.einsum("ac,bdk->abcdk", one.double(), two.double().reshape(outputs, inputs, -1))
    return {".lokr_w1": one, ".alpha": number(1.0)} | parts, always(scale * blocks)


def peft_lokr(shape: Shape) -> Made:
    parts, effects = lokr(shape, "whole")
    return {suffix: part for suffix, part in parts.items() if suffix != ".alpha"}, effects


def dora(shape: Shape, axis: int, alpha: float = 2.0) -> Made:
    parts, effects = lora(shape, alpha)
    sides = [size if n == axis else 1 for n, size in enumerate(shape)]
    magnitude = 1 + torch.rand(sides)

    def effect(old: Tensor) -> Tensor:
        whole = old + effects["weight"](old).reshape(old.shape)
        length = whole.square().sum([n for n in range(old.ndim) if n != axis], keepdim=True).sqrt()
        return magnitude.double() * whole / length - old

    return parts | {".dora_scale": magnitude}, {"weight": effect}


def flat_dora(shape: Shape) -> Made:
    parts, effects = dora(shape, 0, RANK)
    return parts | {".dora_scale": parts[".dora_scale"].flatten()}, effects


def full(shape: Shape) -> Made:
    diff, bias = draw(*shape), draw(shape[0])
    return {".diff": diff, ".diff_b": bias}, always(diff.double()) | {"bias": lambda old: bias.double()}


def norm(shape: Shape) -> Made:
    diff, bias = draw(*shape), draw(*shape)
    return {".w_norm": diff, ".b_norm": bias}, always(diff.double()) | {"bias": lambda old: bias.double()}


def oft(shape: Shape) -> Made:
    blocks = draw(shape[0] // 4, 4, 4)
    return {".oft_blocks": blocks, ".alpha": number(0.0)}, turned(torch.block_diag(*cayley(blocks)).T)


def boft(shape: Shape) -> Made:
    """Blocks of four in as many stages as mix all outputs: such as are 2 apart, then 4, then 8, ..."""
    outputs = shape[0]
    places, one = torch.arange(outputs), torch.eye(outputs).double()
    blocks, turn = draw(int(math.log2(outputs // 4)) + 1, outputs // 4, 4, 4), one
    for count, stage in enumerate(cayley(blocks)):
        order = one[places.view(-1, 2, 2 << count).transpose(1, 2).flatten()]
        turn = order.T @ torch.block_diag(*stage) @ order @ turn
    return {".oft_blocks": blocks, ".alpha": number(0.0)}, turned(turn)


def cayley(blocks: Tensor) -> Tensor:
    skew = blocks.double() - blocks.double().transpose(-1, -2)
    one = torch.eye(blocks.shape[-1]).double()
    return (one + skew) @ torch.linalg.inv(one - skew)


def turned(turn: Tensor) -> dict[str, Effect]:
    return {"weight": lambda old: turn @ old.flatten(1) - old.flatten(1)}


def ia3(shape: Shape) -> Made:
    scale = draw(shape[0])
    return {".weight": scale, ".on_input": torch.tensor(0)}, turned(torch.diag(1 + scale.double()))


def glora(shape: Shape) -> Made:
    outputs, inputs = shape
    a1, a2, b1, b2 = draw(inputs, RANK), draw(RANK, inputs), draw(outputs, RANK), draw(RANK, inputs)
    parts = {".a1.weight": a1, ".a2.weight": a2, ".b1.weight": b1, ".b2.weight": b2, ".alpha": number(2.0)}
    a, b = a1.double() @ a2.double(), b1.double() @ b2.double()
    return parts, {"weight": lambda old: 2 / RANK * (old @ a + b)}


def tlora(shape: Shape) -> Made:
    """As LyCORIS writes it; the effect is that of the last step, when all ranks act."""
    p, q, values = draw(shape[0], RANK), draw(RANK, shape[1]), torch.rand(1, RANK)

    def effect(old: Tensor) -> Tensor:
        u, s, v = torch.linalg.svd(old, full_matrices=False)
        return p.double() * values.double() @ q.double() - u[:, :RANK] * s[:RANK] @ v[:RANK]

    parts = {".p_layer.weight": p, ".q_layer.weight": q, ".lambda_layer": values, ".alpha": number(RANK)}
    return parts, {"weight": effect}


SHORT = {"unet": "lora_unet_", "text_encoder": "lora_te_text_model_"}
SHORT_XL = {
    "unet": "lora_unet_",
    "text_encoder": "lora_te1_text_model_",
    "text_encoder_2": "lora_te2_text_model_",
}


def kohya(name: str, prefixes: Mapping[str, str] = SHORT) -> str:
    part, _, rest = name.partition(".")
    return prefixes[part] + rest.replace(".", "_")


def stability(name: str) -> str:
    """Kohya's names of SDXL count the blocks like Stability's own code."""
    found = re.fullmatch(r"unet\.(down|up|mid)_block(?:s\.(\d))?\.attentions\.(\d)\.(.*)", name)
    if found is None:
        return kohya(name, SHORT_XL)
    side, level, layer, rest = found.groups()
    place = int(layer) + 3 * int(level or 0)
    block = {"down": f"input_blocks_{place + 1}", "up": f"output_blocks_{place}", "mid": "middle_block"}[side]
    return f"lora_unet_{block}_1_{rest.replace('.', '_')}"


def wrapped(name: str) -> str:
    return re.sub(r"^(text_encoder(?:_2)?)\.", r"\1.text_model.", name)


def processor(name: str) -> str:
    return re.sub(r"\.(to_[qkv]|to_out)(\.0)?$", r".processor.\1_lora", name)


ATTENTION = r"unet\..*attn[12]\.to_(q|k|v|out\.0)"
TEXT = r"text_encoder(_2)?\..*(self_attn\.\w+|fc[12])"
CONVOLUTION = r"unet\..*resnets\.\d\.conv[12]"
EDGES = r"unet\.(conv_in|conv_out|time_embedding\.linear_[12])"
FLAT = r"unet\..*(attn[12]\.to_(q|k|v|out\.0)|ff\.net\.2)"
NORM = r"unet\..*norm\d?"
DOTTED = named(".lora.up.weight", ".lora.down.weight")
PEFT = named(".lora_B.weight", ".lora_A.weight")
LAYERED = named(".lora_linear_layer.up.weight", ".lora_linear_layer.down.weight")
OLD = named(".up.weight", ".down.weight")

Written = tuple[str, Kind, Spelling]
TABLE: dict[str, list[Written]] = {
    "kohya LoRA, attention": [(ATTENTION, lora, kohya)],
    "kohya LoRA, attention and text encoder": [(f"{ATTENTION}|{TEXT}", lora, kohya)],
    "kohya LoRA, text encoder": [(TEXT, lora, kohya)],
    "kohya LoRA without alphas": [(ATTENTION, named(".lora_up.weight", ".lora_down.weight"), kohya)],
    "kohya LoRA, text encoder with mixed alphas": [
        (f"{ATTENTION}|{TEXT}", lora, kohya),
        (r"text_encoder\..*mlp\.fc2", lambda shape: lora(shape, 8.0), kohya),
    ],
    "kohya LoCon": [(f"{ATTENTION}|{CONVOLUTION}", lora, kohya)],
    "kohya LoCon and text encoder": [(f"{ATTENTION}|{CONVOLUTION}|{TEXT}", lora, kohya)],
    "kohya LoRA, conv_in, conv_out, time embedding": [(f"{ATTENTION}|{EDGES}", lora, kohya)],
    "LoCon with Tucker cores": [(f"{ATTENTION}|{CONVOLUTION}", tucker, kohya)],
    "LoHa": [(f"{ATTENTION}|{CONVOLUTION}", loha, kohya)],
    "LoHa with Tucker cores": [(f"{ATTENTION}|{CONVOLUTION}", lambda shape: loha(shape, cores=True), kohya)],
    "LoKr, second factor a product": [(f"{ATTENTION}|{CONVOLUTION}", lokr, kohya)],
    "LoKr, whole factors": [(f"{ATTENTION}|{CONVOLUTION}", lambda shape: lokr(shape, "whole"), kohya)],
    "LoKr with Tucker cores": [(f"{ATTENTION}|{CONVOLUTION}", lambda shape: lokr(shape, "core"), kohya)],
    "LoKr as PEFT names it (unet.*.lokr_w1)": [(ATTENTION, peft_lokr, str)],
    "DoRA, kohya, by input": [(f"{ATTENTION}|{CONVOLUTION}", lambda shape: dora(shape, 1), kohya)],
    "DoRA, kohya, by output": [(f"{ATTENTION}|{CONVOLUTION}", lambda shape: dora(shape, 0), kohya)],
    "DoRA, PEFT": [
        (ATTENTION, named(".lora_B.weight", ".lora_A.weight", flat_dora, dora_scale=".lora_magnitude_vector"), str)
    ],
    "full differences": [(f"{EDGES}|{CONVOLUTION}", full, kohya)],
    "norms": [(NORM, norm, kohya)],
    "OFT": [(ATTENTION, oft, kohya)],
    "BOFT": [(ATTENTION, boft, kohya)],
    "IA3": [(FLAT, ia3, kohya)],
    "GLoRA": [(ATTENTION, glora, kohya)],
    "T-LoRA": [(ATTENTION, tlora, kohya)],
    "LoRA and LoKr in one file": [(ATTENTION, lora, kohya), (CONVOLUTION, lokr, kohya)],
    "LoRA, LoCon, norms and biases in one file": [
        (f"{ATTENTION}|{CONVOLUTION}", lora, kohya),
        (NORM, norm, kohya),
        (EDGES, full, kohya),
    ],
    "lycoris_unet_* names": [(ATTENTION, lora, lambda name: kohya(name, {"unet": "lycoris_unet_"}))],
    "diffusers, old (processor.to_q_lora)": [(ATTENTION, OLD, processor)],
    "diffusers (unet.*.lora.down)": [(ATTENTION, DOTTED, str), (TEXT, LAYERED, wrapped)],
    "diffusers and PEFT (unet.*.lora_A)": [(f"{ATTENTION}|{TEXT}", PEFT, str)],
    "text_encoder.text_model.* names": [(f"{ATTENTION}|{TEXT}", PEFT, wrapped)],
    "PEFT, raw (base_model.model.*)": [(ATTENTION, PEFT, lambda name: f"base_model.model.{name[5:]}")],
    "PEFT, without a prefix": [(ATTENTION, PEFT, lambda name: name[5:])],
    "SDXL, kohya LoRA, diffusers' names, both text encoders": [
        (f"{ATTENTION}|{TEXT}", lora, lambda name: kohya(name, SHORT_XL))
    ],
    "SDXL, kohya LoRA, Stability's names, both text encoders": [(f"{ATTENTION}|{TEXT}", lora, stability)],
    "SDXL, kohya LoCon, second text encoder": [
        (rf"{CONVOLUTION}|text_encoder_2\..*fc[12]", lora, lambda name: kohya(name, SHORT_XL))
    ],
    "SDXL, diffusers and PEFT (text_encoder_2.*)": [(f"{ATTENTION}|{TEXT}", PEFT, wrapped)],
    "SDXL, LoHa, both text encoders": [(f"{ATTENTION}|{TEXT}", loha, stability)],
    "LoRA and bundled embeddings": [(ATTENTION, lora, kohya)],
    "LoRA and a foreign module": [(ATTENTION, lora, kohya)],
    "LoRA and a tensor of nobody's": [(ATTENTION, lora, kohya)],
    "LoRA under a foreign prefix": [(ATTENTION, PEFT, lambda name: f"someones_net.{name[5:]}")],
    "LoRA of another base": [(ATTENTION, lora, kohya)],
}
BESIDE: dict[str, dict[str, Shape]] = {
    "LoRA and bundled embeddings": {"bundle_emb.style.string_to_param.*": (2, 64)},
    "LoRA and a foreign module": {
        "lora_unet_somewhere_else_to_q.lora_down.weight": (RANK, 32),
        "lora_unet_somewhere_else_to_q.lora_up.weight": (32, RANK),
    },
    "LoRA and a tensor of nobody's": {"trainer.moments": (3,)},
}
"""What stands in a file beside what is for the model."""
FOREIGN = ("LoRA under a foreign prefix", "LoRA of another base")
"""Files that are for no model here."""


def rows(modules: Mapping[str, Modules]) -> Iterator[Row]:
    """Make every file, for the modules of the two models."""
    for seed, (name, written) in enumerate(TABLE.items()):
        torch.manual_seed(seed)
        row = Row(name, "sdxl" if name.startswith("SDXL") else "sd15")
        for pattern, kind, spell in written:
            for module in (module for module in modules[row.model] if re.fullmatch(pattern, module)):
                shape = tuple(modules[row.model][module].weight.shape)
                parts, effects = kind(tuple(2 * side for side in shape) if name == "LoRA of another base" else shape)
                row.tensors |= {spell(module) + suffix: part for suffix, part in parts.items()}
                row.effects |= {f"{module}.{parameter}": effect for parameter, effect in effects.items()}
        row.tensors |= {key: draw(*shape) for key, shape in BESIDE.get(name, {}).items()}
        if name in FOREIGN:
            row.effects.clear()
        yield row
