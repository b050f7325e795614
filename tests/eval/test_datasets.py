"""Sets of prompts, in the forms in which they lie about."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from velatura.errors import InputError
from velatura.eval.datasets import read_prompts, subsample
from velatura.eval.records import Prompt


def made(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def test_coco_gives_the_first_caption_of_each_image_with_its_picture(tmp_path: Path) -> None:
    plain = {
        "images": [{"id": 7, "file_name": "7.jpg"}, {"id": 8, "file_name": "8.jpg"}],
        "annotations": [
            {"id": 3, "image_id": 7, "caption": "second"},
            {"id": 1, "image_id": 7, "caption": " first "},
            {"id": 2, "image_id": 8, "caption": "eight"},
        ],
    }
    prompts = read_prompts(made(tmp_path / "captions.json", json.dumps(plain)))
    assert prompts == [
        Prompt(id="7", text="first", images=("7.jpg",)),
        Prompt(id="8", text="eight", images=("8.jpg",)),
    ]


def test_a_caption_that_stands_twice_is_one_prompt(tmp_path: Path) -> None:
    assert [prompt.text for prompt in read_prompts(made(tmp_path / "p.txt", "a fox\n\na fox\nan otter\n"))] == [
        "a fox",
        "an otter",
    ]


def test_partiprompts_keep_their_quotes_category_and_challenge(tmp_path: Path) -> None:
    text = 'Prompt\tCategory\tChallenge\tNote\na sign that says "Hello, fox\tAnimals\tWriting & Symbols\tx\n'
    [prompt] = read_prompts(made(tmp_path / "PartiPrompts.tsv", text))
    assert (prompt.text, prompt.category) == ('a sign that says "Hello, fox', "Animals")
    assert prompt.challenge == "Writing & Symbols"


def test_tables_and_json_lines(tmp_path: Path) -> None:
    [one] = read_prompts(made(tmp_path / "p.csv", 'id,caption\n12,"a fox, red"\n'))
    [other] = read_prompts(made(tmp_path / "p.jsonl", '{"id": 12, "prompt": "a fox, red"}\n'))
    assert one == other == Prompt(id="12", text="a fox, red")


@pytest.mark.parametrize(
    ("name", "text", "why"),
    [
        ("p.json", "{}", "neither COCO's captions"),
        ("p.json", "[" * 100_000, "neither COCO's captions"),
        ("p.json", '{"images": [1], "annotations": []}', "neither COCO's captions"),
        ("p.jsonl", '{"note": 1}', "line 1: there is no prompt"),
        ("p.csv", "id,words\n1,x\n", "there is no prompt"),
        ("p.txt", " \n", "holds no prompts"),
        ("p.jsonl", '{"id": 1, "prompt": "a"}\n{"id": 1, "prompt": "b"}\n', "two different prompts of the id 1"),
    ],
)
def test_what_is_no_set_of_prompts_says_why(tmp_path: Path, name: str, text: str, why: str) -> None:
    with pytest.raises(InputError, match=why):
        read_prompts(made(tmp_path / name, text))


def test_a_missing_file_says_so(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read"):
        read_prompts(tmp_path / "none.tsv")


def test_a_larger_subsample_holds_the_smaller_one() -> None:
    prompts = [Prompt(id=str(number), text=f"prompt {number}") for number in range(200)]
    few, more = subsample(prompts, 20), subsample(prompts, 60)
    assert len(few) == 20
    assert set(few) < set(more)
    assert few == sorted(few, key=prompts.index)
    assert set(subsample(prompts, 20, seed=1)) != set(few)
    assert subsample(prompts, None) == subsample(prompts, 500) == prompts


@pytest.mark.real_data
def test_the_published_sets_are_read_whole(real_data: Path) -> None:
    folder = real_data / "prompts"
    parti = read_prompts(folder / "PartiPrompts.tsv")
    assert (len(parti), len({prompt.category for prompt in parti})) == (1632, 12)
    assert len(read_prompts(folder / "drawbench.txt")) == 200
    coco = read_prompts(folder / "mlperf_coco2014_5k.tsv")
    assert len(coco) == len({prompt.id for prompt in coco}) > 4900
    assert coco[0].images == ("COCO_val2014_000000227049.jpg",)
