"""`generate`, `plan` and `checkpoints`, with all that a picture is painted from."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from command_line import Done, velatura
from PIL import Image

from velatura.generation import read_story, request_of
from velatura.playground.library import find_weights
from velatura.playground.sample import make_adapter, make_checkpoint

WEIGHTS = find_weights()
QUICK = ("--steps", 2, "--size", "64x64", "--device", "cpu")


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A person's folder with a checkpoint, a catalogue of two files on this machine, and pictures."""
    folder = tmp_path_factory.mktemp("person")
    make_checkpoint(folder / "checkpoint")
    (folder / "loras").mkdir()
    for seed, name in enumerate(("otter", "moss")):
        path = folder / "loras" / f"{name}.safetensors"
        make_adapter(path, folder / "checkpoint", seed=seed)
        path.with_suffix(".json").write_text(json.dumps({"activation text": f"{name}ish", "preferred weight": 0.7}))
    assert velatura("index", "loras", "--no-embed", home=folder).returncode == 0
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    Image.fromarray(noise).save(folder / "start.png")
    mask = np.zeros((64, 64), np.uint8)
    mask[:32] = 255
    Image.fromarray(mask).save(folder / "mask.png")
    Image.fromarray(mask[:32]).save(folder / "small mask.png")
    return folder


def paint(home: Path, prompt: str, *options: object) -> Done:
    return velatura("generate", prompt, "--model", "checkpoint", *QUICK, *options, home=home)


def picture(home: Path, prompt: str, *options: object) -> Path:
    [path] = paint(home, prompt, "--json", *options).json["images"]
    return home / path


def test_the_checkpoint_decides_what_paints_and_the_story_tells(home: Path) -> None:
    request = request_of(read_story(picture(home, "a red fox", "-o", "plain")))
    assert (request.backend, request.steps, request.guidance, request.scheduler) == ("sd", 2, 7.0, "ddim")


def test_a_picture_to_start_from_keeps_what_its_mask_keeps(home: Path) -> None:
    path = picture(home, "a red fox", "-o", "kept", "--image", "start.png", "--inpaint", "mask.png", "--strength", 0.5)
    start = request_of(read_story(path)).start
    assert start is not None
    assert (start.picture.path, start.strength) == ("start.png", 0.5)
    assert start.picture.sha256
    with Image.open(home / "start.png") as begun, Image.open(path) as made:
        before, after = np.asarray(begun), np.asarray(made)
    assert np.array_equal(before[32:], after[32:])
    assert not np.array_equal(before[:32], after[:32])


def test_a_picture_is_painted_again_from_its_story_to_the_byte(home: Path) -> None:
    path = picture(home, "otterish mossish creature", "-o", "first", "--seed", 9, "--image", "start.png")
    [again] = velatura("repaint", path, "--model", "checkpoint", "-o", "second", "--json", home=home).json["images"]
    assert (home / again).read_bytes() == path.read_bytes()


def test_a_picture_of_another_program_cannot_be_repainted(home: Path) -> None:
    done = velatura("repaint", "start.png", home=home)
    assert (done.returncode, "does not tell how it was made" in done.stderr) == (1, True)


def test_masks_are_painted_in_one_batch_and_told_in_their_order(home: Path) -> None:
    done = paint(home, "otterish mossish creature", "-o", "masks", "--masks", "-n", 4, "--batch", 4, "--json").json
    assert [Path(path).stem.rpartition("-")[2] for path in done["images"]] == ["0", "1", "2", "3"]
    stories = [request_of(read_story(home / path)) for path in done["images"]]
    assert stories[0].mask == (True,) * len(done["choices"])
    assert len({story.mask for story in stories}) > 1


def test_a_preview_is_left_where_it_was_asked_for(home: Path) -> None:
    picture(home, "a red fox", "-o", "seen", "--steps", 7, "--preview", "now.png")
    with Image.open(home / "now.png") as seen:
        assert max(seen.size) <= 256


@pytest.mark.parametrize(
    ("options", "code", "sentence"),
    [
        (("--scheduler", "dpm++ 2m karas"), 1, "dpmpp_2m_karras"),
        (("--size", "70x64"), 1, "multiples of 8"),
        (("--size", "big"), 2, "WIDTHxHEIGHT"),
        (("--image", "gone.png"), 1, "gone.png"),
        (("--image", "start.png", "--inpaint", "small mask.png"), 1, "the mask is 64x32 and the picture 64x64"),
        (("--image", "checkpoint/model_index.json"), 1, "model_index.json"),
        (("--backend", "dalle"), 1, "there is no backend 'dalle'; take one of sd, sdxl"),
        (("--backend", "sdxl"), 1, "take --backend sd"),
        (("--embedding", "gone.safetensors"), 1, "gone.safetensors"),
        (("--control", "model=gone,picture=start.png"), 1, "gone"),
        (("--ip-adapter", "model=gone.safetensors,picture=start.png"), 1, "gone.safetensors"),
        (("--steps", 0), 2, "steps"),
        (("--large", "stride=64"), 1, "take the backend demofusion"),
        (("--negative", "auto"), 1, "no negative prompt is known"),
        (("--preview", "nowhere/now.png"), 1, "nowhere"),
    ],
)
def test_bad_input_is_one_sentence(home: Path, options: tuple[object, ...], code: int, sentence: str) -> None:
    done = paint(home, "a red fox", "-o", "bad", *options)
    assert done.returncode == code
    assert sentence in done.stderr
    assert "Traceback" not in done.stderr
    assert code == 2 or len([line for line in done.stderr.splitlines() if line.startswith("error: ")]) == 1
    assert not list((home / "bad").glob("*.png")) if (home / "bad").exists() else True


def test_an_unknown_checkpoint_names_the_nearest(home: Path) -> None:
    done = velatura("generate", "a fox", "--model", "dreamshapr", home=home)
    assert done.returncode == 1
    assert "did you mean dreamshaper?" in done.stderr


def test_checkpoints_are_listed_with_what_suits_them(home: Path) -> None:
    rows = {row["name"]: row for row in velatura("checkpoints", "--json", home=home).json}
    assert rows["sdxl-turbo"]["steps"] == 4
    assert rows["sdxl-turbo"]["backend"] == "sdxl-turbo"
    assert rows["dreamshaper"]["hub"] == "Lykon/dreamshaper-8"
    assert not rows["dreamshaper"]["cached"]
    shown = velatura("checkpoints", home=home, COLUMNS="80").stdout
    assert all(name in shown for name in rows)


def test_a_plan_counts_passes_before_anything_is_painted(home: Path) -> None:
    asked = ("--model", WEIGHTS / "xl", "--size", "128x128", "--steps", 50, "--guidance", 5)
    told = velatura("plan", *asked, "--no-timed", "--json", home=home).json
    assert told["samples"] == 11_300
    assert [phase["scale"] for phase in told["phases"]] == [1, 2, 3, 4]
    assert told["seconds"] is None
    shown = velatura("plan", *asked, home=home).stdout
    assert "11,300 passes of one sample" in shown
    assert "on this machine" in shown


def test_an_enlargement_says_what_it_takes_and_paints(home: Path) -> None:
    done = velatura(
        "generate", "a red house", "--model", WEIGHTS / "xl", "--backend", "demofusion", "--size", "64x64",
        "--steps", 2, "--guidance", 2, "--device", "cpu", "-o", "large", home=home,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "56 passes of one sample" in done.stdout
    with Image.open(next((home / "large").glob("*.png"))) as large:
        assert large.size == (64, 64)
