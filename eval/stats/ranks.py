"""Mean ranks of several methods over the same raters or prompts, and whether they differ."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Ranks = Sequence[Sequence[float]] | NDArray[Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class MeanRanks:
    """The mean rank of each, and how far apart they must lie to differ."""

    names: tuple[str, ...]
    """As they were given."""
    means: tuple[float, ...]
    """1 is best."""
    n: int
    """Raters or prompts."""
    w: float | None
    """Kendall's coefficient of concordance, 0 to 1; None where every rater ties everything."""
    statistic: float
    """Friedman's chi-squared, corrected for ties."""
    p: float
    """Of no difference at all."""
    critical_difference: float
    """Nemenyi's: two whose mean ranks lie further apart differ, at 5 % over all pairs."""
    pairs: tuple[tuple[float, ...], ...]
    """Nemenyi's p of each two."""

    @property
    def ranking(self) -> tuple[str, ...]:
        """The names, best first."""
        return tuple(name for _, name in sorted(zip(self.means, self.names, strict=True)))


def mean_ranks(names: Sequence[str], ranks: Ranks) -> MeanRanks:
    """Compare mean ranks: Friedman (1937) with ties, then Nemenyi (1963) as Demsar (2006, section 3.2.2) has it.

    Args:
        names: Of the columns, at least two.
        ranks: A row for each rater or prompt, lower is better: ranks, or anything that ranks can be taken of.

    Raises:
        ValueError: rows of other lengths, no rows, or something that is no number.
    """
    from scipy.stats import chi2, studentized_range

    table = _ranked(ranks)
    n, k = table.shape
    if k != len(names) or k < 2:
        raise ValueError(f"{len(names)} names for {k} columns of ranks; two or more are compared")
    means = table.mean(0)
    w = kendall_w(table)
    statistic = 0.0 if w is None else w * n * (k - 1)
    unit = math.sqrt(k * (k + 1) / (12 * n))
    distances = np.abs(means[:, None] - means[None, :]) / unit
    return MeanRanks(
        names=tuple(names),
        means=tuple(means.tolist()),
        n=n,
        w=w,
        statistic=statistic,
        p=float(chi2.sf(statistic, k - 1)),
        critical_difference=float(studentized_range.ppf(0.95, k, np.inf)) * unit,
        pairs=tuple(map(tuple, studentized_range.sf(distances, k, np.inf).tolist())),
    )


def kendall_w(ranks: Ranks) -> float | None:
    """Return how far raters agree on an order, 0 to 1, corrected for ties (Kendall and Babington Smith 1939).

    Args:
        ranks: A row for each rater, a column for each thing ranked.

    Returns:
        None where every rater ties everything.
    """
    table = _ranked(ranks)
    n, k = table.shape
    spread = float(((table.sum(0) - n * (k + 1) / 2) ** 2).sum())
    possible = n * n * (k**3 - k) / 12
    for row in table:
        counts = np.unique(row, return_counts=True)[1]
        possible -= n * float((counts**3 - counts).sum()) / 12
    return min(spread / possible, 1.0) if possible > 1e-9 else None


def _ranked(ranks: Ranks) -> NDArray[np.float64]:
    from scipy.stats import rankdata

    try:
        table = np.asarray(ranks, np.float64)
    except ValueError:
        raise ValueError("ranks form a table: every row has one for each name") from None
    if table.ndim != 2 or not table.size:
        raise ValueError("ranks form a table with a row for each rater; there are none")
    if not np.isfinite(table).all():
        raise ValueError("a rank is missing; leave out raters who did not rank all")
    ranked: NDArray[np.float64] = rankdata(table, axis=1)
    return ranked
