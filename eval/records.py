"""The nouns of evaluation: samples, the cells that they fill, and numbers that say how sure they are.

Sample       one picture: of which prompt, painted how, where it lies
  -> CellName    a method at a guidance: what is measured as one
    -> Figure      one metric of one cell, with its interval and all that it depends on
      -> Difference  the same of two cells, paired prompt by prompt
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Better = Literal["higher", "lower"]
"""Which way a metric is good."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Prompt:
    """One prompt of a set."""

    id: str
    """Unique in its set, and stable."""
    text: str
    """As its writer wrote it."""
    category: str | None = None
    challenge: str | None = None
    """What is hard about it, as PartiPrompts tells."""
    images: tuple[str, ...] = ()
    """Pictures that it describes, where the set has some."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Worn:
    """An adapter that a sample was painted with."""

    title: str
    weight: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One picture that is measured: a line of a manifest."""

    prompt_id: str
    prompt: str
    """As its writer wrote it, which is what pictures are judged by: never with trigger words or other additions."""
    method: str
    image: str
    """The picture's file; a relative name lies beside the manifest."""
    guidance: float | None = None
    """Classifier-free guidance; None where there is none, or it is not known."""
    index: int = 0
    """Which of the prompt's samples: equal (prompt_id, index) of two methods are a pair, from the same noise."""
    seed: int | None = None
    sha256: str | None = None
    """Of the file; what a manifest tells is checked when the picture is read."""
    category: str | None = None
    challenge: str | None = None
    adapters: tuple[Worn, ...] = ()
    mask: tuple[bool, ...] | None = None
    """Which of the chosen adapters were on."""
    timings: tuple[tuple[str, float], ...] = ()
    """(stage, seconds)."""
    best_of: int = 1
    """From how many pictures this was chosen."""
    selector: str | None = None
    """The metric that chose it: that metric, and what is like it, says nothing about the sample any more."""

    @property
    def pair(self) -> tuple[str, int]:
        """What it has in common with the samples of other methods that it is compared with."""
        return self.prompt_id, self.index

    @property
    def cell(self) -> CellName:
        """The cell that it belongs to."""
        return CellName(method=self.method, guidance=self.guidance)


@dataclass(frozen=True, slots=True, kw_only=True)
class CellName:
    """What is measured as one: the samples of a method at a guidance."""

    method: str
    guidance: float | None = None

    def __str__(self) -> str:
        return self.method if self.guidance is None else f"{self.method} @ {self.guidance:g}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """A number that can be believed: its interval, what it is of, and what it depends on.

    Figures of different signatures or counts are never put into one ranking.
    """

    metric: str
    cell: CellName
    value: float
    error: float | None
    """The standard error; None where there is none to be had."""
    low: float | None
    high: float | None
    """The ends of the 95 % interval."""
    n: int
    """Pictures."""
    prompts: int
    unit: str
    better: Better
    signature: str
    """Model, preparation, reference, counts and version, as sacreBLEU has it: `FID|net=...|ref=...|n=...`."""
    ranking: bool = True
    """Whether it may be ranked by: False of what is told for completeness, or is not comparable."""
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One cell less another, in one metric, over the pairs that both have."""

    metric: str
    cell: CellName
    baseline: CellName
    value: float
    error: float | None
    low: float | None
    high: float | None
    p: float | None
    """Two-sided, of no difference."""
    n: int
    """Pairs of pictures."""
    prompts: int
    missing: int
    """Pictures left out, because the other cell lacks their pair."""
    unit: str
    better: Better
    signature: str
    notes: tuple[str, ...] = ()

    @property
    def verdict(self) -> Literal["better", "worse", "unclear"]:
        """Whether the whole interval lies on one side of zero."""
        if self.low is None or self.high is None or self.low <= 0 <= self.high:
            return "unclear"
        return "better" if (self.value > 0) == (self.better == "higher") else "worse"
