import dataclasses
import json

import pytest

from velatura.errors import InputError
from velatura.eval.judge.records import Doubt, Share, Tally, Verdict
from velatura.eval.pareto import Plane, Point
from velatura.eval.records import CellName, Difference, Figure
from velatura.eval.report import from_json, front_of, load_results, to_json, verdicts, worse
from velatura.eval.report.results import (
    Ablation,
    AblationRow,
    CellCount,
    Claim,
    Cut,
    Opinion,
    Results,
    Survey,
    Timing,
)
from velatura.eval.report.stored import SCHEMA
from velatura.eval.slices import Slice

BASE, OURS = CellName(method="base", guidance=6.0), CellName(method="velatura", guidance=6.0)


def figure(cell=OURS, value=27.0, metric="clip", **changes):
    told = {"error": 0.1, "low": value - 0.2, "high": value + 0.2, "n": 40, "prompts": 20, "unit": "",
            "better": "higher", "signature": "CLIP|n=40"}  # fmt: skip
    return Figure(metric=metric, cell=cell, value=value, **{**told, **changes})


def difference(value=0.5, half=0.2, p=0.001, metric="clip", better="higher", cell=OURS):
    return Difference(metric=metric, cell=cell, baseline=BASE, value=value, error=half / 2, low=value - half,
                      high=value + half, p=p, n=40, prompts=20, missing=0, unit="", better=better,
                      signature="CLIP|n=40")  # fmt: skip


def whole():
    plane = Plane(points=(Point(cell=BASE, x=26.0, y=20.0, x_error=0.1, y_error=0.2),
                          Point(cell=OURS, x=27.0, y=18.0, x_error=0.1, y_error=0.2)))  # fmt: skip
    verdict = Verdict(
        criterion="quality", of=OURS, against=BASE, judge="coin", pairs=Tally(win=3, lose=2),
        prompts=Tally(win=3, lose=2), identical=0, unasked=0, unread=0, share=Share(value=0.6, low=0.2, high=0.9, n=5),
        p=1.0, p_holm=1.0,
        half_ties=0.6, net=0.2, net_interval=(-0.5, 0.7), consistency=Share(value=0.5, low=0.3, high=0.7, n=10),
        first=None, both_first=3, both_second=2, detectable=None, scores=(1.0, 0.5), agreement=None,
        doubts=(Doubt(code="coin", text="no better than a coin"),),
    )  # fmt: skip
    part = Slice(name="0-4", prompts=3, value=0.1, low=0.0, high=0.2, p=0.04, adjusted=0.08)
    return Results(
        name="A run", command="velatura eval report", versions=(("velatura", "0.1"),), manifest_digest="12ab",
        titles=(("clip", "CLIP score"),), cells=(CellCount(cell=BASE, samples=40, prompts=20),),
        figures=(figure(BASE, 26.0), figure()), differences=(difference(),),
        fronts=(front_of(plane, "clip", "fid", (25.0, 25.0), duels=[("velatura", "base")]),),
        cuts=(Cut(metric="clip", by="length", cell=OURS, baseline=BASE, slices=(part,)),),
        ablations=(Ablation(title="Refiner", rows=(AblationRow(label="card", cell=OURS),), metrics=("clip",),
                            baseline=BASE),),
        timings=(Timing(method="velatura", stage="load", batch=2, median=0.5, low=None, high=None, n=3, warm=True),),
        verdicts=(verdict,),
        survey=Survey(raters=3, opinions=(Opinion(question="Better?", measure="strength", method="base", value=0.1,
                                                  low=None, high=None, n=9, raters=3),)),
        claims=(Claim(claim="better", bound="> 0", value=0.5, holds=True, sure=True),), anchors=("stylus-baselines",),
        warnings=("odd \ud83d half",),
    )  # fmt: skip


def test_results_come_back_from_json_as_they_were():
    results = dataclasses.replace(whole(), warnings=("日本 ‮ <b>",))
    assert from_json(to_json(results)) == results


def test_equal_results_are_equal_bytes_and_bear_no_date_unless_told():
    assert to_json(whole()) == to_json(whole())
    assert json.loads(to_json(whole()))["created"] is None


def test_half_of_a_surrogate_pair_is_written_as_a_question_mark():
    assert from_json(to_json(whole()).encode()).warnings == ("odd ? half",)


def test_a_number_that_is_not_finite_is_refused_by_name():
    with pytest.raises(InputError, match=r"figures\.0\.value is nan"):
        to_json(Results(name="x", figures=(figure(value=float("nan")),)))


def test_a_newer_schema_is_refused_with_a_sentence():
    with pytest.raises(
        InputError, match=f"has schema {SCHEMA + 1}, and this version reads up to {SCHEMA}; install a newer"
    ):
        from_json(json.dumps({"schema": SCHEMA + 1, "name": "x", "new": {}}), "results.json")


def timing(told):
    row = f'{{"method": "m", "stage": "s", "low": null, "high": null, "n": 1, {told}}}'
    return f'{{"schema": 1, "name": "x", "timings": [{row}]}}'


@pytest.mark.parametrize(
    "text",
    [
        "", "null", "[]", "3", '"x"', "{", "[" * 100_000, '{"name": "x"}', '{"schema": true, "name": "x"}',
        '{"schema": 0, "name": "x"}', '{"schema": "1", "name": "x"}', '{"schema": 1}', '{"schema": 1, "name": 3}',
        '{"schema": 1, "name": "x", "unknown": 1}', '{"schema": 1, "name": "x", "figures": {}}',
        '{"schema": 1, "name": "x", "figures": [null]}', '{"schema": 1, "name": "\\ud83d"}',
        timing('"batch": -1, "median": 1'), timing('"batch": 1, "median": NaN'), timing('"batch": 1, "median": 1e999'),
        timing('"batch": 1, "median": "1"'), timing('"batch": 1.5, "median": 1'),
        timing('"batch": 1' + "0" * 99 + ', "median": 1'),
        '{"schema": 1' + "0" * 5000 + ', "name": "x"}', '{"schema": 1, "name": "x", "anchors": ["made-up"]}',
    ],
)  # fmt: skip
def test_hostile_json_is_one_sentence(text):
    with pytest.raises(InputError) as caught:
        from_json(text, "results.json")
    assert str(caught.value).startswith("results.json")
    assert len(str(caught.value)) < 500


def test_a_probability_beyond_one_is_refused():
    plain = json.loads(to_json(whole()))
    plain["differences"][0]["p"] = 1.5
    with pytest.raises(InputError, match=r"differences\.0\.p: it must be between 0 and 1"):
        from_json(json.dumps(plain))


def test_a_missing_file_and_a_file_of_bytes_are_sentences(tmp_path):
    with pytest.raises(InputError, match="cannot be read"):
        load_results(tmp_path / "none.json")
    (tmp_path / "results.json").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match="is not JSON"):
        load_results(tmp_path / "results.json")


def test_worse_is_what_lies_on_the_bad_side_as_a_whole():
    lost, gained, unclear = difference(-0.5), difference(0.5, metric="kid"), difference(-0.1)
    risen = difference(0.5, metric="fid", better="lower")
    results = Results(name="x", differences=(lost, gained, unclear, risen))
    assert worse(results) == (lost, risen)
    assert worse(results, "base", ["kid"]) == ()
    assert worse(results, "base", ["fid", "kid"]) == (risen,)


def test_passing_because_nothing_was_compared_is_refused():
    results = Results(name="x", differences=(difference(),))
    with pytest.raises(InputError, match="against 'sdxl'"):
        worse(results, "sdxl")
    with pytest.raises(InputError, match="in fid; nothing is tested"):
        worse(results, metrics=["clip", "fid"])
    with pytest.raises(InputError, match="any metric"):
        worse(Results(name="x"))


def test_holm_takes_back_what_looks_real_alone():
    cells = [CellName(method="velatura", guidance=float(place)) for place in range(5)]
    results = Results(name="x", differences=tuple(difference(p=0.03, cell=cell) for cell in cells))
    judged = verdicts.tested(results)
    assert [one.adjusted for one in judged] == pytest.approx([0.15] * 5)
    assert {one.kind for one in judged} == {"unclear"}
    assert "0 are better, 0 are worse, and 5 are not told apart" in verdicts.summary(judged)
    assert "5 of these would look real alone" in verdicts.summary(judged)


def test_what_was_not_tested_is_not_counted_among_the_tests():
    risen = difference(p=0.03, metric="fid", better="lower")
    judged = verdicts.tested(Results(name="x", differences=(difference(p=None), risen)))
    assert [one.kind for one in judged] == ["untested", "worse"]
    assert judged[1].adjusted == 0.03
    assert verdicts.summary(judged).startswith("Of 1 difference tested, 0 are better, 1 is worse")


def test_words_say_where_by_how_much_and_what_could_have_been_seen():
    cells = [CellName(method="velatura", guidance=float(place)) for place in (1, 2, 3)]
    results = Results(
        name="x",
        differences=(difference(0.5, cell=cells[0]), difference(0.9, cell=cells[1]),
                     difference(0.1, p=0.4, cell=cells[2])),
    )  # fmt: skip
    (line,) = verdicts.lines(verdicts.tested(results))
    said = dict(verdicts.sentences(line, "CLIP score"))
    assert said["better"] == "velatura is better than base in CLIP score at 2 of 3 guidances (1, 2): by +0.50 to +0.90."
    assert said["unclear"].startswith("velatura and base are not told apart in CLIP score at 1 of 3 guidances (3); a ")
    assert "0.3 would have been seen four times out of five" in said["unclear"]
