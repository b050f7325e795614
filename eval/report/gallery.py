"""The gallery: the prompts that gained and lost most, with the baseline's picture and the method's side by side."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from ...errors import VelaturaError
from ..records import Sample
from .failures import Suspicion, clipped, saturated, suspected
from .gains import Gains

if TYPE_CHECKING:
    from PIL.Image import Image

Group = Literal["best", "worst", "middle"]
ENTRIES: Final = 12
"""How many of the best and of the worst prompts are shown, where the caller does not say."""
SIDE: Final = 224
"""The longer side of a thumbnail, in pixels."""
LARGEST: Final = 8 * 2**20
"""Bytes of all thumbnails together, as they stand in the page."""
_PAIRS: Final = 2
"""Pictures of a prompt on either side."""
_SMALL: Final = 96
"""Pictures up to this side are kept pixel by pixel: compression would be all that is seen."""

Open = Callable[[Sample], "Image"]
"""Opens a sample's picture."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Thumbnail:
    """A picture small enough to stand in a page."""

    uri: str
    width: int
    height: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """A sample with its thumbnail, or why there is none."""

    sample: Sample
    thumbnail: Thumbnail | None
    missing: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One prompt of the gallery."""

    prompt_id: str
    group: Group
    place: int
    """Among all prompts, 1 for the one that gained most."""
    gain: float
    pairs: tuple[tuple[Shown, Shown], ...]
    """(baseline's, method's), from the same noise."""
    suspicions: tuple[Suspicion, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Gallery:
    """What is shown of one method."""

    gains: Gains
    entries: tuple[Entry, ...]
    suspicions: Mapping[str, tuple[Suspicion, ...]]
    """Of all prompts, shown or not; saturation of those shown alone."""
    notes: tuple[str, ...] = ()
    knows_diversity: bool = False
    """Whether loss of diversity could be looked for."""


def gallery_of(
    gains: Gains, samples: Iterable[Sample], images: Open, *, entries: int = ENTRIES, diversity: Gains | None = None
) -> Gallery:
    """Choose prompts by what they gained, and shrink their pictures.

    Args:
        gains: What each prompt gained, which is what they are sorted by.
        samples: Of both cells; others are passed over.
        images: Opens a sample's picture. One that cannot be opened is told in its place.
        entries: How many of the best and of the worst; half as many of the middle.
        diversity: What each prompt gained in diversity, for failures.
    """
    samples = tuple(samples)
    pairs = _pairs(gains, samples)
    known = [name for name in gains.ordered if name in pairs]
    tags = dict(suspected(gains, samples, diversity))
    room = _Room(images)
    chosen: list[Entry] = []
    for group, name in _chosen(known, entries):
        shown = tuple((room.shown(base), room.shown(own)) for base, own in pairs[name][:_PAIRS])
        more = [found for base, own in pairs[name][:_PAIRS] if (found := room.saturation(base, own))]
        if more:
            tags[name] = (*more[:1], *tags.get(name, ()))
        chosen.append(
            Entry(
                prompt_id=name,
                group=group,
                place=known.index(name) + 1,
                gain=gains.values[name],
                pairs=shown,
                suspicions=tags.get(name, ()),
            )
        )
    return Gallery(
        gains=gains,
        entries=tuple(chosen),
        suspicions=tags,
        notes=tuple(room.notes()),
        knows_diversity=diversity is not None,
    )


def thumbnail(image: Image) -> Thumbnail:
    """Return a picture shrunk and encoded anew, so that nothing of the file but its pixels gets into the page."""
    from PIL.Image import Resampling

    small = image.convert("RGB")
    stream = io.BytesIO()
    if max(small.size) <= _SMALL:
        small.save(stream, "PNG")
        kind = "png"
    else:
        small.thumbnail((SIDE, SIDE), Resampling.LANCZOS)
        small.save(stream, "WEBP", quality=80, method=4)
        kind = "webp"
    data = base64.b64encode(stream.getvalue()).decode("ascii")
    return Thumbnail(uri=f"data:image/{kind};base64,{data}", width=small.width, height=small.height)


class _Room:
    """Opens each picture once, and keeps the thumbnails within what a page may weigh."""

    def __init__(self, images: Open) -> None:
        self._images = images
        self._left = LARGEST
        self._left_out = 0
        self._clipped: dict[Sample, float] = {}

    def shown(self, sample: Sample) -> Shown:
        """Return a sample with its thumbnail, or with the sentence why it has none."""
        from PIL.Image import DecompressionBombError

        if self._left <= 0:
            self._left_out += 1
            return Shown(sample=sample, thumbnail=None, missing="left out, so that the page stays small")
        try:
            image = self._images(sample)
            small = thumbnail(image)
            self._clipped[sample] = clipped(image)
        except (OSError, ValueError, VelaturaError, DecompressionBombError) as error:
            return Shown(sample=sample, thumbnail=None, missing=f"cannot be shown: {error}")
        self._left -= len(small.uri)
        return Shown(sample=sample, thumbnail=small)

    def saturation(self, base: Sample, own: Sample) -> Suspicion | None:
        """Return what the pixels of a pair that was shown speak for."""
        share = self._clipped.get(own)
        return None if share is None else saturated(own, share, self._clipped.get(base))

    def notes(self) -> Iterable[str]:
        """Yield what a reader should know."""
        if self._left_out:
            yield f"{self._left_out} pictures are left out: the page holds {LARGEST // 2**20} MiB of them at most."


def _pairs(gains: Gains, samples: Sequence[Sample]) -> dict[str, list[tuple[Sample, Sample]]]:
    """Return each prompt's pairs in order of their index, (baseline's, method's)."""
    bases = {sample.pair: sample for sample in samples if sample.cell == gains.baseline}
    pairs: dict[str, list[tuple[Sample, Sample]]] = {}
    for sample in sorted((one for one in samples if one.cell == gains.cell), key=lambda one: one.pair):
        if sample.pair in bases and sample.prompt_id in gains.values:
            pairs.setdefault(sample.prompt_id, []).append((bases[sample.pair], sample))
    return pairs


def _chosen(ordered: Sequence[str], entries: int) -> Iterable[tuple[Group, str]]:
    """Yield the best, the worst (the worst first) and some of the middle, no prompt twice."""
    best = list(ordered[:entries])
    rest = ordered[len(best) :]
    worst = list(reversed(rest[max(0, len(rest) - entries) :]))
    rest = rest[: len(rest) - len(worst)]
    few = min(len(rest), entries // 2)
    start = (len(rest) - few) // 2
    groups: tuple[tuple[Group, Sequence[str]], ...] = (
        ("best", best), ("worst", worst), ("middle", rest[start : start + few]),
    )  # fmt: skip
    for group, names in groups:
        for name in names:
            yield group, name
