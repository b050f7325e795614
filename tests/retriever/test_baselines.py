"""Other people's rankings do what their names say."""

from __future__ import annotations

import pytest

from velatura.records import AdapterRecord, RefinedAdapter
from velatura.retriever.baselines import RANKERS, overlap_ranker, random_ranker, tfidf_ranker


def adapter(number: int, title: str, **fields: object) -> RefinedAdapter:
    record = AdapterRecord(source="folder", key=str(number), title=title, **fields)  # type: ignore[arg-type]
    return RefinedAdapter(id=number, record=record)


SHELF = [
    adapter(1, "Red Fox", triggers=(("rfox",),), description="An animal of the woods"),
    adapter(2, "Ink Wash", tags=("style", "ink"), description="Wet brush on paper, also of a fox"),
    adapter(3, "Harbour"),
]


def test_lots_are_the_same_each_time_and_differ_by_prompt() -> None:
    rank = random_ranker(SHELF)
    assert rank("a fox") == random_ranker(SHELF)("a fox")
    assert rank("a fox") != rank("a cat")
    orders = {tuple(sorted(scores, key=scores.__getitem__)) for scores in (rank(f"prompt {n}") for n in range(60))}
    assert len(orders) == 6
    assert all(0 < score <= 1 for score in rank("a fox").values())


def test_overlap_is_the_share_of_the_prompts_words() -> None:
    assert overlap_ranker(SHELF)("a red fox, (ink:1.2)") == {1: 2 / 3, 2: 2 / 3}
    assert overlap_ranker(SHELF)("rfox") == {1: 1.0}
    assert overlap_ranker(SHELF)("the of and") == {}


def test_tfidf_prefers_the_title_and_the_rare_word() -> None:
    rank = tfidf_ranker(SHELF)
    assert rank("fox")[1] > rank("fox")[2] > 0
    assert 3 not in rank("fox")
    assert set(rank("harbour")) == {3}
    assert rank("zebra") == {}


@pytest.mark.parametrize("method", RANKERS)
def test_an_empty_shelf_and_an_empty_prompt_find_nothing(method: str) -> None:
    assert RANKERS[method]([])("a fox") == {}
    assert not overlap_ranker(SHELF)("")
    assert not tfidf_ranker(SHELF)("\ud800 ,, ")
