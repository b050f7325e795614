"""The questionnaires that come with the package, and the failures that a rater may tick."""

from __future__ import annotations

from typing import Final

from .records import Question, Questionnaire

FAILURES: Final = {
    "burnt": ("image saturation", "burnt, garish or overdone"),
    "missing": ("task blocking", "something that was asked for is missing"),
    "alike": ("loss of task diversity", "the pictures are all alike"),
    "poor": ("low-quality adapter", "badly drawn, distorted or blurred"),
    "other": ("retrieval error", "something else than what was asked for"),
}
"""The ways in which adapters fail: how the Stylus paper calls them (appendix A.4), and how raters read them."""

_QUALITY: Final = "Which picture looks better?"
_ALIGNMENT: Final = "Which picture fits this description better?"
_SEEN: Final = ("burnt", "poor")
_ASKED: Final = ("missing", "other")

PAIRS: Final = Questionnaire(
    name="pairs",
    arrangement="pairs",
    introduction="You will see two pictures, or two groups of pictures, and say which of them you prefer. Some "
    "questions come with a description. If you see no difference, say so.",
    questions=(
        Question(name="quality", kind="choice", text=_QUALITY, ties=True, tags=_SEEN),
        Question(name="alignment", kind="choice", text=_ALIGNMENT, shows_prompt=True, ties=True, tags=_ASKED),
        Question(
            name="diversity",
            kind="choice",
            text="The pictures within which group differ more from each other?",
            shows_prompt=True,
            pictures=5,
            ties=True,
            tags=("alike",),
        ),
    ),
)
"""Stylus's questions, one by one: quality without the prompt, alignment and diversity with it."""

RANKS: Final = Questionnaire(
    name="ranks",
    arrangement="all",
    introduction="You will see several pictures at once, and put them in order, the best first. Some questions come "
    "with a description.",
    questions=(
        Question(name="quality", kind="ranking", text="Rank the pictures by how good they look.", tags=_SEEN),
        Question(
            name="alignment",
            kind="ranking",
            text="Rank the pictures by how well they fit this description.",
            shows_prompt=True,
            tags=_ASKED,
        ),
    ),
)
"""All methods at once, ranked."""

GROUPS: Final = Questionnaire(
    name="groups",
    arrangement="all",
    introduction="You will see groups of pictures. You will rate each group, then compare the groups. What the "
    "pictures were to show is told last.",
    questions=(
        Question(
            name="diversity",
            kind="rating",
            text="How diverse are the pictures within each group?",
            pictures=6,
            ends=("not at all diverse", "very diverse"),
            tags=("alike", *_SEEN),
        ),
        Question(
            name="style",
            kind="choice",
            text="Which group matches the style of these reference pictures best?",
            pictures=6,
            references=True,
        ),
        Question(
            name="prompt",
            kind="choice",
            text="Which group reflects this description best?",
            shows_prompt=True,
            pictures=6,
            tags=_ASKED,
        ),
    ),
)
"""Diversity from 1 to 5, then the nearest to reference pictures, then, once it is revealed, to the prompt."""

QUESTIONNAIRES: Final = {questionnaire.name: questionnaire for questionnaire in (PAIRS, RANKS, GROUPS)}
