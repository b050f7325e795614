"""What a run over the catalogue with a describer has done."""

from __future__ import annotations

from dataclasses import dataclass

from ..records import Usage


@dataclass(frozen=True, slots=True, kw_only=True)
class RefineReport:
    """What a run of `refine` has done so far."""

    adapters: int = 0
    """Adapters of which the describer had not said anything, or that are others than when it did."""
    done: int = 0
    """Of these, those that are settled: described, failed at, or passed over."""
    asked: int = 0
    """Times that the describer answered, or failed to."""
    reused: int = 0
    """Adapters described by what it had answered before, or answered on an equal one."""
    failed: int = 0
    """Adapters for which it gave nothing of use in this run."""
    refused: int = 0
    """Adapters on which it would not answer in this run."""
    passed: int = 0
    """Adapters that it failed at, or refused, in an earlier run, and that were not asked about again."""
    unanswered: int = 0
    """Adapters on which no answer could be had now, with its server gone, full or failing; the next run asks again."""
    under_way: int = 0
    """Adapters that were left out, since they are asked about elsewhere."""
    usage: Usage = Usage()  # noqa: RUF009 - frozen
    """What the answers of this run took, those of no use among them."""
    seconds: float = 0.0
    stopped: str | None = None
    """Why the run ended before all was done, in one sentence."""
    fault: str | None = None
    """Why there was no answer, the last time that there was none, in one sentence."""
