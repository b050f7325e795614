"""`compare`, from a prompt to a sheet."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from command_line import Done, velatura
from PIL import Image

from velatura.playground.library import find_weights
from velatura.playground.sample import make_adapter, make_checkpoint

QUICK = ("--model", "checkpoint", "--steps", 1, "--size", "32x32", "--device", "cpu", "--batch", 4)


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A person's folder with a checkpoint, two adapters, and one whose file is no adapter."""
    folder = tmp_path_factory.mktemp("person")
    make_checkpoint(folder / "checkpoint")
    (folder / "loras").mkdir()
    for seed, name in enumerate(("otter", "moss")):
        path = folder / "loras" / f"{name}.safetensors"
        make_adapter(path, folder / "checkpoint", seed=seed)
        path.with_suffix(".json").write_text(json.dumps({"activation text": f"{name}ish", "preferred weight": 0.7}))
    assert velatura("index", "loras", "--no-embed", home=folder).returncode == 0
    return folder


def compare(home: Path, prompt: str, *options: object) -> Done:
    return velatura("compare", prompt, *QUICK, *options, home=home)


def test_what_the_composer_chose_is_shown_without_together_alone_and_swept(home: Path) -> None:
    asked = ("otterish mossish creature", "--sweep", "0.5,1", "--seed", 5, "--picture-model",
             find_weights() / "evaluator", "-o", "out")  # fmt: skip
    told = compare(home, *asked, "--json").json
    assert [panel["title"] for panel in told["panels"]] == [
        "Without, together, and each alone", "All together, their weights scaled", *["Alone, by weight"] * 2,
    ]  # fmt: skip
    first = told["panels"][0]["columns"]
    assert [[one["title"] for one in column["adapters"]] for column in first[2:]] == [
        [one["title"]] for one in first[1]["adapters"]
    ]
    assert {one["weight"] for one in told["panels"][2]["columns"][1]["adapters"]} == {0.5}
    pictures = [one for panel in told["panels"] for column in panel["columns"] for one in column["pictures"]]
    assert {one["seed"] for one in pictures} == {5}
    assert all((home / one["image"]).is_file() and one["error"] is None for one in pictures)
    assert all(-100 <= one["clip"] <= 100 for one in pictures)
    with Image.open(home / told["sheet"]) as sheet:
        assert min(sheet.size) > 600
    assert (home / "out" / "manifest.jsonl").is_file()
    again = compare(home, *asked)
    assert f"0 painted, {told['painted']} were there" in again.stdout
    assert told["sheet"] in again.stdout


def test_named_adapters_are_compared_instead(home: Path) -> None:
    told = compare(
        home, "a house", "--adapter", "moss:0.25", "--adapter", "otter", "--no-sweep", "-n", 2, "-o", "named", "--json"
    ).json
    assert {choice["title"]: choice["weight"] for choice in told["choices"]} == {"moss": 0.25, "otter": 0.7}
    [panel] = told["panels"]
    assert [[one["seed"] for one in column["pictures"]] for column in panel["columns"]] == [[0, 1]] * 4
    assert panel["columns"][0]["pictures"][0]["clip"] is None


def test_where_nothing_is_chosen_that_is_said_and_the_base_alone_is_shown(home: Path) -> None:
    done = compare(home, "a bowl of soup", "-o", "none")
    assert done.returncode == 0, done.stderr
    assert "no adapter fits" in done.stdout
    assert "1 painted" in done.stdout


def test_what_cannot_be_laid_on_costs_no_other_picture(home: Path) -> None:
    gone = home / "loras" / "gone.safetensors"
    make_adapter(gone, home / "checkpoint", seed=3)
    assert velatura("index", "loras", "--no-embed", home=home).returncode == 0
    content = gone.read_bytes()
    gone.write_bytes(content[: len(content) // 2])
    done = compare(home, "a house", "--adapter", "gone:1", "--adapter", "moss:1", "--no-sweep", "-o", "half")
    assert done.returncode == 1
    assert done.stdout.count("2 painted") == 1
    assert "failed: 2 of 4 pictures: " in done.stderr
    assert "Traceback" not in done.stderr
    gone.unlink()


@pytest.mark.parametrize(
    ("options", "environment", "why"),
    [
        (("--safe",), {}, "its rating is not allowed"),
        ((), {"VELATURA_NSFW": "1"}, "its rating is not allowed"),
        (("--commercial", "sell"), {}, "its licence does not allow that use"),
        ((), {"VELATURA_COMMERCIAL": "image"}, "its licence does not allow that use"),
        ((), {"VELATURA_REAL_PEOPLE": "false"}, "it depicts a real person"),
        ((), {"VELATURA_BLOCKED": '["star"]'}, "it is blocked"),
    ],
)
def test_named_adapter_that_is_kept_out_is_refused(
    home: Path, options: tuple[object, ...], environment: dict[str, str], why: str
) -> None:
    (home / "loras" / "star.json").write_text("{}")
    star = home / "loras" / "star.safetensors"
    make_adapter(star, home / "checkpoint", seed=7)
    page = {"model": {"name": "star", "poi": True, "nsfwLevel": 31}, "nsfwLevel": 31, "baseModel": "SD 1.5"}
    star.with_suffix(".civitai.info").write_text(json.dumps(page))
    assert velatura("index", "loras", "--no-embed", home=home).returncode == 0
    told = ("compare", "a house", *QUICK, "--adapter", "star:1", *options, "-o", "kept-out")
    done = velatura(*told, home=home, **environment)
    star.unlink()
    assert done.returncode == 1
    assert f"“star” is kept out: {why}" in done.stderr
    assert not (home / "kept-out").exists()


def test_composition_s_file_is_not_taken_for_a_prompt_beside_named_adapters(home: Path) -> None:
    made = velatura("compose", "a house <lora:moss:0.5>", "--json", home=home)
    (home / "house.json").write_text(made.stdout, "utf-8")
    done = compare(home, "house.json", "--adapter", "moss:1", "-o", "bad")
    assert done.returncode == 1
    assert "house.json is a composition, which has its own adapters" in done.stderr


@pytest.mark.parametrize(
    ("options", "code", "sentence"),
    [
        (("a house", "--sweep", "much"), 2, "numbers with commas"),
        (("a house", "--sweep", "nan"), 2, "from -10 to 10"),
        (("a house", "--sweep", ","), 2, "from -10 to 10"),
        (("a house", "--adapter", "moss:inf"), 2, "no weight from -10 to 10"),
        (("a house", "--adapter", "unknown:1"), 1, "unknown"),
        (("a house", "--adapter", "moss", "--adapter", "moss:1"), 1, "was named before"),
        ((" ", "--adapter", "moss"), 1, "the prompt has no words"),
        (("a house", "--adapter", "moss", "--picture-model", "nowhere/at-all"), 1, "nowhere/at-all"),
    ],
)
def test_bad_input_is_one_sentence_and_paints_nothing(
    home: Path, options: tuple[object, ...], code: int, sentence: str
) -> None:
    done = compare(home, *options, "-o", "bad")
    assert done.returncode == code
    assert sentence in done.stderr
    assert "Traceback" not in done.stderr
    assert not list((home / "bad").glob("*.png"))
