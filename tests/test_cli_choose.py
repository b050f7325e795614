"""Choosing from the command line: compose, validate, export, import, and pictures under masks."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from chat_server import chat_server, refused, said
from command_line import velatura
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from velatura.playground.sample import make_adapter, make_checkpoint

PROMPT = "a red fox in snow, stainedglass"


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A person's folder with a catalogue of a dump and of two files on this machine; nothing is embedded."""
    folder = tmp_path_factory.mktemp("person")
    catalogue = Path(__file__).with_name("sample_catalogue.json").read_text(encoding="utf-8")
    (folder / "dump.json").write_text(catalogue, encoding="utf-8")
    make_checkpoint(folder / "checkpoint")
    (folder / "loras").mkdir()
    for seed, name in enumerate(("otter", "moss")):
        path = folder / "loras" / f"{name}.safetensors"
        make_adapter(path, folder / "checkpoint", seed=seed)
        path.with_suffix(".json").write_text(json.dumps({"activation text": f"{name}ish", "preferred weight": 0.7}))
    done = velatura("index", "dump.json", "loras", "--no-embed", home=folder)
    assert done.returncode == 0, done.stderr
    return folder


def titles(composition: dict[str, list[dict[str, str]]]) -> list[str]:
    return [choice["title"] for choice in composition["choices"]]


def test_compose_tells_tasks_weights_and_how_sure(home: Path) -> None:
    told = velatura("compose", PROMPT, "--json", home=home).json
    assert set(titles(told)) == {"Red Fox", "Stained Glass"}
    assert told["tasks"] == ["red fox", "snow", "stainedglass"]
    assert all(0 < choice["sure"] <= 1 and "weight" in choice["reason"] for choice in told["choices"])
    shown = velatura("compose", PROMPT, home=home).stdout
    assert "together" in shown
    assert "share" in shown


def test_compose_takes_no_more_than_is_said(home: Path) -> None:
    assert len(titles(velatura("compose", PROMPT, "--most", 1, "--json", home=home).json)) == 1
    assert titles(velatura("compose", PROMPT, "--most", 0, "--json", home=home).json) == []
    assert titles(velatura("compose", PROMPT, "--least", 1, "--json", home=home).json) == []


def test_weights_follow_the_rule_that_is_named(home: Path) -> None:
    constant = velatura("compose", PROMPT, "--weighing", "constant", "--json", home=home, VELATURA_BUDGET="false").json
    released = velatura("compose", PROMPT, "--weighing", "stylus-released", "--json", home=home).json
    assert {choice["weight"] for choice in constant["choices"]} == {0.8}
    assert all(choice["weight"] < 0.8 for choice in released["choices"])


def test_masks_are_drawn_by_the_seed_and_differ(home: Path) -> None:
    told = velatura("compose", PROMPT, "--masks", 4, "--seed", 3, "--json", home=home).json
    assert len({tuple(mask) for mask in told["masks"]}) == 4
    assert all(len(mask) == len(told["choices"]) for mask in told["masks"])
    assert velatura("compose", PROMPT, "--masks", 4, "--seed", 3, "--json", home=home).json == told
    assert all(told["masks"][0])
    weights = [[choice["weight"] for choice in told["choices"]], *told["mask_weights"][1:]]
    assert told["mask_weights"][0] == weights[0]
    alone = {choice["title"]: choice.get("advised", choice["weight"]) for choice in told["choices"]}
    for mask, laid in zip(told["masks"], told["mask_weights"], strict=True):
        assert [weight > 0 for weight in laid] == mask
        if sum(mask) == 1:
            assert laid[mask.index(True)] == alone[titles(told)[mask.index(True)]]
    shown = velatura("compose", PROMPT, "--masks", 4, "--seed", 3, home=home).stdout
    assert shown.count("mask ") == 4
    first = ", ".join(f"{choice['title']} at {choice['weight']:g}" for choice in told["choices"])
    assert f"mask 1: {first}\n" in shown


def test_masks_follow_the_scheme_and_how_sure_the_choices_are(home: Path) -> None:
    every = velatura("compose", PROMPT, "--masks", 3, "--mask-scheme", "all", "--json", home=home).json["masks"]
    assert every == [[True, True]] * 3
    how = ("compose", PROMPT, "--masks", 200, "--mask-scheme", "power-set", "--seed", 1, "--json")
    even, weighted = velatura(*how, home=home).json, velatura(*how, "--weighted", home=home).json
    for place, choice in enumerate(weighted["choices"]):
        assert abs(sum(mask[place] for mask in weighted["masks"]) / 200 - choice["sure"]) < 0.12
        assert abs(sum(mask[place] for mask in even["masks"]) / 200 - 0.5) < 0.12


def test_prompt_is_closed_and_stressed_as_the_settings_want(home: Path) -> None:
    told = velatura(
        "compose", PROMPT, "--json", home=home, VELATURA_DEBIAS="realistic, high quality", VELATURA_EMPHASIS="1.1"
    ).json
    assert (told["suffix"], told["emphasis"]) == ("realistic, high quality", 1.1)


def test_language_model_chooses_by_numbers_and_its_tokens_are_told(home: Path) -> None:
    answer = {
        "tasks": [{"words": "red fox", "adapters": [{"number": 1, "reason": "a fox", "sure": 90}]}],
        "refused": [],
    }
    with chat_server(said(json.dumps(answer))) as script:
        environment = {"VELATURA_LLM": "stand-in", "VELATURA_LLM_URL": script.url, "VELATURA_PRICE_READ": "1000"}
        told = velatura("compose", PROMPT, "--composer", "llm", "--json", home=home, **environment).json
        shown = velatura("compose", PROMPT, "--composer", "llm", home=home, **environment).stdout
    assert told["composer"].startswith("llm")
    assert [choice["span"] for choice in told["choices"]] == ["red fox"]
    assert told["usage"] == {"calls": 1, "read": 700, "cached": 512, "written": 20}
    assert "700 tokens read (512 of them cached), 20 written, cost 0.7000" in shown


def test_language_model_that_fails_leaves_it_to_the_built_in_composer(home: Path) -> None:
    with chat_server(refused(400, "no")) as script:
        environment = {"VELATURA_LLM": "stand-in", "VELATURA_LLM_URL": script.url}
        told = velatura("compose", PROMPT, "--composer", "llm", "--json", home=home, **environment).json
        shown = velatura("compose", PROMPT, "--composer", "llm", home=home, **environment).stdout
    assert set(titles(told)) == {"Red Fox", "Stained Glass"}
    assert "chose instead" in told["notes"][0]
    assert "chose instead" in shown


def test_language_model_without_a_name_is_one_sentence(home: Path) -> None:
    done = velatura("compose", PROMPT, "--composer", "llm", home=home)
    assert done.returncode == 1
    assert done.stderr.strip().splitlines()[-1].startswith("error: no language model is named")


def test_validate_says_what_is_wrong_and_what_to_do(home: Path) -> None:
    done = velatura("validate", "Red Fox:0.8", "Red Fox:0.5", "--prompt", "a red fox", home=home)
    assert done.returncode == 1
    assert "there twice" in done.stdout
    told = velatura("validate", "Red Fox:0.8", "--prompt", "a red fox", "--json", home=home).json
    assert told["adapters"] == ["Red Fox"]
    assert not [conflict for conflict in told["conflicts"] if conflict["severity"] == "error"]


def test_validate_knows_what_a_model_cannot_wear(home: Path) -> None:
    done = velatura("validate", "Red Fox", "--family", "flux1", home=home)
    assert done.returncode == 1
    assert "cannot wear it" in done.stdout


def test_validate_reads_a_prompt_with_tags_and_a_file(home: Path) -> None:
    assert velatura("validate", "an otter <lora:otter:0.7>", "--json", home=home).json["adapters"] == ["otter"]
    (home / "set.json").write_text(velatura("compose", PROMPT, "--json", home=home).stdout, encoding="utf-8")
    told = velatura("validate", "set.json", "--json", home=home).json
    assert set(told["adapters"]) == {"Red Fox", "Stained Glass"}


def test_validate_of_what_nobody_knows_is_one_sentence(home: Path) -> None:
    done = velatura("validate", "zzzz", home=home)
    assert (done.returncode, done.stdout) == (1, "")
    assert "nothing in the catalogue answers to 'zzzz'" in done.stderr


@pytest.mark.parametrize("form", ["a1111", "comfyui", "rgthree", "lora-manager", "invokeai", "csv", "json"])
def test_what_is_exported_is_imported_again(home: Path, form: str) -> None:
    (home / "pinned.json").write_text(
        velatura("compose", "an otter <lora:otter:0.7> on moss <lora:moss:0.4>", "--json", home=home).stdout,
        encoding="utf-8",
    )
    text = velatura("export", "pinned.json", "--to", form, "--json", home=home).json["text"]
    path = home / f"out.{'csv' if form == 'csv' else 'txt' if form == 'a1111' else 'json'}"
    path.write_text(text, encoding="utf-8")
    told = velatura("import", path.name, "--json", home=home).json
    assert {(choice["title"], choice["weight"]) for choice in told["choices"]} == {("otter", 0.7), ("moss", 0.4)}


def test_export_goes_into_a_workflow_and_never_over_a_file(home: Path) -> None:
    arguments = ("export", "an otter <lora:otter:0.7>", "--to", "comfyui")
    assert velatura(*arguments, "-o", "w.json", home=home).returncode == 0
    laid = velatura(*arguments, "--into", "w.json", "--json", home=home).json
    assert laid["text"].count('"LoraLoader"') == 1
    again = velatura(*arguments, "-o", "w.json", home=home)
    assert again.returncode == 1
    assert "is there already" in again.stderr


def test_import_keeps_what_the_catalogue_does_not_know(home: Path) -> None:
    told = velatura("import", "a cat <lora:stranger:0.3>", "--json", home=home).json
    assert [(choice["title"], choice["weight"]) for choice in told["choices"]] == [("stranger", 0.3)]
    assert "“stranger” is not in the catalogue" in told["notes"]


@pytest.mark.parametrize("name", ["nowhere.json", "nowhere.png"])
def test_import_of_a_file_that_is_not_there_says_so(home: Path, name: str) -> None:
    done = velatura("import", name, home=home)
    assert done.returncode == 1
    assert f"there is no file {name}" in done.stderr


def test_pictures_under_masks_differ_and_keep_their_story(home: Path) -> None:
    done = velatura(
        "generate", "an otter <lora:otter:0.7>, moss <lora:moss:0.4>", "--model", "checkpoint", "--steps", 1, "-n", 2,
        "--masks", "-o", "painted", "--json", home=home,
    )  # fmt: skip
    paths = done.json["images"]
    assert len(paths) == 2
    stories = [velatura("show", path, "--json", home=home).json for path in paths]
    # Both are pinned, so every mask leaves them on.
    assert [story["request"]["mask"] for story in stories] == [[True, True], [True, True]]
    assert [story["seed"] for story in stories] == [0, 1]


def test_masks_of_a_seed_are_the_same_composed_and_painted(home: Path) -> None:
    made = velatura("compose", PROMPT, "--masks", 3, "--seed", 5, "--json", home=home).json
    weights = dict(zip(titles(made), ("otter", "moss"), strict=True))
    for choice in made["choices"]:  # files that are here, so that they can be painted
        choice.update(source="folder", key=f"loras/{weights[choice['title']]}.safetensors", hashes={})
    with_masks = {name: value for name, value in made.items() if name not in ("masks", "mask_weights")}
    (home / "masked.json").write_text(json.dumps(with_masks), encoding="utf-8")
    done = velatura(
        "generate", "masked.json", "--model", "checkpoint", "--steps", 1, "-n", 3, "--seed", 5, "--masks", "--force",
        "-o", "same", "--json", home=home,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    stories = [velatura("show", path, "--json", home=home).json for path in done.json["images"]]
    assert [story["request"]["mask"] for story in stories] == made["masks"]
    assert len(set(map(tuple, made["masks"]))) == 3
    for path, mask, story in zip(done.json["images"], made["masks"], stories, strict=True):
        on = [choice for choice, is_on in zip(story["request"]["composition"]["choices"], mask, strict=True) if is_on]
        told = velatura("import", path, "--json", home=home).json
        assert titles(told) == [choice["title"] for choice in on]
        assert [choice["weight"] for choice in told["choices"]] == [choice["weight"] for choice in on]
        again = velatura(
            "generate", path, "--model", "checkpoint", "--steps", 1, "--seed", story["seed"], "--force",
            "-o", f"again-{story['seed']}", "--json", home=home,
        )  # fmt: skip
        assert again.returncode == 0, again.stderr
        with Image.open(home / path) as first, Image.open(home / again.json["images"][0]) as second:
            assert second.tobytes() == first.tobytes()


@pytest.mark.parametrize("mask", [[True], [True, 1], "10", {"0": True}, 5])
def test_mask_of_a_tampered_picture_is_one_sentence(home: Path, mask: object) -> None:
    told = velatura("compose", "an otter <lora:otter:0.7>, moss <lora:moss:0.4>", "--json", home=home).json
    text = PngInfo()
    text.add_text("velatura", json.dumps({"velatura": "1", "request": {"mask": mask, "composition": told}}))
    Image.new("RGB", (8, 8)).save(home / "tampered.png", pnginfo=text)
    done = velatura("import", "tampered.png", home=home)
    assert done.returncode == 1
    assert "the mask must be a list of true or false, one for each of the 2 choices" in done.stderr
    assert "Traceback" not in done.stderr


def test_no_picture_is_painted_under_masks_where_one_is_there_already(home: Path) -> None:
    how = (
        "generate", "an otter <lora:otter:0.7>", "--model", "checkpoint", "--steps", 1, "--masks", "-o", "taken",
    )  # fmt: skip
    last = velatura(*how, "-n", 1, "--seed", 2, "--json", home=home).json["images"]
    done = velatura(*how, "-n", 3, "--seed", 0, home=home)
    assert done.returncode == 1
    assert "is there already" in done.stderr
    assert [path.name for path in (home / "taken").iterdir()] == [Path(last[0]).name]


def test_validate_of_what_names_no_adapter_is_one_sentence(home: Path) -> None:
    (home / "notes.txt").write_text("buy milk", encoding="utf-8")
    done = velatura("validate", "notes.txt", home=home)
    assert (done.returncode, done.stdout) == (1, "")
    assert "notes.txt names no adapters" in done.stderr


def test_export_reads_what_other_tools_wrote_and_paints_no_file_name(home: Path) -> None:
    made = velatura("export", "an otter <lora:otter:0.7>", "--to", "comfyui", home=home).stdout
    (home / "wf.json").write_text(made, encoding="utf-8")
    (home / "wf.comfyui").write_text(made, encoding="utf-8")
    for name in ("wf.json", "wf.comfyui"):
        assert velatura("export", name, home=home).stdout.endswith("<lora:otter:0.7>\n")
    (home / "no.json").write_text("a fox", encoding="utf-8")
    for command in ("export", "generate"):
        for name, told in (("c.jsn", "there is no file c.jsn"), ("no.json", "no.json is not JSON; write one with")):
            done = velatura(command, name, *(("--model", "checkpoint") if command == "generate" else ()), home=home)
            assert (done.returncode, done.stdout) == (1, "")
            assert told in done.stderr
    assert velatura("export", "(fox:1.2),snow", home=home).stdout.startswith("(fox:1.2),snow")


def test_embed_makes_no_catalogue_of_a_slip_of_the_pen(tmp_path: Path) -> None:
    done = velatura("embed", "--db", "typo.db", home=tmp_path)
    assert done.returncode == 1
    assert done.stderr.startswith("error: there is no catalogue at typo.db")
    assert not list(tmp_path.glob("typo*"))
