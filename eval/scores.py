"""What was measured: estimates by metric and cell, and how cells compare, paired prompt by prompt."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

from ..errors import InputError
from .estimates import Estimate, of_prompts
from .records import CellName, Difference, Figure

if TYPE_CHECKING:
    from .evaluation import Evaluation
    from .gathering import Pareto
    from .protocols import Metric

LEVEL: Final = 0.05
"""Of all tests together, after Holm."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scores:
    """What was measured: an estimate for each metric and cell."""

    metrics: tuple[Metric, ...]
    cells: tuple[CellName, ...]
    estimates: Mapping[tuple[str, CellName], Estimate]
    """By the metric's name and the cell."""
    left_out: Mapping[CellName, int]
    """Pictures of a cell without a pair in every other cell."""
    warnings: tuple[str, ...] = ()
    failed: tuple[tuple[str, str], ...] = ()
    """(metric, why) of what was to be measured and could not be; the warnings tell it too."""
    evaluation: Evaluation | None = field(default=None, compare=False, repr=False)
    """Whose scores they are."""

    def metric(self, name: str) -> Metric:
        """Return the metric of a name.

        Raises:
            InputError: it was not measured.
        """
        for metric in self.metrics:
            if metric.name == name:
                return metric
        if why := dict(self.failed).get(name):
            raise InputError(f"{name} cannot be measured: {why}")
        raise InputError(f"{name!r} was not measured; there are {', '.join(metric.name for metric in self.metrics)}")

    def estimate(self, metric: str, cell: CellName) -> Estimate:
        """Return an estimate.

        Raises:
            InputError: there is none.
        """
        self.metric(metric)
        try:
            return self.estimates[metric, cell]
        except KeyError:
            raise InputError(f"{metric} of {cell} was not measured") from None

    def figure(self, metric: str, cell: CellName) -> Figure:
        """Return a metric of a cell with its interval and signature."""
        how, found = self.metric(metric), self.estimate(metric, cell)
        low, high = found.interval or (None, None)
        return Figure(
            metric=metric,
            cell=cell,
            value=found.value,
            error=found.error,
            low=low,
            high=high,
            n=found.n,
            prompts=len(found.prompts),
            unit=how.unit,
            better=how.better,
            signature=_signature(how, found),
            ranking=how.ranking and found.comparable,
            notes=found.notes,
        )

    def figures(self) -> tuple[Figure, ...]:
        """Return every figure, metric by metric."""
        return tuple(self.figure(metric, cell) for metric, cell in self.estimates)

    def cell(self, method: str, guidance: float | None = None) -> CellName:
        """Return the cell of a method: at a guidance, or the only one that it has.

        Raises:
            InputError: there is no such cell, or there are several.
        """
        own = [cell for cell in self.cells if cell.method == method]
        found = [cell for cell in own if cell.guidance == guidance] or (own if guidance is None else [])
        if not own:
            raise InputError(f"there is no method {method!r}; there are {', '.join(by_method(self.cells))}")
        if len(found) != 1:
            raise InputError(f"name a guidance of {method}; there are {', '.join(map(str, own))}")
        return found[0]

    def compare(
        self, cell: CellName | str, baseline: CellName | str, metric: str, *, guidance: float | None = None
    ) -> Difference:
        """Return a cell less another one, paired prompt by prompt.

        Args:
            cell: A cell, or a method.
            baseline: The same of what it is compared with; a method without guidance is found at any.
            metric: The metric's name.
            guidance: Of the methods that are named.

        Raises:
            InputError: one of the two was not measured, or they cannot be compared in this metric.
        """
        if isinstance(cell, str):
            cell = self.cell(cell, guidance)
        if isinstance(baseline, str):
            other_cell = baseline_of(cell, baseline, self.cells)
            baseline = self.cell(baseline, cell.guidance) if other_cell is None else other_cell
        if why := self.incomparable(metric, cell, baseline):
            raise InputError(why)
        how = self.metric(metric)
        mine, other = self.estimate(metric, cell), self.estimate(metric, baseline)
        left_out = self.left_out.get(cell, 0)
        if mine.prompts != other.prompts:
            whole, (mine, other) = mine.n, _in_common(mine, other)
            left_out += whole - mine.n
        found = mine.less(other)
        low, high = found.interval or (None, None)
        return Difference(
            metric=metric,
            cell=cell,
            baseline=baseline,
            value=found.value,
            error=found.error,
            low=low,
            high=high,
            p=found.p if found.comparable else None,
            n=found.n,
            prompts=len(found.prompts),
            missing=left_out,
            unit=how.unit,
            better=how.better,
            signature=_signature(how, mine),
            notes=found.notes,
        )

    def incomparable(self, metric: str, cell: CellName, baseline: CellName) -> str | None:
        """Return why two cells cannot be compared in a metric, in a sentence; None where they can.

        Raises:
            InputError: one of the two was not measured.
        """
        mine, other = self.estimate(metric, cell), self.estimate(metric, baseline)
        if mine.is_mean and other.is_mean:
            if not set(mine.prompts) & set(other.prompts):
                return f"{metric}: {cell} and {baseline} are of different prompts, and cannot be compared"
            if getattr(self.metric(metric), "grows", False) and _each(mine) != _each(other):
                told = f"{cell} has {_each(mine):g} pictures of a prompt and {baseline} {_each(other):g}"
                return f"{metric}: {told}: it grows with their number, so they cannot be compared"
        elif set(mine.prompts) != set(other.prompts):
            return f"{metric}: {cell} and {baseline} are of different prompts, and cannot be compared"
        elif mine.n != other.n:
            told = f"{cell} has {mine.n:,} pictures and {baseline} {other.n:,}"
            return f"{metric}: {told}: they cannot be compared"
        return None

    def differences(self, baseline: str) -> tuple[Difference, ...]:
        """Return every cell less the baseline method's at the same guidance, in every metric that may be ranked by.

        Where the baseline has one cell alone, without a guidance, all are compared with that. What cannot be compared
        is left out; see `uncompared`.

        Raises:
            InputError: there is no such method.
        """
        return tuple(
            self.compare(cell, base, metric)
            for metric, cell, base in self._opposed(baseline)
            if not self.incomparable(metric, cell, base)
        )

    def uncompared(self, baseline: str) -> tuple[str, ...]:
        """Return what `differences` leaves out, and why, a sentence each.

        Raises:
            InputError: there is no such method.
        """
        return tuple(filter(None, (self.incomparable(*opposed) for opposed in self._opposed(baseline))))

    def pareto(self, x: str, y: str, baseline: str | None = None) -> Pareto:
        """Return each method's front between two metrics, and whether it lies before the baseline's.

        Raises:
            InputError: one of the two was not measured, cells are not comparable in it, or there is no such baseline.
        """
        from .gathering import Pareto, front_between, plane_of

        return Pareto(front=front_between(self, x, y, baseline), plane=plane_of(self, x, y))

    def report(self, folder: str | Path, *, baseline: str | None = None, name: str = "Evaluation") -> tuple[Path, ...]:
        """Write the report; see `velatura.eval.report.write_report`.

        Args:
            folder: Where it goes.
            baseline: The method that the others are compared with.
            name: What it is called.

        Raises:
            InputError: these scores are of no evaluation, there is no such baseline, or nothing can be written there.
        """
        from .gathering import gains_of, gather
        from .report import write_report

        if self.evaluation is None:
            raise InputError("these scores are of no evaluation, whose pictures a report shows")
        manifest = self.evaluation.manifest
        gains, diversity = gains_of(self, baseline)
        return write_report(
            gather(self, manifest, name=name, baseline=baseline), Path(folder), samples=manifest.samples,
            images=self.evaluation.image, gains=gains, diversity=diversity,
        )  # fmt: skip

    def _opposed(self, baseline: str) -> Iterator[tuple[str, CellName, CellName]]:
        """Yield the metric, the cell and the baseline's cell of each comparison."""
        if baseline not in {cell.method for cell in self.cells}:
            methods = sorted({cell.method for cell in self.cells})
            raise InputError(f"there is no method {baseline!r} to compare with; there are {', '.join(methods)}")
        for metric, cell in self.estimates:
            base = baseline_of(cell, baseline, self.cells)
            if base is not None and base != cell and self.metric(metric).ranking:
                yield metric, cell, base


def holm(differences: Sequence[Difference]) -> tuple[float | None, ...]:
    """Return each difference's p, adjusted for how many were looked at (Holm, 1979), methods and metrics together."""
    from .stats import holm as adjust

    known = [difference.p for difference in differences if difference.p is not None]
    adjusted = iter(adjust(known))
    return tuple(None if difference.p is None else next(adjusted) for difference in differences)


def surely_worse(differences: Sequence[Difference]) -> tuple[Difference, ...]:
    """Return those that are worse once all of them are counted: by interval, and by p adjusted after Holm."""
    adjusted = holm(differences) if differences else ()
    return tuple(
        one
        for one, p in zip(differences, adjusted, strict=True)
        if one.verdict == "worse" and p is not None and p < LEVEL
    )


def by_method(cells: Sequence[CellName]) -> dict[str, tuple[CellName, ...]]:
    """Return the cells of each method, by guidance."""
    found: dict[str, list[CellName]] = {}
    for cell in cells:
        found.setdefault(cell.method, []).append(cell)
    return {method: tuple(sorted(own, key=lambda cell: cell.guidance or 0.0)) for method, own in found.items()}


def baseline_of(cell: CellName, baseline: str, cells: Collection[CellName]) -> CellName | None:
    """Return the baseline method's cell of the same guidance, or its only one where that has no guidance."""
    own = [other for other in cells if other.method == baseline]
    same = [other for other in own if other.guidance == cell.guidance]
    return same[0] if same else own[0] if len(own) == 1 and own[0].guidance is None else None


def _in_common(one: Estimate, other: Estimate) -> tuple[Estimate, Estimate]:
    """Return two means over the prompts that both have, as where a model refused to look at some."""
    common = set(one.prompts) & set(other.prompts)
    return of_prompts(one, common), of_prompts(other, common)


def _each(estimate: Estimate) -> float:
    """Return the pictures of a prompt."""
    return estimate.n / len(estimate.prompts)


def _signature(metric: Metric, estimate: Estimate) -> str:
    from .. import __version__

    return f"{metric.signature}|n={estimate.n}|prompts={len(estimate.prompts)}|velatura={__version__}"
