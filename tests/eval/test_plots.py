from __future__ import annotations

import re
import subprocess
import sys
import xml.etree.ElementTree as ET

import numpy as np
import pytest
from PIL import Image

from velatura.errors import InputError, MissingDependency
from velatura.eval.anchors import published_front
from velatura.eval.pareto import Plane, Point
from velatura.eval.plots import Bar, Stack, bars_figure, pareto_figure, stacked_figure, trend_figure
from velatura.eval.plots.labels import Box, place_labels
from velatura.eval.records import CellName

HOSTILE = "<script>$\\frac{1}$ & 狐\n]]> url(#x)\ud800"


@pytest.fixture(scope="module")
def plane() -> Plane:
    points = tuple(
        Point(cell=CellName(method=method, guidance=g), x=g + shift, y=g * g - shift, x_error=0.1, y_error=0.2)
        for shift, method in enumerate(("base", HOSTILE))
        for g in (1, 1.5, 2)
    )
    return Plane(points=points)


@pytest.fixture(scope="module")
def bars() -> list[Bar]:
    return [
        Bar(group=group, series=series, value=value, low=value - 5, high=value + 6)
        for group, values in (("quality", (60, 55)), ("alignment", (47, 52)))
        for series, value in zip(("stylus", HOSTILE), values, strict=True)
    ]


def texts(svg: str) -> list[str]:
    return [text for node in ET.fromstring(svg).iter() if (text := (node.text or "").strip()) and "text" in node.tag]


@pytest.fixture(scope="module")
def drawing(plane):
    return pareto_figure(plane, title="Two methods", published=published_front())


def test_same_figure_has_the_same_bytes(plane) -> None:
    first, again = pareto_figure(plane), pareto_figure(plane)
    assert first.svg() == again.svg() == again.svg()
    assert first.png(dpi=50) == again.png(dpi=50) == again.png(dpi=50)
    assert not re.search(r"20\d\d-\d\d|Matplotlib", first.svg())


def test_pareto_figure_tells_methods_guidance_and_directions(drawing) -> None:
    found = texts(drawing.svg())
    assert {"base", "SD v1.5", "Stylus", "Two methods", "CLIP score (→ better)", "FID (↓ better)"} <= set(found)
    assert "<script>$\\frac{1}$ & 狐 ]]> url(#x)" in found
    assert "published, of other models and pictures" in found
    assert found.count("1.5") >= 4
    assert "bars: 95 % · filled: front of the method · dashed: front of all · numbers: guidance" in found


def test_published_points_are_left_out_unless_asked_for(plane) -> None:
    found = texts(pareto_figure(plane).svg())
    assert not {"Stylus", "SD v1.5"} & set(found)


def test_points_without_errors_or_guidance_are_drawn() -> None:
    points = (Point(cell=CellName(method="a"), x=1, y=2), Point(cell=CellName(method="b"), x=2, y=1))
    found = texts(pareto_figure(Plane(points=points, x_better="lower", y_better="higher")).svg())
    assert "filled: front of the method · dashed: front of all" in found
    assert {"CLIP score (← better)", "FID (↑ better)"} <= set(found)
    assert "CLIP score (→ better)" in texts(pareto_figure(Plane(points=())).svg())


def test_png_opens_and_is_not_blank(drawing, tmp_path) -> None:
    drawing.save(tmp_path / "figure.png")
    with Image.open(tmp_path / "figure.png") as image:
        assert image.size == (1760, 784)
        assert len(image.convert("RGB").getcolors(1 << 20)) > 50
        assert not image.info.get("Software")


def test_inline_figures_of_one_page_do_not_meet(drawing) -> None:
    first, second = drawing.inline("f1"), drawing.inline("f2")
    assert first.startswith("<svg ")
    assert "<?xml" not in first
    assert "metadata" not in first
    ids = [re.findall(r'\bid="([^"]+)"', text) for text in (first, second)]
    assert not set(ids[0]) & set(ids[1])
    used = set(re.findall(r'(?:url\(|href=")#([^")]+)', re.sub(r">[^<]*<", "><", first)))
    assert used
    assert used <= set(ids[0])
    assert "url(#x)" in "".join(texts(first))
    assert "#f1 *{stroke-linejoin" in first
    assert 'aria-label="Two methods"' in first
    with pytest.raises(ValueError, match="prefix"):
        drawing.inline('"><script>')


def test_no_figure_brings_a_tag_of_its_names(drawing, bars) -> None:
    for figure in (drawing, bars_figure(bars, title=HOSTILE, axis=HOSTILE)):
        assert "<script" not in figure.inline("a")
        figure.svg().encode("utf-8")


def test_bars_have_their_values_and_the_line_of_chance(bars) -> None:
    found = texts(bars_figure(bars, title="Wins", axis="%", line=(50, "chance")).svg())
    assert {"quality", "alignment", "stylus", "chance", "60", "47", "Wins", "%"} <= set(found)
    dots = texts(bars_figure(bars[:1], title="Wins", axis="%", from_zero=False).svg())
    assert "stylus" not in dots  # one series needs no legend


def test_trend_keeps_the_order_of_its_groups() -> None:
    bars = [Bar(group=f"{n} words", series=s, value=n, low=n - 1, high=n + 1) for s in "ab" for n in (9, 4, 20)]
    found = texts(trend_figure(bars, title="dFID", axis="dFID", order="length").svg())
    assert [text for text in found if text.endswith("words")] == ["9 words", "4 words", "20 words"]


def test_stacked_times_have_their_totals() -> None:
    stacks = [
        Stack(label="batch 1", parts=(("generate", 16.0), ("compose", 12.1)), text="s (+75.6 %)"),
        Stack(label="batch 2", parts=(("generate", 25.0),)),
    ]
    found = texts(stacked_figure(stacks, title="Time").svg())
    assert {"28.1 s (+75.6 %)", "25", "generate", "compose", "batch 1", "seconds"} <= set(found)


@pytest.mark.parametrize(
    "draw",
    [
        lambda: bars_figure([], title="t", axis="a"),
        lambda: bars_figure([Bar(group="g", series="s", value=float("nan"))], title="t", axis="a"),
        lambda: trend_figure([], title="t", axis="a", order="o"),
        lambda: stacked_figure([], title="t"),
        lambda: stacked_figure([Stack(label="l", parts=(("s", -1.0),))], title="t"),
    ],
)
def test_nothing_to_draw_is_said(draw) -> None:
    with pytest.raises(ValueError, match="draw"):
        draw()


def test_saved_by_its_ending(bars, tmp_path) -> None:
    figure = bars_figure(bars, title="Wins", axis="%")
    figure.save(tmp_path / "a.svg")
    assert (tmp_path / "a.svg").read_text(encoding="utf-8") == figure.svg()
    with pytest.raises(InputError, match=r"\.png or \.svg, not as \.pdf"):
        figure.save(tmp_path / "a.pdf")


def test_own_settings_of_matplotlib_change_nothing_and_are_kept(bars) -> None:
    import matplotlib

    before = bars_figure(bars, title="Wins", axis="%").svg()
    with matplotlib.rc_context({"font.size": 20, "lines.linewidth": 9, "text.usetex": False, "svg.hashsalt": "x"}):
        assert bars_figure(bars, title="Wins", axis="%").svg() == before
        assert matplotlib.rcParams["font.size"] == 20


def test_missing_matplotlib_says_what_to_install(bars, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(MissingDependency, match=r"pip install 'velatura\[eval\]'"):
        bars_figure(bars, title="Wins", axis="%")


def test_matplotlib_waits_until_something_is_drawn_and_no_window_is_asked_for() -> None:
    code = (
        "import sys, velatura.eval.plots, velatura.eval.stats, velatura.eval.tables, velatura.eval.anchors\n"
        "assert not {'matplotlib', 'scipy', 'torch'} & set(sys.modules)\n"
        "from velatura.eval.plots import Bar, bars_figure\n"
        "bars_figure([Bar(group='g', series='s', value=1.0)], title='t', axis='a').svg()\n"
        "assert 'matplotlib.pyplot' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_labels_hide_neither_points_nor_each_other() -> None:
    rng = np.random.default_rng(0)
    anchors = [tuple(place) for place in rng.uniform(40, 260, (14, 2)).tolist()]
    sizes = [(14.0, 8.0)] * 14
    frame = Box(0, 0, 300, 300)
    offsets = place_labels(anchors, sizes, np.empty((0, 2)), frame)
    boxes = [
        Box(x + dx - 7, y + dy - 4, x + dx + 7, y + dy + 4)
        for (x, y), (dx, dy) in zip(anchors, offsets, strict=True)
    ]  # fmt: skip
    for place, box in enumerate(boxes):
        assert all(box.overlap(other) == 0 for other in boxes[place + 1 :])
        assert all(box.overlap(Box(x - 3, y - 3, x + 3, y + 3)) == 0 for x, y in anchors)


def test_labels_without_room_are_left_out() -> None:
    crowd = [(10.0, 10.0)] * 60
    offsets = place_labels(crowd, [(14.0, 8.0)] * 60, np.empty((0, 2)), Box(0, 0, 60, 60))
    assert None in offsets
    assert offsets[0] is not None
