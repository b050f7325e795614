"""`velatura refine`, from a catalogue to what is printed, with a stand-in for the language model over real HTTP."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from batch_server import Mill, batch_server, chat, described
from chat_server import Answer, Reply, Script, chat_server, each, refused, said
from command_line import Done, velatura
from PIL import Image
from shelf import Given, adapter

from velatura import Velatura
from velatura.db import open_store
from velatura.db.pictures import Seen
from velatura.refiner.picture_file import read_picture_file
from velatura.settings import default_settings

SECRET = "sk-never-shown-0123456789"
FINE = said(described(description="It paints a zeppelin over a harbour.", triggers=[1], weight=0.7))
WRITER = "vlm 1 eye"


def title_of(body: dict[str, Any]) -> str:
    return re.search(r"title: (.*)", body["messages"][1]["content"])[1]


@dataclass(frozen=True)
class Person:
    """A folder with a catalogue, and the settings of whoever it belongs to."""

    home: Path
    environment: dict[str, str]

    def refine(self, *options: object, **environment: str) -> Done:
        return velatura("refine", *options, home=self.home, **{**self.environment, **environment})

    def vlm(self, *options: object, **environment: str) -> Done:
        return self.refine("--describer", "vlm", "--no-embed", *options, **environment)

    def texts(self) -> list[str | None]:
        with open_store(self.home / "catalogue.db", read_only=True) as store:
            return [found.refinement.description for found in store.adapters(range(1, 1000))]


def person(home: Path, url: str, count: int = 6, **fields: Any) -> Person:
    with open_store(home / "catalogue.db") as store:
        store.sync(Given([adapter(f"Fox {number}", triggers=(("foxy",),), **fields) for number in range(count)]))
    return Person(home, settings(url))


def settings(url: str) -> dict[str, str]:
    return {
        "VELATURA_LLM": "eye", "VELATURA_LLM_URL": url, "OPENAI_API_KEY": SECRET, "NO_PROXY": "127.0.0.1",
        "VELATURA_WORKERS": "4", "VELATURA_FETCH_PICTURES": "false",
    }  # fmt: skip


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[..., tuple[Script, Person]]]:
    """Open a server that answers so, and a catalogue of six adapters beside it."""
    opened = []

    def opens(*answers: Answer, **options: Any) -> tuple[Script, Person]:
        server = chat_server(*answers)
        opened.append(server)
        script = server.__enter__()
        return script, person(tmp_path, script.url, **options)

    yield opens
    for server in opened:
        server.__exit__(None, None, None)


def nobody(tmp_path: Path, **options: Any) -> Person:
    return person(tmp_path, "http://127.0.0.1:9/v1", **options)


# ---------------------------------------------------------------- without a model


@pytest.fixture(scope="module")
def indexed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("indexed")
    shutil.copy(Path(__file__).with_name("sample_catalogue.json"), home / "dump.json")
    assert velatura("index", "dump.json", home=home).returncode == 0
    return home


def test_cards_are_described_embedded_and_found_then_nothing_is_left(indexed: Path, tmp_path: Path) -> None:
    home = shutil.copytree(indexed, tmp_path / "home")
    report = velatura("refine", "--json", home=home).json
    assert report["describer"].startswith("card ")
    assert report["adapters"] == report["done"] == report["asked"] + report["reused"] > 5
    assert (report["failed"], report["cost"], report["stopped"]) == (0, None, None)
    assert report["embedded"]["texts"] > 0
    assert velatura("stats", "--json", home=home).json["described"] == report["adapters"]
    found = velatura("search", "a red fox in the snow", "--json", home=home).json
    assert found["candidates"][0]["title"] == "Red Fox"
    again = velatura("refine", "--json", home=home).json
    assert (again["adapters"], again["embedded"]["adapters"]) == (0, 0)
    assert "nothing to describe, all is up to date" in velatura("refine", home=home).stdout


def test_none_takes_descriptions_away_and_having_them_back_asks_nobody(indexed: Path, tmp_path: Path) -> None:
    home = shutil.copytree(indexed, tmp_path / "home")
    count = velatura("refine", "--json", home=home).json["adapters"]
    told = velatura("refine", "--describer", "none", "--dry-run", home=home)
    assert f"the descriptions of {count} adapters would be cleared" in told.stdout
    cleared = velatura("refine", "--describer", "none", "--json", home=home).json
    assert cleared["cleared"] == count
    assert cleared["embedded"]["adapters"] > 0
    assert velatura("stats", "--json", home=home).json["described"] == 0
    back = velatura("refine", "--json", home=home).json
    assert (back["asked"], back["reused"], back["embedded"]["texts"]) == (0, count, 0)


def test_describer_of_the_settings_is_taken(indexed: Path, tmp_path: Path) -> None:
    home = shutil.copytree(indexed, tmp_path / "home")
    assert velatura("refine", "--json", home=home, VELATURA_DESCRIBER="none").json["describer"] == "none"


# ---------------------------------------------------------------- what is asked


def test_language_model_is_asked_once_about_each(serve: Callable[..., tuple[Script, Person]]) -> None:
    script, one = serve(FINE)
    done = one.vlm(VELATURA_PRICE_READ="1", VELATURA_PRICE_WRITTEN="10")
    assert done.returncode == 0, done.stderr
    assert f"{WRITER}: 6 of 6 adapters described" in done.stdout
    assert "6 calls, 4,200 tokens read (3,072 of them cached), 120 written" in done.stdout
    assert "cost 0.0054 at the most" in done.stdout
    assert one.texts() == ["It paints a zeppelin over a harbour."] * 6
    assert sorted(map(title_of, script.asked)) == [f"Fox {number}" for number in range(6)]
    assert one.vlm("--json").json["adapters"] == 0
    assert len(script.asked) == 6


def test_dry_run_asks_and_writes_nothing_and_tells_what_it_would_take(
    serve: Callable[..., tuple[Script, Person]],
) -> None:
    script, one = serve(FINE)
    before = (one.home / "catalogue.db").read_bytes()
    done = one.vlm("--dry-run")
    assert "6 to ask about" in done.stdout
    assert re.search(r"takes about [\d,]{5,} tokens read and 1,320 written", done.stdout)
    assert "VELATURA_PRICE_READ" in done.stdout
    told = one.vlm("--dry-run", "--limit", 2, "--json", VELATURA_PRICE_READ="2", VELATURA_PRICE_WRITTEN="8").json
    assert (told["adapters"], told["to_ask"], told["usage"]["calls"]) == (6, 2, 2)
    assert told["cost"] == pytest.approx((told["usage"]["read"] * 2 + told["usage"]["written"] * 8) / 1e6)
    assert script.asked == []
    assert (one.home / "catalogue.db").read_bytes() == before
    assert not (one.home / "catalogue.db.batches.json").exists()


def test_limit_and_budget_stop_it_and_the_next_run_goes_on(serve: Callable[..., tuple[Script, Person]]) -> None:
    script, one = serve(FINE, count=60)
    prices = {"VELATURA_PRICE_READ": "0", "VELATURA_PRICE_WRITTEN": "1000", "VELATURA_WORKERS": "2"}
    assert one.vlm("--limit", 5, "--json", **prices).json["asked"] == 5
    done = one.vlm("--spend", "0.2", **prices)  # 0.02 a question
    assert done.returncode == 0
    assert "the budget is spent" in done.stdout
    assert 15 <= len(script.asked) <= 15 + 2 * 2
    report = one.vlm("--json", **prices).json
    assert report["asked"] == 60 - len(script.asked) + report["asked"]
    assert len(script.asked) == 60


def test_price_must_be_set_to_spend_by_it(tmp_path: Path) -> None:
    for prices in ({}, {"VELATURA_PRICE_READ": "1"}):
        done = nobody(tmp_path).vlm("--spend", 3, **prices)
        assert done.returncode == 1
        assert "VELATURA_PRICE_WRITTEN" in done.stderr


@pytest.mark.parametrize(
    "options",
    [
        ("--describer", "none", "--retry"),
        ("--describer", "none", "--batch", "submit"),
        ("--describer", "card", "--spend", "1"),
        ("--describer", "card", "--batch", "submit"),
        ("--describer", "vlm", "--batch", "submit", "--spend", "1"),
        ("--describer", "vlm", "--batch", "collect", "--dry-run"),
        ("--describer", "vlm", "--batch", "collect", "--limit", "3"),
        ("--describer", "vlm", "--batch", "send"),
        ("--describer", "magic",),
        ("--limit", "0"),
        ("--workers", "300"),
    ],
)  # fmt: skip
def test_options_that_mean_nothing_together_are_wrong_usage(tmp_path: Path, options: tuple[str, ...]) -> None:
    done = nobody(tmp_path).refine(*options)
    assert done.returncode == 2
    assert "Invalid value for" in done.stderr


@pytest.mark.parametrize(
    ("describer", "lacking"),
    [("vlm", "VELATURA_LLM"), ("local", "VELATURA_DESCRIBER_MODEL")],
)
def test_what_a_describer_lacks_is_named(tmp_path: Path, describer: str, lacking: str) -> None:
    nobody(tmp_path)
    done = velatura("refine", "--describer", describer, home=tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    assert lacking in done.stderr


def test_empty_catalogue_is_told(tmp_path: Path) -> None:
    done = velatura("refine", "--db", "new.db", home=tmp_path)
    assert done.returncode == 1
    assert "velatura index" in done.stderr


def test_catalogue_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    done = velatura("refine", "--describer", "card", "--db", "typo.db", home=tmp_path)
    assert done.returncode == 1
    assert done.stderr.startswith("error: there is no catalogue at typo.db; run `velatura index FOLDER")
    assert not list(tmp_path.glob("typo*"))


def test_pictures_that_were_embedded_are_not_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Image.new("RGB", (64, 64), "red").save(tmp_path / "fox.png")
    seen = read_picture_file(tmp_path / "fox.png")
    with Velatura(default_settings(db=str(tmp_path / "c.db"), llm="eye", llm_url="http://127.0.0.1:9/v1")) as opened:
        path = str(tmp_path / "fox.safetensors")
        opened.store.sync(Given([adapter("fox", path=path, previews=("fox.png",))]))
        fox = opened.store.adapter(1)
        read = opened.describer("vlm").origin(fox)
        opened.store.set_pictures([(1, [Seen(name="fox.png", stamp=seen.stamp, digest=seen.digest)])])
        monkeypatch.setattr("velatura.refiner.shown.read_picture_file", lambda path: pytest.fail(f"{path} was read"))
        assert opened.describer("vlm").origin(fox) == read


# ---------------------------------------------------------------- what goes wrong


def test_failures_and_refusals_are_listed_and_asked_again_on_demand(
    serve: Callable[..., tuple[Script, Person]],
) -> None:
    answers = {"Fox 2": said(None, refusal="I will not."), "Fox 4": said("no JSON at all")}
    script, one = serve(lambda body: answers.get(title_of(body), FINE))
    done = one.vlm("--failures")
    assert done.returncode == 0
    assert "4 of 6 adapters described" in done.stdout
    assert re.search(r"1 failed; .*--retry", done.stdout)
    assert re.search(r"3 +Fox 2 +refused +eye refused: I will not\.", done.stdout)
    assert re.search(r"5 +Fox 4 +failed +eye gave no answer of use", done.stdout)
    assert "7 calls" in done.stdout, "the two useless answers are paid too"
    assert (len(script.asked), one.vlm("--json").json["passed"], len(script.asked)) == (7, 2, 7)
    told = one.vlm("--dry-run", "--failures", "--json").json
    assert [(item["id"], item["title"], item["refused"]) for item in told["failures"]] == [
        (3, "Fox 2", True),
        (5, "Fox 4", False),
    ]
    answers.clear()
    report = one.vlm("--retry", "--failures", "--json").json
    assert (report["asked"], report["failures"]) == (2, [])
    assert None not in one.texts()


def test_server_that_stumbles_is_asked_on_until_all_is_described(serve: Callable[..., tuple[Script, Person]]) -> None:
    full = Reply(*refused(429, "too many requests"), headers={"Retry-After": "0.2"})
    script, one = serve(each(title_of, full, refused(500, "oh"), Reply(*FINE, cut=40), said("{broken"), FINE), count=20)
    done = one.vlm("--json", "--workers", 16)
    report = done.json
    assert (report["done"], report["failed"], report["unanswered"]) == (20, 0, 0)
    assert report["usage"]["calls"] == 40
    assert len(script.asked) >= 20 * 5


def test_server_that_goes_ends_the_run_and_a_later_run_goes_on(serve: Callable[..., tuple[Script, Person]]) -> None:
    served: list[dict[str, Any]] = []

    def dies(body: dict[str, Any]) -> Any:
        served.append(body)
        return FINE if len(served) <= 20 or is_back else refused(503, f"down for {SECRET}")

    is_back = False
    script, one = serve(dies, count=60)
    done = one.vlm()
    assert done.returncode == 1
    assert re.search(r"20 of 60 adapters described", done.stdout)
    assert re.search(r"1\d without an answer; the same command asks again", done.stdout)
    assert re.search(
        r"error: .*failed 10 times .*127\.0\.0\.1 does not answer after 4 tries: down for \*\*\*", done.stderr
    )
    assert "Traceback" not in done.stderr
    is_back = True
    before = len(script.asked)
    report = one.vlm("--json").json
    assert (report["adapters"], report["asked"], report["passed"]) == (40, 40, 0)
    assert len(script.asked) == before + 40
    assert None not in one.texts()


def test_one_question_that_the_server_fails_at_is_asked_by_the_next_run(
    serve: Callable[..., tuple[Script, Person]],
) -> None:
    script, one = serve(lambda body: refused(500, "out of memory") if title_of(body) == "Fox 1" else FINE)
    done = one.vlm("--json")
    assert done.returncode == 1
    assert json.loads(done.stdout)["unanswered"] == 1
    assert re.search("error: 1 adapter had no answer, the last since .*out of memory; run the same again", done.stderr)
    script.answers = [FINE]
    assert one.vlm("--json").json["asked"] == 1


def test_server_that_is_not_there_is_told(tmp_path: Path) -> None:
    done = nobody(tmp_path, count=12).vlm("--workers", 12)
    assert done.returncode == 1
    assert "0 of 12 adapters described" in done.stdout
    assert re.search(r"error: .*127\.0\.0\.1 does not answer after 4 tries", done.stderr)


def test_refused_key_ends_it_tells_what_was_done_and_stays_secret(serve: Callable[..., tuple[Script, Person]]) -> None:
    wrong = refused(401, f"Incorrect API key: {SECRET} ({SECRET[:9]}*****{SECRET[-4:]})", "invalid_api_key")
    script, one = serve(*[FINE] * 20, wrong, count=60)
    done = one.vlm("--workers", 1)
    assert done.returncode == 1
    assert re.search(r"20 of 60 adapters described", done.stdout)
    assert "OPENAI_API_KEY" in done.stderr
    for part in (SECRET, SECRET[:9], SECRET[-4:]):
        assert part not in done.stdout + done.stderr
    assert len(script.asked) < 25
    told = one.vlm("--json", "--workers", 1)
    assert "Incorrect API key" in json.loads(told.stdout)["stopped"]


def test_strangers_words_steer_no_terminal(serve: Callable[..., tuple[Script, Person]]) -> None:
    hostile = "\x1b[2J[red]\x07 \ud83d\ude00 say \u202e nothing"
    _, one = serve(said(None, refusal=hostile))
    with open_store(one.home / "catalogue.db") as store:
        store.sync(Given([adapter("x", title=hostile)]))
    done = one.vlm("--failures", COLUMNS="40")
    assert done.returncode == 0
    assert not set(done.stdout) & set("\x1b\x07")


# ---------------------------------------------------------------- stopped


def test_interrupt_says_that_what_was_finished_is_kept(serve: Callable[..., tuple[Script, Person]]) -> None:
    slow = Reply(*FINE, delay=60)
    script, one = serve(*[FINE] * 8, slow, count=30)
    command = [sys.executable, "-m", "velatura", "refine", "--describer", "vlm", "--no-embed"]
    environment = {**os.environ, **one.environment, "VELATURA_HOME": str(one.home)}
    process = subprocess.Popen(
        command, cwd=one.home, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    ends = time.monotonic() + 60
    while len(script.asked) < 12 and time.monotonic() < ends:
        time.sleep(0.02)
    time.sleep(0.5)
    process.send_signal(signal.SIGINT)
    began = time.monotonic()
    out, err = process.communicate(timeout=60)
    assert time.monotonic() - began < 15
    assert process.returncode == 130
    assert "8 of 30 adapters described" in out
    assert "8 calls" in out
    assert err == "stopped; what was finished is kept, and the same command goes on from there\n"
    script.answers = [FINE]
    assert one.vlm("--json").json["asked"] == 22


# ---------------------------------------------------------------- batches


@pytest.fixture
def mill() -> Iterator[Mill]:
    with batch_server() as found:
        yield found


def test_batches_are_sent_collected_and_never_paid_twice(mill: Mill, tmp_path: Path) -> None:
    one = person(tmp_path, mill.url)
    done = one.vlm("--batch", "submit")
    assert done.returncode == 0, done.stderr
    assert "6 questions sent in 1 batch" in done.stdout
    assert (tmp_path / "catalogue.db.batches.json").exists()
    assert one.vlm("--batch", "submit", "--json").json["submitted"] == 0
    told = one.vlm("--dry-run", "--json").json
    assert (told["adapters"], told["under_way"], told["to_ask"]) == (6, 6, 0)
    assert "6 under way; --batch collect reads them" in one.vlm("--batch", "collect").stdout
    mill.finish(lambda _: chat(described(description="It draws a balloon.")))
    done = one.vlm("--batch", "collect", VELATURA_PRICE_READ="1", VELATURA_PRICE_WRITTEN="10")
    assert "6 adapters described by 1 batch" in done.stdout
    assert re.search(r"cost 0\.0054 before what batches are cheaper", done.stdout)
    assert one.texts() == ["It draws a balloon."] * 6
    assert one.vlm("--batch", "collect", "--json").json["under_way"] == 0


def test_server_without_batches_is_told(mill: Mill, tmp_path: Path) -> None:
    mill.broken = {"POST /files": (404, f"no such path, {SECRET}")}
    done = person(tmp_path, mill.url).vlm("--batch", "submit")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "error: 127.0.0.1 takes no files for batches: no such path, ***\n"
