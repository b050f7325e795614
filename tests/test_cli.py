"""The command line as people and programs use it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from command_line import velatura

from velatura.playground.sample import make_adapter, make_checkpoint


def in_a_process(command: str, home: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "VELATURA_HOME": str(home)}
    return subprocess.run(command, shell=True, capture_output=True, text=True, cwd=home, env=environment, timeout=120)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A person's folder with a checkpoint, adapters, a dump, and a catalogue of them."""
    folder = tmp_path_factory.mktemp("person")
    make_checkpoint(folder / "checkpoint")
    (folder / "loras").mkdir()
    catalogue = Path(__file__).with_name("sample_catalogue.json").read_text(encoding="utf-8")
    (folder / "dump.json").write_text(catalogue, encoding="utf-8")
    for page in json.loads(catalogue)["items"]:
        version = page["modelVersions"][0]
        if page["type"] == "LORA" and version["baseModel"].startswith("SD 1"):
            path = folder / "loras" / version["files"][0]["name"]
            make_adapter(path, folder / "checkpoint", seed=version["id"])
            model = {name: page[name] for name in page if name != "modelVersions"}
            path.with_suffix(".civitai.info").write_text(json.dumps({**version, "modelId": page["id"], "model": model}))
    (folder / "loras" / "broken.safetensors").write_bytes(b"\xff" * 20)
    done = velatura("index", "loras", "dump.json", "--json", home=folder)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert [item["source"] for item in report["indexed"]] == ["folder", "civitai"]
    assert report["indexed"][0]["rejected"] == 1
    assert report["embedded"]["texts"] > 20
    return folder


def lines(text: str) -> list[Any]:
    return [json.loads(line) for line in text.splitlines()]


def test_search_answers_in_json(home: Path) -> None:
    done = velatura("search", "a red fox in the snow", "--json", "--limit", 3, home=home)
    [answer] = lines(done.stdout)
    assert answer["prompt"] == "a red fox in the snow"
    first = answer["candidates"][0]
    assert {"id", "source", "model_id", "version_id", "title", "score", "matched"} <= set(first)
    assert (first["model_id"], first["version_id"], first["title"]) == (102, 1021, "Red Fox")
    assert 0 < first["score"] <= 1
    assert len(answer["candidates"]) == 3


def test_file_and_page_of_one_adapter_are_one_candidate(home: Path) -> None:
    [answer] = lines(velatura("search", "red fox", "--json", home=home).stdout)
    pages = [candidate["model_id"] for candidate in answer["candidates"]]
    assert len(pages) == len(set(pages))
    assert answer["candidates"][0]["source"] == "folder"


def test_table_says_why(home: Path) -> None:
    done = velatura("search", "a red fox in the snow", home=home)
    assert "Red Fox" in done.stdout
    assert "trigger “red fox”" in done.stdout


@pytest.mark.parametrize(
    ("option", "absent"),
    [
        (("--commercial", "sell"), "Red Fox"),
        (("--safe",), "Unrated Sketches"),
        (("--family", "sd1"), "Night Market XL"),
        (("--installed",), "Night Market XL"),
    ],
)
def test_filter_leaves_out(home: Path, option: tuple[str, ...], absent: str) -> None:
    prompt = "red fox, pencil sketch, nightmarket, lanterns over the street"
    every = velatura("search", prompt, "--limit", 50, "--json", home=home).stdout
    assert absent in every
    assert absent not in velatura("search", prompt, "--limit", 50, "--json", *option, home=home).stdout


@pytest.mark.parametrize("verb", ["search", "compose"])
@pytest.mark.parametrize("form", ["text", "jsonl", "stdin"])
def test_prompts_of_a_file_are_answered_in_order(home: Path, verb: str, form: str) -> None:
    prompts = ["a red fox", "ничего такого", "stainedglass rooster", "a red fox"]
    text = "\n".join(prompts if form != "jsonl" else [json.dumps({"prompt": prompt, "n": 1}) for prompt in prompts])
    path = home / f"prompts.{'jsonl' if form == 'jsonl' else 'txt'}"
    path.write_text(text + "\n\n")
    if form == "stdin":
        done = velatura(verb, "--prompts", "-", home=home, stdin=text)
    else:
        done = velatura(verb, "--prompts", path, home=home)
    assert done.returncode == 0, done.stderr
    answers = lines(done.stdout)
    assert [answer["prompt"] for answer in answers] == prompts
    assert answers[0] == answers[3]
    key = "candidates" if verb == "search" else "choices"
    assert answers[0][key][0]["model_id"] == 102
    assert answers[2][key][0]["model_id"] == 103


def test_broken_line_is_named_and_nothing_is_printed(home: Path) -> None:
    (home / "bad.jsonl").write_text('{"prompt": "a"}\n{"prompt": 3}\n')
    done = velatura("search", "--prompts", "bad.jsonl", home=home)
    assert (done.returncode, done.stdout) == (1, "")
    assert "bad.jsonl, line 2" in done.stderr


def test_compose_picks_weighs_and_gives_reasons(home: Path) -> None:
    done = velatura("compose", "a red fox in the snow, inkwash style", "--installed", "--json", home=home)
    [composition] = lines(done.stdout)
    picked = {choice["title"]: choice for choice in composition["choices"]}
    assert {"Red Fox", "Ink Wash"} <= set(picked)
    assert picked["Ink Wash"]["span"] == "inkwash style"
    assert all(choice["reason"] and 0 < choice["weight"] <= 1 for choice in composition["choices"])
    assert all(refusal["reason"] for refusal in composition["refused"])


def test_nothing_is_picked_when_nothing_fits(home: Path) -> None:
    [composition] = lines(velatura("compose", "quarterly tax report", "--json", home=home).stdout)
    assert composition["choices"] == []


def test_pinned_adapter_survives_and_unknown_one_is_told(home: Path) -> None:
    done = velatura("compose", "tax report <lora:papercut:0.3> <lora:paper_cut:0.35> <lora:nix:1>", "--json", home=home)
    [composition] = lines(done.stdout)
    assert [(choice["title"], choice["weight"]) for choice in composition["choices"]] == [("Paper Cut", 0.35)]
    assert "nix" in {refusal["title"] for refusal in composition["refused"]}


def test_composition_is_edited_and_painted(home: Path) -> None:
    made = velatura("compose", "a red fox in the snow", "--installed", "--json", home=home)
    composition = json.loads(made.stdout)
    composition["choices"][0]["weight"] = 0.33
    (home / "fox.json").write_text(json.dumps(composition))
    how = ("--model", "checkpoint", "--steps", 2, "--seed", 5, "--count", 2, "--output", "out")
    done = velatura("generate", "fox.json", *how, "--json", home=home)
    assert done.returncode == 0, done.stderr
    images = json.loads(done.stdout)["images"]
    assert len(images) == 2
    story = velatura("show", images[0], home=home)
    assert "red_fox:0.33" in story.stdout
    assert "Lora hashes" in story.stdout
    assert json.loads(velatura("show", images[1], "--json", home=home).stdout)


def test_prompt_is_painted_at_once(home: Path) -> None:
    done = velatura("generate", "a red fox", "--model", "checkpoint", "--steps", 1, "-o", "out1", home=home)
    assert done.returncode == 0, done.stderr
    assert "Red Fox" in done.stdout
    again = velatura("generate", "a red fox", "--model", "checkpoint", "--steps", 1, "-o", "out1", home=home)
    assert again.returncode == 1
    assert "is there already" in again.stderr


def test_stats_count(home: Path) -> None:
    stats = json.loads(velatura("stats", "--json", home=home).stdout)
    assert stats["models"] == 14
    assert stats["files"] == 14 + 13
    assert stats["versions"] == 14
    assert stats["rejected"] == 2
    assert "models" in velatura("stats", home=home).stdout


def test_rejected_gives_reasons(home: Path) -> None:
    rows = json.loads(velatura("rejected", "--json", home=home).stdout)
    assert len(rows) == 2
    assert any("broken.safetensors" in row["locator"] for row in rows)
    assert any("Checkpoint" in row["reason"] for row in rows)


@pytest.mark.parametrize("name", ["red_fox.safetensors", "red_fox", "Red Fox", "102@1021", "civitai:102@1021"])
def test_show_finds_an_adapter_by(home: Path, name: str) -> None:
    done = velatura("show", name, "--json", home=home)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["title"] == "Red Fox"
    assert "red fox" in velatura("show", name, home=home).stdout


def test_duplicates_config_and_doctor_speak_json(home: Path) -> None:
    assert isinstance(json.loads(velatura("duplicates", "--json", home=home).stdout), list)
    assert json.loads(velatura("config", "--json", home=home).stdout)["steps"]["value"] is None
    findings = {row["what"]: row["state"] for row in json.loads(velatura("doctor", "--json", home=home).stdout)}
    assert findings["catalogue"] == "good"
    assert findings["sqlite"] == "good"


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        (("search", "x", "--db", "none.db"), 1, "velatura index"),
        (("index", "no-such-folder"), 1, "no-such-folder"),
        (("stats", "--db", "none.db"), 1, "no catalogue"),
        (("show", "nobody"), 1, "nothing in the catalogue answers"),
        (("generate", "a fox"), 1, "--model"),
        (("search",), 2, "--prompts"),
        (("search", "x", "--family", "sd9"), 2, "sd9"),
        (("search", "x", "--limit", "0"), 2, "--limit"),
        (("generate", "x", "--size", "big"), 2, "--size"),
        (("nonsense",), 2, "nonsense"),
    ],
)
def test_wrong_input_is_one_sentence_and_a_code(
    home: Path, arguments: tuple[str, ...], code: int, sentence: str
) -> None:
    done = velatura(*arguments, home=home)
    assert done.returncode == code
    assert sentence in done.stderr
    assert "Traceback" not in done.stderr


def test_output_can_be_cut_short(home: Path) -> None:
    done = in_a_process(f'"{sys.executable}" -m velatura stats --json | head -c 1', home)
    assert (done.stdout, done.stderr) == ("{", "")


def test_module_runs_and_errors_are_one_line(home: Path) -> None:
    done = in_a_process(f'"{sys.executable}" -m velatura stats --db none.db', home)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("error: there is no catalogue at none.db")
    assert done.stderr.count("\n") == 1


def test_pinned_adapter_is_laid_once_and_stays_within_the_filter(home: Path) -> None:
    how = ("--json", "--commercial", "sell")
    [composition] = lines(velatura("compose", "a red fox <lora:red_fox:0.9>", "--json", home=home).stdout)
    assert [(choice["model_id"], choice["weight"]) for choice in composition["choices"]] == [(102, 0.9)]
    [gated] = lines(velatura("compose", "a red fox <lora:red_fox:0.9>", *how, home=home).stdout)
    assert gated["choices"] == []
    assert "kept out by the filter" in gated["refused"][0]["reason"]


def test_number_in_a_pin_is_a_file_name_and_no_catalogue_number(home: Path) -> None:
    [composition] = lines(velatura("compose", "tea <lora:1:0.5>", "--json", home=home).stdout)
    assert composition["choices"] == []


@pytest.mark.parametrize("what", ["nosuch.json", "", " , "])
def test_what_is_no_prompt_is_not_painted(home: Path, what: str) -> None:
    done = velatura("generate", what, "--model", "checkpoint", "-o", "out2", home=home)
    assert done.returncode == 1
    assert not (home / "out2").exists()


def test_unknown_pin_is_an_error_when_painting(home: Path) -> None:
    done = velatura("generate", "a fox <lora:nosuch:1>", "--model", "checkpoint", "-o", "out2", home=home)
    assert done.returncode == 1
    assert "nosuch" in done.stderr


def test_wrong_source_is_told_before_anything_is_read(home: Path) -> None:
    done = velatura("index", "loras", "nowhere", "--db", "fresh.db", home=home)
    assert done.returncode == 1
    assert not (home / "fresh.db").exists()


def test_output_that_is_a_file_is_one_sentence(home: Path) -> None:
    (home / "file").write_text("")
    done = velatura("generate", "a red fox", "--model", "checkpoint", "--steps", 1, "-o", "file/x", home=home)
    assert done.returncode == 1
    assert "cannot be made" in done.stderr


def test_search_without_its_embedder_goes_by_words_and_says_so(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VELATURA_EMBEDDER", "nobody/nothing")
    done = velatura("search", "a red fox", "--json", home=home)
    assert done.returncode == 0
    assert "words alone" in done.stderr
    assert lines(done.stdout)[0]["candidates"][0]["model_id"] == 102


def test_half_a_character_in_a_prompt_loses_no_line(home: Path) -> None:
    (home / "odd.jsonl").write_text('{"prompt": "fox \\ud800"}\n{"prompt": "fox"}\n')
    done = velatura("search", "--prompts", "odd.jsonl", home=home)
    assert done.returncode == 0
    assert [answer["prompt"] for answer in lines(done.stdout)] == ["fox ?", "fox"]
