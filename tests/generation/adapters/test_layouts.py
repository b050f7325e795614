"""Every way of spelling a LoRA lands on the same weights, and they are what diffusers and the formula say."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from velatura.generation.adapters.file import AdapterFile
from velatura.generation.adapters.patch import Layers
from velatura.generation.adapters.plan import plan

Factors = dict[str, tuple[Tensor, Tensor]]
"""(down, up) by the module's name in `targets`."""

UNET_ATTENTION = re.compile(r"unet\..*(attn[12]\.(to_[qkv]|to_out\.0))$")
CLIP_ATTENTION = re.compile(r"text_encoder\..*self_attn\.")


@pytest.fixture
def factors(modules: dict[str, Any]) -> Factors:
    """Random factors of rank 3 for all attentions of both models."""
    generator = torch.Generator().manual_seed(5)
    found = {}
    for name, module in modules.items():
        if UNET_ATTENTION.match(name) or CLIP_ATTENTION.match(name):
            outputs, inputs = module.weight.shape
            down = torch.randn(3, inputs, generator=generator)
            found[name] = (down, torch.randn(outputs, 3, generator=generator))
    return found


def kohya(name: str) -> str:
    part, _, rest = name.partition(".")
    prefix = "lora_unet_" if part == "unet" else "lora_te_text_model_"
    return prefix + rest.replace(".", "_")


def wrapped(name: str) -> str:
    return name.replace("text_encoder.", "text_encoder.text_model.")


def processor(name: str) -> str:
    return re.sub(r"\.(to_[qkv]|to_out)(\.0)?$", r".processor.\1", name)


LAYOUTS: dict[str, Callable[[str], tuple[str, str]]] = {
    "kohya": lambda name: (f"{kohya(name)}.lora_down.weight", f"{kohya(name)}.lora_up.weight"),
    "lycoris": lambda name: tuple(
        f"{kohya(name).replace('lora_', 'lycoris_', 1)}.lora_{role}.weight" for role in ("down", "up")
    ),
    "diffusers": lambda name: (f"{name}.lora.down.weight", f"{name}.lora.up.weight"),
    "diffusers with text_model": lambda name: (f"{wrapped(name)}.lora.down.weight", f"{wrapped(name)}.lora.up.weight"),
    "peft in diffusers": lambda name: (f"{wrapped(name)}.lora_A.weight", f"{wrapped(name)}.lora_B.weight"),
    "peft named": lambda name: (f"{name}.lora_A.default.weight", f"{name}.lora_B.default.weight"),
    "diffusers old": lambda name: tuple(
        f"{processor(name)}_lora.{role}.weight"
        if name.startswith("unet.")
        else f"{wrapped(name)}.lora_linear_layer.{role}.weight"
        for role in ("down", "up")
    ),
}
UNET_LAYOUTS: dict[str, Callable[[str], tuple[str, str]]] = {
    "peft raw": lambda name: tuple(f"base_model.model.{name[5:]}.lora_{role}.weight" for role in "AB"),
    "unprefixed": lambda name: (f"{name[5:]}.lora_A.weight", f"{name[5:]}.lora_B.weight"),
    "diffusers old, unprefixed": lambda name: tuple(f"{processor(name[5:])}_lora.{r}.weight" for r in ("down", "up")),
}


def written(path: Path, factors: Factors, keys: Callable[[str], tuple[str, str]], header: Any = None) -> Path:
    tensors = {}
    for name, pair in factors.items():
        for key, tensor in zip(keys(name), pair, strict=True):
            tensors[key] = tensor.contiguous()
    save_file(tensors, path, metadata=header)
    return path


def largest_error(modules: dict[str, Any], before: dict[str, Tensor], factors: Factors, weight: float) -> float:
    """The largest relative error against the formula in float64, over touched and untouched modules."""
    worst = 0.0
    for name, module in modules.items():
        expected = before[name].double()
        if name in factors:
            down, up = factors[name]
            expected = expected + weight * (up.double() @ down.double()).reshape(expected.shape)
        worst = max(worst, float((module.weight.detach().double() - expected).norm() / expected.norm()))
    return worst


@pytest.fixture
def before(modules: dict[str, Any]) -> dict[str, Tensor]:
    return {name: module.weight.detach().clone() for name, module in modules.items()}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_layout_lands_on_both_models(
    layout: str, tmp_path: Path, modules: dict[str, Any], before: dict[str, Tensor], factors: Factors
) -> None:
    file = AdapterFile(written(tmp_path / "a.safetensors", factors, LAYOUTS[layout]))
    found = plan(file, modules)
    assert set(found.parts) == {f"{name}.weight" for name in factors}
    assert found.coverage == 1
    Layers(modules).lay({found: 0.7})
    assert largest_error(modules, before, factors, 0.7) < 1e-6


@pytest.mark.parametrize("layout", UNET_LAYOUTS)
def test_a_layout_without_a_name_for_the_part_is_the_unets(
    layout: str, tmp_path: Path, modules: dict[str, Any], before: dict[str, Tensor], factors: Factors
) -> None:
    unet = {name: pair for name, pair in factors.items() if name.startswith("unet.")}
    found = plan(AdapterFile(written(tmp_path / "a.safetensors", unet, UNET_LAYOUTS[layout])), modules)
    assert set(found.parts) == {f"{name}.weight" for name in unet}
    Layers(modules).lay({found: -1.5})
    assert largest_error(modules, before, unet, -1.5) < 1e-6


def test_safeloras_are_named_by_their_place_in_the_walk_of_their_day(
    tmp_path: Path, modules: dict[str, Any], before: dict[str, Tensor]
) -> None:
    """The walk is written out here by hand, from diffusers 0.11: down, up, middle; attn1, GEGLU, attn2."""
    walk = []
    blocks = [f"down_blocks.{n}.attentions.{m}" for n in range(3) for m in range(2)]
    blocks += [f"up_blocks.{n}.attentions.{m}" for n in (1, 2, 3) for m in range(3)]
    for block in [*blocks, "mid_block.attentions.0"]:
        root = f"unet.{block}.transformer_blocks.0"
        walk += [f"{root}.attn1.{leaf}" for leaf in ("to_q", "to_k", "to_v", "to_out.0")]
        walk += [f"{root}.ff.net.0.proj"]
        walk += [f"{root}.attn2.{leaf}" for leaf in ("to_q", "to_k", "to_v", "to_out.0")]
    clip = [f"text_encoder.encoder.layers.{n}.self_attn.{x}_proj" for n in range(2) for x in ("k", "v", "q", "out")]
    generator = torch.Generator().manual_seed(6)
    factors, tensors = {}, {"<s1>": torch.zeros(64)}
    for part, names in (("unet", walk), ("text_encoder", clip)):
        for place, name in enumerate(names):
            outputs, inputs = modules[name].weight.shape
            factors[name] = torch.randn(2, inputs, generator=generator), torch.randn(outputs, 2, generator=generator)
            tensors[f"{part}:{place}:down"], tensors[f"{part}:{place}:up"] = factors[name]
    header = {"unet": json.dumps(["CrossAttention", "Attention", "GEGLU"]), "text_encoder": '["CLIPAttention"]'}
    save_file(tensors, tmp_path / "safe.safetensors", metadata=header)
    file = AdapterFile(tmp_path / "safe.safetensors")
    found = plan(file, modules)
    assert set(found.parts) == {f"{name}.weight" for name in factors}
    assert file.embeddings == ("<s1>",)
    Layers(modules).lay({found: 1.0})
    assert largest_error(modules, before, factors, 1.0) < 1e-6


def test_locon_reaches_convolutions_and_tucker_cores(
    tmp_path: Path, modules: dict[str, Any], before: dict[str, Tensor]
) -> None:
    three, one = "unet.down_blocks.0.resnets.0.conv1", "unet.down_blocks.0.attentions.0.proj_in"
    tucker, linear = "unet.up_blocks.3.resnets.1.conv2", "unet.down_blocks.0.attentions.0.proj_out"
    generator = torch.Generator().manual_seed(7)

    def random(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator)

    tensors = {
        f"{kohya(three)}.lora_down.weight": random(4, 32, 3, 3),
        f"{kohya(three)}.lora_up.weight": random(32, 4, 1, 1),
        f"{kohya(three)}.alpha": torch.tensor(2.0),
        f"{kohya(one)}.lora_down.weight": random(4, 32, 1, 1),
        f"{kohya(one)}.lora_up.weight": random(32, 4, 1, 1),
        f"{kohya(linear)}.lora_down.weight": random(4, 32),  # a linear file on a 1x1 convolution
        f"{kohya(linear)}.lora_up.weight": random(32, 4),
        f"{kohya(tucker)}.lora_down.weight": random(4, 32, 1, 1),
        f"{kohya(tucker)}.lora_mid.weight": random(4, 4, 3, 3),
        f"{kohya(tucker)}.lora_up.weight": random(32, 4, 1, 1),
        f"{kohya(tucker)}.alpha": torch.tensor([1.0]),
    }
    save_file(tensors, tmp_path / "locon.safetensors")
    file = AdapterFile(tmp_path / "locon.safetensors")
    assert file.kinds == {"LoRA": 2, "LoCon": 1, "LoCon with a Tucker core": 1}
    Layers(modules).lay({plan(file, modules): 0.5})
    for name, scale in ((three, 2 / 4), (one, 1.0), (linear, 1.0), (tucker, 1 / 4)):
        # The oracle runs the layers one after the other, as a trainer does.
        picture = random(1, 32, 6, 6).double()
        down, up = (tensors[f"{kohya(name)}.lora_{role}.weight"].double() for role in ("down", "up"))
        mid = tensors.get(f"{kohya(name)}.lora_mid.weight")
        side = torch.nn.functional.conv2d(picture, down.reshape(*down.shape, *[1] * (4 - down.ndim)), padding=0)
        if mid is not None:
            side = torch.nn.functional.conv2d(side, mid.double())
        side = torch.nn.functional.conv2d(side, up.reshape(*up.shape, *[1] * (4 - up.ndim)))
        old = torch.nn.functional.conv2d(picture, before[name].double())
        new = torch.nn.functional.conv2d(picture, modules[name].weight.detach().double())
        assert torch.allclose(new, old + 0.5 * scale * side, rtol=1e-5, atol=1e-5), name


def test_alphas_are_right_for_the_text_encoder_too(
    tmp_path: Path, modules: dict[str, Any], before: dict[str, Tensor], factors: Factors
) -> None:
    path = written(tmp_path / "a.safetensors", factors, LAYOUTS["kohya"])
    from safetensors.torch import load_file

    alphas = {name: float(1 + number % 4) for number, name in enumerate(factors)}
    save_file(load_file(path) | {f"{kohya(name)}.alpha": torch.tensor(a) for name, a in alphas.items()}, path)
    Layers(modules).lay({plan(AdapterFile(path), modules): 1.0})
    scaled = {name: (down * alphas[name] / 3, up) for name, (down, up) in factors.items()}
    assert largest_error(modules, before, scaled, 1.0) < 1e-6


@pytest.mark.parametrize("rslora", [False, True])
def test_alpha_is_read_where_diffusers_and_peft_keep_it(
    rslora: bool, tmp_path: Path, modules: dict[str, Any], before: dict[str, Tensor], factors: Factors
) -> None:
    special = "mid_block.attentions.0.transformer_blocks.0.attn1.to_q"
    settings = {"lora_alpha": 6, "r": 3, "use_rslora": rslora, "alpha_pattern": {special: 12}}
    unet = {name: pair for name, pair in factors.items() if name.startswith("unet.")}
    divisor = 3**0.5 if rslora else 3
    scaled = {name: (down * (12 if name.endswith(special) else 6) / divisor, up) for name, (down, up) in unet.items()}
    header = {"lora_adapter_metadata": json.dumps({f"unet.{key}": value for key, value in settings.items()})}
    in_header = written(tmp_path / "a.safetensors", unet, LAYOUTS["peft in diffusers"], header)
    beside = written(tmp_path / "adapter_model.safetensors", unet, UNET_LAYOUTS["peft raw"])
    (tmp_path / "adapter_config.json").write_text(json.dumps(settings))
    layers = Layers(modules)
    for path in (in_header, beside):
        layers.lay({plan(AdapterFile(path), modules): 1.0})
        assert largest_error(modules, before, scaled, 1.0) < 1e-6


@pytest.fixture
def diffusers_fused(checkpoint: Path) -> Callable[[Path, float], dict[str, Tensor]]:
    """What diffusers and PEFT make of a file: load, fuse, and read the UNet's weights."""
    from diffusers import StableDiffusionPipeline

    pipe = StableDiffusionPipeline.from_pretrained(checkpoint).to(torch.float32)

    def fused(path: Path, weight: float) -> dict[str, Tensor]:
        pipe.load_lora_weights(str(path.parent), weight_name=path.name, adapter_name="one")
        pipe.set_adapters(["one"], [weight])
        pipe.fuse_lora(components=["unet"])
        weights = {
            "unet." + name.replace(".base_layer", ""): module.weight.detach().clone()
            for name, module in pipe.unet.named_modules()
            if isinstance(module, torch.nn.Linear | torch.nn.Conv2d) and "lora_" not in name
        }
        pipe.unfuse_lora(components=["unet"])
        pipe.unload_lora_weights()
        return weights

    return fused


@pytest.mark.parametrize("layout", ["kohya", "diffusers", "peft in diffusers", "diffusers old"])
def test_the_unet_is_what_diffusers_makes_of_the_file(
    layout: str, tmp_path: Path, modules: dict[str, Any], factors: Factors, diffusers_fused: Any
) -> None:
    unet = {name: pair for name, pair in factors.items() if name.startswith("unet.")}
    path = written(tmp_path / "a.safetensors", unet, LAYOUTS[layout])
    expected = diffusers_fused(path, 0.6)
    Layers(modules).lay({plan(AdapterFile(path), modules): 0.6})
    for name in unet:
        assert torch.allclose(modules[name].weight, expected[name], rtol=1e-5, atol=1e-5), name
