"""Win rates of pairs: how large, how sure, and whether better than a coin."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Proportion:
    """A share of some trials, and its interval."""

    successes: int
    n: int
    low: float
    high: float

    @property
    def value(self) -> float | None:
        """The share; None of no trials."""
        return self.successes / self.n if self.n else None


@dataclass(frozen=True, slots=True, kw_only=True)
class WinTieLose:
    """How pairs came out. Ties are always told beside the rate, since it leaves them out."""

    wins: int
    ties: int
    losses: int

    def __post_init__(self) -> None:
        if min(self.wins, self.ties, self.losses) < 0:
            raise ValueError("wins, ties and losses cannot be negative")

    @property
    def n(self) -> int:
        """All pairs."""
        return self.wins + self.ties + self.losses

    @property
    def decided(self) -> int:
        """The pairs that are no ties."""
        return self.wins + self.losses

    @property
    def rate(self) -> Proportion:
        """The wins among the decided pairs, with Wilson's 95 % interval."""
        return wilson(self.wins, self.decided)

    @property
    def p(self) -> float:
        """Of the exact sign test over the decided pairs."""
        return sign_test(self.wins, self.losses)

    @property
    def score(self) -> float | None:
        """The share of all pairs that was won, a tie counted as half a win; None of no pairs."""
        return (self.wins + self.ties / 2) / self.n if self.n else None

    @property
    def net(self) -> float | None:
        """Wins less losses, over all pairs: -1 to 1; None of no pairs."""
        return (self.wins - self.losses) / self.n if self.n else None

    @property
    def net_interval(self) -> tuple[float, float] | None:
        """The 95 % interval of `net`, were the pairs independent: the score interval of Tango (1998)."""
        if not self.n:
            return None
        return _tango(self.wins, self.losses, self.n, _quantile(0.95))


@dataclass(frozen=True, slots=True, kw_only=True)
class Discordance:
    """What two methods passed and failed of the same trials, and McNemar's exact p."""

    both: int
    only_first: int
    only_second: int
    neither: int
    p: float


def wilson(successes: int, n: int, *, confidence: float = 0.95) -> Proportion:
    """Return a share with Wilson's score interval (Wilson 1927); of no trials the interval is everything.

    >>> share = wilson(655, 1106)
    >>> round(share.value, 3), round(share.low, 3), round(share.high, 3)
    (0.592, 0.563, 0.621)
    """
    if not 0 <= successes <= n:
        raise ValueError(f"{successes} successes in {n} trials cannot be")
    if n == 0:
        return Proportion(successes=0, n=0, low=0.0, high=1.0)
    z = _quantile(confidence)
    share = successes / n
    centre = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    low = 0.0 if successes == 0 else centre - half
    high = 1.0 if successes == n else centre + half
    return Proportion(successes=successes, n=n, low=low, high=high)


def sign_test(wins: int, losses: int) -> float:
    """Return the exact two-sided p of so uneven wins and losses, were each as likely; ties are left out before.

    >>> round(sign_test(82, 58), 3)
    0.052
    """
    from scipy.stats import binomtest

    if min(wins, losses) < 0:
        raise ValueError("wins and losses cannot be negative")
    return float(binomtest(wins, wins + losses, 0.5).pvalue) if wins + losses else 1.0


def mcnemar(first: Sequence[bool], second: Sequence[bool]) -> Discordance:
    """Compare two methods that each passed or failed the same trials, by McNemar's exact test.

    Args:
        first: Of each trial whether the first method passed.
        second: The same of the second method, in the same order.

    Raises:
        ValueError: they are not of the same trials.
    """
    if len(first) != len(second):
        raise ValueError(f"{len(first)} and {len(second)} trials cannot be paired")
    counts = [0, 0, 0, 0]
    for one, other in zip(first, second, strict=True):
        counts[2 * bool(one) + bool(other)] += 1
    neither, only_second, only_first, both = counts
    p = sign_test(only_first, only_second)
    return Discordance(both=both, only_first=only_first, only_second=only_second, neither=neither, p=p)


def _quantile(confidence: float) -> float:
    """Return how many standard deviations hold the middle share of a normal distribution."""
    from scipy.stats import norm

    if not 0 < confidence < 1:
        raise ValueError("a confidence lies between 0 and 1")
    return float(norm.ppf((1 + confidence) / 2))


def _tango(wins: int, losses: int, n: int, z: float) -> tuple[float, float]:
    """Return the differences of paired shares that a score test would not refuse (Tango 1998, eq. 2-3)."""
    from scipy.optimize import brentq

    net = (wins - losses) / n

    def excess(difference: float, sign: int) -> float:
        # The likeliest share of losses under this difference solves a quadratic equation.
        b = -wins - losses + (2 * n - wins + losses) * difference
        c = -losses * difference * (1 - difference)
        lost = (math.sqrt(max(b * b - 8 * n * c, 0.0)) - b) / (4 * n)
        spread = math.sqrt(max(n * (2 * lost + difference * (1 - difference)), 0.0))
        return sign * (wins - losses - n * difference) - z * spread

    # At the estimate itself the score is 0, and so is its spread where all were ties.
    beside = 1e-9
    low = float(brentq(excess, -1.0, net - beside, (1,), xtol=1e-10)) if net > -1 else -1.0
    high = float(brentq(excess, net + beside, 1.0, (-1,), xtol=1e-10)) if net < 1 else 1.0
    return low, high
