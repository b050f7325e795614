"""Asking people, blinded: one HTML page without a server, a key that stays sealed, and answers that can be counted.

`make_survey` writes the page, the plan and the key; `collect_answers` reads what raters send back; `score_survey` joins
both and says who was preferred, how surely, and how far raters agreed.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .analysis import score_survey
    from .answers import collect_answers, read_answers
    from .key import open_survey
    from .make import make_survey
    from .questions import FAILURES, QUESTIONNAIRES
    from .records import Plan, Question, Questionnaire, Rules, Survey
    from .results import SurveyScore

__all__ = [
    "FAILURES",
    "QUESTIONNAIRES",
    "Plan",
    "Question",
    "Questionnaire",
    "Rules",
    "Survey",
    "SurveyScore",
    "collect_answers",
    "make_survey",
    "open_survey",
    "read_answers",
    "score_survey",
]

_HOMES = {
    "FAILURES": "questions",
    "QUESTIONNAIRES": "questions",
    "Plan": "records",
    "Question": "records",
    "Questionnaire": "records",
    "Rules": "records",
    "Survey": "records",
    "SurveyScore": "results",
    "collect_answers": "answers",
    "make_survey": "make",
    "open_survey": "key",
    "read_answers": "answers",
    "score_survey": "analysis",
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(f".{_HOMES[name]}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
