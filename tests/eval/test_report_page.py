import dataclasses
import json
import re
from html.parser import HTMLParser

import pytest

from velatura.eval.judge.records import Doubt, Share, Tally, Verdict
from velatura.eval.pareto import Plane, Point
from velatura.eval.records import CellName, Difference, Figure
from velatura.eval.report import from_json, front_of, report_page, survey_of, write_report
from velatura.eval.report.chart import front_chart
from velatura.eval.report.results import Ablation, AblationRow, CellCount, Claim, Cut, Results, Timing
from velatura.eval.slices import Slice

EVIL = '</title><script>alert(1)</script><img src=x onerror="alert(2)">\u202egnp\x07'
VOID = {"meta", "img", "line", "circle", "rect", "path", "polyline"}


class Page(HTMLParser):
    """What a browser would make of a page: elements, their attributes, and the text outside of styles."""

    def __init__(self, page):
        super().__init__()
        self.elements, self.words, self.open = [], [], []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] != "style":
            self.words.append(data)

    @property
    def text(self):
        return re.sub(r"\s+", " ", " ".join(self.words))


def cell(method, guidance=6.0):
    return CellName(method=method, guidance=guidance)


def figure(of, value, metric="clip", **changes):
    told = {"error": 0.05, "low": value - 0.1, "high": value + 0.1, "n": 40, "prompts": 20, "unit": "",
            "better": "higher", "signature": f"{metric}|n=40"}  # fmt: skip
    return Figure(metric=metric, cell=of, value=value, **{**told, **changes})


def difference(of, value, p=0.001):
    return Difference(metric="clip", cell=of, baseline=cell("base", of.guidance), value=value, error=0.05,
                      low=value - 0.1, high=value + 0.1, p=p, n=40, prompts=20, missing=2, unit="", better="higher",
                      signature="clip|n=40")  # fmt: skip


def verdict(judge, *, tally, consistency=None, doubts=()):
    return Verdict(
        criterion="quality", of=cell("ours"), against=cell("base"), judge=judge, pairs=tally, prompts=tally,
        identical=0, unasked=0, unread=0, share=None, p=0.5, p_holm=0.5, half_ties=None, net=None, net_interval=None,
        consistency=consistency, first=None, both_first=0, both_second=0, detectable=None, scores=None, agreement=None,
        doubts=doubts,
    )  # fmt: skip


def grid(method="ours"):
    """Two methods at two guidances."""
    cells = [cell(name, guidance) for name in ("base", method) for guidance in (3.0, 6.0)]
    values = (26.0, 26.5, 26.2, 27.0)
    return Results(
        name="A run",
        titles=(("clip", "CLIP score"),),
        cells=tuple(CellCount(cell=one, samples=40, prompts=20) for one in cells),
        figures=tuple(figure(one, value) for one, value in zip(cells, values, strict=True)),
        differences=(difference(cells[2], 0.02, p=0.7), difference(cells[3], 0.5)),
        command="velatura eval report runs/a",
    )


def test_the_page_says_first_what_is_real_and_what_is_not():
    text = Page(report_page(grid())).text
    assert text.index("What was found") < text.index("What was measured") < text.index("Figures")
    assert "1 is better, 0 are worse, and 1 is not told apart" in text
    assert "ours is better than base in CLIP score at 1 of 2 guidances (6): +0.50 [0.40, 0.60], Holm's p 0.002." in text
    assert "ours and base are not told apart in CLIP score at 1 of 2 guidances (3)" in text
    assert "27.00 ± 0.10" in text
    assert "n = 40 pictures of 20 prompts in each cell." in text
    assert "clip|n=40" in text
    assert "velatura eval report runs/a" in text


def test_equal_results_are_an_equal_page():
    assert report_page(grid()) == report_page(grid())


def test_the_page_runs_and_loads_nothing():
    page = Page(report_page(dataclasses.replace(grid(), fronts=(plane_front(),))))
    tags = {tag for tag, _ in page.elements}
    assert not tags & {"script", "link", "iframe", "object", "form", "base"}
    policy = next(a["content"] for _, a in page.elements if a.get("http-equiv") == "Content-Security-Policy")
    assert policy.startswith("default-src 'none'; img-src data:;")
    for _, attributes in page.elements:
        assert not any(name.startswith("on") for name in attributes)
        assert attributes.get("src", "data:").startswith("data:")
        assert attributes.get("href", "#").startswith("#")
    assert page.open == []


def test_every_link_of_the_contents_leads_to_a_part_of_the_page():
    page = Page(report_page(grid()))
    links = [a["href"][1:] for tag, a in page.elements if tag == "a"]
    anchors = [a["id"] for _, a in page.elements if "id" in a]
    assert set(links) == set(anchors)
    assert len(anchors) == len(set(anchors))


def test_names_from_outside_stay_text_everywhere():
    ours = cell(EVIL)
    part = Slice(name=EVIL, prompts=3, value=0.1, low=0.0, high=0.2, p=0.04)
    results = dataclasses.replace(
        grid(EVIL), name=EVIL, description=EVIL, created=EVIL, command=EVIL, versions=((EVIL, EVIL),),
        manifest_digest=EVIL, titles=(("clip", EVIL),), warnings=(EVIL,), notes=(EVIL,),
        fronts=(plane_front(EVIL),), cuts=(Cut(metric="clip", by=EVIL, cell=ours, slices=(part,)),),
        ablations=(Ablation(title=EVIL, rows=(AblationRow(label=EVIL, cell=ours),), metrics=("clip",)),),
        timings=(Timing(method=EVIL, stage=EVIL, batch=1, median=1.0, low=None, high=None, n=1),),
        claims=(Claim(claim=EVIL, bound=EVIL, value=None, source=EVIL),),
        verdicts=(verdict(EVIL, tally=Tally(), doubts=(Doubt(code="kin", text=EVIL),)),),
    )  # fmt: skip
    code = report_page(results)
    page = Page(code)
    assert {tag for tag, _ in page.elements}.isdisjoint({"script", "img"})
    assert not any("onerror" in attributes for _, attributes in page.elements)
    assert page.open == []
    assert "\u202e" not in code
    assert "\x07" not in code
    assert page.text.count("<script>alert(1)</script>") > 10


def test_cells_of_unequal_counts_are_never_ranked():
    level = grid()
    odd = dataclasses.replace(level, figures=(*level.figures[:3], figure(cell("ours"), 27.0, n=80)))
    assert "<strong>27.00 ± 0.10</strong>" in report_page(level)
    code = report_page(odd)
    assert "<strong>" not in code
    assert "27.00 ± 0.10 (n = 80)" in code
    assert "CLIP score is of 40 to 80 pictures: cells of unequal n are not ranked." in Page(code).text


@pytest.mark.parametrize("odd", [{"n": 80}, {"signature": "clip|n=40|resize=other"}])
def test_in_one_table_of_all_metrics_unlike_figures_are_not_ranked_either(odd):
    base, ours = cell("base", None), cell("ours", None)
    assert "<strong>" in report_page(Results(name="x", figures=(figure(base, 26.0), figure(ours, 27.0))))
    code = report_page(Results(name="x", figures=(figure(base, 26.0), figure(ours, 27.0, **odd))))
    assert "<strong>" not in code
    assert ("(n = 80)" in code) == ("n" in odd)
    assert "are not ranked." in code


def test_the_best_is_bold_together_with_what_overlaps_it():
    cells = [cell(name, guidance) for name in ("base", "ours") for guidance in (3.0, 6.0)]
    values = (26.0, 26.5, 26.9, 27.0)
    results = Results(name="x", figures=tuple(figure(one, value) for one, value in zip(cells, values, strict=True)))
    assert re.findall(r"<strong>(.*?)</strong>", report_page(results)) == ["26.90 ± 0.10", "27.00 ± 0.10"]


def test_what_is_not_for_ranking_is_marked_and_never_bold():
    cells = [cell("base", 3.0), cell("base", 6.0)]
    figures = tuple(figure(one, 20.0 + i, metric="is", ranking=False) for i, one in enumerate(cells))
    code = report_page(Results(name="x", figures=figures))
    assert "<strong>" not in code
    assert "(* not for ranking)" in code
    assert "20.00 ± 0.10*" in code


def test_one_guidance_alone_makes_one_table_of_all_metrics():
    base, ours = cell("base", None), cell("ours", None)
    figures = (
        figure(base, 26.0),
        figure(ours, 27.0),
        figure(ours, 9.0, metric="fid", better="lower", low=7.0, high=9.5),
    )
    text = Page(report_page(Results(name="x", figures=figures))).text
    assert "clip, higher is better fid, lower is better pictures" in text
    assert "9.0 [7.0, 9.5]" in text  # its interval is uneven


def test_judges_that_cannot_be_believed_are_exposed_before_their_answers():
    half = Share(value=0.49, low=0.4, high=0.58, n=100)
    coin = verdict("coin", tally=Tally(win=30, tie=50, lose=20), consistency=half,
                   doubts=(Doubt(code="coin", text="no oftener than a coin does"),))  # fmt: skip
    first = verdict("first", tally=Tally(tie=100), consistency=Share(value=0.0, low=0.0, high=0.04, n=100),
                    doubts=(Doubt(code="position", text="whichever stands first"),))  # fmt: skip
    mute = verdict("mute", tally=Tally(refused=90, win=10), doubts=(Doubt(code="refuses", text="refuses 90 of 100"),))
    code = report_page(Results(name="x", verdicts=(coin, first, mute)))
    text = Page(code).text
    for told in (
        "coin, quality: no oftener than a coin does",
        "first, quality: whichever stands first",
        "mute, quality: refuses 90",
    ):
        assert text.index(told) < text.index("Prompts won")
    assert text.count("not to be believed") == 3
    assert "90 of 100" in text
    assert code.count('class="chance"') == 1


def test_published_numbers_stand_in_a_box_of_their_own():
    code = report_page(dataclasses.replace(grid(), anchors=("stylus-baselines",)))
    box = code[code.index('<aside class="anchors">') : code.index("</aside>")]
    assert "The paper&#x27;s, not measured here" in box
    assert "27.25" in box
    assert code.count("27.25") == box.count("27.25")


def test_claims_tell_what_does_not_hold():
    claims = (Claim(claim="one", bound="> 0", value=-1.0, low=-2.0, high=-0.5, holds=False, sure=True),
              Claim(claim="two", bound="> 0", value=0.1, low=-2.0, high=0.5, holds=True, sure=False),
              Claim(claim="three", bound="> 0", value=None))  # fmt: skip
    text = Page(report_page(Results(name="x", claims=claims))).text
    assert "does not hold" in text
    assert "holds, within error" in text
    assert "not measured" in text


def plane_front(ours="ours"):
    places = (("base", 3.0, 26.0, 20.0), ("base", 6.0, 26.5, 22.0), (ours, 3.0, 27.0, 19.0), (ours, 6.0, 26.8, 21.0))
    points = tuple(
        Point(cell=cell(name, guidance), x=x, y=y, x_error=0.1, y_error=0.1) for name, guidance, x, y in places
    )
    return front_of(Plane(points=points), "clip", "fid", (25.0, 25.0), duels=[(ours, "base")])


def test_the_front_marks_each_methods_own_points_and_the_joint_ones():
    front = plane_front()
    assert [(str(point.cell), point.own, point.joint) for point in front.points] == [
        ("base @ 3", True, False), ("base @ 6", True, False), ("ours @ 3", True, True), ("ours @ 6", False, False),
    ]  # fmt: skip
    chart = front_chart(Results(name="x", titles=(("clip", "CLIP score"),)), front)
    assert chart.count('r="9"') == 1
    assert chart.count("<polyline") == 1  # of the base: the other's front is one point
    centres = [float(x) for x in re.findall(r'<circle cx="([\d.]+)" cy="[\d.]+" r="4.5"/>', chart)]
    assert centres[0] < centres[1]  # 26.0 lies left of 26.5
    text = Page(report_page(Results(name="x", fronts=(front,)))).text
    assert "ours dominates base" in text
    assert "Hypervolume" in text


@pytest.mark.parametrize("values", [[(1.0, 1.0)], [(0.0, 0.0), (0.0, 0.0)], [(1e9, -1e-9), (2e9, 1e-9)]])
def test_a_chart_of_few_or_extreme_points_has_finite_places(values):
    points = tuple(Point(cell=cell("base", float(i)), x=x, y=y) for i, (x, y) in enumerate(values))
    front = front_of(Plane(points=points), "a", "b", (0.0, 0.0))
    chart = front_chart(Results(name="x"), front)
    assert "nan" not in chart
    assert "inf" not in chart


def test_empty_results_are_a_page_all_the_same():
    page = Page(report_page(Results(name="nothing")))
    assert page.open == []
    assert "nothing" in page.text


def test_a_report_is_all_its_files(tmp_path):
    pytest.importorskip("matplotlib")
    results = dataclasses.replace(grid(), fronts=(plane_front(),))
    paths = write_report(results, tmp_path / "new" / "report")
    assert sorted(path.name for path in paths) == [
        "pareto.png", "pareto.svg", "report.html", "results.json", "tables.md", "tables.tex",
    ]  # fmt: skip
    folder = tmp_path / "new" / "report"
    assert sorted(path.name for path in folder.iterdir()) == sorted(path.name for path in paths)
    assert from_json((folder / "results.json").read_bytes()) == results
    assert "| ours | 26.20 ± 0.10 | **27.00 ± 0.10** |" in (folder / "tables.md").read_text()
    assert r"ours & 26.20 $\pm$ 0.10 & \textbf{27.00 $\pm$ 0.10} \\" in (folder / "tables.tex").read_text()
    assert (folder / "pareto.png").read_bytes().startswith(b"\x89PNG")


def test_without_matplotlib_the_figure_is_in_the_page_alone(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "matplotlib", None)
    paths = write_report(dataclasses.replace(grid(), fronts=(plane_front(),)), tmp_path)
    assert [path.name for path in paths] == ["results.json", "report.html", "tables.md", "tables.tex"]
    assert 'class="chart"' in (tmp_path / "report.html").read_text()


def test_a_folder_that_cannot_be_written_to_is_a_sentence(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(Exception, match="the report cannot be written to") as caught:
        write_report(Results(name="x"), tmp_path / "file" / "report")
    assert type(caught.value).__name__ == "InputError"


def test_published_numbers_never_enter_the_tables_of_measured_ones(tmp_path):
    write_report(dataclasses.replace(grid(), anchors=("stylus-baselines",)), tmp_path)
    assert "27.25" not in (tmp_path / "tables.md").read_text()
    assert json.loads((tmp_path / "results.json").read_text())["anchors"] == ["stylus-baselines"]


def test_a_survey_tells_what_people_said_and_how_far_they_agree():
    from velatura.eval.stats import Agreement, Proportion, WinTieLose
    from velatura.eval.survey.results import Duel, Exclusion, Measured, QuestionScore, Standing, SurveyScore

    half = Proportion(successes=8, n=10, low=0.5, high=0.94)
    standing = Standing(method="ours", shown=40, share=Measured(value=0.68, low=0.6, high=0.75))
    wins = WinTieLose(wins=7, ties=1, losses=2)
    duel = Duel(first="ours", second="base", answers=wins, items=wins, rate=half, p=0.04,
                net=Measured(value=0.5, low=0.1, high=0.9))  # fmt: skip
    question = QuestionScore(
        name="quality", kind="choice", text="Which is better?", answers=40, raters=4, items=10, prompts=10,
        standings=(standing,), duels=(duel,), ranks=None, w=None,
        alpha=Agreement(value=0.4, low=0.2, high=0.6, level="nominal", raters=4, units=10), again=half,
        places=(20, 20), thin=0,
    )  # fmt: skip
    score = SurveyScore(
        title="s", survey="ab", methods=("ours", "base"), raters=4,
        excluded=(Exclusion(rater="r9", reason="too fast"),), answers=40, seconds=5.0, checks=half,
        questions=(question,), failures=(), comments=(), notes=("small",),
    )  # fmt: skip
    text = Page(report_page(Results(name="x", survey=survey_of(score)))).text
    assert "4 raters, 1 left out by the rules." in text
    assert "0.68 [0.60, 0.75]" in text
    assert "Krippendorff's alpha, nominal" in text
    assert "same answer when asked again" in text
    assert "prompts that ours won against base" in text
    assert "r9" not in text
