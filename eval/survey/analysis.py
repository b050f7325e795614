"""Scoring a survey: preferences with intervals, agreement, consistency, by the rules fixed before.

The unit of tests is the prompt; intervals allow for both likenesses, of one rater's answers and of answers on one
prompt (Cameron, Gelbach and Miller, 2011).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import numpy as np

from ...errors import InputError
from ..estimates import mean_estimate
from ..stats import (
    Agreement,
    Comparison,
    MeanRanks,
    Proportion,
    Strengths,
    WinTieLose,
    bradley_terry,
    holm,
    kendall_w,
    krippendorff_alpha,
    mean_ranks,
    plackett_luce,
    two_way_mean,
    wilson,
)
from .answers import read_answers
from .heard import Heard, checks, exclusions, hear, repeated, seconds
from .key import open_survey
from .questions import FAILURES
from .records import RATINGS, Plan, Question, Submission, Survey
from .results import Duel, FailureCount, Measured, QuestionScore, Standing, SurveyScore


def score_survey(folder: str | Path) -> SurveyScore:
    """Score the answers that were collected.

    Raises:
        InputError: there are none, all raters are excluded, or plan, key or answers are damaged.
    """
    survey = open_survey(folder)
    submissions = read_answers(folder, survey)
    if not submissions:
        raise InputError(f"{folder} has no answers yet; `velatura eval survey collect {folder} FILES` reads them")
    return score_submissions(survey, submissions)


def score_submissions(survey: Survey, submissions: Sequence[Submission]) -> SurveyScore:
    """Score answers; see `score_survey`.

    Raises:
        InputError: nobody's answers count.
    """
    everybody = hear(survey, submissions)
    excluded = exclusions(survey, submissions, everybody)
    out = {exclusion.rater for exclusion in excluded}
    heard = [each for each in everybody if each.rater not in out]
    if not heard:
        raise InputError(f"all {len(out)} raters are excluded by the survey's rules; {excluded[0].reason}, for one")
    counted = [each for each in heard if each.task.role == "item"]
    twice = repeated(heard)
    plan = survey.plan
    questions = [
        _question(question, survey, [each for each in counted if each.task.question == question.name], twice)
        for question in plan.questionnaire.questions
        if any(each.task.question == question.name for each in counted)
    ]
    return SurveyScore(
        title=plan.title,
        survey=survey.digest,
        methods=plan.methods,
        raters=len({each.rater for each in heard}),
        excluded=tuple(excluded),
        answers=len(counted),
        seconds=seconds(heard),
        checks=wilson(*checks(heard)),
        questions=_corrected(questions),
        failures=tuple(_failures(plan, counted)),
        comments=tuple(said.comment for said in submissions if said.comment and said.rater not in out),
        notes=plan.notes,
    )


def _question(
    question: Question, survey: Survey, heard: Sequence[Heard], twice: Iterable[tuple[Heard, Heard]]
) -> QuestionScore:
    methods = [method for method in survey.plan.methods if any(method in each.task.methods for each in heard)]
    fit = _fit(question, heard)
    standings = [_standing(question, method, heard, fit) for method in methods]
    raters = {each.rater for each in heard}
    answered = Counter(each.task.item for each in heard)
    planned = {task.item for task in survey.tasks.values() if task.role == "item" and task.question == question.name}
    chosen = Counter(each.answer.value for each in heard) if question.kind == "choice" else Counter()
    return QuestionScore(
        name=question.name,
        kind=question.kind,
        text=question.text,
        answers=len(heard),
        raters=len(raters),
        items=len(answered),
        prompts=len({each.task.prompt_id for each in heard}),
        standings=tuple(sorted(standings, key=_worth)),
        duels=tuple(_duels(methods, heard)) if question.kind == "choice" else (),
        ranks=_ranks(question, methods, heard),
        w=_concordance(methods, heard) if question.kind == "ranking" else None,
        alpha=_alpha(question, methods, heard),
        again=_again([pair for pair in twice if pair[0].task.question == question.name]),
        places=tuple(chosen[place] for place in range(len(heard[0].task.methods))) if chosen else (),
        thin=sum(answered[item] < survey.plan.raters for item in planned),
        regularised=fit is not None and fit[0].regularised,
    )


# -------------------------------------------------------------------- methods

Fit = tuple[Strengths, tuple[float, ...] | None]
"""Strengths, and half of their intervals, clustered two ways; None of one rater's answers on one prompt."""


def _fit(question: Question, heard: Sequence[Heard]) -> Fit | None:
    """Return Bradley-Terry strengths of choices between two, Plackett-Luce strengths of rankings."""
    from scipy.stats import t

    fit: Callable[[Sequence[str]], Strengths]
    if question.kind == "ranking":
        rankings = [sorted(each.numbers, key=each.numbers.__getitem__) for each in heard]

        def fit(clusters: Sequence[str]) -> Strengths:
            return plackett_luce(rankings, clusters=clusters)

    elif question.kind == "choice" and all(len(each.task.methods) == 2 for each in heard):
        met = [
            Comparison(first=each.task.methods[0], second=each.task.methods[1], winner=each.chosen) for each in heard
        ]

        def fit(clusters: Sequence[str]) -> Strengths:
            return bradley_terry(met, clusters=clusters)

    else:
        return None
    prompts = [each.task.prompt_id for each in heard]
    raters = [each.rater for each in heard]
    both = [f"{prompt}\n{rater}" for prompt, rater in zip(prompts, raters, strict=True)]
    try:
        fits = [fit(clusters) for clusters in (prompts, raters, both)]
    except InputError:  # some methods never met
        return None
    by_prompt, by_rater, by_both = (np.array(found.errors) ** 2 for found in fits)
    variance = np.maximum(by_prompt + by_rater - by_both, np.maximum(by_prompt, by_rater))
    clusters = [count for count in (len(set(prompts)), len(set(raters))) if count > 1]
    # As with means, of few clusters Student's t; the normal distribution covers 87 % where it should cover 95 %.
    half = float(t.ppf(0.975, min(clusters) - 1)) * np.sqrt(variance) if clusters else None
    return fits[0], None if half is None else tuple(half.tolist())


def _standing(question: Question, method: str, heard: Sequence[Heard], fit: Fit | None) -> Standing:
    shown = [each for each in heard if method in each.task.methods]
    share = rating = None
    ratings: tuple[int, ...] = ()
    if question.kind == "choice":
        share = _mean([0.5 if each.chosen is None else float(each.chosen == method) for each in shown], shown, 0, 1)
    if question.kind == "rating":
        given = [each.numbers[method] for each in shown]
        rating = _mean([float(number) for number in given], shown, RATINGS[0], RATINGS[-1])
        ratings = tuple(given.count(number) for number in RATINGS)
    strength = None
    if fit is not None:
        place = fit[0].names.index(method)
        value = fit[0].values[place]
        half = None if fit[1] is None else fit[1][place]
        strength = Measured(
            value=value, low=None if half is None else value - half, high=None if half is None else value + half
        )
    return Standing(method=method, shown=len(shown), share=share, rating=rating, ratings=ratings, strength=strength)


def _worth(standing: Standing) -> tuple[float, str]:
    told = standing.strength or standing.rating or standing.share
    return -told.value if told else 0.0, standing.method


def _duels(methods: Sequence[str], heard: Sequence[Heard]) -> Iterable[Duel]:
    for first, second in combinations(methods, 2):
        met = [each for each in heard if set(each.task.methods) == {first, second}]
        if not met:
            continue
        scores = [0.0 if each.chosen is None else 1.0 if each.chosen == first else -1.0 for each in met]
        by_item: dict[str, float] = {}
        for each, score in zip(met, scores, strict=True):
            by_item[each.task.item] = by_item.get(each.task.item, 0.0) + score
        items = _came_out(by_item.values())
        yield Duel(
            first=first,
            second=second,
            answers=_came_out(scores),
            items=items,
            rate=items.rate,
            p=items.p,
            net=_mean(scores, met, -1.0, 1.0),
        )


def _corrected(questions: Sequence[QuestionScore]) -> tuple[QuestionScore, ...]:
    """Return the questions, the duels of all of them corrected together: whoever looks at all looks for any."""
    corrected = iter(holm([duel.p for question in questions for duel in question.duels]))
    return tuple(
        replace(question, duels=tuple(replace(duel, p_holm=next(corrected)) for duel in question.duels))
        for question in questions
    )


def _came_out(scores: Iterable[float]) -> WinTieLose:
    counted = Counter(int(np.sign(score)) for score in scores)
    return WinTieLose(wins=counted[1], ties=counted[0], losses=counted[-1])


# -------------------------------------------------------------------- agreement


def _ranks(question: Question, methods: Sequence[str], heard: Sequence[Heard]) -> MeanRanks | None:
    """Return mean ranks of what each prompt's raters said on average; of one prompt, of what each rater said."""
    if question.kind == "choice" or any(len(each.task.methods) < len(methods) for each in heard):
        return None
    sign = 1 if question.kind == "ranking" else -1
    is_one = len({each.task.prompt_id for each in heard}) == 1
    rows: dict[str, list[list[int]]] = {}
    for each in heard:
        numbers = [sign * each.numbers[method] for method in methods]
        rows.setdefault(each.rater if is_one else each.task.prompt_id, []).append(numbers)
    return mean_ranks(methods, [np.mean(of, axis=0) for of in rows.values()]) if len(rows) > 1 else None


def _concordance(methods: Sequence[str], heard: Sequence[Heard]) -> float | None:
    rows: dict[str, list[list[int]]] = {}
    for each in heard:
        rows.setdefault(each.task.item, []).append([each.numbers[method] for method in methods])
    found = [kendall_w(of) for of in rows.values() if len(of) > 1]
    known = [w for w in found if w is not None]
    return float(np.mean(known)) if known else None


def _alpha(question: Question, methods: Sequence[str], heard: Sequence[Heard]) -> Agreement | None:
    """Return the agreement of raters: on the chosen one of each item, or on the number of each of its methods."""
    codes = {method: float(place) for place, method in enumerate(methods)}
    cells: dict[tuple[str, str], float] = {}
    for each in heard:
        if question.kind == "choice":
            cells[each.rater, each.task.item] = -1.0 if each.chosen is None else codes[each.chosen]
        else:
            for method, number in each.numbers.items():
                cells[each.rater, f"{each.task.item}\n{method}"] = float(number)
    raters = {rater: place for place, rater in enumerate(dict.fromkeys(rater for rater, _ in cells))}
    units = {unit: place for place, unit in enumerate(dict.fromkeys(unit for _, unit in cells))}
    table = np.full((len(raters), len(units)), np.nan)
    for (rater, unit), value in cells.items():
        table[raters[rater], units[unit]] = value
    return krippendorff_alpha(table, "nominal" if question.kind == "choice" else "ordinal")


def _again(twice: Iterable[tuple[Heard, Heard]]) -> Proportion:
    same = whole = 0
    for first, second in twice:
        if first.numbers:
            whole += len(first.numbers)
            same += sum(second.numbers.get(method) == number for method, number in first.numbers.items())
        else:
            whole += 1
            same += first.chosen == second.chosen
    return wilson(same, whole)


# -------------------------------------------------------------------- failures, intervals


def _failures(plan: Plan, heard: Sequence[Heard]) -> Iterable[FailureCount]:
    offered = {question.name: question.tags for question in plan.questionnaire.questions}
    ticked: Counter[tuple[str, str]] = Counter()
    could: Counter[tuple[str, str]] = Counter()
    for each in heard:
        for place, method in enumerate(each.task.methods):
            could.update((method, tag) for tag in offered[each.task.question])
            ticked.update((method, tag) for tag in (each.answer.tags[place] if each.answer.tags else ()))
    for tag, (failure, _) in FAILURES.items():
        for method in plan.methods:
            if could[method, tag]:
                count = ticked[method, tag]
                yield FailureCount(method=method, failure=failure, count=count, offered=could[method, tag])


def _mean(values: Sequence[float], heard: Sequence[Heard], least: float, most: float) -> Measured:
    """Return a mean with the interval for both likenesses; where there is one rater or prompt, for the other.

    Args:
        values: One for each answer.
        heard: The answers.
        least: The least that there can be.
        most: The most.
    """
    raters, prompts = [each.rater for each in heard], [each.task.prompt_id for each in heard]
    value = float(np.mean(values))
    few_raters, few_prompts = len(set(raters)) < 2, len(set(prompts)) < 2
    bounds: tuple[float, float] | None = None
    if len(set(values)) == 1:
        # Without spread the data bound nothing; at an end of the scale a share of the fewer clusters is the careful
        # answer.
        if value in (least, most):
            clusters = min(len(set(raters)), len(set(prompts)))
            share = wilson(clusters if value == most else 0, clusters)
            bounds = least + (most - least) * share.low, least + (most - least) * share.high
    elif not few_raters and not few_prompts:
        found = two_way_mean(values, prompts, raters)
        bounds = found.low, found.high
    else:
        bounds = mean_estimate(prompts if few_raters else raters, values).interval
    low, high = (None, None) if bounds is None else (max(least, bounds[0]), min(most, bounds[1]))
    return Measured(value=value, low=low, high=high)
