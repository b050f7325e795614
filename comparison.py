"""A comparison: one prompt from the same noise without adapters, with all, with each alone, and over their weights."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from .composer.triggers import share_room
from .composer.weights import advise
from .errors import InputError
from .gates import admitted
from .records import Choice, Composition, Filter, GenerationRequest, Usage

if TYPE_CHECKING:
    from .generation.runs import RunReport
    from .pipeline import Velatura
    from .protocols import ImageEmbedder, Watch

SWEEP: Final = (0.25, 0.5, 0.75, 1.0, 1.25)
MOST: Final = 1000
"""Pictures of one comparison."""

_SEEN: Final = 32
"""Pictures that the CLIP model sees at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One way to paint the prompt."""

    label: str
    """What is done with the adapters, such as `alone`; which they are, the composition says."""
    composition: Composition


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """Ways to paint the prompt that are to be seen side by side, the first without adapters."""

    title: str
    columns: tuple[Column, ...]
    swept: Choice | None = None
    """The one adapter whose weight changes from column to column."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """A picture of a comparison, or why there is none."""

    seed: int
    path: Path | None
    error: str | None = None
    score: float | None = None
    """100 times the cosine of the picture and the prompt (CLIP score), where a model looked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """What was painted."""

    request: GenerationRequest
    """Of the first picture: complete, without adapters."""
    panels: tuple[Panel, ...]
    seeds: tuple[int, ...]
    pictures: tuple[tuple[tuple[Shown, ...], ...], ...]
    """By panel, by column, by seed; the same picture in several panels is one file."""
    clip: str | None
    """The model that gave the scores."""
    run: RunReport


def panels_of(composition: Composition, sweep: Sequence[float] = SWEEP) -> tuple[Panel, ...]:
    """Return what is painted of a composition.

    Everything but adapters and their triggers stays as it is: words that close the prompt are in every picture.

    Args:
        composition: The prompt, and the adapters with their weights.
        sweep: The weights at which each adapter is laid on alone, and the factors of all weights together; none
            sweeps nothing.
    """
    told = replace(composition, refused=(), notes=(), usage=Usage())
    bare = Column(label="without adapters", composition=replace(told, choices=(), emphasis=None))
    choices = composition.choices

    def column(label: str, *laid: Choice) -> Column:
        return Column(label=label, composition=replace(told, choices=laid))

    if not choices:
        return (Panel(title="Nothing is laid on", columns=(bare,)),)
    if len(choices) == 1:
        panels = [Panel(title="Without and with the adapter", columns=(bare, column("with", *choices)))]
    else:
        alone = (column("alone", choice) for choice in choices)
        columns = (bare, column("together", *choices), *alone)
        panels = [Panel(title="Without, together, and each alone", columns=columns)]
        if sweep:
            scaled = (column(f"weights times {factor:g}", *_scaled(choices, factor)) for factor in sweep)
            panels.append(Panel(title="All together, their weights scaled", columns=(bare, *scaled)))
    for choice in choices if sweep else ():
        swept = (column("alone at", replace(choice, weight=weight)) for weight in sweep)
        panels.append(Panel(title="Alone, by weight", columns=(bare, *swept), swept=choice))
    return tuple(panels)


def named_adapters(
    velatura: Velatura, prompt: str, named: Sequence[tuple[str, float | None]], *, filter: Filter | None = None
) -> Composition:
    """Return a prompt with adapters that a person names.

    Args:
        velatura: The catalogue.
        prompt: The prompt.
        named: (what it is called, its weight); without a weight it has the one that it would be advised alone.
        filter: What its gates keep out is refused; whether an adapter is here and fits is told by painting.

    Raises:
        InputError: nothing in the catalogue is called so, one is named twice, or the filter keeps one out.
    """
    numbers = admitted(velatura.store, [(name, velatura.find(name)) for name, _ in named], filter or Filter())
    adapters = [velatura.store.adapter(number) for number in numbers]
    for place, adapter in enumerate(adapters):
        if any(other.id == adapter.id for other in adapters[:place]):
            raise InputError(f"{named[place][0]!r} names {adapter.record.title!r}, which was named before")
    settings = velatura.settings
    triggers = share_room(prompt, adapters) if settings.add_triggers else ((),) * len(adapters)
    unweighted = [adapter.id for adapter, (_, weight) in zip(adapters, named, strict=True) if weight is None]
    probes = velatura.store.probes(unweighted, velatura.backend.family) if unweighted else {}
    choices = []
    for adapter, (_, weight), words in zip(adapters, named, triggers, strict=True):
        reason = "named"
        if weight is None:
            probe = next(iter(probes.get(adapter.id, ())), None)
            advice = advise(adapter, 1, settings.weighing, probe=probe)
            weight, reason = advice.weight, f"named; weight {advice.weight:g}: {advice.reason}"
        choices.append(Choice(adapter=adapter.record, weight=weight, span="", triggers=words, reason=reason))
    return Composition(prompt=prompt, choices=tuple(choices))


def compare(
    velatura: Velatura,
    composition: Composition,
    folder: Path,
    *,
    seeds: Sequence[int] = (0,),
    sweep: Sequence[float] = SWEEP,
    fields: dict[str, Any] | None = None,
    overwrite: bool = False,
    watch: Watch | None = None,
) -> Comparison:
    """Paint a composition in every way that is compared, into a folder; what is there already is not painted again.

    A picture that cannot be painted is told with the reason, and costs no other.

    Args:
        velatura: Paints; where its settings name a picture model, that scores the pictures too.
        composition: The prompt and the adapters.
        folder: Where the pictures and their manifest go; see `generation.runs`.
        seeds: Each way is painted with each of them.
        sweep: See `panels_of`.
        fields: Fields of every request, such as `steps`.
        overwrite: Paint also what is there already.
        watch: Looks on.

    Raises:
        InputError: that would be too many pictures, the checkpoint or the picture model cannot be used, or the folder
            cannot be written to.
        Cancelled: `watch` stopped it.
    """
    from .generation.runs import run

    panels = panels_of(composition, sweep)
    ways = [column for panel in panels for column in panel.columns]
    if len(ways) * len(seeds) > MOST:
        raise InputError(
            f"that would be {len(ways) * len(seeds):,} pictures on one sheet, more than {MOST:,}; take fewer adapters, "
            "weights or seeds"
        )
    clip = velatura.picture_embedder if velatura.settings.picture_model is not None else None
    requests = [
        replace(velatura.request(way.composition, **(fields or {})), seed=seed) for way in ways for seed in seeds
    ]
    first = velatura.backend.complete(requests[0])
    report = run(velatura.backend, requests, folder, watch=watch, overwrite=overwrite, sheets=False)
    paths = [entry.file and folder / entry.file for entry in report.of_requests]
    scores = _scores(clip, composition.prompt, [path for path in paths if path]) if clip is not None else {}
    shown = iter(
        Shown(
            seed=request.seed, path=path or None, error=None if path else entry.error, score=scores.get(path or folder)
        )
        for request, path, entry in zip(requests, paths, report.of_requests, strict=True)
    )
    pictures = tuple(tuple(tuple(next(shown) for _ in seeds) for _ in panel.columns) for panel in panels)
    return Comparison(
        request=first,
        panels=panels,
        seeds=tuple(seeds),
        pictures=pictures,
        clip=None if clip is None else clip.model,
        run=report,
    )


def sheet_name(comparison: Comparison) -> str:
    """Return the name of a comparison's sheet: the same for the same pictures, another for any others."""
    from .generation import image_name

    told = [entry.request for entry in comparison.run.of_requests]
    digest = hashlib.sha256(json.dumps([told, [panel.title for panel in comparison.panels]]).encode()).hexdigest()
    return f"compare-{image_name(comparison.request, 0).removesuffix('.png')}-{digest[:8]}.png"


def _scaled(choices: Sequence[Choice], factor: float) -> tuple[Choice, ...]:
    return tuple(replace(choice, weight=round(choice.weight * factor, 4)) for choice in choices)


def _scores(clip: ImageEmbedder, prompt: str, paths: Sequence[Path]) -> dict[Path, float]:
    """Return 100 times the cosine of each picture and the prompt as its writer wrote it."""
    from PIL import Image

    [text] = clip.embed([prompt])
    distinct = list(dict.fromkeys(paths))
    scores: dict[Path, float] = {}
    for start in range(0, len(distinct), _SEEN):
        some = distinct[start : start + _SEEN]
        pictures = []
        for path in some:
            with Image.open(path) as picture:
                pictures.append(picture.convert("RGB"))
        cosines = clip.embed_images(pictures) @ text
        scores |= {path: 100 * float(cosine) for path, cosine in zip(some, cosines, strict=True)}
    return scores
