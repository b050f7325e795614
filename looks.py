"""Words that hold a checkpoint to its own look."""

from __future__ import annotations

import re

from .words import words

_CHECKPOINTS: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(r"realistic ?vision|real ?vis|epic ?realism|cyber ?realistic|absolute ?reality|photon|juggernaut"),
     "realistic, high quality"),
    (re.compile(r"counterfeit|anything ?v?\d|anime|abyss ?orange|meina|animagine|waifu|aniverse|pastel ?mix"),
     "anime style, high quality"),
)  # fmt: skip


def debias(model: str | None) -> str:
    """Return the words that hold a checkpoint to its own look, whatever its adapters were trained on.

    They are those of the Stylus paper for the looks that it tried, photographs (Realistic Vision) and anime
    (Counterfeit); other checkpoints are known by their names, and of one that is not known there are none.

    Args:
        model: A path or a hub id.

    >>> debias("models/realisticVisionV60B1_v51VAE.safetensors"), debias("gsdf/Counterfeit-V3.0"), debias("sd15")
    ('realistic, high quality', 'anime style, high quality', '')
    """
    name = " ".join(words(re.split(r"[\\/]", (model or "").rstrip("\\/"))[-1]))
    return next((suffix for pattern, suffix in _CHECKPOINTS if pattern.search(name)), "")
