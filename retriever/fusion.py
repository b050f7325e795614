"""From what every way of looking says to one probability per page.

A logistic model over these features, fitted by `benchmarks/fit_fusion.py` on prompts whose writers' own choice of
adapters is known. The features are those that told most out of seven parts, their squares and their products. Ranks
enter as 10 / (10 + rank), which no list's scale can disturb; trigger phrases by how rare they are, and words by the
share of what a word can say, which mean the same in a catalogue of any size.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

import numpy as np

from .lists import DEPTH, top
from .paged import Paged, ranks

if TYPE_CHECKING:
    from .corpus import Allowed, Corpus
    from .lists import Lists
    from .postings import Scores


@dataclass(frozen=True, slots=True, kw_only=True)
class Features:
    """What is known of each page, one number each.

    The parts: `words` is the BM25 score over all fields, over the best page's; `said` the score over the example
    prompts, by rank; `meaning` the cosine with the nearest example prompt or with the card, by rank; `triggers` the
    rarity of the trigger phrase that calls the page, 1 where no other page speaks of it; `title` how much the most
    telling word says that its title and the prompt share; `covered` the share of one of its trigger phrases that
    stands in the prompt; `called` the rarity of the rarest trigger phrase in the prompt, whatever page it calls.
    """

    words: Scores
    words_said: Scores
    """`words` times the logarithm of one plus the words shared with the example prompts (their score, over that of a
    word which nobody else says): a long prompt shares many words with many prompts."""
    said_twice: Scores
    """`said` squared: to be the first counts, to be among the first counts little."""
    said_covered: Scores
    """`said` times `covered`: the words of a page that is found by its prompts stand in the prompt anyway, and those
    of its trigger among them call nothing."""
    meaning: Scores
    triggers: Scores
    triggers_title: Scores
    """`triggers` times `title`: both see the same word where an adapter is called by its title."""
    title_twice: Scores
    """`title` squared."""
    called_twice: Scores
    """`called` squared: who writes a word that calls one adapter alone means that one, and no other."""

    def table(self) -> Scores:
        """Return one row per page and one column per feature, in the order of the fields."""
        return np.stack([getattr(self, field.name) for field in fields(self)], axis=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Coefficients:
    """One weight per feature, and the bias."""

    words: float = 0.0
    words_said: float = 0.0
    said_twice: float = 0.0
    said_covered: float = 0.0
    meaning: float = 0.0
    triggers: float = 0.0
    triggers_title: float = 0.0
    title_twice: float = 0.0
    called_twice: float = 0.0
    bias: float = 0.0


FITTED = Coefficients(
    words=4.66,
    words_said=-1.22,
    said_twice=3.81,
    said_covered=-3.68,
    meaning=3.32,
    triggers=10.65,
    triggers_title=-5.30,
    title_twice=5.13,
    called_twice=-1.78,
    bias=-9.13,
)


def found(corpus: Corpus, lists: Lists, allowed: Allowed) -> Paged:
    """Return the pages of what may be found and stands high in any list."""
    high = np.zeros(len(corpus.lexicon), bool)
    high[list(lists.triggers)] = True
    high &= allowed.rows
    for scores in (lists.words, lists.said, lists.prompts, lists.card):
        high[top(scores, allowed.rows, DEPTH)] = True
    return Paged(corpus, np.flatnonzero(high))


def features(corpus: Corpus, lists: Lists, pages: Paged) -> Features:
    """Return what is known of pages."""
    present = corpus.all.rows
    most = float((lists.words * present).max(initial=0.0)) or 1.0
    rare = np.zeros(len(corpus.lexicon))
    rare[list(lists.triggers)] = list(lists.triggers.values())
    prompts, title, triggers = pages.best(lists.said), pages.best(lists.title), pages.best(rare)
    words = pages.best(lists.words) / most
    said = ranks(corpus, lists.said, prompts, present)
    shared = prompts / math.log(len(corpus.lexicon) + 2)
    called = float((rare * present).max(initial=0.0))
    return Features(
        words=words,
        words_said=words * np.log1p(shared),
        said_twice=said**2,
        said_covered=said * pages.best(lists.coverage),
        meaning=ranks(corpus, lists.meaning, pages.best(lists.meaning), present),
        triggers=triggers,
        triggers_title=triggers * title,
        title_twice=title**2,
        called_twice=np.full(len(pages), called**2),
    )


def probability(seen: Features, fitted: Coefficients = FITTED) -> Scores:
    """Return the probability that a person would lay each page's adapter on, between 0 and 1."""
    weights = np.array([getattr(fitted, field.name) for field in fields(Features)])
    chance: Scores = 1.0 / (1.0 + np.exp(-(seen.table() @ weights + fitted.bias)))
    return chance
