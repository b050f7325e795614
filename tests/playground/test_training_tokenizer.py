from __future__ import annotations

import pytest
from transformers import CLIPTokenizer

from velatura.playground.training.texts import describe, known_words
from velatura.playground.training.tokenizer import LENGTH, load_tokenizer, merges_for, save_tokenizer
from velatura.playground.world import SUBJECTS, Picture, vocabulary


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tokenizer")
    save_tokenizer(folder, known_words())
    return load_tokenizer(folder)


def test_each_word_of_the_world_is_one_token(tokenizer):
    assert {word: len(tokenizer(word).input_ids) - 2 for word in known_words()} == dict.fromkeys(known_words(), 1)
    assert set(vocabulary()) <= set(known_words())


def test_words_have_tokens_of_their_own(tokenizer):
    numbers = [tokenizer(word).input_ids[1] for word in known_words()]
    assert len(set(numbers)) == len(numbers)


@pytest.mark.parametrize("text", ["zażółć gęślą", "猫 と 犬", "🐈‍⬛", "photorealistic", "ǅ", "\x00"])
def test_any_text_encodes_in_known_tokens(tokenizer, text):
    numbers = tokenizer(text).input_ids
    assert len(numbers) > 2
    assert max(numbers) < len(tokenizer)


def test_spelling_in_bytes_loses_nothing(tokenizer):
    assert tokenizer.decode(tokenizer("zażółć 猫").input_ids, skip_special_tokens=True).strip() == "zażółć 猫"


def test_a_prompt_is_padded_with_its_end_and_cut_at_its_length(tokenizer):
    short, long = tokenizer(["a cat", "cat " * 99], padding="max_length", truncation=True).input_ids
    assert len(short) == len(long) == LENGTH
    assert set(short[3:]) == {tokenizer.eos_token_id} == {long[-1]}


def test_a_later_word_undoes_no_earlier_one():
    merges = merges_for(["on", "neon", "one", "moon"])
    assert merges[: len(merges_for(["on", "neon"]))] == merges_for(["on", "neon"])


def test_the_saved_folder_holds_what_older_transformers_read(tmp_path):
    save_tokenizer(tmp_path, ["cat"])
    assert (tmp_path / "vocab.json").is_file()
    assert (tmp_path / "merges.txt").read_text().splitlines() == ["#version: 0.2", "c a", "ca t</w>"]
    again = CLIPTokenizer(str(tmp_path / "vocab.json"), str(tmp_path / "merges.txt"))
    assert again("a cat").input_ids == load_tokenizer(tmp_path)("a cat").input_ids


def test_captions_can_be_empty_or_stray_and_depend_on_the_lot_alone():
    import random

    pictures = [Picture(subject=subject, colour="red", scene="sea") for subject in SUBJECTS]
    assert set(describe(pictures, random.Random(0), silent=1.0)) == {""}
    plain, again = describe(pictures, random.Random(0)), describe(pictures, random.Random(0))
    assert plain == again
    known = set(vocabulary())
    stray = describe(pictures, random.Random(0), strayed=1.0)
    assert all(set(text.replace(",", " ").replace(":", " ").split()) - known for text in stray)
