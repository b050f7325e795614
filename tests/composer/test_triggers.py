"""The trigger words that fit a prompt."""

from __future__ import annotations

from velatura.composer.triggers import fitting
from velatura.records import AdapterRecord


def adapter(*groups: tuple[str, ...]) -> AdapterRecord:
    return AdapterRecord(source="folder", key="a", title="A", triggers=groups)


def test_group_that_shares_words_with_the_prompt_is_taken() -> None:
    page = adapter(("1girl", "smile"), ("1boy", "armor"))
    assert fitting(page, "a knight in armor") == ("1boy", "armor")


def test_first_group_is_taken_when_none_shares_more() -> None:
    assert fitting(adapter(("first",), ("second",)), "a fox") == ("first",)


def test_whole_prompt_is_cut_to_what_is_asked() -> None:
    page = adapter(("foxy", "masterpiece", "snow", "forest", "1girl", "smile", "blue eyes", "hat"))
    assert fitting(page, "in a forest of snow") == ("foxy", "snow", "forest")


def test_no_triggers_add_nothing() -> None:
    assert fitting(adapter(), "a fox") == ()
