"""Every spelling of a module's name that trainers write, made forward from the live model.

Guessing a name back from `lora_unet_down_blocks_0_...` is ambiguous (an underscore may be a dot); going from the
modules that are really there is not. Layouts: kohya and LyCORIS, diffusers new and old, PEFT, and cloneofsimo's
safeloras, which name modules by their place in a walk over the model of their day.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping

from torch import nn

_CLIP_OLD = {"q_proj": "to_q", "k_proj": "to_k", "v_proj": "to_v", "out_proj": "to_out"}


def targets(**models: nn.Module) -> dict[str, nn.Module]:
    """Return the modules that adapters can reach, by part and name: `unet.down_blocks.0...`, `text_encoder...`.

    Transformers before 5.6 keeps CLIP under `text_model.`, later releases do not; names here are without it.
    """
    found: dict[str, nn.Module] = {}
    for part, model in models.items():
        for name, module in model.named_modules():
            if isinstance(module, nn.Linear | nn.Conv2d):
                found[f"{part}.{name.removeprefix('text_model.')}"] = module
    return found


def aliases(modules: Mapping[str, nn.Module], header: Mapping[str, str]) -> dict[str, str]:
    """Return {stem in a file: name in `modules`}; the header tells a safelora's walk."""
    two = any(name.startswith("text_encoder_2.") for name in modules)
    found: dict[str, str] = {}
    for module in modules:
        part, _, name = module.partition(".")
        spellings = _unet(name) if part == "unet" else _clip(part, name, two)
        for spelling in spellings:
            found.setdefault(spelling, module)
    found.update(_positions(modules, header))
    return found


def _unet(name: str) -> Iterator[str]:
    old = re.sub(r"\.to_out\.0$", ".to_out", name)
    old = re.sub(r"\.(to_[qkv]|to_out)$", r".processor.\1", old)
    for dotted in dict.fromkeys((name, old)):
        yield from (dotted, f"unet.{dotted}", f"base_model.model.{dotted}", f"unet.base_model.model.{dotted}")
    yield from (f"{prefix}_unet_{name.replace('.', '_')}" for prefix in ("lora", "lycoris"))


def _clip(part: str, name: str, two: bool) -> Iterator[str]:
    head, _, leaf = name.rpartition(".")
    for dotted in (name, f"{head}.{_CLIP_OLD.get(leaf, leaf)}"):
        for wrapped in (dotted, f"text_model.{dotted}"):
            yield from (f"{part}.{wrapped}", f"{part}.base_model.model.{wrapped}", f"base_model.model.{wrapped}")
    short = {"text_encoder": "te1", "text_encoder_2": "te2"}.get(part, part) if two else "te"
    flat = name.replace(".", "_")
    for prefix in ("lora", "lycoris"):
        yield from (f"{prefix}_{short}_text_model_{flat}", f"{prefix}_{short}_{flat}")


def _positions(modules: Mapping[str, nn.Module], header: Mapping[str, str]) -> dict[str, str]:
    """Name modules by their place in cloneofsimo's walk: down, up, then middle; GEGLU between the two attentions.

    That is the order in which diffusers of early 2023 registered them; `header` lists the classes it stopped at.
    """
    found: dict[str, str] = {}
    geglu = "GEGLU" in _classes(header, "unet", ("CrossAttention", "Attention", "GEGLU"))
    leaves = ["attn1.to_q", "attn1.to_k", "attn1.to_v", "attn1.to_out.0"]
    leaves += ["ff.net.0.proj"] * geglu + ["attn2.to_q", "attn2.to_k", "attn2.to_v", "attn2.to_out.0"]
    attended = dict.fromkeys(name.partition(".attn1.")[0] for name in modules if ".attn1." in name)
    walk = [
        b for where in ("down_blocks", "up_blocks", "mid_block") for b in attended if b.startswith(f"unet.{where}.")
    ]
    names = [f"{block}.{leaf}" for block in walk for leaf in leaves]
    found.update({f"unet:{place}": name for place, name in enumerate(names) if name in modules})

    order = ("k_proj", "v_proj", "q_proj", "out_proj")
    layers = dict.fromkeys(name.partition(".self_attn.")[0] for name in modules if ".self_attn." in name)
    names = [f"{layer}.self_attn.{leaf}" for layer in layers if layer.startswith("text_encoder.") for leaf in order]
    found.update({f"text_encoder:{place}": name for place, name in enumerate(names) if name in modules})
    return found


def _classes(header: Mapping[str, str], part: str, default: tuple[str, ...]) -> tuple[str, ...]:
    try:
        classes = json.loads(header.get(part, ""))
    except (ValueError, RecursionError):
        return default
    return tuple(classes) if isinstance(classes, list) and all(isinstance(c, str) for c in classes) else default
