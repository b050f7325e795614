"""Numbers as people read them."""

from __future__ import annotations

from typing import Final

from ..tables import Number

NOTHING: Final = Number(value=None)
"""Stands where there is no number, as a dash."""
_LOPSIDED: Final = 1.25
"""From how uneven an interval on both of its ends are told."""


def with_interval(value: float, low: float | None, high: float | None, *, signed: bool = False) -> Number:
    """Return a value with its interval: `±` half of it where it is even, both ends where it is not.

    >>> str(with_interval(27.25, 27.2, 27.3)), str(with_interval(0.68, 0.5, 0.75)), str(with_interval(3.0, None, None))
    ('27.25 ± 0.05', '0.68 [0.50, 0.75]', '3')
    """
    if low is None or high is None:
        return Number(value=value, signed=signed)
    below, above = sorted((value - low, high - value))
    if above > _LOPSIDED * below + 10**-9:
        return Number(value=value, low=low, high=high, signed=signed)
    return Number(value=value, error=(high - low) / 2, signed=signed)


def with_ends(value: float | None, low: float | None, high: float | None, *, signed: bool = False) -> Number:
    """Return a value with both ends of its interval, where it has one."""
    return Number(value=value, low=low, high=high, signed=signed)


def probability(p: float | None) -> str:
    """Write a p-value.

    >>> probability(0.0312), probability(1e-9), probability(None), probability(1.0)
    ('0.031', '< 0.001', '–', '1.000')
    """
    if p is None:
        return str(NOTHING)
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def percent(share: float | None) -> str:
    """Write a share.

    >>> percent(0.678), percent(None)
    ('67.8 %', '–')
    """
    return str(NOTHING) if share is None else f"{100 * share:.1f} %"


def likely(p: float | None) -> str:
    """Write a probability that was counted over draws, which is never sure.

    >>> likely(1.0), likely(0.9581), likely(0.0), likely(None)
    ('> 99.9 %', '95.8 %', '< 0.1 %', '–')
    """
    if p is None or 0.001 <= p <= 0.999:
        return percent(p)
    return "> 99.9 %" if p > 0.5 else "< 0.1 %"
