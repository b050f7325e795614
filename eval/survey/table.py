"""A survey's score in lines of text."""

from __future__ import annotations

from collections.abc import Iterator

from ..stats import Proportion
from .results import Duel, Measured, QuestionScore, Standing, SurveyScore


def score_lines(score: SurveyScore) -> Iterator[str]:
    """Yield what a survey found, as a person reads it."""
    yield f"{score.raters} raters, {score.answers:,} answers" + (
        "" if score.seconds is None else f", {score.seconds:.1f} s for a task (median)"
    )
    for exclusion in score.excluded:
        yield f"not counted: {exclusion.rater}, who {exclusion.reason}"
    if score.checks.n:
        yield f"attention checks passed: {_proportion(score.checks)}"
    for question in score.questions:
        yield ""
        yield from _question(question)
    seen = [failure for failure in score.failures if failure.count]
    if seen:
        yield ""
        yield "failures that raters ticked:"
        for failure in seen:
            yield f"  {failure.method}: {failure.failure}, {failure.count} of {failure.offered} times"
    for note in score.notes:
        yield f"note: {note}"


def _question(question: QuestionScore) -> Iterator[str]:
    yield (
        f"{question.name}: {question.text} ({question.answers:,} answers, {question.raters} raters, "
        f"{question.prompts:,} prompts)"
    )
    for standing in question.standings:
        yield f"  {standing.method}: {'; '.join(_standing(standing, question))}"
    for duel in question.duels:
        yield f"  {_duel(duel)}"
    if question.ranks is not None:
        ranks = question.ranks
        told = ", ".join(f"{name} {mean:.2f}" for name, mean in zip(ranks.names, ranks.means, strict=True))
        yield (
            f"  mean ranks: {told}; Friedman p = {ranks.p:.2g}, those further apart than "
            f"{ranks.critical_difference:.2f} differ (Nemenyi, n = {ranks.n})"
        )
    agreement = [] if question.w is None else [f"Kendall's W {question.w:.2f}"]
    if question.alpha is not None:
        alpha = question.alpha
        agreement.append(f"Krippendorff's alpha {alpha.value:.2f} [{alpha.low:.2f}, {alpha.high:.2f}] ({alpha.level})")
    if question.again.n:
        agreement.append(f"answered the same again {_proportion(question.again)}")
    if question.places:
        agreement.append("chosen by place " + ", ".join(map(str, question.places)))
    if agreement:
        yield f"  raters: {'; '.join(agreement)}"
    if question.thin:
        yield f"  {question.thin:,} items have fewer raters than planned"
    if question.regularised:
        yield "  a method won or lost everything: its strength is a bound, not an estimate"


def _standing(standing: Standing, question: QuestionScore) -> Iterator[str]:
    if standing.share is not None:
        name = "wins, ties as halves," if question.duels else "chosen"
        yield f"{name} {_measured(standing.share, percent=True)} of {standing.shown}"
    if standing.rating is not None and standing.thirds is not None:
        low, middle, high = standing.thirds
        yield f"rated {_measured(standing.rating)}; 1-2 {low:.1%}, 3 {middle:.1%}, 4-5 {high:.1%} of {standing.shown}"
    if standing.strength is not None:
        yield f"strength {_measured(standing.strength)}"


def _duel(duel: Duel) -> str:
    answers, items = duel.answers, duel.items
    return (
        f"{duel.first} against {duel.second}: {answers.wins}/{answers.ties}/{answers.losses} answers won/tied/lost, "
        f"net {_measured(duel.net)}; prompts {items.wins}/{items.ties}/{items.losses}, of those decided "
        f"{_proportion(duel.rate)}, sign test p = {duel.p:.2g}"
        + ("" if duel.p_holm is None else f", by Holm {duel.p_holm:.2g}")
    )


def _measured(measured: Measured, *, percent: bool = False) -> str:
    form = ".1%" if percent else ".2f"
    if measured.low is None or measured.high is None:
        return format(measured.value, form)
    return f"{measured.value:{form}} [{measured.low:{form}}, {measured.high:{form}}]"


def _proportion(share: Proportion) -> str:
    if share.value is None:
        return "none"
    return f"{share.value:.1%} [{share.low:.1%}, {share.high:.1%}] of {share.n}"
