"""The gallery and the suspected failures as HTML."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from ..tables import Number, decimals
from .failures import FALL, RULES, SAMENESS, counted, worn
from .gallery import Entry, Gallery, Group, Shown
from .markup import Content, Html, bullets, folded, foreign, mark, paragraph, section, table, text
from .results import Results

_HEADINGS: Final[dict[Group, str]] = {
    "best": "Gained most",
    "worst": "Lost most",
    "middle": "In the middle",
}
_SMALL: Final = 96
"""Thumbnails up to this side are shown pixel by pixel."""


def gallery_section(results: Results, gallery: Gallery | None) -> str:
    """Return the prompts of a gallery, with their pictures side by side."""
    if gallery is None or not gallery.entries:
        return ""
    gains = gallery.gains
    sign = "more" if gains.better == "higher" else "less"
    parts = [
        paragraph(
            f"Left {gains.baseline}, right {gains.cell}, each pair from the same noise; {len(gains.values):,} prompts "
            f"sorted by their difference in {results.title(gains.metric)} ({sign} is better)."
        ),
        bullets(gallery.notes),
    ]
    for group, heading in _HEADINGS.items():
        entries = [entry for entry in gallery.entries if entry.group == group]
        if entries:
            inner = "".join(_entry(gallery, entry) for entry in entries)
            parts.append(
                folded(f"{heading} ({len(entries)})", f'<div class="gallery">{inner}</div>', opened=group != "middle")
            )
    return section("gallery", "Pictures", parts)


def failures_section(results: Results, gallery: Gallery | None) -> str:
    """Return which failures are suspected, by which rule, and of how many prompts."""
    if gallery is None:
        return ""
    counts = counted(gallery.suspicions)
    prompts = len(gallery.gains.values)
    looked_for = [label for label in RULES if label != SAMENESS or gallery.knows_diversity]
    rows: list[tuple[Content, ...]] = [
        (
            label,
            f"{counts.get(label, 0):,}" if label in looked_for else "not looked for",
            Html(f'<span class="wide">{text(rule)}</span>'),
        )
        for label, rule in RULES.items()
    ]
    fall = FALL * gallery.gains.spread
    return section(
        "failures",
        "Suspected failures",
        (
            paragraph(
                "Found by rules from numbers alone, and named as in the Stylus paper, appendix A.4: where to look, not "
                f"what is there. A prompt fell when it lost at least {Number(value=fall, digits=decimals(fall))} "
                f"in {results.title(gallery.gains.metric)}, which is {FALL:g} spreads of the prompts' differences."
            ),
            table(f"Of {prompts:,} prompts of {gallery.gains.cell}", ("failure", "suspected", "when"), rows),
        ),
    )


def _entry(gallery: Gallery, entry: Entry) -> str:
    gains = gallery.gains
    sample = entry.pairs[0][1].sample
    own = gains.oriented(entry.prompt_id) or 0.0
    gain = f"{Number(value=entry.gain, digits=decimals(gains.spread), signed=True)} {gains.unit}".strip()
    told = mark("better" if own > 0 else "worse" if own < 0 else "unclear", gain)
    category = f" · {text(foreign(sample.category))}" if sample.category else ""
    tags = "".join(
        f'<span class="tag">suspected: {text(label)}</span>'
        for label in dict.fromkeys(suspicion.label for suspicion in entry.suspicions)
    )
    why = folded("what speaks for it", bullets(foreign(one.why) for one in entry.suspicions)) if tags else ""
    return (
        f'<article class="entry"><h4>{text(foreign(sample.prompt))}</h4>{"".join(_pairs(gallery, entry))}'
        f'<p>{text(told)} <span class="quiet">place {entry.place:,} of {len(gains.values):,}{category}</span></p>'
        f"<p>{_adapters(entry)}</p>{f'<p>{tags}</p>' if tags else ''}{why}</article>"
    )


def _pairs(gallery: Gallery, entry: Entry) -> Iterator[str]:
    names = str(gallery.gains.baseline), str(gallery.gains.cell)
    for place, pair in enumerate(entry.pairs):
        figures = (_figure(shown, name, named=place == 0) for shown, name in zip(pair, names, strict=True))
        yield f'<div class="pair">{"".join(figures)}</div>'


def _figure(shown: Shown, name: str, *, named: bool) -> str:
    caption = f"<figcaption>{text(name)}</figcaption>" if named else ""
    seed = "" if shown.sample.seed is None else f", seed {shown.sample.seed}"
    small = shown.thumbnail
    if small is None:
        return f'<figure>{caption}<p class="quiet">The picture {text(shown.missing)}</p></figure>'
    kind = ' class="small"' if max(small.width, small.height) <= _SMALL else ""
    return (
        f'<figure>{caption}<img{kind} alt="{text(f"{name}{seed}: {shown.sample.prompt}")}" width="{small.width}" '
        f'height="{small.height}" src="{small.uri}"></figure>'
    )


def _adapters(entry: Entry) -> str:
    found = {(one.title, one.weight): one for _, own in entry.pairs for one in worn(own.sample)}
    if not found:
        return '<span class="quiet">no adapter</span>'
    return ", ".join(f"{text(foreign(one.title))} {one.weight:.3g}" for one in found.values())
