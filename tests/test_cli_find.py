"""Finding from the command line: for a prompt read twice, by a trigger, and like another adapter."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from command_line import velatura

from velatura.pipeline import Velatura
from velatura.playground.sample import make_adapter, make_checkpoint


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A person's folder with a catalogue of a dump and of one file on this machine; nothing is embedded."""
    folder = tmp_path_factory.mktemp("person")
    catalogue = Path(__file__).with_name("sample_catalogue.json").read_text(encoding="utf-8")
    (folder / "dump.json").write_text(catalogue, encoding="utf-8")
    make_checkpoint(folder / "checkpoint")
    (folder / "loras").mkdir()
    make_adapter(folder / "loras" / "lone.safetensors", folder / "checkpoint", seed=1)
    done = velatura("index", "dump.json", "loras", "--no-embed", home=folder)
    assert done.returncode == 0, done.stderr
    return folder


def titles(answer: dict[str, list[dict[str, str]]]) -> list[str]:
    return [candidate["title"] for candidate in answer["candidates"]]


def test_trigger_finds_what_it_calls(home: Path) -> None:
    answer = velatura("search", "--trigger", "Red_Fox", "--json", home=home).json
    assert answer["trigger"] == "Red_Fox"
    assert titles(answer)[0] == "Red Fox"
    assert answer["candidates"][0]["matched"] == [{"by": "phrase", "text": "red fox", "score": pytest.approx(1, abs=1)}]
    assert titles(velatura("search", "--trigger", "stained", "--json", home=home).json) == ["Stained Glass"]
    assert "Red Fox" in velatura("search", "--trigger", "red f", home=home).stdout
    gated = velatura("search", "--trigger", "red fox", "--installed", home=home)
    assert "nothing found" in gated.stdout
    assert "not on this machine" in gated.stdout


@pytest.mark.parametrize("name", ["paper_cut.safetensors", "105@1051", "Paper Cut"])
def test_similar_takes_the_names_that_show_takes(home: Path, name: str) -> None:
    shown = velatura("show", name, "--json", home=home).json
    answer = velatura("similar", name, "--json", "--limit", 3, home=home).json
    assert answer["id"] == shown["id"]
    assert len(answer["candidates"]) == 3
    assert "Knitted Things" in titles(answer)
    assert "Paper Cut" not in titles(answer)
    assert all(0 <= candidate["score"] <= 1 and candidate["matched"] for candidate in answer["candidates"])


def test_similar_says_what_it_is_like_and_what_they_share(home: Path) -> None:
    done = velatura("similar", "Paper Cut", home=home)
    assert done.stdout.startswith("like ")
    assert "Paper Cut" in done.stdout.splitlines()[0]
    assert "alike" in done.stdout
    assert "tags “style craft”" in done.stdout
    assert "found by their words alone" in done.stderr
    assert titles(velatura("similar", "Lantern Light", "--json", home=home).json) == ["Night Market XL"]
    assert titles(velatura("similar", "Lantern Light", "--family", "sd1", "--json", home=home).json) == []


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        (("search", "fox", "--trigger", "fox"), 2, "--trigger"),
        (("search", "--trigger", " ,, "), 1, "no words"),
        (("similar", "nobody"), 1, "nothing in the catalogue answers"),
        (("similar", "Red Fox", "--family", "sd9"), 2, "sd9"),
        (("search", "fox", "--reranker", "nobody/nothing"), 1, "the reranker nobody/nothing is not on this machine"),
    ],
)
def test_wrong_input_is_one_sentence(home: Path, arguments: tuple[str, ...], code: int, sentence: str) -> None:
    done = velatura(*arguments, home=home)
    assert (done.returncode, done.stdout) == (code, "")
    assert sentence in done.stderr
    assert "Traceback" not in done.stderr


def test_reranker_of_the_settings_is_opened_and_of_pickles_refused(home: Path, tmp_path: Path) -> None:
    (tmp_path / "pytorch_model.bin").write_bytes(b"")
    done = velatura("search", "fox", home=home, VELATURA_RERANKER=str(tmp_path))
    assert done.returncode == 1
    assert "pickles are never opened" in done.stderr
    assert velatura("config", "--json", home=home, VELATURA_RERANKER="x").json["reranker"]["value"] == "x"


def test_python_finds_the_same(home: Path) -> None:
    with Velatura.open(db=str(home / "catalogue.db")) as opened:
        [number] = opened.find("Paper Cut")
        assert opened.similar("Paper Cut") == opened.similar(number)
        assert opened.by_trigger("papercut")[0].adapter.id == number
        plain = velatura("similar", number, "--json", home=home).json["candidates"]
        assert [found.adapter.id for found in opened.similar(number)] == [found["id"] for found in plain]


def test_filter_options_are_those_of_every_command_that_chooses(home: Path) -> None:
    """One list of options for all: what the filter knows can be asked for everywhere."""
    for command in ("search", "similar", "compose"):
        told = velatura(command, "--help", home=home).stdout
        for option in ("--family", "--whole", "--unknown-family", "--kind", "--commercial", "--safe", "--installed"):
            assert option in told, (command, option)
        for option in ("--no-real-people", "--block"):
            assert option in told, (command, option)


def test_what_is_blocked_is_never_found(home: Path) -> None:
    open_ = titles(velatura("search", "red fox", "--json", home=home).json)
    assert "Red Fox" in open_
    assert "Red Fox" not in titles(velatura("search", "red fox", "--json", "--block", "Red Fox", home=home).json)
    shown = velatura("search", "red fox", "--block", "Red Fox", home=home).stdout
    assert "blocked" in shown
    unknown = velatura("search", "red fox", "--block", "nobody at all", home=home)
    assert unknown.returncode == 1
    assert "answers to 'nobody at all'" in unknown.stderr
    (home / "settings.toml").write_text('blocked = ["Red Fox", "not in this catalogue"]\n', encoding="utf-8")
    try:
        assert "Red Fox" not in titles(velatura("search", "red fox", "--json", home=home).json)
    finally:
        (home / "settings.toml").unlink()


def test_kind_that_no_adapter_is_of_is_told(home: Path) -> None:
    done = velatura("search", "red fox", "--kind", "lorra", home=home)
    assert done.returncode == 2
    assert "lorra" in done.stderr
    assert "lora" in done.stderr


def test_methods_are_asked_for_by_name(home: Path) -> None:
    for method in ("bm25", "overlap", "random"):
        assert titles(velatura("search", "red fox", "--method", method, "--json", home=home).json), method
    refused = velatura("search", "red fox", "--method", "rerank", home=home)
    assert refused.returncode == 1
    assert "--reranker" in refused.stderr


def test_what_is_safe_is_no_more_than_the_settings_allow(home: Path) -> None:
    def left_out(*options: str) -> int:
        shown = velatura("search", "red fox", *options, home=home, VELATURA_NSFW="1").stdout
        return sum(int(line.split()[0].replace(",", "")) for line in shown.splitlines() if "left out" in line)

    assert left_out() > 0
    assert left_out("--safe") >= left_out()


@pytest.mark.parametrize("option", [("--method", "bm25"), ("--reranker", "llm")])
def test_ranking_is_not_asked_for_where_no_prompt_is_ranked(home: Path, option: tuple[str, str]) -> None:
    done = velatura("search", "--trigger", "fox", *option, home=home)
    assert done.returncode == 2
    assert "for a prompt alone" in done.stderr.replace("\n", " ")


def test_quotes_are_told_and_those_of_a_file_of_prompts_are_signs(home: Path) -> None:
    done = velatura("search", 'red fox "no such phrase"', home=home)
    assert "nothing found" in done.stdout
    assert "“no such phrase”" in done.stderr
    (home / "prompts.txt").write_text('red fox beside a sign "no such phrase"\n', encoding="utf-8")
    assert "Red Fox" in titles(velatura("search", "--prompts", "prompts.txt", home=home).json)


def test_open_catalogue_heeds_vectors_that_another_process_makes(home: Path) -> None:
    shutil.copytree(home, home / "copy", ignore=shutil.ignore_patterns("copy", "*.faiss*", "*.words"))
    db = home / "copy" / "catalogue.db"
    with Velatura.open(db=str(db)) as reader:
        assert not any(match.by == "meaning" for found in reader.search("a vixen in winter") for match in found.matched)
        with Velatura.open(db=str(db)) as writer:
            writer.embed()
        assert any(match.by == "meaning" for found in reader.search("a vixen in winter") for match in found.matched)


def test_use_that_is_asked_for_goes_before_that_of_the_settings(home: Path) -> None:
    sold = "sell"
    narrow = titles(velatura("search", "red fox", "--json", home=home, VELATURA_COMMERCIAL=sold).json)
    wide = titles(velatura("search", "red fox", "--json", "--commercial", "image", home=home).json)
    asked = velatura("search", "red fox", "--json", "--commercial", "image", home=home, VELATURA_COMMERCIAL=sold)
    assert titles(asked.json) == wide != narrow
