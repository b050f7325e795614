"""How long each stage takes between a prompt and its pictures, and what choosing adapters adds.

Seconds are of the clock on the wall, with whatever device the work runs on brought to rest before and after: a GPU
works on after a call has returned. Whoever measures does the work once beforehand, and repeats it; a stage is told by
its median and its quartiles, since a machine that is disturbed is only ever slower.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal, TypeVar

import numpy as np

if TYPE_CHECKING:
    from .plots import Stack
    from .report.results import Timing

Result = TypeVar("Result")
Stage = Literal["retrieve", "compose", "load", "merge", "added", "generate", "base"]

STAGES: Final[tuple[Stage, ...]] = ("retrieve", "compose", "load", "merge")
"""What comes before the first step, and a model without adapters does not need."""
TITLES: Final[dict[str, str]] = {
    "retrieve": "retrieve", "compose": "compose", "load": "load adapters", "merge": "lay adapters",
    "added": "added in all", "generate": "generate with", "base": "generate without",
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Times:
    """What was measured of one stage."""

    stage: Stage
    """One of `STAGES`; `added`, their sum, of prompts that got adapters; `generate`; or `base`, the same without."""
    seconds: tuple[float, ...]
    """One for each time that it was done; at least one."""
    batch: int | None = None
    """Pictures that are painted at once; None of what is done once for a prompt, whatever the batch."""
    warm: bool | None = None
    """Whether adapter files lay ready; None where that makes no difference."""
    tokens: float | None = None
    """That a language model read and wrote, on average."""
    cost: float | None = None
    """Of these, on average, in the money of the settings' prices."""

    @property
    def n(self) -> int:
        """How often it was measured."""
        return len(self.seconds)

    @property
    def median(self) -> float:
        """The median of the seconds."""
        return float(np.median(self.seconds))

    @property
    def quartiles(self) -> tuple[float, float]:
        """The seconds below which a quarter, and three quarters, of the times lie."""
        low, high = np.percentile(self.seconds, (25, 75)).tolist()
        return low, high


@dataclass(frozen=True, slots=True, kw_only=True)
class Overhead:
    """What is added to painting a batch, in per cent of painting it without adapters."""

    batch: int
    warm: bool | None
    percent: float


class Stopwatch:
    """Times work.

    Args:
        settle: Brings devices to rest; called before each start and before each stop.
        now: The clock, in seconds.
    """

    def __init__(
        self, *, settle: Callable[[], None] | None = None, now: Callable[[], float] = time.perf_counter
    ) -> None:
        self._settle = settle or rest
        self._now = now

    def time(self, work: Callable[[], Result]) -> tuple[float, Result]:
        """Do some work, and return the seconds that it took with what it returned."""
        self._settle()
        started = self._now()
        result = work()
        self._settle()
        return self._now() - started, result


def rest() -> None:
    """Wait until a GPU that this process has begun to use has done what it was given."""
    torch: Any = sys.modules.get("torch")
    if torch is None:
        return
    if torch.cuda.is_available() and torch.cuda.is_initialized():
        torch.cuda.synchronize()
    elif torch.backends.mps.is_available():
        torch.mps.synchronize()


def overhead(added: float, base: float) -> float:
    """Return what is added, in per cent of the time without.

    The seconds of the Stylus paper (figure 11): 12.1 are added to 16, 25 and 44 for 1, 2 and 4 pictures.

    >>> [round(overhead(1.1 + 8.5 + 2.5, base), 1) for base in (16, 25, 44)]
    [75.6, 48.4, 27.5]
    """
    return 100 * added / base


def overheads(times: Sequence[Times]) -> tuple[Overhead, ...]:
    """Return what is added at each batch size, with cold adapter files and warm ones: medians against medians."""
    added = [one for one in times if one.stage == "added"]
    return tuple(
        Overhead(batch=base.batch, warm=one.warm, percent=overhead(one.median, base.median))
        for base in times
        if base.stage == "base" and base.batch is not None
        for one in added
    )


def timings_of(times: Sequence[Times], method: str, *, baseline: str = "base") -> tuple[Timing, ...]:
    """Return times as a report has them.

    What is done once for a prompt stands at every batch size: each batch waits for it.

    Args:
        times: What was measured.
        method: What the method with adapters is called.
        baseline: What painting without adapters is called.
    """
    from .report.results import Timing

    sizes = sorted({one.batch for one in times if one.batch is not None}) or [1]
    found = []
    for one in times:
        low, high = one.quartiles
        found += [
            Timing(
                method=baseline if one.stage == "base" else method,
                stage="generate" if one.stage in ("base", "generate") else TITLES[one.stage],
                batch=batch,
                median=one.median,
                low=low,
                high=high,
                n=one.n,
                warm=one.warm,
                tokens=one.tokens,
                cost=one.cost,
            )
            for batch in ([one.batch] if one.batch is not None else sizes)
        ]
    return tuple(found)


def stacks_of(times: Sequence[Times]) -> tuple[Stack, ...]:
    """Return the bars of a figure: for each batch size painting without adapters, and the stages with them."""
    from .plots import Stack

    percents = {(one.batch, one.warm): one.percent for one in overheads(times)}
    worn = {one.batch: one for one in times if one.stage == "generate"}
    stacks = []
    for base in (one for one in times if one.stage == "base"):
        pictures = f"batch {base.batch}"
        # The stages that it does not have too, so that colours go by their order.
        none = tuple((TITLES[stage], 0.0) for stage in STAGES)
        stacks.append(Stack(label=f"{pictures}, without", parts=(*none, ("generate", base.median)), text="s"))
        for added in (one for one in times if one.stage == "added"):
            own = [one for one in times if one.stage in STAGES and one.warm in (None, added.warm)]
            parts = [(TITLES[one.stage], one.median) for one in own]
            if base.batch in worn:
                parts.append(("generate", worn[base.batch].median))
            state = {True: ", warm", False: ", cold", None: ""}[added.warm]
            percent = percents[base.batch or 0, added.warm]
            stacks.append(Stack(label=f"{pictures}{state}", parts=tuple(parts), text=f"s (+{percent:.3g} %)"))
    return tuple(stacks)
