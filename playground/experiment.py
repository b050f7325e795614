"""The Stylus experiment in the playground: its prompts, its reference pictures, and its three refiners.

The whole of it from one command: what the paper compares and what it leaves out, at its eight guidances, with paired
seeds; in a world of which it is known what a picture ought to show.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, Literal

from PIL import Image

from ..errors import InputError
from ..eval.grid import PAPER_GUIDANCES, Plan
from ..eval.manifest import Manifest, manifest_of, write_manifest
from ..eval.records import Prompt, Sample
from ..experiment import SAMPLES, Report
from ..pipeline import Velatura
from ..whole_file import whole_file
from .experiment_parts import experiment_of, paint_parts, settings_of
from .library import DUMP, make_library
from .measure.conditions import Shelf, servable
from .measure.prompts import Ask, every_ask
from .measure.worlds import REFERENCES, references
from .world import SCENES, STYLES, SUBJECTS, with_article

Told = Callable[[str, int, int], None]
Refiner = Literal["none", "card", "pictures"]

METHODS: Final = (
    "base", "base+debias", "random", "retriever", "reranker", "stylus", "stylus+debias", "stylus-nomask", "velatura",
)  # fmt: skip
REFINED: Final = ("stylus-nomask", "velatura")
"""The methods whose refiners are compared."""
REFERENCE: Final = "reference"

_EACH: Final = {"subject": 18, "style": 18, "pair": 19, "none": 11}
"""Prompts of each kind: so many that half of them have more pictures than the evaluator's features have numbers."""
_QUICK: Final = {"subject": 2, "style": 2, "pair": 2, "none": 1}
_ABLATED_GUIDANCE: Final = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Painted:
    """What was painted, ready to be scored."""

    manifest: Manifest
    report: Report
    ablation: Manifest
    """The same prompts at one guidance, by the refiner that wrote the catalogue's descriptions."""
    reference: tuple[Path, ...]
    """Painted pictures of the same prompts."""


def make_prompts(*, quick: bool = False, limit: int | None = None) -> list[Ask]:
    """Return the prompts, the same each time: of those that need something, only what the library can serve."""
    each = _QUICK if quick else _EACH
    asks = every_ask()
    chosen: list[Ask] = []
    for kind, count in each.items():
        own = [ask for ask in asks if ask.kind == kind]
        random.Random(f"experiment {kind}").shuffle(own)  # noqa: S311
        chosen += own[:count]
    return chosen[:limit]


def paint_experiment(
    weights: Path,
    folder: Path,
    *,
    quick: bool = False,
    samples: int = 4,
    guidances: Sequence[float] = PAPER_GUIDANCES,
    told: Told | None = None,
) -> Painted:
    """Paint everything that the experiment measures; what is painted already is not painted again.

    Args:
        weights: The folder of the trained models.
        folder: Where it all goes.
        quick: Few prompts, to see that it works.
        samples: Pictures of each prompt in each cell.
        guidances: The guidances.
        told: Called as it goes.

    Raises:
        InputError: a trained model is not there or damaged, or the folder cannot be written to.
    """
    told = told or (lambda _what, _done, _of: None)
    with ExitStack() as opened:
        catalogues = {
            refiner: opened.enter_context(_catalogue(weights, catalogue_of(folder, refiner), refiner, told))
            for refiner in _refiners()
        }
        whole = catalogues["card"]
        asks = servable(make_prompts(quick=quick), Shelf.of(whole))
        prompts = [_prompt(ask) for ask in asks]
        reference = _references(asks, folder / REFERENCE, told)
        plan = Plan(methods=METHODS, guidances=tuple(guidances), samples=samples, baseline="base")
        report = _run(whole, plan, prompts, folder, told)
        ablation = _ablation(catalogues, prompts, folder, samples, told)
    return Painted(manifest=report.manifest, report=report, ablation=ablation, reference=reference)


def catalogue_of(folder: Path, refiner: Refiner = "card") -> Path:
    """Return where an experiment's catalogue lies."""
    return folder / f"library-{refiner}" / "catalogue.db"


def _refiners() -> tuple[Refiner, ...]:
    return ("none", "card", "pictures")


def _catalogue(weights: Path, db: Path, refiner: Refiner, told: Told) -> Velatura:
    """Make and catalogue the library, its adapters described by a refiner.

    The refiner `pictures` sees with the evaluator, which scores the experiment as well, and knows the world's own
    names: its figures flatter it. Colours are no part of its words, since two pictures share one of eight by chance.
    """
    told(f"catalogue, refiner {refiner}", 0, 1)
    folder = db.parent
    loras = make_library(weights / "loras", folder)
    words = folder / "words"
    words.mkdir(exist_ok=True)
    for name, entries in {
        "subjects": [with_article(subject) for subject in SUBJECTS],
        "mediums": [f"{style} style" for style in STYLES],
        "settings": SCENES,
    }.items():
        (words / f"{name}.txt").write_text("\n".join(entries), encoding="utf-8")
    settings = settings_of(
        db,
        str(weights / "base"),
        picture_model=str(weights / "evaluator"),
        picture_words=str(words),
        fetch_pictures=False,
    )
    catalogue = Velatura(settings)
    catalogue.index(loras)
    catalogue.index(folder / DUMP)
    if refiner != "none":
        catalogue.refine(catalogue.describer(refiner))
    catalogue.embed()
    told(f"catalogue, refiner {refiner}", 1, 1)
    return catalogue


def _run(
    velatura: Velatura, plan: Plan, prompts: Sequence[Prompt], folder: Path, told: Told, *, name: str = SAMPLES
) -> Report:
    """Compose here, and paint in as many processes as there are processors."""
    experiment_of(velatura, plan, prompts, folder, name=name).compose(told=told)
    report = paint_parts(Path(velatura.settings.db), velatura.settings.model or "", plan, prompts, folder, told)
    write_manifest(report.manifest.samples, folder / f"{name}.jsonl")
    return report


def _ablation(
    catalogues: dict[Refiner, Velatura], prompts: Sequence[Prompt], folder: Path, samples: int, told: Told
) -> Manifest:
    """Paint the methods whose choices hang on descriptions, with each refiner's, and the base."""
    found: list[Sample] = []
    for refiner, catalogue in catalogues.items():
        methods = REFINED if found else ("base", *REFINED)
        plan = Plan(methods=methods, guidances=(_ABLATED_GUIDANCE,), samples=samples)
        report = _run(catalogue, plan, prompts, folder, told, name=f"refiner-{refiner}")
        found += [
            sample if sample.method == "base" else replace(sample, method=f"{sample.method}, refiner {refiner}")
            for sample in report.manifest.samples
        ]
    write_manifest(found, folder / "refiners.jsonl")
    return manifest_of(found, folder)


def _prompt(ask: Ask) -> Prompt:
    return Prompt(id=f"{ask.kind}-{ask.number}", text=ask.prompt, category=ask.kind)


def _references(asks: Sequence[Ask], folder: Path, told: Told) -> tuple[Path, ...]:
    """Paint the pictures that the prompts mean, as the world's painter has them; return them."""
    files = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for done, ask in enumerate(asks):
            told("paint references", done, len(asks))
            paths = [folder / f"{ask.number}-{place}.png" for place in range(REFERENCES)]
            files += paths
            if all(path.is_file() for path in paths):
                continue
            for path, pixels in zip(paths, references(ask), strict=True):
                with whole_file(path) as unfinished:
                    Image.fromarray(pixels).save(unfinished, "PNG")
    except OSError as error:
        raise InputError(f"the folder {folder} cannot be written to: {error.strerror}") from None
    told("paint references", len(asks), len(asks))
    return tuple(files)
