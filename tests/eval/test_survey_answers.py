"""Answer files come from strangers: what can be used is, and nothing else."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from survey_raters import attentive, file_of, survey_of, write

from velatura.errors import InputError
from velatura.eval.survey import Survey, collect_answers, open_survey, read_answers


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made")
    survey_of(folder, "pairs")
    return folder / "survey"


@pytest.fixture
def survey(made: Path, tmp_path: Path) -> Survey:
    return open_survey(shutil.copytree(made, tmp_path / "survey"))


@pytest.fixture
def good(survey: Survey) -> dict:
    return file_of(survey, "1", "anna", attentive(survey, lambda task: 0))


def collect(tmp_path: Path, *plain: object) -> object:
    files = [write(tmp_path / "in", f"{number}.json", each) for number, each in enumerate(plain)]
    return collect_answers(tmp_path / "survey", files)


def test_answers_come_back_as_they_were_given(tmp_path: Path, survey: Survey, good: dict) -> None:
    good["comment"] = "fine \x1b[31mred \ud83d"
    good["answers"][3]["tags"] = [["burnt", "nonsense", 7], []]
    question = next(task.question for task in survey.tasks.values() if task.id == good["answers"][3]["task"])
    found = collect(tmp_path, good)
    assert (found.added, found.rejected, found.dropped) == (1, (), ())
    (kept,) = read_answers(tmp_path / "survey", survey)
    assert found.submissions == (kept,)
    assert [answer.task for answer in kept.answers] == [answer["task"] for answer in good["answers"]]
    assert [answer.value for answer in kept.answers] == [
        None if answer["value"] == "tie" else answer["value"] for answer in good["answers"]
    ]
    assert kept.answers[3].tags == ((("burnt",), ()) if question == "quality" else ())
    assert kept.comment == "fine [31mred ?"


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"survey": "0" * 32}, "belongs to another survey"),
        ({"velatura_survey": 2}, "no file of answers"),
        ({"rater": ""}, "does not say who answered"),
        ({"rater": "x" * 65}, "does not say who answered"),
        ({"rater": "a\nb"}, "does not say who answered"),
        ({"rater": {"$ne": 1}}, "does not say who answered"),
        ({"form": "9"}, "none of this survey"),
        ({"form": ["1"]}, "none of this survey"),
        ({"answers": {}}, "no list"),
        ({"answers": []}, "no answer that can be used"),
        ({"answers": [None] * 10_000}, "more than there are tasks"),
        ({"answers": [{"task": ["t1"], "value": 0}]}, "no task of its form"),
    ],
)
def test_file_that_cannot_be_used_is_told_and_costs_no_other(
    tmp_path: Path, good: dict, change: dict, reason: str
) -> None:
    found = collect(tmp_path, good | change, good)
    assert [why for _, why in found.rejected] == [found.rejected[0][1]]
    assert reason in found.rejected[0][1]
    assert found.added == 1


@pytest.mark.parametrize(
    "text", ["", "[" * 100_000, "[]", "null", '{"velatura_survey": NaN}', "\ud83d", "{" + "9" * 5000]
)
def test_what_is_no_answer_at_all_is_told(tmp_path: Path, survey: Survey, good: dict, text: str) -> None:
    broken = tmp_path / "broken.json"
    broken.write_bytes(text.encode("utf-8", "surrogatepass"))
    found = collect_answers(
        tmp_path / "survey", [broken, tmp_path / "missing.json", write(tmp_path, "good.json", good)]
    )
    assert len(found.rejected) == 2
    assert found.added == 1


def test_file_of_many_megabytes_is_not_read(tmp_path: Path, survey: Survey) -> None:
    large = tmp_path / "large.json"
    with large.open("wb") as file:
        file.truncate(50_000_000)
    ((_, reason),) = collect_answers(tmp_path / "survey", [large]).rejected
    assert "larger than 8 MB" in reason


@pytest.mark.parametrize("value", [2, -1, 0.0, True, "0", None, [0], {}, "TIE", 10**400])
def test_value_that_the_question_does_not_allow_is_left_out(
    tmp_path: Path, survey: Survey, good: dict, value: object
) -> None:
    good["answers"][0]["value"] = value
    found = collect(tmp_path, good)
    assert len(found.dropped) == 1
    assert len(found.submissions[0].answers) == len(good["answers"]) - 1


@pytest.mark.parametrize(
    ("questions", "value"),
    [
        ("ranks", [1, 1, 2]),
        ("ranks", [1, 2]),
        ("ranks", [0, 1, 2]),
        ("ranks", "123"),
        ("ranks", [1, 2, True]),
        ("groups", [0, 3, 3]),
        ("groups", [6, 3, 3]),
        ("groups", [1.5, 3, 3]),
        ("groups", 3),
        ("groups", [3, 3, 3, 3]),
    ],
)
def test_ranks_and_ratings_that_are_none_are_left_out(tmp_path: Path, questions: str, value: object) -> None:
    survey = survey_of(tmp_path, questions, methods=3)
    kinds = {question.name: question.kind for question in survey.plan.questionnaire.questions}
    right = {"ranking": [2, 1, 3], "rating": [5, 1, 3], "choice": 2}
    plain = file_of(survey, "1", "anna", lambda task: right[kinds[task.question]])
    first = next(answer for answer in plain["answers"] if isinstance(answer["value"], list))
    first["value"] = value
    found = collect(tmp_path, plain)
    assert len(found.dropped) == 1
    assert len(found.submissions[0].answers) == len(plain["answers"]) - 1


@pytest.mark.parametrize("seconds", [-1, 1e9, "4", None, True, 10**400, [4]])
def test_time_that_cannot_be_is_not_known(tmp_path: Path, good: dict, seconds: object) -> None:
    good["answers"][0]["seconds"] = seconds
    assert collect(tmp_path, good).submissions[0].answers[0].seconds is None


def test_task_of_another_form_and_second_answer_to_a_task_do_not_count(
    tmp_path: Path, survey: Survey, good: dict
) -> None:
    stranger = next(task.id for task in survey.tasks.values() if task.form == "2")
    good["answers"] += [{"task": stranger, "value": 0}, {"task": good["answers"][0]["task"], "value": 1}]
    found = collect(tmp_path, good)
    assert len(found.dropped) == 2
    assert found.submissions[0].answers[0].value == (None if good["answers"][0]["value"] == "tie" else 0)


def test_same_rater_and_form_counts_once_and_the_fuller_one(tmp_path: Path, good: dict) -> None:
    part = good | {"answers": good["answers"][:5]}
    assert collect(tmp_path, part).added == 1
    found = collect(tmp_path, good)
    assert (found.added, found.replaced, len(found.submissions)) == (0, 1, 1)
    found = collect(tmp_path, part, good)
    assert (found.added, found.replaced, found.repeated) == (0, 0, 2)
    assert len(found.submissions[0].answers) == len(good["answers"])


def test_what_was_collected_before_stays(tmp_path: Path, good: dict) -> None:
    collect(tmp_path, good)
    found = collect(tmp_path, good | {"rater": "ben"})
    assert [said.rater for said in found.submissions] == ["anna", "ben"]
    lines = (tmp_path / "survey" / "answers.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line)["rater"] for line in lines] == ["anna", "ben"]


def test_damaged_line_of_what_was_collected_is_named(tmp_path: Path, survey: Survey, good: dict) -> None:
    collect(tmp_path, good)
    with (tmp_path / "survey" / "answers.jsonl").open("a") as file:
        file.write('{"velatura_survey": 1}\n')
    with pytest.raises(InputError, match=r"answers.jsonl, line 2: it belongs to another survey"):
        collect(tmp_path, good)


def test_folder_of_files_is_read(tmp_path: Path, survey: Survey, good: dict) -> None:
    for rater in ("anna", "ben"):
        write(tmp_path / "in", f"{rater}.json", good | {"rater": rater})
    assert collect_answers(tmp_path / "survey", [tmp_path / "in"]).added == 2
