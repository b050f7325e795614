"""From scores to results: what is compared with what, which fronts there are, and which prompts are shown."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from judges import StandIn, bright, coin, paint, position, refusing
from measured_scores import Named, cell, make_samples, make_scores

from velatura.errors import InputError
from velatura.eval.gathering import (
    beyond,
    cuts,
    front_between,
    fronts,
    gains_of,
    gather,
    judged,
    method_notes,
    plane_of,
    timings,
)
from velatura.eval.judge import Transcripts, hear, pair_up
from velatura.eval.manifest import manifest_of
from velatura.eval.report import from_json, report_page, to_json
from velatura.eval.report.results import Opinion, Survey

NAMES = ("base @ 2", "base @ 6", "ours @ 2", "ours @ 6", "alone @ 9")
CLIP = {
    "base @ 2": (20.0, 21, 22, 23), "base @ 6": (24.0, 23, 22, 25), "ours @ 2": (25.0, 26, 27, 28),
    "ours @ 6": (24.0, 25, 26, 26), "alone @ 9": (20.0, 20, 21, 20),
}  # fmt: skip
FID = {name: tuple(80 - value for value in own) for name, own in CLIP.items()}
DFID = {name: tuple(value % 7 for value in own) for name, own in CLIP.items()}
SCORES = make_scores(
    {"clip": CLIP, "fid": FID, "dfid": DFID, "is": CLIP},
    Named("clip"), Named("fid", "lower"), Named("dfid"), Named("is", ranking=False),
)  # fmt: skip


def test_everything_is_gathered() -> None:
    manifest = make_samples(*NAMES)
    results = gather(SCORES, manifest, name="n", baseline="base", command="c", notes=["note"])
    assert [(one.cell, one.samples, one.prompts) for one in results.cells] == [
        (cell(name), 4, 4) for name in sorted(NAMES)
    ]
    assert len(results.figures) == 4 * 5
    assert {(one.cell.method, one.baseline.method) for one in results.differences} == {("ours", "base")}
    assert {one.metric for one in results.differences} == {"clip", "fid", "dfid"}
    assert dict(results.versions).keys() >= {"velatura", "numpy"}
    assert results.manifest_digest == manifest.digest
    assert results.notes == ("note",)
    assert not gather(SCORES, manifest, name="n").differences
    with pytest.raises(InputError, match="there is no method 'best'"):
        gather(SCORES, manifest, name="n", baseline="best")


def test_alignment_is_set_against_each_distance_and_diversity_that_may_be_ranked_by() -> None:
    found = list(fronts(SCORES, "base"))
    assert [(front.x, front.y) for front in found] == [("clip", "fid"), ("clip", "dfid")]
    assert {(one.first, one.second) for one in found[0].verdicts} == {("ours", "base"), ("alone", "base")}
    joint = {point.cell for point in found[0].points if point.joint}
    assert joint == {cell("ours @ 2")}
    assert not list(fronts(make_scores({"fid": FID}, Named("fid", "lower")), "base"))
    assert not list(fronts(make_scores({"clip": CLIP}, Named("clip")), "base"))


def test_a_front_of_what_cannot_be_compared_says_so() -> None:
    assert front_between(SCORES, "clip", "fid", None).notes == ()
    few = {key: replace(one, comparable=key[0] != "fid") for key, one in SCORES.estimates.items()}
    assert front_between(replace(SCORES, estimates=few), "clip", "fid", None).notes == ("too few pictures",)


def test_a_front_needs_both_metrics_and_its_baseline() -> None:
    with pytest.raises(InputError, match="'kid' was not measured"):
        plane_of(SCORES, "clip", "kid")
    with pytest.raises(InputError, match="there is no method 'best' to compare with"):
        front_between(SCORES, "clip", "fid", "best")


def test_hypervolumes_are_measured_from_beyond_all_points() -> None:
    plane = plane_of(SCORES, "clip", "fid")
    x, y = beyond(plane)
    assert x < min(point.x for point in plane.points)
    assert y > max(point.y for point in plane.points)
    assert x > min(point.x for point in plane.points) - 1
    one = plane_of(make_scores({"clip": {"a": (1.0,)}, "fid": {"a": (2.0,)}}, Named("clip"), Named("fid", "lower")),
                   "clip", "fid")  # fmt: skip
    assert beyond(one) == (pytest.approx(0.95), pytest.approx(2.05))


def test_differences_are_cut_by_length_and_category_where_there_is_a_baseline() -> None:
    samples = make_samples(*NAMES).samples
    found = list(cuts(SCORES, samples, "base"))
    assert {one.metric for one in found} == {"clip", "dfid", "is"}
    assert {one.by for one in found} == {"length", "category"}
    assert {one.cell for one in found} == {cell("ours @ 2"), cell("ours @ 6")}
    assert all(one.baseline == cell(f"base @ {one.cell.guidance:g}") for one in found)
    alone = list(cuts(SCORES, samples, None))
    assert {one.cell for one in alone} == set(SCORES.cells)
    assert {one.baseline for one in alone} == {None}


def test_times_are_of_each_stage_once_for_a_prompt_and_of_every_picture() -> None:
    found = {(one.method, one.stage): one for one in timings(make_samples(*NAMES).samples)}
    assert found["base", "retrieve"].n == 4
    assert found["base", "paint"].n == 8
    assert (found["base", "paint"].low, found["base", "paint"].median, found["base", "paint"].high) == (2, 4, 6)
    assert [stage for method, stage in found if method == "base"] == ["retrieve", "compose", "paint"]
    assert timings(()) == ()


def test_gains_are_of_the_best_pair_of_cells_prompt_by_prompt() -> None:
    aligned, diverse = gains_of(SCORES, "base")
    assert aligned is not None
    assert diverse is not None
    assert (aligned.metric, aligned.cell, aligned.baseline) == ("clip", cell("ours @ 2"), cell("base @ 2"))
    assert aligned.values == pytest.approx({"0": 5, "1": 5, "2": 5, "3": 5})
    assert (diverse.metric, diverse.cell) == ("dfid", cell("ours @ 2"))
    assert gains_of(SCORES, "base", method="alone") == (None, None)
    assert gains_of(SCORES, None) == (None, None)
    assert gains_of(make_scores({"fid": FID}, Named("fid", "lower")), "base") == (None, None)


@pytest.mark.parametrize(
    ("stand_in", "said"),
    [
        (coin(), "it answers as a coin would"),
        (position(), "it answers by position: it names the side that is shown first in 100%"),
        (refusing(), "it refuses to judge 40 of 40 pairs (100%)"),
    ],
    ids=lambda one: getattr(one, "name", ""),
)
def test_a_judge_that_is_no_good_is_exposed_on_the_page(tmp_path: Path, stand_in: StandIn, said: str) -> None:
    manifest = manifest_of(paint(tmp_path, 40, win=0.7), tmp_path)
    kept = Transcripts(tmp_path / "judge.jsonl")
    hear(stand_in, pair_up(manifest.samples, "stylus", "base", criteria=["quality"]), tmp_path, transcripts=kept)
    asked = len(stand_in.asked)
    verdicts = judged(manifest, "stylus", "base", Transcripts(tmp_path / "judge.jsonl"))
    assert len(stand_in.asked) == asked
    assert [(one.criterion, one.judge, one.unasked) for one in verdicts] == [("quality", stand_in.name, 0)]
    scores = make_scores({"clip": {"base": (1.0, 2)}}, Named("clip"))
    page = report_page(gather(scores, manifest, name="n", verdicts=verdicts))
    assert said in page
    assert said in report_page(from_json(to_json(gather(scores, manifest, name="n", verdicts=verdicts))))


def test_what_a_judge_said_is_told_at_each_guidance_and_of_what_it_was_asked_alone(tmp_path: Path) -> None:
    samples = paint(tmp_path, 30)
    both = [*samples, *(replace(one, guidance=9.0) for one in samples)]
    manifest = manifest_of(both, tmp_path)
    with pytest.raises(InputError, match="the transcripts are of nobody"):
        judged(manifest, "stylus", "base", Transcripts())
    kept = Transcripts()
    pairings = pair_up(samples, "stylus", "base", criteria=["quality"], guidance=6.0, limit=20)
    hear(bright(), pairings, tmp_path, transcripts=kept)
    found = judged(manifest, "stylus", "base", kept)
    assert [(one.of.guidance, one.criterion, one.pairs.win, one.unasked) for one in found] == [
        (6.0, "quality", 20, 0), (9.0, "quality", 20, 0)
    ]  # fmt: skip
    with pytest.raises(InputError, match="no answers about stylus and base"):
        judged(manifest_of(paint(_made(tmp_path / "other"), 3, size=16), tmp_path / "other"), "stylus", "base", kept)


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder


def test_people_are_on_the_page() -> None:
    said = Survey(raters=7, opinions=(
        Opinion(question="Which is better?", measure="share of choices", method="ours", value=0.7, low=0.6, high=0.8,
                n=40, raters=7),
    ))  # fmt: skip
    page = report_page(gather(SCORES, make_samples(*NAMES), name="n", survey=said))
    assert "7 raters" in page
    assert "Which is better?" in page


def test_what_each_method_was_is_read_beside_the_manifest(tmp_path: Path) -> None:
    assert method_notes(tmp_path, ["base"]) == ()
    file = tmp_path / "methods.json"
    file.write_text(json.dumps({"ours": "three\ud800 adapters", "base": "nothing", "other": "x", "odd": [1], "": ""}))
    assert method_notes(tmp_path, ["ours", "base", "odd", "ours"]) == ("ours: three? adapters", "base: nothing")
    for wrong in ("[" * 100_000, "[1]", "{", "", '{"ours": 1}', "x" * (2**20 + 1)):
        file.write_text(wrong)
        told = method_notes(tmp_path, ["ours"])
        assert len(told) == (wrong != '{"ours": 1}')
    file.write_text(json.dumps({"ours": "long " * 10_000}))
    assert len(method_notes(tmp_path, ["ours"])[0]) < 600


def test_cells_that_cannot_be_compared_stand_in_no_plane_and_are_told() -> None:
    uneven = {
        key: replace(one, n=one.n + (key == ("fid", cell("ours @ 2")))) for key, one in SCORES.estimates.items()
    }  # fmt: skip
    scores = replace(SCORES, estimates=uneven)
    results = gather(scores, make_samples(*NAMES), name="n", baseline="base")
    assert [front.y for front in results.fronts] == ["dfid"]
    assert {one.metric for one in results.differences if one.cell == cell("ours @ 2")} == {"clip", "dfid"}
    assert "fid: ours @ 2 has 5 pictures and base @ 2 4: they cannot be compared" in results.warnings
    with pytest.raises(InputError, match="they cannot be compared"):
        scores.pareto("clip", "fid")
    assert scores.pareto("clip", "dfid").front.x == "clip"


def test_a_baseline_without_guidance_serves_parts_and_gains_too() -> None:
    clip = {"base": (20.0, 21, 22, 23), "ours @ 2": (25.0, 26, 27, 28)}
    scores = make_scores({"clip": clip}, Named("clip"))
    assert {one.baseline for one in cuts(scores, make_samples("base", "ours @ 2").samples, "base")} == {cell("base")}
    gains, _ = gains_of(scores, "base")
    assert gains is not None
    assert gains.baseline == cell("base")
