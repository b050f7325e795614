"""The nouns of a survey: what is asked, of whom, about which pictures, and what was answered.

Questionnaire   questions, and whether methods are shown two by two or all at once
  -> Plan         + methods, raters and the rules of exclusion: written down before anybody answers
    -> Survey       + the key: which picture, of which method, stands where in which task
      -> Submission   what one rater answered to the tasks of one form
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, Literal

Kind = Literal["choice", "ranking", "rating"]
"""Of a question: one group is chosen, all are ranked, or each is given 1 to 5."""
Role = Literal["item", "repeat", "identical", "caption", "copies"]
"""Of a task: asked to be counted; asked again; or an attention check (see `Task.answer`)."""
Value = int | tuple[int, ...] | None
"""An answer: the chosen place, from 0, or None for a tie; of a ranking and a rating a number from 1 for each place."""

TIE: Final = "tie"
"""How a tie is written in files."""
RATINGS: Final = (1, 2, 3, 4, 5)


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """One thing that is asked of each prompt's groups of pictures."""

    name: str
    """Such as `quality`; it can be read in the page."""
    kind: Kind
    text: str
    """As raters read it."""
    shows_prompt: bool = False
    """Whether the prompt is shown, which earlier questions of the same pictures can no longer be answered after."""
    pictures: int = 1
    """Of one method, shown as a group."""
    ties: bool = False
    """Whether a choice may be "no difference"."""
    ends: tuple[str, str] = ("", "")
    """What a rating of 1 and of 5 means."""
    references: bool = False
    """Whether it is about likeness to reference pictures, which are shown."""
    tags: tuple[str, ...] = ()
    """The failures, of `FAILURES`, that a rater may tick."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Questionnaire:
    """Questions that belong together, asked one after the other about the same prompt."""

    name: str
    arrangement: Literal["pairs", "all"]
    """Whether two methods are shown at once, every two of them in turn, or all."""
    introduction: str
    questions: tuple[Question, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """Whose answers are not counted; fixed before anybody answers."""

    most_failed: float = 0.5
    """A larger share of attention checks failed than this."""
    least_seconds: float = 1.5
    """A smaller median time for a task than this."""
    least_answered: float = 0.5
    """A smaller share of a form's tasks answered than this."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is fixed before anybody answers, and may be published.

    Nothing in it says which picture is whose, nor what that was drawn from.
    """

    title: str
    questionnaire: Questionnaire
    methods: tuple[str, ...]
    rules: Rules
    raters: int
    """Raters of each item, if each form is filled in once."""
    forms: tuple[tuple[str, int], ...]
    """(name, tasks) of each form, which one rater fills in."""
    items: int
    """Different tasks that are counted."""
    prompts: int
    pictures: int
    notes: tuple[str, ...] = ()
    """What a reader of the results should know of the pictures."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """Which sample a picture of the page is of; the first, where several are the same to the pixel."""

    prompt_id: str
    method: str
    index: int
    image: str
    sha256: str
    """Of the file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """One question about one arrangement of pictures, on one form."""

    id: str
    """Says nothing: drawn by lot."""
    form: str
    set: int
    """Tasks of one form about the same pictures have the same."""
    question: str
    item: str
    """The same for all tasks that ask the same about the same prompt and methods."""
    prompt_id: str
    prompt: str
    methods: tuple[str, ...]
    """By place, from left to right; of a check without meaning."""
    groups: tuple[tuple[str, ...], ...]
    """The pictures, by place."""
    role: Role = "item"
    answer: int | None = None
    """What an attention check wants: of `identical`, a tie; of `caption`, this place; of `copies`, this place rated 1
    or 2."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Survey:
    """A survey with its key, as its maker holds it."""

    plan: Plan
    pictures: dict[str, Shown] = field(repr=False)
    """By the id that the page has for it."""
    tasks: dict[str, Task] = field(repr=False)
    """By id, in the order of forms."""
    digest: str
    """Of the key; the page and every answer carry it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """One task answered."""

    task: str
    value: Value
    seconds: float | None = None
    """While the task was on the screen."""
    tags: tuple[tuple[str, ...], ...] = ()
    """The failures ticked, by place; empty for none at all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Submission:
    """What one rater answered to one form."""

    survey: str
    rater: str
    form: str
    answers: tuple[Answer, ...]
    comment: str = ""
