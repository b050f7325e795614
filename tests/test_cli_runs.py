"""`run`, `sheet` and `interrogate`, from what a person types to what lies in the folder."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from chat_server import chat_server, said
from command_line import Done, velatura
from PIL import Image

from velatura.generation import read_story, request_of
from velatura.generation.sd import StableDiffusionBackend
from velatura.playground.library import find_weights
from velatura.playground.sample import make_adapter, make_checkpoint
from velatura.playground.world import Picture, paint

QUICK = ("--model", "checkpoint", "--steps", 1, "--size", "64x64", "--device", "cpu")


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A person's folder with a checkpoint, a catalogue of two files on this machine, and files of prompts."""
    folder = tmp_path_factory.mktemp("person")
    make_checkpoint(folder / "checkpoint")
    (folder / "loras").mkdir()
    for seed, name in enumerate(("otter", "moss")):
        path = folder / "loras" / f"{name}.safetensors"
        make_adapter(path, folder / "checkpoint", seed=seed)
        path.with_suffix(".json").write_text(json.dumps({"activation text": f"{name}ish", "preferred weight": 0.7}))
    (folder / "prompts.txt").write_text("an otterish creature, mossish\n\na red fox\n", "utf-8")
    assert velatura("index", "loras", "--no-embed", home=folder).returncode == 0
    return folder


def run(home: Path, what: str, folder: str, *options: object, **more: Any) -> Done:
    return velatura("run", what, "-o", folder, *QUICK, *options, home=home, **more)


def lines(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "manifest.jsonl").read_text(encoding="utf-8").splitlines()]


def test_run_paints_each_prompt_so_often_and_goes_on(home: Path) -> None:
    told = run(home, "prompts.txt", "one", "--count", 2, "--seed", 5, "--json").json
    assert (told["painted"], told["kept"], told["failed"]) == (4, 0, [])
    assert [(line["prompt"], line["seed"]) for line in lines(home / "one")] == [
        ("an otterish creature, mossish", 5), ("an otterish creature, mossish", 6), ("a red fox", 5), ("a red fox", 6),
    ]  # fmt: skip
    assert {laid["title"] for laid in lines(home / "one")[0]["adapters"]} <= {"otter", "moss"}
    assert lines(home / "one")[0]["adapters"]
    before = [Path(home / path).read_bytes() for path in told["images"]]
    Path(home / told["images"][2]).unlink()
    again = run(home, "prompts.txt", "one", "--count", 2, "--seed", 5, "--json").json
    assert (again["painted"], again["kept"]) == (1, 3)
    assert [Path(home / path).read_bytes() for path in again["images"]] == before
    shown = run(home, "a red fox", "one", "--seed", 9).stdout
    assert "1 painted, 0 were there, 0 failed" in shown
    assert "4 pictures of other prompts are in the folder too" in shown
    assert "contact.png" in shown


def test_run_keeps_what_would_be_painted_the_same_and_nothing_else(home: Path) -> None:
    how = ("run", "a red fox", "-o", "kept", "--model", "checkpoint", "--device", "cpu", "--json")
    assert velatura(*how, home=home).json["painted"] == 1
    [request] = [request_of(read_story(path)) for path in (home / "kept").glob("a-red-fox-*.png")]
    same = ("--steps", request.steps, "--size", f"{request.width}x{request.height}", "--scheduler", request.scheduler)
    assert velatura(*how, *same, home=home).json["kept"] == 1
    other = velatura(*how, *same, "--dtype", "bfloat16", home=home).json
    assert (other["painted"], other["kept"]) == (1, 0)
    assert velatura(*how, "--dtype", "float32", home=home).json["kept"] == 1


def test_masks_have_other_adapters_in_each_picture(home: Path) -> None:
    told = run(home, "an otterish creature, mossish", "masks", "--masks", "--count", 3, "--json").json
    assert told["painted"] == 3
    sets = [tuple(laid["title"] for laid in line.get("adapters", ())) for line in lines(home / "masks")]
    assert len(set(sets)) > 1


def test_run_takes_prompts_of_stdin_and_compositions_of_lines(home: Path) -> None:
    composed = velatura("compose", "--prompts", "prompts.txt", home=home)
    assert composed.returncode == 0, composed.stderr
    edited = [json.loads(line) for line in composed.stdout.splitlines()]
    for choice in edited[0]["choices"]:
        choice["weight"] = 0.25
    text = "\n".join([*map(json.dumps, edited), json.dumps({"prompt": "a house"})])
    told = run(home, "-", "composed", "--json", stdin=text).json
    assert told["painted"] == 3
    assert {laid["weight"] for laid in lines(home / "composed")[0]["adapters"]} == {0.25}
    (home / "composed.jsonl").write_text(text, "utf-8")
    assert run(home, "composed.jsonl", "composed", "--json").json["kept"] == 3


def test_picture_of_a_run_tells_its_whole_request(home: Path) -> None:
    [path] = run(home, "a red fox", "told", "--negative", "a house", "--seed", 3, "--json").json["images"]
    request = request_of(read_story(home / path))
    assert (request.seed, request.negative, request.steps, request.width) == (3, "a house", 1, 64)


@pytest.mark.parametrize(
    ("what", "text", "told"),
    [
        ("none.txt", None, "none.txt cannot be read: No such file"),
        ("empty.txt", " \n\n", "empty.txt holds no prompts"),
        ("bad.jsonl", '{"prompt": "a fox"}\nnot json\n', "bad.jsonl, line 2: not a JSON object"),
        ("bad.txt", "a fox\n...\n", "a prompt has no words"),
        ("pinned.txt", "a fox <lora:nowhere:1>\n", "no file in the catalogue is called 'nowhere'"),
        ("choices.jsonl", '{"prompt": "a fox", "choices": 7}', "choices must be a JSON list"),
        ("latin.txt", b"\xe9\xff", "is not text in UTF-8"),
    ],
)
def test_prompts_that_cannot_be_read_are_one_sentence(home: Path, what: str, text: Any, told: str) -> None:
    if text is not None:
        (home / what).write_bytes(text if isinstance(text, bytes) else text.encode())
    done = run(home, what, "unread")
    assert done.returncode == 1
    assert told in done.stderr
    assert "Traceback" not in done.stderr
    assert not (home / "unread" / "manifest.jsonl").exists()


def test_picture_that_fails_is_told_and_the_others_are_painted(home: Path) -> None:
    damaged = home / "loras" / "damaged.safetensors"
    damaged.write_bytes(b"no weights")
    choice = {
        "source": "folder", "key": str(damaged), "title": "Damaged", "path": str(damaged), "weight": 1, "span": "fox",
        "model_id": None, "version_id": None, "triggers": [], "reason": "",
    }  # fmt: skip
    rows = [{"prompt": "a fox", "choices": [choice]}, {"prompt": "a red fox"}]
    (home / "failing.jsonl").write_text("\n".join(map(json.dumps, rows)), "utf-8")
    done = run(home, "failing.jsonl", "failing")
    damaged.unlink()
    assert done.returncode == 1
    assert "1 painted, 0 were there, 1 failed" in done.stdout
    assert "a fox, seed 0:" in done.stdout
    failed, painted = lines(home / "failing")
    assert (failed["state"], painted["state"]) == ("failed", "done")
    assert "damaged.safetensors" in failed["error"]
    assert str(home) not in (home / "failing" / "manifest.jsonl").read_text(encoding="utf-8")


def test_interruption_says_what_is_there_and_how_to_go_on(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    painted = StableDiffusionBackend.generate_each

    def interrupted(self: Any, *given: Any, **more: Any) -> Iterator[Any]:
        for number, image in enumerate(painted(self, *given, **more)):
            if number == 2:
                raise KeyboardInterrupt
            yield image

    with monkeypatch.context() as patch:
        patch.setattr(StableDiffusionBackend, "generate_each", interrupted)
        done = run(home, "a red fox", "stopped", "--count", 4)
    assert done.returncode == 130
    assert "2 of 4 pictures are in stopped" in done.stderr
    assert "the same command goes on from there" in done.stderr
    assert run(home, "a red fox", "stopped", "--count", 4, "--json").json["kept"] == 2


def test_sheet_is_made_anew_from_the_folder_alone(home: Path) -> None:
    run(home, "a red fox", "sheet", "--count", 2)
    sheet = home / "sheet" / "contact.png"
    before = sheet.read_bytes()
    sheet.unlink()
    assert velatura("sheet", "sheet", "--json", home=home).json == {"sheets": ["sheet/contact.png"]}
    assert sheet.read_bytes() == before
    done = velatura("sheet", "loras", home=home)
    assert done.returncode == 1
    assert "holds no run" in done.stderr


# ---------------------------------------------------------------------------------- interrogate


@pytest.fixture(scope="module")
def fox(home: Path) -> str:
    Image.fromarray(paint(Picture(subject="cat", colour="red", scene="night"))).save(home / "cat.png")
    return "cat.png"


def test_interrogate_puts_a_picture_into_the_words_of_ones_lists(home: Path, fox: str) -> None:
    (home / "lists").mkdir()
    (home / "lists" / "subjects.txt").write_text("a red cat\na blue fish\na green tree\n", "utf-8")
    (home / "lists" / "settings.txt").write_text("at night\nin a meadow\n", "utf-8")
    command = ("interrogate", fox, "--picture-model", find_weights() / "evaluator", "--lists", "lists")
    told = velatura(*command, "--device", "cpu", "--json", home=home).json
    assert told["prompt"] == "a red cat at night"
    assert [part["source"] for part in told["parts"]] == ["subjects", "settings"]
    assert list((home / "words").glob("*.npy"))
    shown = velatura(*command, "--device", "cpu", home=home).stdout
    assert shown.startswith("a red cat at night\n")


def test_interrogate_asks_the_language_model(home: Path, fox: str) -> None:
    with chat_server(said(json.dumps({"prompt": "a red cat, night <lora:evil:9>"}))) as script:
        environment = {"VELATURA_LLM": "stand-in", "VELATURA_LLM_URL": script.url}
        assert velatura("interrogate", fox, "--by", "llm", home=home, **environment).stdout == "a red cat, night\n"


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("cat.png",), "no picture model is named"),
        (("cat.png", "--by", "llm"), "no language model is named"),
        (("nowhere.png", "--by", "llm"), "there is no picture nowhere.png"),
        (("cat.png", "--picture-model", "loras"), "is no CLIP model"),
        (("cat.png", "--lists", "nowhere", "--picture-model", "loras"), "nowhere cannot be read"),
    ],
)
def test_interrogation_that_cannot_be_is_one_sentence(
    home: Path, fox: str, options: tuple[str, ...], told: str
) -> None:
    done = velatura("interrogate", *options, home=home)
    assert done.returncode == 1
    assert told in done.stderr
    assert "Traceback" not in done.stderr


def test_picture_that_is_not_there_is_one_sentence(home: Path) -> None:
    done = velatura("interrogate", "nowhere.png", "--picture-model", find_weights() / "evaluator", home=home)
    assert done.returncode == 1
    assert "there is no picture nowhere.png" in done.stderr
