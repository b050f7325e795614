"""What raters see: balanced, repeated, checked, and whose pictures it is remains unknown."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import re
from collections import Counter
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from survey_raters import METHODS, TEXTS, paint, survey_of

from velatura.errors import InputError
from velatura.eval.survey import Rules, make_survey, open_survey
from velatura.eval.survey.design import Load, Sheet, draw_tasks, williams
from velatura.eval.survey.files import write
from velatura.eval.survey.lots import Lot
from velatura.eval.survey.records import Task


def page_of(tmp_path: Path) -> str:
    return (tmp_path / "survey" / "survey.html").read_text(encoding="utf-8")


def data_of(page: str) -> dict:
    return json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)[1])


def items_of(tasks: dict[str, Task]) -> list[Task]:
    return [task for task in tasks.values() if task.role == "item"]


@pytest.mark.parametrize("questions", ["pairs", "ranks", "groups"])
def test_page_names_no_method_file_prompt_id_or_seed(tmp_path: Path, questions: str) -> None:
    survey_of(tmp_path, questions, methods=4, seed=987654)
    page = page_of(tmp_path)
    pixels = "".join(base64.b64decode(uri).decode("latin-1") for uri in re.findall(r"base64,([\w+/=]+)", page))
    for told in (page, pixels):
        for secret in ("qwix", "prompt0", "prompt5", "987654", ".png", "parameters", str(tmp_path)):
            assert secret not in told


def test_page_does_not_say_which_tasks_are_checks_or_repeats(tmp_path: Path) -> None:
    survey = survey_of(tmp_path, "pairs")
    assert {"item", "repeat", "identical", "caption"} == {task.role for task in survey.tasks.values()}
    data = data_of(page_of(tmp_path))
    for tasks in data["forms"].values():
        for task in tasks:
            assert set(task) <= {"id", "set", "question", "groups", "prompt"}
            assert re.fullmatch(r"t\d+", task["id"])


def test_page_asks_nothing_of_any_network_and_runs_no_code_but_its_own(tmp_path: Path) -> None:
    survey_of(tmp_path, "groups")
    page = page_of(tmp_path)
    assert not re.search(r"https?:|//\w+\.|@import|url\(|<link|<iframe|fetch\(|XMLHttpRequest|sendBeacon", page)
    policy = re.search(r'Content-Security-Policy" content="([^"]+)"', page)[1]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    for element in ("style", "script"):
        code = re.search(rf"<{element}>(.*?)</{element}>", page, re.DOTALL)[1]
        digest = base64.b64encode(hashlib.sha256(code.encode()).digest()).decode()
        assert f"{element}-src 'sha256-{digest}'" in policy


def test_prompts_and_title_cannot_break_out_of_the_page(tmp_path: Path) -> None:
    evil = "</script><script>alert(1)</script><!-- \ud83d"
    samples = [
        type(sample)(**{name: getattr(sample, name) for name in sample.__slots__} | {"prompt": evil})
        for sample in paint(tmp_path / "run", prompts=1, methods=METHODS[:2])
    ]
    make_survey(samples, METHODS[:2], "pairs", tmp_path / "survey", folder=tmp_path / "run", title=evil)
    page = page_of(tmp_path)
    assert "alert(1)</script>" not in page
    told = {task["prompt"] for task in data_of(page)["forms"]["1"] if "prompt" in task}
    assert told == {evil.replace("\ud83d", "?")}
    assert open_survey(tmp_path / "survey").plan.title == evil.replace("\ud83d", "?")


def test_prompt_is_told_only_with_the_questions_that_need_it(tmp_path: Path) -> None:
    survey_of(tmp_path, "groups", methods=4)
    seen = {task["question"]: "prompt" in task for task in data_of(page_of(tmp_path))["forms"]["1"]}
    assert seen == {"diversity": False, "prompt": True}
    sets = [task["set"] for task in data_of(page_of(tmp_path))["forms"]["1"]]
    assert sets == sorted(sets)


def test_pictures_are_of_one_size_and_format_whatever_the_files_are(tmp_path: Path) -> None:
    samples = paint(tmp_path / "run", prompts=2, methods=METHODS[:2], pictures=1)
    Image.new("RGB", (600, 600), "red").save(tmp_path / "run" / samples[0].image)
    Image.new("L", (300, 300), 9).save(tmp_path / "run" / samples[1].image, "JPEG")
    plan = make_survey(samples, METHODS[:2], "pairs", tmp_path / "survey", folder=tmp_path / "run", side=400)
    uris = data_of(page_of(tmp_path))["pictures"].values()
    opened = [Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2]))) for uri in uris]
    assert {(image.size, image.format) for image in opened} == {((400, 400), "JPEG")}
    assert any("different sizes" in note for note in plan.notes)


def test_small_pictures_keep_every_pixel(tmp_path: Path) -> None:
    survey = survey_of(tmp_path, "pairs")
    for name, uri in data_of(page_of(tmp_path))["pictures"].items():
        with Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2]))) as shown:
            with Image.open(tmp_path / "run" / survey.pictures[name].image) as own:
                assert shown.tobytes() == own.tobytes()
            assert not shown.info


@pytest.mark.parametrize("size", range(2, 9))
def test_williams_squares_have_each_at_each_place_and_after_each_other_equally_often(size: int) -> None:
    rows = williams(size)
    assert all(sorted(row) == list(range(size)) for row in rows)
    assert len(set(Counter((place, one) for row in rows for place, one in enumerate(row)).values())) == 1
    followed = Counter(pair for row in rows for pair in pairwise(row))
    assert len(followed) == size * (size - 1)
    assert len(set(followed.values())) == 1


@pytest.mark.parametrize(("questions", "methods"), [("pairs", 2), ("pairs", 3), ("ranks", 4), ("groups", 3)])
def test_each_method_stands_at_each_place_equally_often_on_every_form(
    tmp_path: Path, questions: str, methods: int
) -> None:
    survey = survey_of(tmp_path, questions, prompts=12, methods=methods, load=Load(raters=3, tasks=200))
    for form, _ in survey.plan.forms:
        of_form = [task for task in items_of(survey.tasks) if task.form == form]
        for shown in {(task.question, frozenset(task.methods)) for task in of_form}:
            tasks = [task for task in of_form if (task.question, frozenset(task.methods)) == shown]
            counts = Counter((place, method) for task in tasks for place, method in enumerate(task.methods))
            assert len(counts) == len(shown[1]) ** 2
            assert max(counts.values()) - min(counts.values()) <= 1


def test_every_item_has_its_raters_and_no_form_is_too_long(tmp_path: Path) -> None:
    load = Load(raters=3, tasks=10, checks=1, repeats=1)
    survey = survey_of(tmp_path, "pairs", prompts=12, load=load)
    raters = Counter(task.item for task in items_of(survey.tasks))
    assert set(raters.values()) == {3}
    assert len(raters) == survey.plan.items == 36
    for form, tasks in survey.plan.forms:
        counted = [task for task in items_of(survey.tasks) if task.form == form]
        assert len(counted) <= 10
        assert tasks == sum(task.form == form for task in survey.tasks.values())


def test_one_prompt_has_a_form_for_each_order_of_its_groups(tmp_path: Path) -> None:
    survey = survey_of(tmp_path, "groups", prompts=1, methods=4)
    orders = [task.methods for task in items_of(survey.tasks) if task.question == "prompt"]
    assert len(orders) == len(set(orders)) == 4
    assert {task.role for task in survey.tasks.values()} == {"item", "copies"}


def test_checks_show_what_they_say(tmp_path: Path) -> None:
    pairs = survey_of(tmp_path / "pairs", "pairs")
    for task in pairs.tasks.values():
        if task.role == "identical":
            assert task.groups[0] == task.groups[1]
        if task.role == "caption":
            shown = [pairs.pictures[group[0]].prompt_id for group in task.groups]
            assert [prompt == task.prompt_id for prompt in shown].index(True) == task.answer
            assert shown.count(task.prompt_id) == 1
    groups = survey_of(tmp_path / "groups", "groups")
    copies = [task for task in groups.tasks.values() if task.role == "copies"]
    assert copies
    assert all([len(set(group)) == 1 for group in task.groups].index(True) == task.answer for task in copies)


def test_checks_tell_no_prompt_before_its_pictures_were_judged_without_it(tmp_path: Path) -> None:
    survey = survey_of(tmp_path, "pairs", load=Load(checks=6))
    seen: dict[str, set[str]] = {}
    for task in survey.tasks.values():
        if task.role == "caption":
            assert task.prompt_id in seen[task.form]
        seen.setdefault(task.form, set()).add(task.prompt_id)


def test_repeats_are_the_other_way_round(tmp_path: Path) -> None:
    survey = survey_of(tmp_path, "ranks", methods=3)
    repeats = [task for task in survey.tasks.values() if task.role == "repeat"]
    assert len(repeats) == 3 * 2 * 2
    for again in repeats:
        (first,) = (task for task in items_of(survey.tasks) if (task.item, task.form) == (again.item, again.form))
        assert again.groups == first.groups[::-1]
        assert again.methods == first.methods[::-1]


def test_same_seed_writes_the_same_bytes_and_another_draws_anew(tmp_path: Path) -> None:
    samples = paint(tmp_path / "run")
    for name, seed, salt in (
        ("a", 1, "x"),
        ("b", 1, "x"),
        ("c", 2, "x"),
        ("d", 1, "y"),
        ("e", 1, None),
        ("f", 1, None),
    ):
        make_survey(samples, METHODS[:2], "pairs", tmp_path / name, folder=tmp_path / "run", seed=seed, salt=salt)
    one, same, *others = (
        [(tmp_path / name / file).read_bytes() for file in ("survey.html", "plan.json", "key.json")]
        for name in "abcdef"
    )
    assert one == same
    keys = [json.loads(told[2]) for told in (one, *others)]
    assert len({json.dumps([key["pictures"], key["tasks"]]) for key in keys}) == 5
    assert len({key["salt"] for key in keys}) == 4
    assert [key["seed"] for key in keys] == [1, 2, 1, 1, 1]


def test_other_pictures_are_drawn_otherwise_by_the_same_seed_and_salt(tmp_path: Path) -> None:
    samples = paint(tmp_path / "run")
    make_survey(samples, METHODS[:2], "pairs", tmp_path / "a", folder=tmp_path / "run", salt="x")
    Image.new("RGB", (24, 24), "red").save(tmp_path / "run" / samples[0].image)
    make_survey(samples, METHODS[:2], "pairs", tmp_path / "b", folder=tmp_path / "run", salt="x")
    one, other = (open_survey(tmp_path / name) for name in "ab")
    assert {name: shown.image for name, shown in one.pictures.items()} != {
        name: shown.image for name, shown in other.pictures.items()
    }
    assert [task.groups for task in one.tasks.values()] != [task.groups for task in other.tasks.values()]


def test_neither_page_nor_plan_tells_what_they_were_drawn_from(tmp_path: Path) -> None:
    survey_of(tmp_path, "pairs", seed=987654, salt="0badc0ffee")
    plan = (tmp_path / "survey" / "plan.json").read_text(encoding="utf-8")
    for told in (page_of(tmp_path), plan):
        assert "0badc0ffee" not in told
        assert "987654" not in told
    assert "seed" not in json.loads(plan)


@pytest.mark.parametrize("purpose", range(5))
def test_whoever_draws_again_by_the_seed_alone_does_not_sort_the_pictures(tmp_path: Path, purpose: int) -> None:
    survey = survey_of(tmp_path, "pairs")
    order = [(unit, method) for unit in range(6) for method in METHODS[:2] for _ in range(2)]
    right = Counter()
    for draw in (np.random.default_rng([0, purpose]), np.random.default_rng(purpose), lots_without_salt(purpose)):
        lots = draw.permutation(len(order)) + 1
        guess = {f"p{lot}": method for lot, (_, method) in zip(lots.tolist(), order, strict=True)}
        right[sum(survey.pictures[name].method == method for name, method in guess.items())] += 1
    assert set(survey.pictures) == set(guess)
    assert all(4 < count < 20 for count in right)  # of 24, of which chance has 12


def lots_without_salt(seed: int) -> np.random.Generator:
    """Draw as the survey does, but for the salt and the files, which a rater has not."""
    return Lot(seed=seed, salt="").draw("pictures")


def test_whoever_draws_again_by_the_seed_alone_finds_no_checks_and_no_order(tmp_path: Path) -> None:
    survey = survey_of(tmp_path, "pairs", prompts=12)
    names = {(shown.method, shown.prompt_id, shown.index): name for name, shown in survey.pictures.items()}
    prompts = {task.prompt_id: task.prompt for task in items_of(survey.tasks)}
    sheets = [
        Sheet(
            prompt_id=prompt_id,
            prompt=prompt,
            groups={method: tuple(names[method, prompt_id, index] for index in (0, 1)) for method in METHODS[:2]},
        )
        for prompt_id, prompt in prompts.items()
    ]
    drawn = draw_tasks(sheets, METHODS[:2], survey.plan.questionnaire, Load(), np.random.default_rng([0, 2]))
    own = list(survey.tasks.values())
    assert len(drawn) == len(own)
    checks = [{number for number, task in enumerate(tasks) if task.answer is not None} for tasks in (drawn, own)]
    assert checks[0] != checks[1]
    assert [task.prompt_id for task in drawn] != [task.prompt_id for task in own]


def test_checks_stand_anywhere(tmp_path: Path) -> None:
    places: dict[int, set[int]] = {0: set(), 1: set()}
    for number in range(8):
        survey = survey_of(tmp_path / str(number), "pairs", salt=str(number))
        for form, _ in survey.plan.forms:
            own = [task for task in survey.tasks.values() if task.form == form]
            for place, task in enumerate(task for task in own if task.role in ("caption", "identical")):
                places[place].add(task.set)
    assert all(len(found) > 2 for found in places.values())


def test_folder_that_is_a_file_is_one_sentence(tmp_path: Path) -> None:
    samples = paint(tmp_path / "run", prompts=1, methods=METHODS[:2])
    (tmp_path / "file").write_text("mine")
    with pytest.raises(InputError, match="is a file; name a folder"):
        make_survey(samples, METHODS[:2], "pairs", tmp_path / "file", folder=tmp_path / "run")
    with pytest.raises(InputError, match="cannot be written"):
        write(tmp_path / "file" / "plan.json", b"{}")
    assert (tmp_path / "file").read_text() == "mine"


def test_key_round_trips_and_the_page_holds_its_digest_alone(tmp_path: Path) -> None:
    survey = survey_of(tmp_path, "pairs", rules=Rules(least_seconds=2.5))
    key = (tmp_path / "survey" / "key.json").read_bytes()
    assert data_of(page_of(tmp_path))["survey"] == survey.digest == hashlib.sha256(key).hexdigest()[:32]
    assert survey.plan.rules == Rules(least_seconds=2.5)
    for task in survey.tasks.values():
        for method, group in zip(task.methods, task.groups, strict=True):
            if task.role in ("item", "repeat"):
                assert {survey.pictures[name].method for name in group} == {method}
                assert {survey.pictures[name].prompt_id for name in group} == {task.prompt_id}


def test_rules_cannot_be_changed_once_the_survey_is_made(tmp_path: Path) -> None:
    survey_of(tmp_path, "pairs")
    plan = tmp_path / "survey" / "plan.json"
    plan.write_text(plan.read_text().replace('"most_failed": 0.5', '"most_failed": 1.0'))
    with pytest.raises(InputError, match="is not the plan that the survey was made with"):
        open_survey(tmp_path / "survey")


def test_a_survey_is_not_overwritten(tmp_path: Path) -> None:
    survey_of(tmp_path, "pairs")
    with pytest.raises(InputError, match="holds a survey already"):
        survey_of(tmp_path, "pairs")


def test_prompts_that_a_method_lacks_are_left_out_and_told(tmp_path: Path) -> None:
    samples = [sample for sample in paint(tmp_path / "run") if (sample.method, sample.prompt) != (METHODS[0], TEXTS[0])]
    plan = make_survey(samples, METHODS[:2], "pairs", tmp_path / "survey", folder=tmp_path / "run")
    assert plan.prompts == 5
    assert any("1 prompts were left out" in note for note in plan.notes)


def test_groups_of_two_methods_are_of_the_same_samples(tmp_path: Path) -> None:
    survey = survey_of(tmp_path, "groups")
    for task in items_of(survey.tasks):
        indices = [[survey.pictures[name].index for name in group] for group in task.groups]
        assert indices[0] == indices[1]


@pytest.mark.parametrize(
    ("methods", "reason"),
    [
        (("qwixbase", "nobody"), "no pictures of 'nobody'"),
        (("qwixbase",), "two or more different methods"),
        (("qwixbase", "qwixbase"), "two or more different methods"),
        (("qwixbase", "qwixbase@6"), "two of the methods are the same"),
    ],
)
def test_methods_that_cannot_be_compared_are_refused(tmp_path: Path, methods: tuple[str, ...], reason: str) -> None:
    samples = paint(tmp_path / "run", prompts=1)
    with pytest.raises(InputError, match=reason):
        make_survey(samples, methods, "pairs", tmp_path / "survey", folder=tmp_path / "run")
    assert not (tmp_path / "survey").exists()


def test_a_method_of_several_guidances_must_be_told_which(tmp_path: Path) -> None:
    samples = paint(tmp_path / "run", prompts=1, methods=METHODS[:2])
    samples += [
        type(one)(**{name: getattr(one, name) for name in one.__slots__} | {"guidance": 3.0}) for one in samples
    ]
    with pytest.raises(InputError, match="name one of qwixbase@3, qwixbase@6"):
        make_survey(samples, METHODS[:2], "pairs", tmp_path / "survey", folder=tmp_path / "run")
    make_survey(samples, ("qwixbase@3", "qwixbase@6"), "pairs", tmp_path / "survey", folder=tmp_path / "run")
    assert "qwix" not in page_of(tmp_path)


def test_broken_picture_is_one_sentence(tmp_path: Path) -> None:
    samples = paint(tmp_path / "run", prompts=1, methods=METHODS[:2])
    (tmp_path / "run" / samples[0].image).write_bytes(b"\x89PNG\r\n\x1a\n nothing")
    with pytest.raises(InputError, match=re.escape(samples[0].image)):
        make_survey(samples, METHODS[:2], "pairs", tmp_path / "survey", folder=tmp_path / "run")
