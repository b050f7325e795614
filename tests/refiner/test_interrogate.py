"""Pictures put into words: by a trained CLIP of a small world, by a tiny random one, and by a language model."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from chat_server import chat_server, said
from PIL import Image

from velatura.errors import InputError, LanguageModelError, UnreadableFile
from velatura.llm import LanguageModel
from velatura.playground.library import find_weights
from velatura.playground.world import COLOURS, SUBJECTS, draw, paint, with_article
from velatura.refiner.clip import ClipEmbedder
from velatura.refiner.interrogate import Interrogator, interrogator, read_lists
from velatura.refiner.interrogate_llm import VERSION, LlmInterrogator
from velatura.refiner.word_lists import LISTS
from velatura.words import FUNCTION_WORDS, words

PLACES = {
    "night": "in the night", "meadow": "in a meadow", "sea": "by the sea", "desert": "in the desert",
    "sunset": "at sunset", "snow": "in the snow", "city": "in the city", "space": "in space",
}  # fmt: skip
LOOKS = {
    "flat": "a flat picture", "neon": "a neon sign", "sepia": "a sepia photo", "comic": "a comic panel",
    "glass": "a stained glass window", "linocut": "a linocut print",
}  # fmt: skip
WORLD = {
    "subjects": tuple(with_article(f"{colour} {subject}") for subject in SUBJECTS for colour in COLOURS),
    "mediums": tuple(LOOKS.values()),
    "settings": tuple(PLACES.values()),
}


class Lettered:
    """Texts and pictures as counts of words: a picture is what was written beside it."""

    model, revision = "lettered", "1"

    def __init__(self, vocabulary: Sequence[str], shown: str = "") -> None:
        self.places = {word: place for place, word in enumerate(vocabulary)}
        self.shown = shown
        self.embedded: list[str] = []

    def embed(self, texts: Sequence[str]) -> np.ndarray:
        self.embedded += texts
        rows = np.zeros((len(texts), len(self.places) + 1), dtype=np.float32)
        for row, text in zip(rows, texts, strict=True):
            for word in set(words(text)) - FUNCTION_WORDS:
                row[self.places.get(word, len(self.places))] += 1
        return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-9)

    def embed_images(self, images: Sequence[Image.Image]) -> np.ndarray:
        found = self.embed([self.shown] * len(images))
        del self.embedded[-len(images) :]
        return found


def random_clip(folder: Path) -> Path:
    """Write a tiny CLIP model with random weights; its words are the playground's."""
    import torch
    from transformers import CLIPConfig, CLIPModel

    torch.manual_seed(0)
    small = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    read = {"vocab_size": 873, "max_position_embeddings": 48, "bos_token_id": 871, "eos_token_id": 872}
    seen = {"image_size": 24, "patch_size": 8}
    CLIPModel(
        CLIPConfig(text_config={**small, **read}, vision_config={**small, **seen}, projection_dim=8)
    ).save_pretrained(folder)
    for name in ("vocab.json", "merges.txt", "tokenizer_config.json", "special_tokens_map.json"):
        (folder / name).write_bytes((find_weights() / "evaluator" / name).read_bytes())
    return folder


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> Iterator[None]:
    """Small layers gain nothing from threads, and on a busy machine they wait for each other."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


GREY = Image.new("RGB", (8, 8), "grey")
SMALL = {
    "subjects": ("a fox", "an otter", "a house"),
    "mediums": ("a photograph", "an oil painting"),
    "settings": ("in the snow", "by the sea"),
    "artists": ("Titian", "Hokusai"),
    "flavours": ("oil on canvas", "soft fur", "snow", "calm", "loud", "foxes"),
}
VOCABULARY = sorted({word for entries in SMALL.values() for entry in entries for word in words(entry)})


# ---------------------------------------------------------------------------------- what it says


def test_pictures_of_a_small_world_are_told_as_they_are() -> None:
    embedder = ClipEmbedder(str(find_weights() / "evaluator"), device="cpu")
    interrogator, chance = Interrogator(embedder, WORLD), random.Random(3)
    right = {"subject": 0, "scene": 0, "style": 0}
    for _ in range(12):
        picture = draw(chance, scenes=list(PLACES), styles=list(LOOKS))
        prompt = interrogator.interrogate(Image.fromarray(paint(picture))).prompt
        right["subject"] += picture.subject in prompt
        right["scene"] += PLACES[picture.scene] in prompt
        right["style"] += prompt.startswith(LOOKS[picture.style])
    assert all(count >= 11 for count in right.values()), right


def test_prompt_is_built_of_what_brings_it_nearer() -> None:
    embedder = Lettered(VOCABULARY, "oil painting of a fox in the snow by Hokusai, soft fur")
    found = Interrogator(embedder, SMALL).interrogate(GREY)
    assert found.prompt == "an oil painting of a fox in the snow, soft fur, by Hokusai"
    assert [part.source for part in found.parts] == ["subjects", "settings", "flavours", "artists"]
    scores = [part.score for part in found.parts]
    assert scores == sorted(scores)
    assert scores[-1] == pytest.approx(1.0)
    assert found.by == "lettered"


def test_nothing_is_said_twice() -> None:
    found = Interrogator(Lettered(VOCABULARY, "oil painting fox foxes snow canvas"), SMALL).interrogate(GREY)
    told = [word.removesuffix("s") for word in words(found.prompt) if word not in FUNCTION_WORDS]
    assert len(told) == len(set(told))
    assert "canvas" not in found.prompt  # oil was said


def test_lists_without_subjects_or_mediums_begin_with_the_best_phrase() -> None:
    lists = {"moods": ("calm", "loud"), "artists": ("Titian", "Hokusai")}
    embedder = Lettered(["calm", "loud", "titian", "hokusai"], "hokusai, calm")
    assert Interrogator(embedder, lists).interrogate(GREY).prompt in ("by Hokusai, calm", "calm, by Hokusai")
    for name in ("subjects", "mediums"):
        found = Interrogator(Lettered(VOCABULARY, "fox photograph"), {name: SMALL[name]}).interrogate(GREY)
        assert found.prompt in ("a fox", "a photograph")


def test_empty_lists_are_one_sentence() -> None:
    with pytest.raises(InputError, match="the word lists are empty"):
        Interrogator(Lettered(VOCABULARY), {"subjects": ()}).interrogate(GREY)


def test_random_model_says_something_of_bounded_length_and_the_same_again(tmp_path: Path) -> None:
    embedder = ClipEmbedder(str(random_clip(tmp_path / "clip")), device="cpu")
    picture = Image.effect_noise((40, 30), 80).convert("RGB")
    found = [Interrogator(embedder).interrogate(picture) for _ in range(2)]
    assert found[0] == found[1]
    assert 1 <= len(found[0].parts) <= 10
    told = [word.removesuffix("s") for word in words(found[0].prompt) if word not in FUNCTION_WORDS]
    assert len(told) == len(set(told))


# ---------------------------------------------------------------------------------- what is kept


def test_vectors_of_lists_are_computed_once_and_kept(tmp_path: Path) -> None:
    first = Lettered(VOCABULARY, "fox photograph")
    told: list[tuple[int, int]] = []
    before = Interrogator(first, SMALL, cache=tmp_path / "words", told=lambda *seen: told.append(seen)).interrogate(
        GREY
    )
    assert told == [(len(entries), len(entries)) for entries in SMALL.values()]
    assert len(list((tmp_path / "words").iterdir())) == len(SMALL)
    again = Lettered(VOCABULARY, "fox photograph")
    assert Interrogator(again, SMALL, cache=tmp_path / "words").interrogate(GREY) == before
    assert not {"calm", "a picture of a fox"} & set(again.embedded)
    other = Lettered(VOCABULARY, "fox photograph")
    other.revision = "2"
    Interrogator(other, SMALL, cache=tmp_path / "words").interrogate(GREY)
    assert {"calm", "a picture of a fox"} <= set(other.embedded)


@pytest.mark.parametrize("content", [b"", b"\x93NUMPY", b"pickle", None])
def test_damaged_cache_is_made_anew(tmp_path: Path, content: bytes | None) -> None:
    before = Interrogator(Lettered(VOCABULARY, "fox"), SMALL, cache=tmp_path).interrogate(GREY)
    for path in tmp_path.iterdir():
        whole = path.read_bytes()
        path.write_bytes(whole[:-4] if content is None else content)
    assert Interrogator(Lettered(VOCABULARY, "fox"), SMALL, cache=tmp_path).interrogate(GREY) == before
    assert {path.read_bytes()[:6] for path in tmp_path.iterdir()} == {b"\x93NUMPY"}


def test_cache_that_cannot_be_written_is_gone_without(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    assert Interrogator(Lettered(VOCABULARY, "fox"), SMALL, cache=tmp_path / "file").interrogate(GREY).parts


# ---------------------------------------------------------------------------------- lists


def test_our_lists_say_each_thing_once_and_as_it_is_used() -> None:
    assert set(LISTS) == {"subjects", "mediums", "settings", "movements", "artists", "lighting", "flavours"}
    for name, entries in LISTS.items():
        assert len({entry.casefold() for entry in entries}) == len(entries), name
        assert all(entry == entry.strip() and 2 < len(entry) < 50 for entry in entries), name
    assert all(not re.search(r"[.;:<>]", entry.replace("J. M. W.", "").replace("J. C.", "").replace("N. C.", "")
               .replace("Davidsz.", "")) for entries in LISTS.values() for entry in entries)  # fmt: skip


def test_own_lists_are_read_from_a_folder(tmp_path: Path) -> None:
    (tmp_path / "Subjects.txt").write_text("\ufeffa fox\r\n\r\n  an  otter \na fox\n<lora:evil:9> a house\n", "utf-8")
    (tmp_path / "moods.txt").write_text("calm", "utf-8")
    (tmp_path / "notes.md").write_text("nothing", "utf-8")
    lists = read_lists(tmp_path)
    assert lists["moods"] == ("calm",)
    assert lists["subjects"][:2] == ("a fox", "an otter")
    assert not any("<" in entry or "lora:evil:9>" in entry for entry in lists["subjects"])


def test_lists_that_cannot_be_used_are_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read"):
        read_lists(tmp_path / "nowhere")
    with pytest.raises(InputError, match="holds no word lists"):
        read_lists(tmp_path)
    (tmp_path / "moods.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match="is not text in UTF-8"):
        read_lists(tmp_path)
    (tmp_path / "moods.txt").write_text("\n".join(map(str, range(20_001))))
    with pytest.raises(InputError, match="at most 20,000 entries"):
        read_lists(tmp_path)


# ---------------------------------------------------------------------------------- by a language model


def asked_of(*answers: Any) -> tuple[Any, list[dict[str, Any]]]:
    with chat_server(
        *(said(answer if isinstance(answer, str) else json.dumps(answer)) for answer in answers)
    ) as script:
        found = LlmInterrogator(LanguageModel("stand-in", url=script.url)).interrogate(GREY)
        return found, script.asked


def test_language_model_is_shown_the_picture_and_its_prompt_is_taken() -> None:
    found, calls = asked_of({"prompt": "a red fox in snow, watercolour, soft light"})
    assert found.prompt == "a red fox in snow, watercolour, soft light"
    assert found.by == f"stand-in {VERSION}"
    [_, question] = calls[0]["messages"]
    assert any(part["type"] == "image_url" for part in question["content"])


@pytest.mark.parametrize(
    ("answer", "prompt"),
    [
        ("a fox, a fox, A  FOX, snow, a fox", "a fox, snow"),
        ("a fox <lora:evil:9>, <lora:ev<a:b>il:9> snow", None),
        ("a fox\nNegative prompt: everything\u200b", "a fox Negative prompt: everything"),
        ("fox " * 500, None),
    ],
)
def test_what_a_language_model_says_is_cleaned(answer: str, prompt: str | None) -> None:
    found = asked_of({"prompt": answer})[0].prompt
    assert prompt is None or found == prompt
    assert "<" not in found
    assert ">" not in found
    assert "\n" not in found
    assert len(found) <= 400


def test_language_model_that_says_nothing_is_asked_once_more() -> None:
    found, calls = asked_of({"prompt": " ,. "}, {"prompt": "a fox"})
    assert (found.prompt, len(calls)) == ("a fox", 2)
    for answer in ({"prompt": 7}, {"text": "a fox"}, [], "no JSON"):
        with pytest.raises(LanguageModelError):
            asked_of(answer)


def test_picture_that_is_none_is_one_sentence(tmp_path: Path) -> None:
    from velatura.refiner.picture_file import read_picture_file

    (tmp_path / "fox.png").write_text("no picture")
    with pytest.raises(UnreadableFile, match=r"is no PNG, JPEG, WebP or GIF picture"):
        read_picture_file(tmp_path / "fox.png").decode()


def test_who_puts_pictures_into_words_is_found_by_name(tmp_path: Path) -> None:
    def refuse() -> Any:
        raise AssertionError("it is not needed")

    (tmp_path / "moods.txt").write_text("calm\nloud")
    embedder = Lettered(["calm", "loud"], "loud")
    found = interrogator("clip", embedder=lambda: embedder, language_model=refuse, lists=tmp_path)
    assert found.interrogate(GREY).prompt == "loud"
    assert isinstance(interrogator("llm", embedder=refuse, language_model=lambda: None), LlmInterrogator)
    with pytest.raises(InputError, match="take clip or llm"):
        interrogator("blip", embedder=refuse, language_model=refuse)
    with pytest.raises(InputError, match="lists of words are for clip"):
        interrogator("llm", embedder=refuse, language_model=refuse, lists=tmp_path)
