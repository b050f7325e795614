"""Scores: known preferences are found, with intervals that are honest about raters and prompts."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
from survey_raters import METHODS, Rater, attentive, by_strength, file_of, survey_of, write

from velatura.errors import InputError
from velatura.eval.report import opinions
from velatura.eval.survey import Survey, SurveyScore, collect_answers, score_survey
from velatura.eval.survey.design import Load
from velatura.eval.survey.results import plain_score
from velatura.eval.survey.table import score_lines

LONG = Load(raters=6, tasks=1000)


def scored(tmp_path: Path, survey: Survey, raters: dict[str, Rater], **more: object) -> SurveyScore:
    """Have raters fill in the forms in turn, and score."""
    forms = [form for form, _ in survey.plan.forms]
    files = [
        write(tmp_path / "in", f"{number}.json", file_of(survey, forms[number % len(forms)], rater, answer, **more))
        for number, (rater, answer) in enumerate(raters.items())
    ]
    collect_answers(tmp_path / "survey", files)
    return score_survey(tmp_path / "survey")


def test_bradley_terry_finds_the_strengths_that_raters_have(tmp_path: Path) -> None:
    survey = survey_of(tmp_path, "pairs", prompts=16, methods=4, load=LONG)
    strengths = dict(zip(METHODS, (-0.9, -0.3, 0.3, 0.9), strict=True))
    draw = np.random.default_rng(3)
    score = scored(tmp_path, survey, {f"r{n}": by_strength(strengths, draw, survey) for n in range(6)})
    quality = score.questions[0]
    assert [standing.method for standing in quality.standings] == list(METHODS[::-1])
    found = [(standing.strength, strengths[standing.method]) for standing in quality.standings]
    assert [strength.value for strength, _ in found] == pytest.approx([true for _, true in found], abs=0.3)
    assert sum(strength.low < true < strength.high for strength, true in found) >= 3
    assert quality.answers == 6 * 16 * 6
    assert score.checks.value == 1
    assert not score.excluded


def test_strengths_match_choix(tmp_path: Path) -> None:
    choix = pytest.importorskip("choix")
    survey = survey_of(tmp_path, "pairs", prompts=8, methods=3, load=LONG)
    draw = np.random.default_rng(4)
    strengths = dict(zip(METHODS, (0.0, 0.5, 1.0), strict=False))
    raters = {f"r{n}": by_strength(strengths, draw, survey) for n in range(4)}
    score = scored(tmp_path, survey, raters)
    names = list(METHODS[:3])
    for question in score.questions:
        wins = []
        for duel in question.duels:
            one, other = names.index(duel.first), names.index(duel.second)
            wins += [(one, other)] * duel.answers.wins + [(other, one)] * duel.answers.losses
        expected = choix.ilsr_pairwise(3, wins, alpha=0)
        found = {standing.method: standing.strength.value for standing in question.standings}
        assert [found[name] for name in names] == pytest.approx(expected - expected.mean(), abs=1e-6)


def test_rankings_give_strengths_mean_ranks_and_agreement(tmp_path: Path) -> None:
    survey = survey_of(tmp_path, "ranks", prompts=12, methods=4, load=Load(raters=4, tasks=400))
    strengths = dict(zip(METHODS, (0.0, 1.0, 2.0, 3.0), strict=True))
    draw = np.random.default_rng(5)
    score = scored(tmp_path, survey, {f"r{n}": by_strength(strengths, draw, survey) for n in range(4)})
    quality = score.questions[0]
    assert [standing.method for standing in quality.standings] == list(METHODS[::-1])
    assert quality.ranks.ranking == METHODS[::-1]
    assert quality.ranks.n == 12
    assert quality.ranks.p < 0.001
    assert 0.4 < quality.w < 1
    assert quality.alpha.level == "ordinal"
    assert 0.2 < quality.alpha.value < 0.9


def test_ratings_are_told_as_shares_of_low_middle_and_high(tmp_path: Path) -> None:
    survey = survey_of(tmp_path, "groups", prompts=1, methods=4)
    ratings = {METHODS[0]: (1, 1, 2, 2), METHODS[1]: (4, 5, 3, 5), METHODS[2]: (2, 3, 3, 3), METHODS[3]: (4, 4, 2, 3)}

    def rater(number: int) -> Rater:
        def prefer(task: object) -> object:
            if task.question == "diversity":
                return [ratings[method][number] for method in task.methods]
            return task.methods.index(METHODS[3] if number else METHODS[1])

        return attentive(survey, prefer)

    score = scored(tmp_path, survey, {f"r{n}": rater(n) for n in range(4)})
    diversity, prompt = score.questions
    found = {standing.method: standing for standing in diversity.standings}
    assert found[METHODS[0]].thirds == (1, 0, 0)
    assert found[METHODS[1]].thirds == (0, 0.25, 0.75)
    assert found[METHODS[1]].rating.value == 4.25
    assert found[METHODS[1]].rating.low < 4.25 < found[METHODS[1]].rating.high
    assert diversity.ranks.n == 4  # of one prompt, over raters
    assert {standing.method: standing.share.value for standing in prompt.standings} == {
        METHODS[0]: 0, METHODS[1]: 0.25, METHODS[2]: 0, METHODS[3]: 0.75
    }  # fmt: skip
    assert sum(prompt.places) == 4
    none = next(standing for standing in prompt.standings if standing.method == METHODS[0])
    assert none.share.low == 0
    assert none.share.high > 0


def test_pairs_are_counted_by_answers_and_by_prompts(tmp_path: Path) -> None:
    survey = survey_of(tmp_path, "pairs", prompts=4, load=Load(raters=3, tasks=400))
    # By prompt, what each of three raters says: 1 for the first method, 0 for a tie, -1 for the second.
    said = {"prompt0": (1, 1, 1), "prompt1": (1, 1, -1), "prompt2": (0, 0, 0), "prompt3": (-1, 0, 0)}

    def rater(number: int) -> Rater:
        def prefer(task: object) -> object:
            opinion = said[task.prompt_id][number]
            return "tie" if opinion == 0 else task.methods.index(METHODS[0] if opinion > 0 else METHODS[1])

        return attentive(survey, prefer)

    score = scored(tmp_path, survey, {f"r{n}": rater(n) for n in range(3)})
    (duel,) = score.questions[0].duels
    assert (duel.first, duel.second) == METHODS[:2]
    assert (duel.answers.wins, duel.answers.ties, duel.answers.losses) == (5, 5, 2)
    assert (duel.items.wins, duel.items.ties, duel.items.losses) == (2, 1, 1)
    assert (duel.rate.successes, duel.rate.n) == (2, 3)
    assert duel.p == 1
    assert duel.net.value == pytest.approx(3 / 12)
    assert score.questions[0].again.value == 1


def test_duels_of_all_questions_are_corrected_together(tmp_path: Path) -> None:
    survey = survey_of(tmp_path, "pairs", prompts=8, load=Load(raters=2, tasks=400))
    best = attentive(survey, lambda task: task.methods.index(METHODS[0]) if task.question == "quality" else 0)
    score = scored(tmp_path, survey, {"r1": best, "r2": best})
    duels = [duel for question in score.questions for duel in question.duels]
    assert len(duels) == 3
    assert duels[0].p == pytest.approx(2 / 2**8)
    assert [duel.p_holm for duel in duels] == pytest.approx([3 * duels[0].p, 1, 1])
    assert f"sign test p = {duels[0].p:.2g}, by Holm {3 * duels[0].p:.2g}" in "\n".join(score_lines(score))
    told = [one.measure for one in opinions.survey_of(score).agreements]
    assert any(f"Holm's p {3 * duels[0].p:.3f}" in measure for measure in told)


def test_a_rater_who_always_takes_the_left_prefers_nobody(tmp_path: Path) -> None:
    survey = survey_of(tmp_path, "pairs", prompts=8, load=Load(raters=2, tasks=400))
    score = scored(tmp_path, survey, {f"r{n}": attentive(survey, lambda task: 0) for n in range(2)})
    for question in score.questions:
        assert question.places[1] == 0
        assert question.standings[0].share.value == 0.5
        assert question.again.successes == 0


def test_raters_who_fail_checks_hurry_or_stop_early_do_not_count(tmp_path: Path) -> None:
    survey = survey_of(tmp_path, "pairs", load=Load(raters=4))
    honest = attentive(survey, lambda task: task.methods.index(METHODS[0]))
    (tmp_path / "in").mkdir()
    hasty = file_of(survey, "3", "hasty", honest, seconds=0.4)
    early = file_of(survey, "4", "early", honest)
    early["answers"] = early["answers"][:5]
    files = [
        file_of(survey, "1", "good", honest),
        file_of(survey, "2", "asleep", lambda task: 1 - task.answer if task.role == "caption" else 0),
        hasty,
        early,
    ]
    paths = [write(tmp_path / "in", f"{number}.json", plain) for number, plain in enumerate(files)]
    collect_answers(tmp_path / "survey", paths)
    score = score_survey(tmp_path / "survey")
    assert {out.rater: out.reason for out in score.excluded} == {
        "asleep": "failed 2 of 2 attention checks",
        "hasty": "took 0.4 s for a task (median)",
        "early": f"answered {5 / survey.plan.forms[3][1]:.0%} of the tasks",
    }
    assert score.raters == 1
    assert score.questions[0].answers == 6
    assert score.questions[0].thin == 6


def test_nobody_left_is_one_sentence(tmp_path: Path) -> None:
    survey = survey_of(tmp_path, "pairs")
    with pytest.raises(InputError, match="has no answers yet"):
        score_survey(tmp_path / "survey")
    with pytest.raises(InputError, match="all 1 raters are excluded"):
        scored(tmp_path, survey, {"r": attentive(survey, lambda task: 0)}, seconds=0.1)


def test_a_rater_of_two_forms_counts_once_for_each_item(tmp_path: Path) -> None:
    survey = survey_of(tmp_path, "pairs")
    answer = attentive(survey, lambda task: 0)
    for form in ("1", "2"):
        collect_answers(
            tmp_path / "survey", [write(tmp_path / "in", f"{form}.json", file_of(survey, form, "r", answer))]
        )
    score = score_survey(tmp_path / "survey")
    assert (score.raters, score.questions[0].answers, score.questions[0].items) == (1, 6, 6)


def test_intervals_widen_when_raters_agree_with_themselves_alone(tmp_path: Path) -> None:
    """Raters of fixed opposite tastes are few opinions, however many prompts they see."""
    survey = survey_of(tmp_path, "pairs", prompts=20, load=Load(raters=6, tasks=400))

    def fixed(method: str) -> Rater:
        return attentive(survey, lambda task: task.methods.index(method))

    score = scored(tmp_path, survey, {f"r{n}": fixed(METHODS[int(n > 1)]) for n in range(6)})
    (duel,) = score.questions[0].duels
    assert duel.net.value == pytest.approx(-1 / 3)
    assert duel.net.low < 0 < duel.net.high
    assert duel.items.losses == 20


def test_answers_that_are_all_the_same_are_not_taken_for_certain(tmp_path: Path) -> None:
    survey = survey_of(tmp_path, "pairs", load=Load(raters=3))
    first = attentive(survey, lambda task: task.methods.index(METHODS[0]))
    score = scored(tmp_path, survey, {f"r{n}": first for n in range(3)})
    (duel,) = score.questions[0].duels
    assert duel.net.value == duel.net.high == 1
    assert duel.net.low < 0.2
    assert score.questions[0].standings[0].share.low < 0.6
    assert score.questions[0].regularised


def test_failures_ticked_are_counted_for_the_method_that_was_shown_there(tmp_path: Path) -> None:
    survey = survey_of(tmp_path, "pairs")
    plain = file_of(survey, "1", "r", attentive(survey, lambda task: 0))
    for answer in plain["answers"]:
        task = survey.tasks[answer["task"]]
        if task.question == "quality":
            answer["tags"] = [["burnt"] if method == METHODS[1] else [] for method in task.methods]
    collect_answers(tmp_path / "survey", [write(tmp_path / "in", "r.json", plain)])
    counts = {
        (found.method, found.failure): (found.count, found.offered)
        for found in score_survey(tmp_path / "survey").failures
    }
    assert counts[METHODS[1], "image saturation"] == (6, 6)
    assert counts[METHODS[0], "image saturation"] == (0, 6)


@pytest.mark.parametrize("questions", ["pairs", "ranks", "groups"])
def test_score_is_plain_json_and_readable_text_even_of_one_rater(tmp_path: Path, questions: str) -> None:
    survey = survey_of(tmp_path, questions, methods=3)
    strengths = dict.fromkeys(METHODS, 0.0)
    score = scored(tmp_path, survey, {"only": by_strength(strengths, np.random.default_rng(0), survey)})
    plain = json.loads(json.dumps(plain_score(score), allow_nan=False))
    assert [question["name"] for question in plain["questions"]] == [question.name for question in score.questions]
    text = "\n".join(score_lines(score))
    assert all(method in text for method in METHODS[:3])
    assert not math.isnan(score.seconds)
    assert "nan" not in text
