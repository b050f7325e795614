"""What a survey found: the nouns of its analysis, and how they are written down."""

from __future__ import annotations

from dataclasses import dataclass, fields, is_dataclass
from typing import Any, Final

from ..stats import Agreement, MeanRanks, Proportion, WinTieLose
from .records import Kind


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """A value with its 95 % interval, which allows for answers of one rater, and on one prompt, being alike."""

    value: float
    low: float | None
    high: float | None
    """None where there is nothing to take it from: one rater's answers on one prompt, or one same answer throughout."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """How one method did in one question."""

    method: str
    shown: int
    """Answers in which it could be chosen, ranked or rated."""
    share: Measured | None = None
    """Of choices: how often it was chosen, a tie counted as half a choice of both."""
    rating: Measured | None = None
    """The mean rating."""
    ratings: tuple[int, ...] = ()
    """How often it was rated 1, 2, 3, 4 and 5."""
    strength: Measured | None = None
    """The logarithm of its worth, about a mean of 0: Bradley-Terry of pairs, Plackett-Luce of rankings."""

    @property
    def thirds(self) -> tuple[float, float, float] | None:
        """The shares of ratings that were 1 or 2, 3, and 4 or 5."""
        if not self.ratings or not sum(self.ratings):
            return None
        one, two, three, four, five = self.ratings
        whole = sum(self.ratings)
        return (one + two) / whole, three / whole, (four + five) / whole


@dataclass(frozen=True, slots=True, kw_only=True)
class Duel:
    """Two methods that were compared with each other."""

    first: str
    second: str
    answers: WinTieLose
    """Of the first, answer by answer."""
    items: WinTieLose
    """Of the first, prompt by prompt: what most of its raters said."""
    rate: Proportion
    """The prompts that the first won, of those decided, with Wilson's interval."""
    p: float
    """Of the exact sign test over these prompts."""
    net: Measured
    """Wins less losses over all answers, -1 to 1."""
    p_holm: float | None = None
    """The p corrected for the duels of all questions, after Holm."""


@dataclass(frozen=True, slots=True, kw_only=True)
class QuestionScore:
    """One question's answers."""

    name: str
    kind: Kind
    text: str
    answers: int
    raters: int
    items: int
    prompts: int
    standings: tuple[Standing, ...]
    """The best first."""
    duels: tuple[Duel, ...]
    """Of choices between two."""
    ranks: MeanRanks | None
    """Of rankings and ratings: mean ranks over prompts (over raters where there is one prompt), Friedman, Nemenyi."""
    w: float | None
    """Of rankings: Kendall's W of the raters of a prompt, the mean over prompts."""
    alpha: Agreement | None
    """Krippendorff's: nominal of choices, ordinal of ranks and ratings."""
    again: Proportion
    """Answers given again when the same was asked again."""
    places: tuple[int, ...]
    """How often each place was chosen, from left to right; equal where places do not sway raters."""
    thin: int
    """Items with fewer raters than planned."""
    regularised: bool = False
    """Whether a method won or lost everything, so that its strength is only bounded by a made-up tie."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Exclusion:
    """A rater whose answers do not count, by the rules that the plan has."""

    rater: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FailureCount:
    """How often raters saw a method fail in one way."""

    method: str
    failure: str
    count: int
    offered: int
    """Answers in which it could be ticked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SurveyScore:
    """All that a survey found."""

    title: str
    survey: str
    """The digest."""
    methods: tuple[str, ...]
    raters: int
    """Those that count."""
    excluded: tuple[Exclusion, ...]
    answers: int
    seconds: float | None
    """The median time for a task."""
    checks: Proportion
    """Attention checks passed by the raters that count."""
    questions: tuple[QuestionScore, ...]
    failures: tuple[FailureCount, ...]
    comments: tuple[str, ...]
    notes: tuple[str, ...]


_TOLD: Final[dict[type, tuple[str, ...]]] = {
    Proportion: ("value",),
    WinTieLose: ("n", "score", "net"),
    Standing: ("thirds",),
}
"""What is written down of records beside their fields."""


def plain_score(score: Any) -> Any:
    """Return a score as plain JSON."""
    if is_dataclass(score) and not isinstance(score, type):
        names = [field.name for field in fields(score)] + list(_TOLD.get(type(score), ()))
        return {name: plain_score(getattr(score, name)) for name in names}
    if isinstance(score, tuple | list):
        return [plain_score(each) for each in score]
    return score
