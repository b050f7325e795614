"""What pictures have in common, in words: by a model that reads what was painted, and by the playground's CLIP."""

from __future__ import annotations

import random
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from velatura.db import open_store
from velatura.playground.library import find_weights
from velatura.playground.world import SCENES, STYLES, SUBJECTS, draw, enlarge, paint, with_article
from velatura.records import BLOCKED, PG, AdapterRecord, Example, RefinedAdapter, Refinement, X
from velatura.refiner.card import CardDescriber
from velatura.refiner.picture_words import Common, PictureDescriber
from velatura.refiner.refine import refine
from velatura.refiner.shown import ShownPictures
from velatura.refiner.word_vectors import word_vectors

LISTS = {
    "artists": ("Titian", "Hokusai", "Klimt", "Monet"),
    "flavours": ("calm", "loud", "wet", "dry"),
    "mediums": ("oil", "ink", "chalk", "photo"),
    "settings": ("snow", "sea", "forest", "town"),
    "subjects": ("a fox", "a cat", "a house", "a ghost"),
}
COLOURS = {
    entry: (40 + 50 * place, 40 + 12 * number, 7)
    for number, entries in enumerate(LISTS.values())
    for place, entry in enumerate(entries)
}
"""A picture is stripes, and each stripe is of the colour of a word: JPEG leaves broad stripes as they are, nearly."""
WORDS = list(COLOURS)
WIDTH = len(WORDS) + 1


class Striped:
    """Knows a word by the colour of a stripe."""

    model, revision = "striped", "1"

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.looked = 0

    def embed(self, texts: Sequence[str]) -> np.ndarray:
        self.asked += texts
        rows = np.full((len(texts), WIDTH), 0.01, dtype=np.float32)
        for row, text in zip(rows, texts, strict=True):
            bare = text.removeprefix("a picture of ")
            row[WORDS.index(bare) if bare in WORDS else -1] = 1
        return rows / np.linalg.norm(rows, axis=1, keepdims=True)

    def embed_images(self, images: Sequence[Image.Image]) -> np.ndarray:
        self.looked += len(images)
        rows = np.full((len(images), WIDTH), 0.01, dtype=np.float32)
        for row, image in zip(rows, images, strict=True):
            for left in range(8, image.width, 16):
                pixel = image.getpixel((left, 8))
                near = [sum(abs(a - b) for a, b in zip(pixel, colour, strict=True)) for colour in COLOURS.values()]
                if min(near) < 12:
                    row[int(np.argmin(near))] = 1
        return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def painted(folder: Path, *pictures: str, **fields: Any) -> RefinedAdapter:
    """An adapter beside which lie pictures, each of words with commas between them."""
    names = []
    for place, text in enumerate(pictures):
        shown = text.split(", ")
        image = Image.new("RGB", (16 * len(shown), 16 + place), "white")  # no two are copies
        for left, word in enumerate(shown):
            image.paste(COLOURS.get(word, (255, 255, 255)), (16 * left, 0, 16 * left + 16, 16))
        names.append(f"{fields.get('key', 'k')}.{place}.png")
        image.save(folder / names[-1])
    given: dict[str, Any] = {"source": "folder", "key": "k", "title": "xyz", **fields}
    record = AdapterRecord(path=str(folder / "xyz.safetensors"), previews=tuple(names), **given)
    return RefinedAdapter(id=1, record=record)


def describer(embedder: Any | None = None, most: int = 3, nsfw: int | None = None, **options: Any) -> PictureDescriber:
    shown = ShownPictures(most=most, nsfw=nsfw)
    return PictureDescriber(embedder or Striped(), shown, options.pop("lists", LISTS), **options)


def described(adapter: RefinedAdapter, **options: Any) -> Refinement:
    return describer(**options).describe(adapter).refinement


# ---------------------------------------------------------------------------------- what is told


def test_what_all_pictures_share_is_told_and_what_differs_is_not(tmp_path: Path) -> None:
    found = described(painted(tmp_path, "a fox, snow, ink", "a fox, sea, ink", "a fox, town, ink"))
    assert found.description == "An animal: xyz. Shared by its 3 pictures: a fox, ink."
    assert found.category == "animal"
    assert found.facets == (("subject", "xyz, a fox"),)  # its pictures' look may be the base model's


def test_word_that_one_picture_lacks_is_not_shared(tmp_path: Path) -> None:
    adapter = painted(tmp_path, "a fox, snow, ink", "a fox, snow", "a cat, snow, ink")
    assert describer().look(adapter.record) == Common(
        pictures=3, shared={"settings": ("snow",)}, varied=frozenset({"subjects"})
    )


@pytest.mark.parametrize(
    ("pictures", "category"),
    [
        (("a fox", "a fox"), "animal"),
        (("a house, ink", "a house, oil"), "building"),
        (("a ghost", "a ghost"), "concept"),
        (("a fox, ink, snow", "a cat, ink, sea", "a house, ink, town"), "style"),
        (("a fox, ink, snow", "a cat, oil, snow", "a house, chalk, snow"), "background"),
        (("a fox, ink", "a cat, ink"), None),  # by chance, it may be
        (("a fox, ink, snow", "a cat, ink, snow", "a house, ink, snow"), None),
        (("ink", "ink", "ink"), None),  # a subject of no list may be the same in all
        (("a fox",), None),
        ((), None),
    ],
)
def test_category_is_told_by_what_stays(tmp_path: Path, pictures: tuple[str, ...], category: str | None) -> None:
    assert described(painted(tmp_path, *pictures)).category == category


def test_facets_are_of_what_such_an_adapter_decides(tmp_path: Path) -> None:
    shown = ("a fox, snow, ink", "a fox, snow, ink")
    style = described(painted(tmp_path, *shown, tags=("style",)))
    assert style.facets == (("style", "xyz"), ("medium", "ink"))
    place = described(painted(tmp_path, *shown, tags=("background",)))
    assert place.facets == (("subject", "xyz"), ("setting", "snow"))
    assert dict(described(painted(tmp_path, *shown, tags=("animal",))).facets) == {
        "subject": "xyz, a fox", "setting": "snow",
    }  # fmt: skip
    tool = described(painted(tmp_path, *shown, title="Detail Slider"))
    assert tool == replace(CardDescriber().describe(painted(tmp_path, title="Detail Slider")).refinement,
                           writer=tool.writer)  # fmt: skip


def test_card_comes_first_and_keeps_its_category(tmp_path: Path) -> None:
    card = {"title": "Ember", "tags": ("clothing",), "description": "It draws a cloak of embers."}
    found = described(painted(tmp_path, "a fox, calm", "a fox, calm", **card))
    assert found.description == "It draws a cloak of embers. Shared by its 2 pictures: a fox, calm."
    assert found.category == "clothing"


def test_captions_of_the_training_are_no_card(tmp_path: Path) -> None:
    captions = (("flat style", 9), ("fox", 9))
    assert CardDescriber().describe(painted(tmp_path, training_tags=captions)).refinement.category == "style"
    assert described(painted(tmp_path, "a fox", "a fox", training_tags=captions)).category == "animal"
    assert described(painted(tmp_path, training_tags=captions)).category == "style"  # nothing else tells


def test_one_picture_tells_the_side_that_it_is_made_for_and_no_facet(tmp_path: Path) -> None:
    shown = "a fox, snow, ink, calm"
    thing = described(painted(tmp_path, shown))
    assert thing.description == "xyz. In its one picture: a fox."
    assert dict(thing.facets) == {"subject": "xyz"}
    style = described(painted(tmp_path, shown, tags=("style",)))
    assert style.description == "A style: xyz. In its one picture: ink."
    place = described(painted(tmp_path, shown, tags=("background",)))
    assert place.description == "A place: xyz. In its one picture: snow."


def test_nothing_is_told_of_whose_style_it_is(tmp_path: Path) -> None:
    embedder = Striped()
    adapter = painted(tmp_path, "a fox, Klimt", "a fox, Klimt")
    assert "Klimt" not in (described(adapter, embedder=embedder).description or "")
    assert not set(LISTS["artists"]) & set(embedder.asked)


def test_word_must_say_more_than_nothing(tmp_path: Path) -> None:
    class Blank(Striped):
        def embed_images(self, images: Sequence[Image.Image]) -> np.ndarray:
            rows = super().embed_images(images)
            rows[:, -1] += 5  # "a picture" is nearest
            return rows

    adapter = painted(tmp_path, "a fox", "a fox")
    assert describer(Striped()).look(adapter.record).shared == {"subjects": ("a fox",)}
    assert describer(Blank()).look(adapter.record).shared == {}


def test_two_words_as_near_are_both_told_and_a_third_makes_none_sure(tmp_path: Path) -> None:
    lists = {"settings": (*LISTS["settings"], "x", "y", "z", "v", "w", "u")}
    both = painted(tmp_path, "sea, snow", "snow, sea")
    assert describer(lists=lists).look(both.record).shared == {"settings": ("snow", "sea")}
    short = {"settings": LISTS["settings"]}  # half is less than three times chance
    assert describer(lists=short).look(both.record).shared == {}


def test_copies_of_one_picture_are_one(tmp_path: Path) -> None:
    adapter = painted(tmp_path, "a fox, snow", "a fox, snow")
    (tmp_path / "k.1.png").write_bytes((tmp_path / "k.0.png").read_bytes())
    assert described(adapter).description == "xyz. In its one picture: a fox."


def test_without_pictures_it_is_the_card_alone(tmp_path: Path) -> None:
    card = {"title": "Ember Fox", "description": "It draws a fox of embers.", "tags": ("animal",)}
    embedder = Striped()
    found = described(painted(tmp_path, **card), embedder=embedder)
    assert replace(found, writer=None) == replace(
        CardDescriber().describe(painted(tmp_path, **card)).refinement, writer=None
    )
    assert embedder.asked == []
    broken = painted(tmp_path, "a fox", **card)
    (tmp_path / "k.0.png").write_bytes(b"no picture")
    assert described(broken).description == "It draws a fox of embers."


# ---------------------------------------------------------------------------------- which pictures


def test_pictures_that_may_not_be_shown_are_not_looked_at(tmp_path: Path) -> None:
    for fields, nsfw in (({"nsfw": X}, PG), ({}, PG), ({"minor": True}, None), ({"nsfw": BLOCKED}, None)):
        embedder = Striped()
        found = described(painted(tmp_path, "a fox", "a fox", **fields), embedder=embedder, nsfw=nsfw)
        assert (found.description, embedder.looked) == ("xyz.", 0)
    examples = (Example(image="k.1.png", nsfw=X),)
    found = described(painted(tmp_path, "a fox", "a cat", nsfw=PG, examples=examples), nsfw=PG)
    assert found.description == "xyz. In its one picture: a fox."


def test_no_more_pictures_are_looked_at_than_the_settings_say(tmp_path: Path) -> None:
    adapter = painted(tmp_path, "a fox", "a fox, sea", "a cat")
    for most, told in ((0, 0), (2, 2), (3, 3)):
        embedder = Striped()
        assert describer(embedder, most=most).look(adapter.record).pictures == told == embedder.looked


# ---------------------------------------------------------------------------------- identity


def test_writer_tells_the_model_and_whose_words(tmp_path: Path) -> None:
    assert described(painted(tmp_path)).writer == describer().name
    assert describer().name.startswith("pictures 1: striped@1, words ")
    assert describer(lists={"subjects": ("a dog", "a cat")}).name != describer().name
    assert PictureDescriber(Striped(), ShownPictures()).name == "pictures 1: striped@1"
    local = Striped()
    local.model = str(tmp_path)
    assert PictureDescriber(local, ShownPictures()).name == f"pictures 1: {tmp_path.name}@1"


def test_origin_changes_with_card_and_pictures_and_with_nothing_else(tmp_path: Path) -> None:
    adapter = painted(tmp_path, "a fox")
    first = describer().origin(adapter)
    assert describer().origin(replace(adapter, id=9, record=replace(adapter.record, downloads=4))) == first
    assert describer().origin(replace(adapter, record=replace(adapter.record, notes="mine"))) != first
    assert describer().origin(painted(tmp_path, "a cat")) != first
    assert describer(most=0).origin(painted(tmp_path, "a fox")) != first


def test_lists_are_read_once_whatever_the_number_of_threads(tmp_path: Path) -> None:
    embedder = Striped()
    asked = describer(embedder, cache=tmp_path / "words")
    adapter = painted(tmp_path, "a fox", "a fox")
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: asked.describe(adapter).refinement, range(16)))
    assert len(set(found)) == 1
    assert sorted(embedder.asked) == sorted(set(embedder.asked))
    again = Striped()
    assert described(adapter, embedder=again, cache=tmp_path / "words") == found[0]
    assert again.asked == ["a picture"]


def test_refine_asks_again_only_when_a_picture_changes(tmp_path: Path) -> None:
    from shelf import Given

    adapter = painted(tmp_path, "a fox", "a fox")
    with open_store(tmp_path / "c.db") as store:
        store.sync(Given([adapter.record]))
        assert refine(store, describer()).asked == 1
        assert refine(store, describer()).adapters == 0
        painted(tmp_path, "a cat", "a cat")
        assert refine(store, describer()).asked == 1
        [known] = store.adapters([1])
        assert "a cat" in (known.refinement.description or "")
        assert known.refinement.writer == describer().name


# ---------------------------------------------------------------------------------- vectors of lists


@pytest.mark.parametrize("content", [b"", b"\x93NUMPY", b"pickle", None, "narrow"])
def test_damaged_cache_of_words_is_made_anew(tmp_path: Path, content: bytes | str | None) -> None:
    before = word_vectors(Striped(), ["a fox", "a cat"], WIDTH, tmp_path)
    [path] = tmp_path.iterdir()
    if isinstance(content, str):
        np.save(path, before[:, :3])
    else:
        path.write_bytes(path.read_bytes()[:-4] if content is None else content)
    told: list[tuple[int, int]] = []
    after = word_vectors(Striped(), ["a fox", "a cat"], WIDTH, tmp_path, lambda *seen: told.append(seen))
    assert np.array_equal(before, after)
    assert told == [(2, 2)]
    assert path.read_bytes()[:6] == b"\x93NUMPY"


def test_cache_of_words_that_cannot_be_written_is_gone_without(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    assert word_vectors(Striped(), ["a fox"], WIDTH, tmp_path / "file").shape == (1, WIDTH)


# ---------------------------------------------------------------------------------- a trained model


def test_what_a_small_world_shares_is_found_by_a_trained_model(tmp_path: Path) -> None:
    import torch

    from velatura.refiner.clip import ClipEmbedder

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    names = {
        "subjects": tuple(with_article(subject) for subject in SUBJECTS),
        "mediums": tuple(f"{style} style" for style in STYLES),
        "settings": SCENES,
    }
    sees = describer(ClipEmbedder(str(find_weights() / "evaluator"), device="cpu"), lists=names)
    chance = random.Random(11)

    def look(**held: tuple[str, ...]) -> Common:
        files = []
        for place in range(3):
            enlarge(paint(draw(chance, **held)), 4).save(tmp_path / f"{place}.png")
            files.append(f"{place}.png")
        record = AdapterRecord(
            source="folder", key="k", title="x", path=str(tmp_path / "x.safetensors"), previews=tuple(files)
        )
        return sees.look(record)

    ghost = look(subjects=("ghost",), styles=("flat",))
    assert ghost.shared["subjects"] == ("a ghost",)
    assert "settings" not in ghost.shared
    sketch = look(styles=("sketch",))
    assert sketch.shared["mediums"] == ("sketch style",)
    assert "subjects" in sketch.varied
    snow = look(scenes=("snow",), styles=("flat",))
    assert snow.shared["settings"] == ("snow",)
    torch.set_num_threads(threads)
