"""The table of an ablation: the whole first, then what each change does to it."""

from __future__ import annotations

from dataclasses import fields, replace

import pytest
from measured_scores import Named, cell, make_scores

from velatura.errors import InputError
from velatura.eval.ablation import ablation_table
from velatura.eval.records import CellName, Figure
from velatura.eval.tables import Number, to_csv, to_latex, to_markdown

CLIP = {
    "no masks @ 2": (20.0, 21.5, 22, 22.9), "whole @ 2": (30.0, 31, 32, 33), "no refiner @ 2": (30.0, 30.5, 33, 32.4),
    "no refiner @ 9": (1.0, 2, 3, 4),
}  # fmt: skip
SCORES = make_scores({"clip": CLIP, "is": CLIP}, Named("clip"), Named("is", ranking=False))


def rows() -> dict[str, list[object]]:
    return {str(row[0]): list(row[1:]) for row in ablation_table(SCORES, "whole").rows}


def test_each_metric_has_a_column_and_what_may_be_ranked_by_another_for_differences() -> None:
    assert ablation_table(SCORES, "whole").columns == ("method", "CLIP", "Δ CLIP", "IS")


def test_the_baseline_stands_first_and_has_no_difference_to_itself() -> None:
    assert list(rows()) == ["whole @ 2", "no masks @ 2", "no refiner @ 2", "no refiner @ 9"]
    assert rows()["whole @ 2"][1] is None


def test_a_difference_is_signed_has_half_its_interval_and_is_bold_where_it_is_sure() -> None:
    [difference] = [one for one in SCORES.differences("whole") if one.cell == cell("no masks @ 2")]
    told = rows()["no masks @ 2"][1]
    assert isinstance(told, Number)
    assert told.value == pytest.approx(difference.value)
    assert difference.low is not None
    assert told.error == pytest.approx(difference.value - difference.low)
    assert (told.signed, told.best) == (True, True)
    unsure = rows()["no refiner @ 2"][1]
    assert isinstance(unsure, Number)
    assert not unsure.best


def test_an_uneven_interval_is_told_by_both_ends() -> None:
    class Uneven(type(SCORES)):  # type: ignore[misc]
        def figure(self, metric: str, name: CellName) -> Figure:
            return replace(super().figure(metric, name), low=0.0)

    known = {one.name: getattr(SCORES, one.name) for one in fields(SCORES)}
    told = ablation_table(Uneven(**known), "whole").rows[0][1]
    assert isinstance(told, Number)
    assert (told.error, told.low) == (None, 0.0)


def test_the_note_says_how_many_were_compared_and_the_forms_hold_every_method() -> None:
    table = ablation_table(SCORES, "whole")
    assert "4 prompts" in table.notes[0]
    assert f"{len(SCORES.differences('whole'))} comparisons" in table.notes[0]
    for form in (to_markdown, to_latex, to_csv):
        assert all(name in form(table) for name in rows())


def test_a_baseline_that_is_not_there_is_one_sentence() -> None:
    with pytest.raises(InputError, match="there is no method 'best' to compare with; there are no masks"):
        ablation_table(SCORES, "best")
