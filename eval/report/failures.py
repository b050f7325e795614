"""Failures that can be suspected from numbers alone, by the names that the Stylus paper gives them (appendix A.4).

A tag says where to look, not what is there: each has a stated rule, and each is called suspected.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from ...words import FUNCTION_WORDS, words
from ..records import Sample, Worn
from .gains import Gains

if TYPE_CHECKING:
    from PIL.Image import Image

SATURATION: Final = "image saturation"
BLOCKING: Final = "task blocking"
SAMENESS: Final = "loss of task diversity"
POOR_ADAPTER: Final = "low-quality adapter"
RETRIEVAL: Final = "retrieval error"

FALL: Final = 2.0
"""A fall counts from this many spreads of the prompts' differences on."""
CLIPPED: Final = 0.1
"""The share of pixels at the end of the scale from which on a picture may be saturated."""
CLIPPED_MORE: Final = 2.0
"""How many times the baseline's share that must be, too."""
POOR_PROMPTS: Final = 3
"""Of how few prompts nothing is said about an adapter."""
POOR_SHARE: Final = 0.75
"""The share of an adapter's prompts that must have lost."""

RULES: Final[Mapping[str, str]] = {
    SATURATION: (
        f"adapters are on, and at least {CLIPPED:.0%} of the pixels are at the end of the scale (black and white "
        f"left out), at least {CLIPPED_MORE:g} times as many as in the baseline's picture; looked for in "
        "the pictures shown"
    ),
    BLOCKING: "the prompt fell, and two or more adapters are on: one may keep the words of another from the picture",
    SAMENESS: "the pictures of the prompt became more alike, by more than a fall",
    POOR_ADAPTER: (
        f"the prompt fell, and an adapter is on that is on for at least {POOR_PROMPTS} prompts, of which at least "
        f"{POOR_SHARE:.0%} lost"
    ),
    RETRIEVAL: "the prompt fell, and an adapter is on whose title has no word in common with the prompt",
}
"""When each failure is suspected."""
_LEVELS: Final = (2, 253)
"""What counts as the end of the scale, of 0 to 255: compression moves it by a little."""
_LOOKED_AT: Final = 1 << 18
"""Pixels of a picture that are looked at, evenly spread."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Suspicion:
    """A failure that may be there, and what speaks for it."""

    label: str
    why: str


def worn(sample: Sample) -> tuple[Worn, ...]:
    """Return the adapters that were on: those that the mask leaves, at a weight other than 0."""
    mask = sample.mask if sample.mask is not None and len(sample.mask) == len(sample.adapters) else None
    return tuple(
        adapter
        for place, adapter in enumerate(sample.adapters)
        if adapter.weight and (mask is None or mask[place])
    )  # fmt: skip


def clipped(image: Image) -> float:
    """Return the share of pixels with a colour at the end of the scale, black and white left out.

    Black and white are what night and snow are made of; a colour alone at the end is what too much weight makes.
    """
    pixels = np.asarray(image.convert("RGB")).reshape(-1, 3)
    pixels = pixels[:: max(1, len(pixels) // _LOOKED_AT)]
    ends = (pixels <= _LEVELS[0]) | (pixels >= _LEVELS[1])
    return float((ends.any(1) & ~ends.all(1)).mean()) if len(pixels) else 0.0


def suspected(
    gains: Gains, samples: Iterable[Sample], diversity: Gains | None = None
) -> dict[str, tuple[Suspicion, ...]]:
    """Return, for each prompt that may have failed, what is suspected; what pictures tell is `saturated`'s.

    Args:
        gains: What each prompt gained in what pictures are judged by, such as CLIP score.
        samples: Of the method's cell; others are passed over.
        diversity: What each prompt gained in diversity.
    """
    own: dict[str, list[Sample]] = defaultdict(list)
    for sample in samples:
        if sample.cell == gains.cell:
            own[sample.prompt_id].append(sample)
    poor = _poor_adapters(gains, own)
    found = {name: (*_fallen(gains, name, group, poor), *_alike(diversity, name)) for name, group in own.items()}
    return {name: suspicions for name, suspicions in found.items() if suspicions}


def saturated(sample: Sample, share: float, base: float | None) -> Suspicion | None:
    """Say whether a picture with adapters on may be saturated, from its and the baseline's clipped share."""
    if not worn(sample) or share < CLIPPED or (base is not None and share < CLIPPED_MORE * base):
        return None
    beside = "" if base is None else f", {base:.0%} in the baseline's"
    return Suspicion(label=SATURATION, why=f"{share:.0%} of the pixels are at the end of the scale{beside}")


def counted(suspicions: Mapping[str, Sequence[Suspicion]]) -> dict[str, int]:
    """Return how many prompts each failure is suspected of."""
    labels = [label for found in suspicions.values() for label in {suspicion.label for suspicion in found}]
    return {label: labels.count(label) for label in dict.fromkeys(labels)}


def _fallen(gains: Gains, name: str, samples: Sequence[Sample], poor: Mapping[str, str]) -> Iterable[Suspicion]:
    gain = gains.oriented(name)
    adapters = {adapter.title: adapter for sample in samples for adapter in worn(sample)}
    if gain is None or not adapters or not _is_fall(gain, gains):
        return
    if max(len(worn(sample)) for sample in samples) > 1:
        yield Suspicion(label=BLOCKING, why=f"{len(adapters)} adapters are on")
    for title in adapters:
        if title in poor:
            yield Suspicion(label=POOR_ADAPTER, why=poor[title])
    prompt = _content(samples[0].prompt)
    for title in adapters:
        if not prompt & _content(title):
            yield Suspicion(label=RETRIEVAL, why=f"“{title}” has no word in common with the prompt")


def _alike(diversity: Gains | None, name: str) -> Iterable[Suspicion]:
    gain = None if diversity is None else diversity.oriented(name)
    if diversity is not None and gain is not None and _is_fall(gain, diversity):
        unit = f" {diversity.unit}" if diversity.unit else ""
        yield Suspicion(label=SAMENESS, why=f"{diversity.metric} {diversity.values[name]:+.3g}{unit}")


def _is_fall(gain: float, gains: Gains) -> bool:
    return gain < 0 and gain <= -FALL * gains.spread


def _poor_adapters(gains: Gains, samples: Mapping[str, Sequence[Sample]]) -> dict[str, str]:
    """Return adapters that most of their prompts lost with, and what speaks for it."""
    by_title: dict[str, list[float]] = defaultdict(list)
    for name, group in samples.items():
        gain = gains.oriented(name)
        if gain is not None:
            for title in {adapter.title for sample in group for adapter in worn(sample)}:
                by_title[title].append(gain)
    return {
        title: f"“{title}” is on for {len(values)} prompts, of which {sum(value < 0 for value in values)} lost"
        for title, values in by_title.items()
        if len(values) >= POOR_PROMPTS and sum(value < 0 for value in values) >= POOR_SHARE * len(values)
    }


def _content(text: str) -> set[str]:
    return set(words(text)) - FUNCTION_WORDS
