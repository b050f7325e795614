"""An evaluation: the cells of a manifest, measured by some metrics, and compared pair by pair.

Cells are measured over the pairs (prompt, index) that all of them have, so that every figure of a metric is of equally
many pictures of the same prompts; what is left out is counted and told.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from ..errors import InputError, LanguageModelError
from .cells import Cell, Features
from .estimates import Estimate
from .manifest import Manifest
from .records import CellName, Sample
from .scores import LEVEL, Scores, baseline_of, by_method, holm, surely_worse

if TYPE_CHECKING:
    from PIL.Image import Image

    from .cache import ScoreCache
    from .protocols import Metric

__all__ = [
    "LEVEL",
    "Evaluation",
    "FeaturesOf",
    "Scores",
    "Told",
    "baseline_of",
    "by_method",
    "holm",
    "restricted",
    "surely_worse",
]

Told = Callable[[str, int, int], None]
"""Called with what is being done, how much of it is done, and how much there is."""
FeaturesOf = Callable[[Sequence[Sample]], Mapping[str, Features]]
"""Gives what was extracted of samples, by the extractor's name."""

_VERSION: Final = "2"
"""Of how figures come from estimates; another one makes kept scores worthless."""


class Evaluation:
    """The cells of a manifest.

    Args:
        manifest: The samples.
        features: Gives what was extracted of samples, extracting what is missing.
        texts: The same of their prompts.
        image: Opens a sample's picture.
        scores: Keeps estimates; None measures each time.
        paired: Whether cells are measured over what all of them have; else each over all that it has.
        metrics: What `score` measures where nothing else is named.
        rejected: (picture, why) of those that could not be read, and are not among the samples.
    """

    def __init__(
        self,
        manifest: Manifest,
        *,
        features: FeaturesOf,
        texts: FeaturesOf | None = None,
        image: Callable[[Sample], Image] | None = None,
        scores: ScoreCache | None = None,
        paired: bool = True,
        metrics: Sequence[Metric] = (),
        rejected: Sequence[tuple[str, str]] = (),
    ) -> None:
        self.manifest = manifest
        self._features = features
        self._texts = texts or (lambda _samples: {})
        self.image = image
        """Opens a sample's picture."""
        self._scores = scores
        self._paired = paired
        self.metrics = tuple(metrics)
        self.rejected = tuple(rejected)

    @classmethod
    def from_manifest(
        cls,
        path: str | Path,
        *,
        models: Mapping[str, str],
        metrics: Sequence[str] = (),
        reference: str | Path | None = None,
        cache: str | Path | None = None,
        **more: Any,
    ) -> Evaluation:
        """Read a manifest, and extract what the metrics need.

        Args:
            path: The manifest, or the folder that holds it.
            models: As `open_evaluation` has it, like all that follows.
            metrics: What is measured; by default the usual metrics that the models allow.
            reference: What is compared with.
            cache: The folder that keeps features and scores; None takes `eval` in the person's own.
            more: The other arguments of `open_evaluation`.

        Raises:
            InputError: as `read_manifest` and `open_evaluation`.
        """
        from ..settings import home
        from .manifest import read_manifest
        from .opening import open_evaluation

        return open_evaluation(
            read_manifest(path), models=models, metrics=metrics, reference=reference, cache=cache or home() / "eval",
            **more,
        ).evaluation  # fmt: skip

    @cached_property
    def samples(self) -> Mapping[CellName, tuple[Sample, ...]]:
        """What is measured of each cell.

        Raises:
            InputError: the cells have no pair in common.
        """
        cells = self.manifest.cells()
        if not self._paired:
            return cells
        common = set.intersection(*({sample.pair for sample in samples} for samples in cells.values()))
        if not common:
            raise InputError(
                "the methods have no pictures of the same prompt and index in common, so nothing can be compared; "
                "measure each alone with --all"
            )
        return {name: tuple(sample for sample in samples if sample.pair in common) for name, samples in cells.items()}

    def cell(self, name: CellName) -> Cell:
        """Return a cell, whose features are read when they are first asked for."""
        samples = self.samples[name]
        return Cell(
            name=name,
            samples=samples,
            features=self._features(samples),
            texts=self._texts(samples),
            image=self.image,
        )

    def score(self, metrics: Sequence[Metric] | None = None, *, told: Told | None = None) -> Scores:
        """Measure every cell by every metric; what was measured before is not measured again.

        A metric that a cell cannot be measured by is left out as a whole, and the scores tell why.

        Args:
            metrics: None takes the evaluation's own.
            told: Called as it goes.

        Raises:
            InputError: nothing can be measured; one sentence, of the first metric.
            LanguageModelError: the same, where that metric asks a language model.
        """
        metrics = self.metrics if metrics is None else metrics
        told = told or (lambda _what, _done, _of: None)
        whole, done = len(self.samples) * len(metrics), 0
        estimates: dict[tuple[str, CellName], Estimate] = {}
        failed: dict[str, InputError | LanguageModelError] = {}
        for name, samples in self.samples.items():
            cell = self.cell(name)
            for metric in metrics:
                told("score", done, whole)
                done += 1
                if metric.name in failed:
                    continue
                try:
                    estimates[metric.name, name] = self._estimate(metric, cell, samples)
                except (InputError, LanguageModelError) as error:
                    failed[metric.name] = error
                    if len(failed) == len({metric.name for metric in metrics}):
                        raise next(iter(failed.values())) from None
        told("score", done, whole)
        measured = tuple(metric for metric in metrics if metric.name not in failed)
        everything = self.manifest.cells()
        return Scores(
            metrics=measured,
            cells=tuple(self.samples),
            estimates={(one.name, name): estimates[one.name, name] for one in measured for name in self.samples},
            left_out={name: len(everything[name]) - len(samples) for name, samples in self.samples.items()},
            warnings=(
                *self.manifest.warnings(),
                *_selection_warnings(self.manifest, metrics),
                *(f"{name} is left out: {error}" for name, error in failed.items()),
            ),
            failed=tuple((name, str(error)) for name, error in failed.items()),
            evaluation=self,
        )

    def _estimate(self, metric: Metric, cell: Cell, samples: Sequence[Sample]) -> Estimate:
        if self._scores is None:
            return metric.estimate(cell)
        key = self._scores.key(f"{metric.signature}|{_VERSION}", samples)
        kept: Estimate | None = self._scores.get(key)
        if kept is None:
            kept = metric.estimate(cell)
            self._scores.put(key, kept)
        return kept


def _selection_warnings(manifest: Manifest, metrics: Sequence[Metric]) -> Iterator[str]:
    """Say which metric chose the pictures that it measures."""
    selectors = {sample.selector for sample in manifest.samples if sample.best_of > 1}
    for metric in metrics:
        if metric.name in selectors:
            yield f"the pictures were chosen by {metric.name}: its values here are of no worth"


def restricted(manifest: Manifest, *, methods: Sequence[str] = (), limit: int | None = None, seed: int = 0) -> Manifest:
    """Return a part of a manifest: some methods, and so many of the prompts, chosen by a digest.

    Raises:
        InputError: there is no such method.
    """
    from .datasets import subsample
    from .records import Prompt

    there = {sample.method for sample in manifest.samples}
    if unknown := [method for method in methods if method not in there]:
        raise InputError(f"there is no method {unknown[0]!r} in it; there are {', '.join(sorted(there))}")
    ids = dict.fromkeys(sample.prompt_id for sample in manifest.samples)
    kept = {prompt.id for prompt in subsample([Prompt(id=name, text=name) for name in ids], limit, seed=seed)}
    samples = tuple(
        sample for sample in manifest.samples if sample.prompt_id in kept and (not methods or sample.method in methods)
    )
    return replace(manifest, samples=samples)
