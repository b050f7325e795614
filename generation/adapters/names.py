"""Every spelling of a module's name that trainers write, made forward from the live model.

Guessing a name back from `lora_unet_down_blocks_0_...` is ambiguous (an underscore may be a dot); going from the
modules that are really there is not. A name is spelt in one of several namings (that of diffusers, Stability's in
`sgm`, Black Forest Labs' in `flux`), with dots behind one of some prefixes or with underscores behind others; and
cloneofsimo's safeloras name modules by their place in a walk over the model of their day.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass

from torch import Tensor, nn

from .flux import SWAPPED, bfl_names, split_names, xlabs_names
from .sgm import sgm_names


@dataclass(frozen=True, slots=True)
class Place:
    """Where the rows of one stem of an adapter file go."""

    modules: tuple[str, ...]
    """Names in `targets`: several, in the order of the rows, where a file has one matrix for what the model keeps
    apart (query, key and value of FLUX)."""
    swapped: bool = False
    """The two halves of the rows change places: shift and scale, where diffusers has scale and shift."""


Spelling = tuple[str, Place]
Known = Mapping[str, Place]
"""The modules of one part by the name, without the part, under which adapters know them."""

_CLIP_OLD = {"q_proj": "to_q", "k_proj": "to_k", "v_proj": "to_v", "out_proj": "to_out"}
_SAFELORA_BLOCKS = (
    *(f"down_blocks.{level}.attentions.{layer}" for level in (0, 1, 2) for layer in (0, 1)),
    *(f"up_blocks.{level}.attentions.{layer}" for level in (1, 2, 3) for layer in (0, 1, 2)),
    "mid_block.attentions.0",
)
"""The order in which diffusers of early 2023 registered the blocks of SD 1 and SD 2, which safeloras are made for."""


def targets(**models: nn.Module) -> dict[str, nn.Module]:
    """Return the modules that adapters can reach: linear layers, convolutions and norms, by part and name.

    Names are `unet.down_blocks.0...`, `text_encoder...`, alike in every release of the libraries: transformers before
    5.6 keeps CLIP under `text_model.`, later releases do not, and names here are without it; so are those of a model
    that `torch.compile` has wrapped without `_orig_mod.`.

    Args:
        models: The models by part: `unet`, `transformer`, `text_encoder`, `text_encoder_2`, ...
    """
    found: dict[str, nn.Module] = {}
    for part, model in models.items():
        for name, module in model.named_modules():
            if isinstance(module, nn.Linear | nn.Conv2d) or _is_norm(module):
                found[f"{part}.{name.replace('_orig_mod.', '').removeprefix('text_model.')}"] = module
    return found


def places(
    modules: Mapping[str, nn.Module], header: Mapping[str, str], stand_ins: Mapping[str, str] = {}
) -> dict[str, Place]:
    """Return {stem in a file: where it goes}; should two modules claim one spelling, the first has it.

    Args:
        modules: The model's modules by name (see `targets`).
        header: The file's metadata, which tells a safelora's walk.
        stand_ins: {module: the name under which the adapters of another model know it}, instead of its own (see
            `sdxs.stand_ins`).
    """
    found: dict[str, Place] = {}
    for spelling, place in spellings(modules, header, stand_ins):
        found.setdefault(spelling, place)
    return found


def spellings(modules: Iterable[str], header: Mapping[str, str], stand_ins: Mapping[str, str]) -> Iterator[Spelling]:
    """Yield every spelling of every module; see `places`."""
    parts: dict[str, dict[str, Place]] = {}
    for module in modules:
        part, _, name = stand_ins.get(module, module).partition(".")
        parts.setdefault(part, {}).setdefault(name, Place((module,)))
    if unet := parts.get("unet"):
        yield from _unet(unet)
    if transformer := parts.get("transformer"):
        yield from _transformer(transformer)
    encoders = [part for part in parts if part.startswith("text_encoder")]
    t5s = [part for part in encoders if any(name.startswith("encoder.block.") for name in parts[part])]
    clips = [part for part in encoders if part not in t5s]
    lone = encoders == ["text_encoder"] and not transformer
    for part in clips:
        yield from _clip(part, parts[part], bare=part == clips[0], lone=lone)
    for part in t5s:
        yield from _t5(part, parts[part], bare=part == t5s[0])
    yield from _safelora(parts, header)


def _unet(known: Known) -> Iterator[Spelling]:
    own = ("", "unet.", "base_model.model.", "unet.base_model.model.")
    yield from _spelt(known, own, ("lora_unet_", "lycoris_unet_", "lycoris_", "oft_unet_"))
    processors = {old: place for name, place in known.items() if (old := _processor(name))}
    yield from _spelt(processors, ("", "unet."), ())
    sgm = {spelt: known[name] for name, spelt in sgm_names(known).items()}
    # `unet.` before Stability's names is the Open Model Initiative's standard.
    yield from _spelt(
        sgm, ("diffusion_model.", "model.diffusion_model.", "unet."), ("lora_unet_", "lycoris_unet_", "oft_unet_")
    )


def _processor(name: str) -> str | None:
    """Spell the name as diffusers did before PEFT, when adapters lay in the processors of the attentions."""
    attention, _, leaf = name.removesuffix(".0").rpartition(".")
    return f"{attention}.processor.{leaf}" if leaf in ("to_q", "to_k", "to_v", "to_out") else None


def _transformer(known: Known) -> Iterator[Spelling]:
    own = ("", "transformer.", "base_model.model.", "transformer.base_model.model.")
    yield from _spelt(known, own, ("lora_transformer_", "lycoris_transformer_", "lycoris_"))
    theirs = ("", "diffusion_model.", "model.diffusion_model.", "base_model.model.", "transformer.")
    bfl = _joined(known, bfl_names(known))
    yield from _spelt(bfl, theirs, ("lora_unet_", "lycoris_unet_", "lycoris_"))
    yield from _spelt(_joined(known, split_names(known)), ("transformer.",), ())
    yield from _spelt(_joined(known, xlabs_names(known)), ("", "diffusion_model."), ())


def _joined(known: Known, names: Mapping[str, tuple[str, ...]]) -> dict[str, Place]:
    """Turn {name elsewhere: names here} into places."""
    found = {}
    for spelt, several in names.items():
        modules = tuple(module for name in several for module in known[name].modules)
        found[spelt] = Place(modules, swapped=spelt in SWAPPED)
    return found


def _clip(part: str, known: Known, *, bare: bool, lone: bool) -> Iterator[Spelling]:
    """Spell the modules of a CLIP.

    Args:
        part: `text_encoder` or `text_encoder_2`.
        known: Its modules.
        bare: Names that do not tell the part mean this one.
        lone: The model has no other text encoder, so that trainers do not count it.
    """
    number = _number(part)
    wrapped = {f"text_model.{name}": place for name, place in known.items() if not name.startswith("text_projection")}
    dotted = [f"{part}.", f"{part}.base_model.model."] + ["", "base_model.model."] * bare
    short = "te" if lone else f"te{number}"
    flat = (f"lora_{short}_", f"lycoris_{short}_")
    yield from _spelt(known, dotted, flat)
    yield from _spelt(wrapped, dotted, flat)
    # ComfyUI and the Open Model Initiative call the models by their names; SD 2 has the one called h.
    letters = "g" if number == 2 else "lh" if lone else "l"
    prefixes = [p for letter in letters for p in (f"text_encoders.clip_{letter}.transformer.", f"clip_{letter}.")]
    yield from _spelt(wrapped, prefixes, ())
    if projection := {name: place for name, place in known.items() if name.startswith("text_projection")}:
        yield from _spelt(projection, prefixes, ())
    # diffusers before PEFT spelt CLIP's attention like that of the UNet.
    old = {}
    for name, place in wrapped.items():
        attention, _, leaf = name.rpartition(".")
        if leaf in _CLIP_OLD:
            old[f"{attention}.{_CLIP_OLD[leaf]}"] = place
    yield from _spelt(old, (f"{part}.",), ())


def _t5(part: str, known: Known, *, bare: bool) -> Iterator[Spelling]:
    """Spell the modules of a T5; for the second encoder of FLUX, sd-scripts writes `te3` and OneTrainer `te2`."""
    number = _number(part)
    dotted = [f"{part}.", f"{part}.base_model.model.", "text_encoders.t5xxl.transformer.", "t5."]
    dotted += ["", "base_model.model."] * bare
    shorts = [f"te{number}"] + ["te3"] * (number == 2)
    yield from _spelt(known, dotted, [f"{tool}_{short}_" for short in shorts for tool in ("lora", "lycoris")])


def _spelt(known: Known, dotted: Collection[str], flat: Collection[str]) -> Iterator[Spelling]:
    """Yield each name behind the prefixes: as it is, and with underscores for dots."""
    for name, place in known.items():
        for prefix in dotted:
            yield prefix + name, place
        if flat:
            joined = name.replace(".", "_")
            for prefix in flat:
                yield prefix + joined, place


def _safelora(parts: Mapping[str, Known], header: Mapping[str, str]) -> Iterator[Spelling]:
    """Name modules by their place in cloneofsimo's walk; `header` lists the classes it stopped at."""
    leaves = ["attn1.to_q", "attn1.to_k", "attn1.to_v", "attn1.to_out.0"]
    leaves += ["ff.net.0.proj"] * ("GEGLU" in _classes(header))
    leaves += ["attn2.to_q", "attn2.to_k", "attn2.to_v", "attn2.to_out.0"]
    yield from _walk(
        "unet", parts, [f"{block}.transformer_blocks.0.{leaf}" for block in _SAFELORA_BLOCKS for leaf in leaves]
    )
    layers = dict.fromkeys(
        name.partition(".self_attn.")[0] for name in parts.get("text_encoder", ()) if ".self_attn." in name
    )
    order = ("k_proj", "v_proj", "q_proj", "out_proj")
    yield from _walk("text_encoder", parts, [f"{layer}.self_attn.{leaf}" for layer in layers for leaf in order])


def _walk(part: str, parts: Mapping[str, Known], names: Iterable[str]) -> Iterator[Spelling]:
    known = parts.get(part, {})
    for number, name in enumerate(names):
        if name in known:
            yield f"{part}:{number}", known[name]


def _classes(header: Mapping[str, str]) -> tuple[str, ...]:
    default = ("CrossAttention", "Attention", "GEGLU")
    try:
        classes = json.loads(header.get("unet", ""))
    except (ValueError, RecursionError):
        return default
    return tuple(classes) if isinstance(classes, list) and all(isinstance(c, str) for c in classes) else default


def _is_norm(module: nn.Module) -> bool:
    """Whether the module is a norm of whatever library: nothing else is a leaf whose weight is a vector."""
    weight = getattr(module, "weight", None)
    return isinstance(weight, Tensor) and weight.ndim == 1 and next(module.children(), None) is None


def _number(part: str) -> int:
    """Count a text encoder from its name: `text_encoder` is the first, `text_encoder_2` the second."""
    last = part.rpartition("_")[2]
    return int(last) if last.isdecimal() else 1
