"""One adapter on several pages takes one place, and what is unlike keeps its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from shelf import BagEmbedder, Given, adapter

from velatura.db import Store, open_store
from velatura.records import AdapterRecord, Filter, Hashes, WeightMeasure
from velatura.refiner.embed import embed
from velatura.retriever import Retriever
from velatura.retriever.alike import collapse, core_title

Fill = Callable[..., dict[str, int]]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with open_store(tmp_path / "c.db") as store:
        yield store


@pytest.fixture
def fill(store: Store) -> Fill:
    def fill(*records: AdapterRecord) -> dict[str, int]:
        store.sync(Given(records))
        return {found.record.key: found.id for found in store.adapters(store.select(Filter()))}

    return fill


def groups(store: Store, numbers: dict[str, int], **options: object) -> list[str]:
    """Return the groups as words, each with its members in order: `["ab", "c"]`."""
    keys = {number: key for key, number in numbers.items()}
    ranked = [numbers[key] for key in sorted(numbers)]
    found = collapse(store, ranked, **options)  # type: ignore[arg-type]
    return ["".join(keys[number] for number in (first, *same)) for first, same in found.items()]


def measured(direction: np.ndarray, method: str = "1") -> WeightMeasure:
    return WeightMeasure(method=method, sketch=tuple(direction.astype(np.float32).tolist()))


def near(direction: np.ndarray, cosine: float, other: np.ndarray) -> np.ndarray:
    """Return a vector at this cosine from a direction; both directions are orthonormal."""
    return cosine * direction + (1 - cosine**2) ** 0.5 * other


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ({"sha256": "ab" * 32}, {"sha256": "ab" * 32}, True),
        ({"sha256": "ab" * 32}, {"autov2": "ab" * 5}, True),
        ({"sha256": "ab" * 32}, {"sha256": "ab" * 5 + "cd" * 27}, False),
        ({"autov3": "aaaa", "sha256": "11" * 32}, {"autov3": "aaaa", "sha256": "22" * 32}, True),
        ({"autov3": "aaaa"}, {"autov3": "bbbb"}, False),
    ],
)
def test_digests_tell_copies(store: Store, fill: Fill, one: dict[str, str], other: dict[str, str], same: bool) -> None:
    numbers = fill(adapter("a", hashes=Hashes(**one)), adapter("b", hashes=Hashes(**other)))
    assert groups(store, numbers) == (["ab"] if same else ["a", "b"])


def test_fingerprint_tells_copies_unless_the_tensors_are_known_to_differ(store: Store, fill: Fill) -> None:
    numbers = fill(
        adapter("a", fingerprint="F", hashes=Hashes(autov3="aaaa")),
        adapter("b", fingerprint="F", hashes=Hashes(autov3="bbbb")),
        adapter("c", fingerprint="F"),
    )
    assert groups(store, numbers) == ["ac", "b"]


def test_one_title_by_one_creator_is_one_adapter(store: Store, fill: Fill) -> None:
    numbers = fill(
        adapter("a", title="Red_Fox v2 (LoRA)", creator="Ann"),
        adapter("b", title="red fox", creator="ann"),
        adapter("c", title="Red Fox", creator="Bob"),
        adapter("d", title="Red Fox cub", creator="Ann"),
        adapter("e", title="Red Fox"),
        adapter("f", title="Red Fox"),
    )
    assert groups(store, numbers) == ["ab", "c", "d", "e", "f"]


def test_editions_for_other_bases_are_one_until_a_base_is_named(store: Store, fill: Fill) -> None:
    numbers = fill(
        adapter("a", title="Red Fox - SD1.5", creator="Ann"),
        adapter("b", title="Red Fox XL", creator="Ann", family="sdxl"),
        adapter("c", title="Red Fox [Pony]", creator="Ann", family="pony"),
    )
    assert groups(store, numbers) == ["abc"]
    assert groups(store, numbers, across_families=False) == ["a", "b", "c"]


def test_one_title_and_nearly_one_text_is_one_adapter(store: Store, fill: Fill) -> None:
    text = " ".join(f"word{n}" for n in range(60))
    numbers = fill(
        adapter("a", title="Red Fox", description=text),
        adapter("b", title="Red Fox", description=f"{text} more"),
        adapter("c", title="Red Fox", description="something else altogether"),
        adapter("d", title="Grey Fox", description=text),
    )
    embedder = BagEmbedder()
    embed(store, embedder)
    assert groups(store, numbers) == ["a", "b", "c", "d"]
    assert groups(store, numbers, encoder=(embedder.model, embedder.revision)) == ["ab", "c", "d"]


def test_measured_weights_tell_copies_and_small_steps_join_no_chain(store: Store, fill: Fill) -> None:
    keys = "abcd"
    numbers = fill(*(adapter(key, path=f"/{key}.safetensors", fingerprint=key, title=f"No {key}{key}") for key in keys))
    x, y = np.eye(128)[:2]
    steps = [x, near(x, 0.96, y), near(x, 0.85, y), -x]  # a to b and b to c are near, a to c is not
    store.put_measures([(numbers[key], "1-1", measured(step)) for key, step in zip(keys, steps, strict=True)])
    assert steps[1] @ steps[2] > 0.95
    assert groups(store, numbers) == ["ab", "c", "d"]
    store.put_measures([(numbers["b"], "1-1", measured(steps[1], "2"))])
    assert groups(store, numbers) == ["a", "b", "c", "d"], "sketches of another method say nothing"


def test_title_of_nothing_but_a_base_stays() -> None:
    assert core_title("SDXL", "sdxl") == "sdxl"
    assert core_title("LoRA v1", "sd1") == "lora v1"
    assert core_title("", "unknown") == ""


def test_search_joins_copies_and_names_them(store: Store, fill: Fill) -> None:
    same = Hashes(sha256="ab" * 32)
    numbers = fill(
        adapter("a", title="Red Fox", triggers=(("red fox",),), hashes=same, model_id=1),
        adapter("b", title="Red Fox", triggers=(("red fox",),), hashes=same, model_id=2, version_id=1),
        adapter("c", title="Red Fox", triggers=(("red fox",),), model_id=2, version_id=2),
        adapter("d", title="Fox hunt", model_id=3),
    )
    found = Retriever(store).search("a red fox", limit=2)
    assert [(item.adapter.id, set(item.alternatives)) for item in found] == [
        (numbers["a"], {numbers["b"], numbers["c"]}),
        (numbers["d"], set()),
    ]
    scores = [item.score for item in found]
    assert scores == sorted(scores, reverse=True)
    assert len(Retriever(store).search("a red fox", limit=10, method="bm25")) == 3, "a baseline is left as it is"


def test_search_keeps_editions_apart_where_a_base_is_named(store: Store, fill: Fill) -> None:
    fill(
        adapter("a", title="Red Fox", family="sdxl", creator="Ann"),
        adapter("b", title="Red Fox Pony", family="pony", creator="Ann"),
    )
    retriever = Retriever(store)
    assert [len(item.alternatives) for item in retriever.search("red fox")] == [1]
    assert [len(item.alternatives) for item in retriever.search("red fox", Filter(family="sdxl"))] == [0, 0]


@pytest.mark.parametrize(
    ("downloads", "first"), [((41, 5320), "b"), ((5320, 41), "a"), ((None, None), "a"), ((0, 3), "b")]
)
def test_what_most_people_took_stands_for_copies_that_fit_as_well(
    store: Store, fill: Fill, downloads: tuple[int | None, int | None], first: str
) -> None:
    numbers = fill(
        *(
            adapter(key, title="Red Fox", triggers=(("red fox",),), creator="Ann", model_id=page, downloads=count)
            for page, (key, count) in enumerate(zip("ab", downloads, strict=True))
        )
    )
    (found,) = Retriever(store).search("a red fox")
    assert found.adapter.id == numbers[first]
    assert found.alternatives == (({*numbers.values()} - {found.adapter.id}).pop(),)


def test_a_copy_that_fits_less_well_does_not_stand_for_the_others_however_many_took_it(
    store: Store, fill: Fill
) -> None:
    numbers = fill(
        adapter("a", title="Red Fox", triggers=(("red fox",),), creator="Ann", model_id=1, downloads=1),
        adapter("b", title="Red Fox", triggers=(("vulpes",),), creator="Ann", model_id=2, downloads=9999),
    )
    (found,) = Retriever(store).search("a red fox")
    assert found.adapter.id == numbers["a"]
