"""Base families, and which of them wear each other's adapters.

The names and the pairs follow Civitai's own compatibility table (2026-08): the SDXL children share a UNet, so
an adapter of one works on another in part; nothing crosses from one architecture to another.
"""

from __future__ import annotations

import re
from typing import Literal

Support = Literal["full", "partial", "none"]

UNKNOWN = "unknown"
OTHER = "other"
"""A base that is named and is none of ours."""

TITLES: dict[str, str] = {
    "sd1": "SD 1.x",
    "sd2": "SD 2.x",
    "sdxl": "SDXL",
    "pony": "Pony",
    "illustrious": "Illustrious",
    "noobai": "NoobAI",
    "sd3": "SD 3",
    "sd35": "SD 3.5",
    "flux1": "FLUX.1",
    "flux2": "FLUX.2",
    "auraflow": "AuraFlow",
    "chroma": "Chroma",
    "lumina": "Lumina",
    "zimage": "Z-Image",
    "qwen": "Qwen-Image",
    "pixart": "PixArt",
    "kolors": "Kolors",
    "hunyuan": "Hunyuan",
    "hidream": "HiDream",
    "wan": "Wan video",
    "ltx": "LTX video",
    "cascade": "Stable Cascade",
    "miniature": "Velatura miniature",
    OTHER: "another base",
    UNKNOWN: "unknown",
}
"""Every family with its name for people."""

_XL = frozenset({"sdxl", "pony", "illustrious", "noobai"})

# Tried in order: the first pattern found in the lower-cased name decides, so children stand before their parents.
_PATTERNS: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(pattern), family)
    for pattern, family in (
        (r"pony ?v?7|aura[ _-]?flow", "auraflow"),
        (r"pony", "pony"),
        (r"illustrious|\bilxl\b", "illustrious"),
        (r"noob", "noobai"),
        (r"kolors", "kolors"),
        (r"flux[ ._-]?2|klein", "flux2"),
        (r"flux|krea", "flux1"),
        (r"chroma", "chroma"),
        (r"z[ _-]?image", "zimage"),
        (r"qwen", "qwen"),
        (r"pixart", "pixart"),
        (r"hidream", "hidream"),
        (r"hunyuan", "hunyuan"),
        (r"lumina", "lumina"),
        (r"\bwan\b|wan[ _-]?(?:video|2)|wan-ai", "wan"),
        (r"\bltxv?", "ltx"),
        (r"cascade", "cascade"),
        (r"velatura[ _-]?miniature", "miniature"),
        (r"(?:sd|stable[ _-]diffusion)[ _-]?(?:v)?3[ ._]5", "sd35"),
        (r"(?:sd|stable[ _-]diffusion)[ _-]?(?:v)?3(?:\b|_)", "sd3"),
        (r"sd[ _-]?xl|stable[ _-]diffusion[ _-]xl|\bxl\b|ssd-1b|segmind[-/ ]vega|animagine", "sdxl"),
        (r"(?:sd|stable[ _-]diffusion)[ _-]?(?:v)?2(?:\b|[ ._-])", "sd2"),
        (r"(?:sd|stable[ _-]diffusion)[ _-]?(?:v)?1(?:\b|[ ._-])", "sd1"),
    )
)


def family_of(base: str | None) -> str:
    """Return the family that a base model's name speaks of: Civitai's, kohya's, ModelSpec's or Hugging Face's.

    Nothing to go by is `unknown`; a name that we do not know is `other`.

    >>> [family_of(name) for name in ("SD 1.5 LCM", "sdxl_base_v1-0", "Pony V7", "sd_v2_v", "SD 3.5 Large", "Flux.1 D")]
    ['sd1', 'sdxl', 'auraflow', 'sd2', 'sd35', 'flux1']
    >>> family_of("stable-diffusion-v1-5/stable-diffusion-v1-5"), family_of("Other"), family_of(None)
    ('sd1', 'other', 'unknown')
    """
    name = (base or "").strip().lower()
    if name in ("", "unknown", "none"):
        return UNKNOWN
    for pattern, family in _PATTERNS:
        if pattern.search(name):
            return family
    return OTHER


def support(adapter: str, model: str, *, kind: str = "lora") -> Support | None:
    """Say how well an adapter of one family works on a model of another; None when either is not known.

    `kind="embedding"` follows the wider rule for textual inversions (SD 1 into the SDXL families).

    >>> support("pony", "sdxl"), support("sd1", "sd1"), support("sd1", "sdxl"), support("unknown", "sd1")
    ('partial', 'full', 'none', None)
    >>> support("sd1", "sdxl", kind="embedding")
    'partial'
    """
    if UNKNOWN in (adapter, model) or OTHER in (adapter, model):
        return None
    if adapter == model:
        return "full"
    if adapter in _XL and model in _XL:
        return "partial"
    if kind == "embedding" and adapter == "sd1" and model in _XL:
        return "partial"
    return "none"


def wearable(model: str, *, kind: str = "lora") -> dict[str, Support]:
    """Return the families whose adapters a model of this family wears, with the level of each.

    >>> wearable("sd1"), sorted(wearable("pony").items())
    ({'sd1': 'full'}, [('illustrious', 'partial'), ('noobai', 'partial'), ('pony', 'full'), ('sdxl', 'partial')])
    """
    levels = {family: support(family, model, kind=kind) for family in TITLES}
    return {family: level for family, level in levels.items() if level in ("full", "partial")}
