"""Judging from the command line: a table whose doubts stand below it, JSON, and what cannot be."""

from __future__ import annotations

import base64
import io
import json
from pathlib import Path
from typing import Any

import pytest
from chat_server import chat_server, said
from command_line import Done, velatura
from judges import Colours, paint
from PIL import Image

from velatura.eval.judge import Transcripts
from velatura.eval.judge.records import Answer
from velatura.eval.manifest import write_manifest


def winner(body: dict[str, Any]) -> tuple[int, Any]:
    """Name the brighter picture."""
    urls = [part["image_url"]["url"] for part in body["messages"][1]["content"] if part["type"] == "image_url"]
    opened = [Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2]))) for url in urls]
    light = [picture.getpixel((0, 0))[0] for picture in opened]
    return answer("first" if light[0] > light[1] else "second")


def answer(choice: str) -> tuple[int, Any]:
    return said(json.dumps({"reason": "so", "first": 1, "second": 1, "winner": choice}))


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A person's folder with a manifest of two methods."""
    folder = tmp_path_factory.mktemp("person")
    write_manifest(paint(folder, 12, each=2, win=0.9), folder / "samples.jsonl")
    return folder


def judge(home: Path, *arguments: object, url: str = "", **environment: str) -> Done:
    methods = ("--of", "stylus", "--against", "base")
    named = {"VELATURA_LLM": "gpt-4o", "VELATURA_LLM_URL": url} if url else {}
    return velatura("eval", "judge", "samples.jsonl", *methods, *arguments, home=home, **named, **environment)


def test_verdicts_of_all_criteria_are_shown_and_kept(home: Path) -> None:
    prices = {"VELATURA_PRICE_READ": "10", "VELATURA_PRICE_WRITTEN": "30"}
    with chat_server(winner) as server:
        done = judge(home, url=server.url, **prices)
        assert done.returncode == 0, done.stderr
        assert len(server.asked) == 2 * 3 * 12
        again = judge(home, "--json", url=server.url, **prices).json
        assert len(server.asked) == 2 * 3 * 12
    for words in ("quality", "alignment", "diversity", "11 / 0 / 1", "same when swapped", "stylus @ 6 wins"):
        assert words in done.stdout
    assert "50,400 tokens read" in done.stdout
    assert "cost 0.5472" in done.stdout
    assert (again["asked"], again["kept"], again["cost"]) == (0, 72, 0)
    (first, *_) = again["verdicts"]
    assert (first["criterion"], first["wins"], first["prompts"]["win"]) == ("quality", "of", 11)
    assert first["p_holm"] == pytest.approx(3 * first["p"])
    trial = again["trials"][0]
    assert {told["first"] for told in trial["answers"]} == {"of", "against"}
    assert (home / "judge.jsonl").is_file()
    replayed = judge(home, "--most-calls", 0, "--json").json
    assert replayed["verdicts"] == again["verdicts"]


def test_judge_that_goes_by_position_is_exposed(home: Path, tmp_path: Path) -> None:
    with chat_server(answer("first")) as server:
        options = ("--criteria", "quality,", "--transcripts", tmp_path / "other.jsonl", "--made-with", "gpt-4-turbo")
        done = judge(home, *options, url=server.url)
    assert "not to be believed" in done.stdout
    assert "answers by position" in done.stdout
    assert "both by OpenAI" in done.stdout
    assert "wins against" not in done.stdout
    assert "a coin's; it goes by position" in " ".join(done.stdout.split())


def test_limits_are_told(home: Path, tmp_path: Path) -> None:
    with chat_server(winner) as server:
        options = ("--transcripts", tmp_path / "t.jsonl", "--limit", 5, "--most-calls", 9, "--seed", 3)
        done = judge(home, *options, "--json", url=server.url).json
    assert len(server.asked) == 8
    assert len(done["trials"]) == 4
    assert len(done["skipped"]) == 11
    assert "11 of 15 pairs were not judged: the limit of 9 calls" in done["notes"]
    assert done["seed"] == 3


def test_what_people_say_is_set_beside_it(home: Path, tmp_path: Path) -> None:
    rows = [f"p{number},quality,{'stylus' if number < 8 else 'base'}" for number in range(12)]
    (tmp_path / "people.csv").write_text("\n".join(["prompt_id,criterion,winner", *rows]))
    with chat_server(winner) as server:
        options = ("--transcripts", tmp_path / "t.jsonl", "--criteria", "quality", "--people", tmp_path / "people.csv")
        done = judge(home, *options, url=server.url)
    assert "0.31 over 12" in done.stdout


def test_metric_judges_without_network_and_is_called_one(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[tuple[str, dict[str, object]]] = []

    def clip(model: str, **options: object) -> Colours:
        opened.append((model, options))
        return Colours()

    monkeypatch.setattr("velatura.eval.extract.clip.Clip", clip)
    options = ("--by", "clip", "--picture-model", "a-clip", "--transcripts", tmp_path / "t.jsonl")
    done = judge(home, *options)
    assert done.returncode == 0, done.stderr
    assert "by clip metric 1: colours" in done.stdout
    assert "CLIP is a metric, not a judge" in done.stdout
    assert "refuses to judge 12 of 12 pairs" in done.stdout
    assert opened == [("a-clip", {"device": "cpu", "local_files_only": False})]
    told = judge(home, *options, "--json").json
    assert (told["asked"], told["kept"]) == (0, 72)
    found = {verdict["criterion"]: verdict for verdict in told["verdicts"]}
    assert found["alignment"]["consistency"]["value"] == 1
    assert found["quality"]["pairs"]["refused"] == 12
    assert found["quality"]["hollow"]


def test_people_who_say_otherwise_leave_no_winner(home: Path, tmp_path: Path) -> None:
    rows = [f"p{number},quality,base" for number in range(11)]
    (tmp_path / "people.csv").write_text("\n".join(["prompt_id,criterion,winner", *rows]))
    with chat_server(winner) as server:
        options = ("--transcripts", tmp_path / "t.jsonl", "--criteria", "quality", "--people", tmp_path / "people.csv")
        done = judge(home, *options, url=server.url)
    assert "quality: not to be believed: people say otherwise" in done.stdout


def test_transcripts_of_a_model_on_a_server_are_replayed_by_the_models_name(home: Path, tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    for host in ("OpenAI", "127.0.0.1"):
        Transcripts(path).keep(host, f"llm 1: gpt-4o at {host}", "quality", "", Answer(choice="tie"))
        done = judge(home, "--transcripts", path, "--most-calls", 0, url="http://127.0.0.1:9")
        assert (done.returncode == 0) is (host == "OpenAI")
    assert "of llm 1: gpt-4o at 127.0.0.1, llm 1: gpt-4o at OpenAI" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ((), "set VELATURA_LLM"),
        (("--by", "clip"), "give --picture-model"),
        (("--most-calls", 0, "--transcripts", "nothing.jsonl"), "the transcripts are of nobody"),
        (("--guidance", 3, "--by", "clip"), "no pictures at guidance 3; name one with --guidance, of 6"),
        (("--people", "nowhere.csv"), "nowhere.csv cannot be read"),
        (("--transcripts", "samples.jsonl"), "holds no transcripts of a judge"),
    ],
)
def test_what_cannot_be_is_one_sentence(home: Path, arguments: tuple[object, ...], told: str) -> None:
    done = judge(home, *arguments)
    assert done.returncode == 1
    assert done.stderr.startswith("error: ")
    assert told in done.stderr
    assert "Traceback" not in done.stderr


def test_unknown_criterion_is_wrong_usage(home: Path) -> None:
    done = judge(home, "--criteria", "quality,taste")
    assert done.returncode == 2
    assert "'taste' is none of quality, alignment, diversity" in done.stderr
