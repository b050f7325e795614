"""From a survey's score to what a report tells of it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from .results import Agreement, Opinion, Survey

if TYPE_CHECKING:
    from ..survey.results import Duel, QuestionScore, SurveyScore


def survey_of(score: SurveyScore) -> Survey:
    """Return how each method did in each question, and how far raters agreed with each other and with themselves."""
    checks = score.checks
    passed = (Agreement(question="attention checks", measure="share passed", value=checks.value, low=checks.low,
                        high=checks.high, n=checks.n),) if checks.n else ()  # fmt: skip
    return Survey(
        raters=score.raters,
        excluded=len(score.excluded),
        opinions=tuple(opinion for question in score.questions for opinion in _opinions(question)),
        agreements=(*(one for question in score.questions for one in _agreements(question)), *passed),
        notes=(*score.notes, *(f"Left out: {one.reason}" for one in score.excluded)),
    )


def _opinions(question: QuestionScore) -> Iterator[Opinion]:
    for standing in question.standings:
        measured = {
            "share of choices": standing.share,
            "mean rating, 1 to 5": standing.rating,
            "strength, logarithm of worth": standing.strength,
        }
        for measure, found in measured.items():
            if found is not None:
                yield Opinion(
                    question=question.text,
                    measure=measure,
                    method=standing.method,
                    value=found.value,
                    low=found.low,
                    high=found.high,
                    n=standing.shown,
                    raters=question.raters,
                )
    if question.ranks is not None:
        for method, rank in zip(question.ranks.names, question.ranks.means, strict=True):
            yield Opinion(
                question=question.text,
                measure="mean rank",
                method=method,
                value=rank,
                low=None,
                high=None,
                n=question.ranks.n,
                raters=question.raters,
                better="lower",
            )


def _sureness(duel: Duel) -> str:
    return f"p {duel.p:.3f}" if duel.p_holm is None else f"Holm's p {duel.p_holm:.3f}"


def _agreements(question: QuestionScore) -> Iterator[Agreement]:
    name, again = question.text, question.again
    if question.alpha is not None:
        yield Agreement(
            question=name,
            measure=f"Krippendorff's alpha, {question.alpha.level}",
            value=question.alpha.value,
            low=question.alpha.low,
            high=question.alpha.high,
            n=question.alpha.units,
        )
    if question.w is not None:
        yield Agreement(question=name, measure="Kendall's W", value=question.w, n=question.items)
    if again.n:
        measure = "same answer when asked again"
        yield Agreement(question=name, measure=measure, value=again.value, low=again.low, high=again.high, n=again.n)
    for duel in question.duels:
        yield Agreement(
            question=name,
            measure=f"prompts that {duel.first} won against {duel.second}, of those decided ({_sureness(duel)})",
            value=duel.rate.value,
            low=duel.rate.low,
            high=duel.rate.high,
            n=duel.rate.n,
        )
