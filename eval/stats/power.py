"""Power: how many pairs a difference needs to be seen, and which difference some pairs could have shown."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

_BLOCK = 256
"""Numbers of pairs that are tried at once."""


def pairs_needed(rate: float, *, alpha: float = 0.05, power: float = 0.8) -> int:
    """Return the fewest decided pairs at which the exact two-sided sign test sees a win rate often enough.

    Args:
        rate: The true share of wins among decided pairs.
        alpha: The level of the test.
        power: How often the test is to see it.

    Raises:
        ValueError: a rate of one half, which is no difference, or a number outside its range.

    >>> [pairs_needed(rate) for rate in (0.55, 0.58, 0.60, 0.65, 0.68)]
    [786, 312, 199, 90, 63]
    """
    _check(alpha, power)
    if not 0 <= rate <= 1 or rate == 0.5:
        raise ValueError("a win rate to be seen lies between 0 and 1, and is not one half")
    n = max(1, int(0.9 * _rough(rate, alpha, power)) - 20)
    while True:
        counts = np.arange(n, n + _BLOCK)
        enough = np.flatnonzero(_power(counts, rate, alpha) >= power)
        if len(enough):
            return int(counts[enough[0]])
        n += _BLOCK


def sign_test_power(pairs: int, rate: float, *, alpha: float = 0.05) -> float:
    """Return how often the exact two-sided sign test over so many decided pairs sees a win rate."""
    _check(alpha, 0.8)
    return float(_power(np.array([pairs]), rate, alpha)[0])


def detectable_rate(pairs: int, *, alpha: float = 0.05, power: float = 0.8) -> float | None:
    """Return the smallest win rate above one half that so many decided pairs would show; None of too few for any.

    >>> round(detectable_rate(199), 2), detectable_rate(5)
    (0.6, None)
    """
    from scipy.optimize import brentq

    _check(alpha, power)
    counts = np.array([pairs])
    if pairs < 1 or _power(counts, 1.0, alpha)[0] < power:
        return None
    return float(brentq(lambda rate: float(_power(counts, rate, alpha)[0]) - power, 0.5, 1.0, xtol=1e-6))


def detectable_difference(error: float, prompts: int, *, alpha: float = 0.05, power: float = 0.8) -> float:
    """Return the smallest true difference of means that would be seen often enough, in the units of the error.

    Args:
        error: The standard error of the (paired) difference.
        prompts: How many prompts it is over, at least two.
        alpha: The level of the two-sided test.
        power: How often the test is to see it.
    """
    from scipy.stats import t

    _check(alpha, power)
    if prompts < 2 or not error >= 0:
        raise ValueError("a difference is detected over two prompts or more, and its error is not negative")
    return float(t.ppf(1 - alpha / 2, prompts - 1) + t.ppf(power, prompts - 1)) * error


def _power(counts: NDArray[Any], rate: float, alpha: float) -> NDArray[np.float64]:
    from scipy.stats import binom

    worst = binom.ppf(alpha / 2, counts, 0.5)
    worst = worst - (binom.cdf(worst, counts, 0.5) > alpha / 2)
    found: NDArray[np.float64] = binom.cdf(worst, counts, rate) + binom.sf(counts - worst - 1, counts, rate)
    return found


def _rough(rate: float, alpha: float, power: float) -> float:
    """Return about how many pairs are needed, by the normal approximation."""
    from scipy.stats import norm

    spread = norm.ppf(1 - alpha / 2) * 0.5 + norm.ppf(power) * math.sqrt(rate * (1 - rate))
    return float(spread / (rate - 0.5)) ** 2


def _check(alpha: float, power: float) -> None:
    if not (0 < alpha < 1 and 0 < power < 1):
        raise ValueError("the level and the power of a test lie between 0 and 1")
