"""`velatura eval survey`: made, answered, collected and scored."""

from __future__ import annotations

import json
from pathlib import Path

from survey_raters import METHODS, attentive, file_of, paint, write
from typer.testing import CliRunner, Result

from velatura.commands.surveying import survey
from velatura.errors import InputError
from velatura.eval.manifest import write_manifest
from velatura.eval.survey import open_survey


def run(*arguments: object) -> Result:
    return CliRunner().invoke(survey, [str(argument) for argument in arguments], env={"COLUMNS": "200"})


def made(tmp_path: Path, *options: object) -> Result:
    manifest = write_manifest(paint(tmp_path / "run"), tmp_path / "run" / "manifest.jsonl")
    return run("make", manifest, "--methods", ",".join(METHODS[:2]), "-o", tmp_path / "s", *options)


def test_survey_goes_from_manifest_to_figures(tmp_path: Path) -> None:
    plan = json.loads(made(tmp_path, "--limit", 5, "--raters", 2, "--json").stdout)
    assert (plan["prompts"], plan["items"], len(plan["forms"])) == (5, 15, 2)
    assert Path(plan["page"]).is_file()
    opened = open_survey(tmp_path / "s")
    answer = attentive(opened, lambda task: task.methods.index(METHODS[1]))
    files = [write(tmp_path, f"{form}.json", file_of(opened, form, f"r{form}", answer)) for form in "12"]
    collected = json.loads(run("collect", tmp_path / "s", *files, tmp_path / "none.json", "--json").stdout)
    assert (collected["added"], collected["submissions"], len(collected["rejected"])) == (2, 2, 1)
    score = json.loads(run("score", tmp_path / "s", "--json").stdout)
    assert score["questions"][0]["duels"][0]["items"] == {
        "wins": 0, "ties": 0, "losses": 5, "n": 5, "score": 0.0, "net": -1.0
    }  # fmt: skip
    text = run("score", tmp_path / "s").stdout
    assert f"{METHODS[0]} against {METHODS[1]}: 0/0/10 answers won/tied/lost" in text


def test_making_says_what_goes_to_whom(tmp_path: Path) -> None:
    text = made(tmp_path, "--questions", "groups").stdout
    assert "survey.html goes to the raters" in text
    assert "keep it to yourself" in text
    assert "there are no reference pictures" in text


def test_a_file_for_a_folder_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "s").write_text("mine")
    done = made(tmp_path)
    assert isinstance(done.exception, InputError)
    assert "name a folder" in str(done.exception)


def test_unused_files_are_told(tmp_path: Path) -> None:
    made(tmp_path)
    (tmp_path / "bad.json").write_text("[bold]")
    text = run("collect", tmp_path / "s", tmp_path / "bad.json").stdout
    assert "0 forms added" in text
    assert "bad.json is not JSON" in text
