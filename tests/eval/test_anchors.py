from __future__ import annotations

import math

import pytest

from velatura.eval.anchors import anchors, published_front
from velatura.eval.stats import WinTieLose, sign_test, wilson

RATES = {
    "Realistic-Vision-v6, COCO": 67.81,
    "Realistic-Vision-v6, PartiPrompts": 68.31,
    "Counterfeit-v3, COCO": 62.00,
    "Counterfeit-v3, PartiPrompts": 58.57,
    "all": 64.19,
}


def test_every_table_says_whose_it_is_and_every_number_has_a_column() -> None:
    tables = anchors()
    assert len(tables) == 11
    for name, table in tables.items():
        assert (table.name, bool(table.title), bool(table.cites), bool(table.setting)) == (name, True, True, True)
        columns = {column.name for column in table.columns}
        assert columns == {column for row in table.rows for column in row.values}
        assert all(math.isfinite(value) for row in table.rows for value in row.values.values())
        assert {column.source for column in table.columns} <= set("PNDCS")
        assert len({(row.cell, row.group, *row.values.values()) for row in table.rows}) == len(table.rows)


def test_baselines_and_what_was_read_off_the_figure_agree() -> None:
    told, drawn = anchors()["stylus-baselines"], anchors()["stylus-pareto"]
    assert told.value("Stylus", "fid") == 22.05
    for method in ("Stylus", "SD v1.5"):
        for column in ("clip", "fid"):
            assert drawn.value(method, column, guidance=6) == pytest.approx(told.value(method, column), abs=0.011)


def test_human_preference_is_recomputed() -> None:
    for row in anchors()["stylus-human"].rows:
        values = row.values
        share = wilson(int(values["wins"]), int(values["n"]))
        assert values["rate"] == RATES[row.group] == pytest.approx(100 * share.value, abs=0.006)
        assert (values["low"], values["high"]) == pytest.approx((100 * share.low, 100 * share.high), abs=0.06)
        assert values["p"] == pytest.approx(sign_test(int(values["wins"]), int(values["n"] - values["wins"])), rel=0.03)


def test_judge_is_recomputed_and_proves_nothing() -> None:
    for row in anchors()["stylus-judge"].rows:
        values = row.values
        counts = WinTieLose(wins=int(values["wins"]), ties=int(values["ties"]), losses=int(values["losses"]))
        assert values["rate"] == pytest.approx(100 * counts.rate.value, abs=0.06)
        assert (values["low"], values["high"]) == pytest.approx(
            (100 * counts.rate.low, 100 * counts.rate.high), abs=0.06
        )
        assert values["p"] == pytest.approx(counts.p, abs=0.005)
        assert values["consistency"] == pytest.approx(100 * counts.decided / counts.n, abs=0.06)
        assert counts.rate.low < 0.5 < counts.rate.high


def test_variance_within_prompts_is_recomputed() -> None:
    table = anchors()["stylus-dfid"]
    for row in table.rows:
        share = wilson(int(row.values["wins"]), int(row.values["n"]))
        assert row.values["rate"] == pytest.approx(100 * share.value, abs=0.06)
        assert (row.values["low"], row.values["high"]) == pytest.approx((100 * share.low, 100 * share.high), abs=0.06)
    assert table.value("Stylus", "stylus", group="2048 features") == 100.62
    lengths = anchors()["stylus-dfid-by-length"]
    more = [lengths.value("SD v1.5", "dfid", group="0-4 words"), lengths.value("Stylus", "dfid", group="0-4 words")]
    assert more[0] > more[1]


def test_overheads_are_the_added_seconds() -> None:
    table = anchors()["stylus-time"]
    for row, overhead in zip(table.rows, (75.6, 48.4, 27.5), strict=True):
        added = sum(row.values[stage] for stage in ("retrieve", "compose", "load"))
        assert row.values["overhead"] == overhead == pytest.approx(100 * added / row.values["generate"], abs=0.06)


def test_studies_of_others() -> None:
    fusion = anchors()["fusion-metrics"]
    assert min(fusion.rows, key=lambda row: row.values["fid"]).cell.method == "Fusion v.1"
    assert anchors()["fusion-survey"].value("Fusion v.2", "prompt") == 41.3
    assert anchors()["demofusion-quality"].value("DemoFusion", "fid_crop") == 70.34
    times = anchors()["demofusion-turbo-time"]
    assert [row.values["minutes"] for row in times.rows] == [33, 18, 12, 20, 31]
    assert times.column("minutes").unit == "min"


def test_unconfirmed_numbers_are_not_there() -> None:
    shipped = {value for table in anchors().values() for row in table.rows for value in row.values.values()}
    assert not shipped & {24.91, 24.26, 28.04, 21.96}


def test_unclear_or_missing_numbers_are_errors() -> None:
    with pytest.raises(KeyError, match="8 rows of stylus-pareto"):
        anchors()["stylus-pareto"].value("Stylus", "clip")
    with pytest.raises(KeyError, match="0 rows"):
        anchors()["stylus-pareto"].value("nobody", "clip")
    with pytest.raises(KeyError, match="prompt"):
        anchors()["fusion-survey"].value("SDXS", "prompt")


def test_published_front_has_no_errors() -> None:
    assert len(published_front().points) == 16
    assert all(point.x_error is None for point in published_front().points)
