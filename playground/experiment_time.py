"""How long each stage of the experiment takes, by batch size, on the playground's library and model."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

from ..eval.timing import timings_of
from ..pipeline import Velatura
from ..records import Filter
from ..settings import default_settings
from ..timed_stages import measure_stages
from .experiment import Told, catalogue_of, make_prompts
from .experiment_parts import STEPS
from .library import FAMILY
from .world import SIZE

if TYPE_CHECKING:
    from ..eval.report.results import Timing

BATCHES: Final = (1, 2, 4, 8)
_PROMPTS: Final = 6
_REPEATS: Final = 3


def time_experiment(
    weights: Path, folder: Path, *, quick: bool = False, told: Told | None = None
) -> tuple[Timing, ...]:
    """Time retrieving, composing, loading, laying on and painting, with our own composer.

    Args:
        weights: The folder of the trained models.
        folder: Where the experiment was painted.
        quick: Two prompts, once each.
        told: Called as it goes.

    Raises:
        InputError: there is no catalogue yet.
    """
    told = told or (lambda _what, _done, _of: None)
    prompts = [ask.prompt for ask in make_prompts() if ask.needs][: 2 if quick else _PROMPTS]
    settings = default_settings(
        db=str(catalogue_of(folder)), model=str(weights / "base"), steps=STEPS, batch=max(BATCHES), laying="weights"
    )
    with Velatura(settings, read_only=True) as velatura:
        measured = measure_stages(
            velatura,
            prompts,
            filter=Filter(family=FAMILY, installed=True),
            batches=BATCHES[:2] if quick else BATCHES,
            repeats=1 if quick else _REPEATS,
            fields={"width": SIZE, "height": SIZE},
            told=lambda done, of: told("time", done, of),
        )
    return timings_of(measured.times, "velatura")
