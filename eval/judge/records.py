"""The nouns of judging.

Pairing     pictures of two methods that are shown together, under one criterion
  -> Trial    + what the judge answered, once in each order
    -> Verdict  what all trials of a criterion come to, how sure that is, and what speaks against it
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from ...records import Usage
from ..records import CellName, Sample

if TYPE_CHECKING:
    from PIL.Image import Image

Criterion = Literal["quality", "alignment", "diversity"]
CRITERIA: Final[tuple[Criterion, ...]] = ("quality", "alignment", "diversity")
"""How well a picture is made; how well it shows what the prompt asks for; how much several pictures of one prompt
differ."""

GROUP: Final = 5
"""The most pictures of one prompt that diversity is judged by, as many on either side."""

HOST: Final = " at "
"""Stands in a judge's name between the model and the server that has it."""

Said = Literal["first", "second", "tie", "refused", "unusable"]
"""What a judge says of two sides. It may refuse; and what it says may be of no use."""

BEST: Final = 2
"""The best score of a side; 0 is the worst."""

Outcome = Literal["win", "tie", "lose", "refused", "unusable"]
"""What became of a pair, as seen by the method that is asked about."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Exhibit:
    """A picture as a judge is given it. Nothing in it tells who made it."""

    digest: str
    """SHA-256 of the file that it comes from."""
    open: Callable[[], Image]
    """Returns the picture in RGB, of the same size as all others of the question."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a judge says of two sides."""

    choice: Said
    reason: str = ""
    scores: tuple[int, int] | None = None
    """Of the first and of the second side, 0 to 2, where the judge gives any; secondary to the choice."""
    usage: Usage = Usage()  # noqa: RUF009 - frozen
    """What the answer took."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pairing:
    """Pictures of two methods that are shown together: one each, or for diversity a group each."""

    criterion: Criterion
    prompt_id: str
    prompt: str
    of: tuple[Sample, ...]
    against: tuple[Sample, ...]
    of_is_asked_first: bool
    """Whether the method that is asked about stands first in the order that is asked first."""

    @property
    def index(self) -> int:
        """Of the first sample."""
        return self.of[0].index


@dataclass(frozen=True, slots=True, kw_only=True)
class Pairings:
    """All that a judge is to be asked about two cells, in the order in which it is asked."""

    of: CellName
    against: CellName
    pairs: tuple[Pairing, ...]
    seed: int
    unpaired: int
    """Samples of either cell that the other has no counterpart of."""
    too_few: int
    """Prompts that have fewer than two pairs, so that no diversity can be judged."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """A pairing, and what became of it."""

    pairing: Pairing
    outcome: Outcome
    answers: tuple[Answer, Answer] | None = None
    """With the method that is asked about as the first side, then as the second; None where both sides are the same
    pictures, which is a tie that nobody is asked about."""

    @property
    def is_consistent(self) -> bool | None:
        """Whether the judge named the same pictures in both orders.

        Pictures named in one order, and a tie in the other, are not; None where it named none in either, or one is no
        answer.
        """
        if self.answers is None:
            return None
        said = {answer.choice for answer in self.answers}
        return said == {"first", "second"} if said <= {"first", "second", "tie"} and said != {"tie"} else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Skipped:
    """A pairing that was not judged."""

    pairing: Pairing
    reason: str
    is_unasked: bool
    """Whether nobody was asked, for the limit or because the judge is gone; else a picture cannot be read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hearing:
    """What a judge answered to all pairings."""

    judge: str
    pairings: Pairings
    trials: tuple[Trial, ...]
    skipped: tuple[Skipped, ...]
    usage: Usage
    """Of this time alone."""
    asked: int
    """Questions that were put this time; the others were answered before."""
    kept: int
    """Answers that were taken from the transcripts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """A share with its 95 % interval (Wilson's), of so many."""

    value: float
    low: float
    high: float
    n: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """How far a judge and people say the same of the same prompts."""

    kappa: float | None
    """Cohen's: 1 always, 0 as often as by chance; None where either always says one same thing, which leaves kappa
    nothing to tell."""
    low: float | None
    high: float | None
    """The ends of its 95 % interval."""
    same: float
    """The share of the prompts of which both say the same."""
    n: int
    """Prompts."""
    decided: Share | None = None
    """The share of which both say the same, of the prompts of which both name a method. Chance: 0.5."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Doubt:
    """Something that speaks against believing a verdict."""

    code: Literal["coin", "position", "refuses", "unusable", "against people", "too few", "kin", "people"]
    text: str


_HOLLOW: Final = {
    "refuses": "it refuses too often",
    "unusable": "too few of its answers are of use",
    "coin": "its answers are no better than a coin's",
    "position": "it goes by position",
    "against people": "people say otherwise",
}
"""The doubts with which there is no winner, and how a conclusion names them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """How many pairs, or prompts, had which outcome."""

    win: int = 0
    tie: int = 0
    lose: int = 0
    refused: int = 0
    unusable: int = 0

    @property
    def decided(self) -> int:
        """Those with a winner."""
        return self.win + self.lose

    @property
    def asked(self) -> int:
        """All of them."""
        return self.win + self.tie + self.lose + self.refused + self.unusable


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What a judge says under one criterion of a method against another, and how sure that is.

    Shares, intervals and tests are over prompts: a prompt with several pairs is won by whoever wins more of them.
    """

    criterion: Criterion
    of: CellName
    against: CellName
    judge: str
    """Its name, with the version of the question."""
    pairs: Tally
    prompts: Tally
    identical: int
    """Of the tied pairs, those of the same pictures, about which nobody was asked."""
    unasked: int
    """Pairs about which nobody was asked for want of calls, or because the judge was gone."""
    unread: int
    """Pairs left out because a picture cannot be read."""
    share: Share | None
    """Wins of what was decided; None where nothing was."""
    p: float | None
    """Exact, two-sided, of as many wins as losses (sign test)."""
    p_holm: float | None = None
    """The same, corrected for the criteria that were judged together."""
    half_ties: float | None
    """Wins and half the ties, of all with an outcome."""
    net: float | None
    """Wins less losses, of all with an outcome."""
    net_interval: tuple[float, float] | None
    """Of 95 % (Tango's)."""
    consistency: Share | None
    """How often the same pictures were named in both orders, of the pairs in which some were in either: a tie in one
    order alone is another answer. A coin: 0.5."""
    same: Share | None = None
    """How often both orders had the same answer, of all answered pairs; a tie in both is one. Less `both_tied` this is
    Stylus' share of decisions."""
    both_tied: int = 0
    """Pairs that were a tie in both orders."""
    first: Share | None
    """How often the side that was shown first was named, of all answers that name one; the interval is for as many
    pairs as they are of. Without a lean: 0.5."""
    both_first: int
    """Pairs of which the first side was named in both orders: other pictures each time."""
    both_second: int
    """Pairs of which the second was."""
    once_first: int = 0
    """Pairs of which the first side was named in one order, and neither in the other."""
    once_second: int = 0
    """Pairs of which the second was."""
    detectable: float | None
    """The least share of wins that so many decided prompts show in four of five times (5 %, two-sided)."""
    scores: tuple[float, float] | None
    """The means of the scores, 0 to 2, where the judge gives any: of the method, and of the other."""
    agreement: Agreement | None
    """With people, where it is known what they say."""
    doubts: tuple[Doubt, ...] = ()

    @property
    def wins(self) -> Literal["of", "against"] | None:
        """Who wins by the corrected test, at 5 %; None where nobody does, or the answers are none to go by."""
        if self.share is None or self.p_holm is None or self.p_holm >= 0.05 or self.is_hollow:
            return None
        return "of" if self.share.value > 0.5 else "against"

    @property
    def is_hollow(self) -> bool:
        """Whether its answers are a coin's, go by position, are lacking too often, or are surely not people's."""
        return bool(self.hollow_for)

    @property
    def hollow_for(self) -> tuple[str, ...]:
        """Why it is not to be believed, in words; nothing where it may be."""
        return tuple(dict.fromkeys(_HOLLOW[doubt.code] for doubt in self.doubts if doubt.code in _HOLLOW))
