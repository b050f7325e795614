"""`eval time`, on a tiny model and on a program that loads adapters itself."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from chat_server import chat_server, said
from command_line import velatura
from run_painter import Painter
from shelf import Given, adapter

from velatura import Velatura
from velatura.errors import InputError
from velatura.painting import Painting
from velatura.playground.sample import make_adapter, make_checkpoint
from velatura.records import Filter
from velatura.settings import default_settings
from velatura.timed_stages import OWN_PROMPTS, PROMPTS, measure_stages, prompts_for

QUICK = ("--model", "checkpoint", "--steps", 1, "--size", "32x32", "--device", "cpu")


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("person")
    make_checkpoint(folder / "checkpoint")
    (folder / "loras").mkdir()
    path = folder / "loras" / "otter.safetensors"
    make_adapter(path, folder / "checkpoint", seed=1)
    path.with_suffix(".json").write_text(json.dumps({"activation text": "otterish", "preferred weight": 0.7}))
    (folder / "prompts.txt").write_text("an otterish creature\nan otterish house\na bowl of soup\n", "utf-8")
    assert velatura("index", "loras", "--no-embed", home=folder).returncode == 0
    return folder


def time(home: Path, *options: object, **environment: str):
    return velatura("eval", "time", *QUICK, *options, home=home, **environment)


def test_every_stage_is_timed_cold_and_warm_by_batch_size(home: Path) -> None:
    pytest.importorskip("matplotlib")
    told = time(
        home, "--prompts", "prompts.txt", "--batches", "2,1", "--repeats", 1, "-o", "time.svg", "--json"
    ).json  # fmt: skip
    rows = {(one["method"], one["stage"], one["batch"], one["warm"]): one for one in told["timings"]}
    counts = {key[1:]: row["n"] for key, row in rows.items() if key[0] == "velatura" and key[2] == 2}
    assert counts == {
        ("retrieve", 2, None): 3,
        ("compose", 2, None): 3,
        **{
            (stage, 2, warm): 2 for stage in ("load adapters", "lay adapters", "added in all") for warm in (True, False)
        },
        ("generate", 2, None): 2,
    }
    assert rows["base", "generate", 1, None]["n"] == 3
    assert all(0 < row["low"] <= row["median"] <= row["high"] for row in rows.values())
    cold, warm = (rows["velatura", "load adapters", 1, state]["median"] for state in (False, True))
    assert cold > 3 * warm
    assert rows["velatura", "compose", 1, None]["tokens"] is None
    assert {(one["batch"], one["warm"]) for one in told["overheads"]} == {(1, False), (1, True), (2, False), (2, True)}
    base = rows["base", "generate", 2, None]["median"]
    added = rows["velatura", "added in all", 2, True]["median"]
    [percent] = [one["percent"] for one in told["overheads"] if (one["batch"], one["warm"]) == (2, True)]
    assert percent == pytest.approx(100 * added / base)
    assert told["adapters"] == [1, 1, 0]
    assert told["notes"] == ["1 of 3 prompts got no adapter: what is added is of the others"]
    assert "load adapters" in (home / "time.svg").read_text("utf-8")


def test_the_table_tells_the_papers_figures_and_the_tokens_of_a_language_model(home: Path) -> None:
    answer = {"tasks": [], "refused": []}
    with chat_server(said(json.dumps(answer))) as script:
        done = time(
            home, "--prompts", "prompts.txt", "--batches", "1", "--repeats", 1, "--composer", "llm",
            VELATURA_LLM="stand-in", VELATURA_LLM_URL=script.url, VELATURA_PRICE_READ="1000",
        )  # fmt: skip
    assert done.returncode == 0, done.stderr
    # Once before, and for the two prompts that adapters are found for.
    assert len(script.asked) == 1 + 2
    assert "480 tokens a prompt, cost 0.4667" in done.stdout
    assert "75.6 % at batch 1" in done.stdout
    assert "3 of 3 prompts got no adapter" in done.stderr


def test_a_program_that_loads_adapters_itself_is_timed_as_far_as_it_can_be(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    painter = Painter()
    painter.generate = lambda request, count=1, watch=None: painter._painted([request] * count, watch)
    monkeypatch.setattr(Painting, "backend", painter)
    fox = adapter("fox", title="Red Fox", path="/loras/fox.safetensors", triggers=(("red fox",),))
    with Velatura(default_settings(db=str(tmp_path / "c.db"), model="m")) as opened:
        opened.store.sync(Given([fox]))
        monkeypatch.setattr(opened, "lacking_embedder", lambda: "none here")
        rounds = []
        found = measure_stages(
            opened, ["a red fox"], filter=Filter(), batches=(1, 3), repeats=2, told=lambda *at: rounds.append(at)
        )
    assert {(one.stage, one.batch, one.warm, one.n) for one in found.times} == {
        ("retrieve", None, None, 1), ("compose", None, None, 1), ("added", None, None, 2),
        ("base", 1, None, 2), ("base", 3, None, 2), ("generate", 1, None, 2), ("generate", 3, None, 2),
    }  # fmt: skip
    assert found.notes == ("colours loads adapters itself, while it generates",)
    assert rounds == [(1, 2), (2, 2)]


def test_an_adapter_that_cannot_be_laid_leaves_out_its_prompt_alone(home: Path) -> None:
    path = home / "loras" / "otter.safetensors"
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    try:
        done = time(home, "--prompts", "prompts.txt", "--batches", "1", "--repeats", 1, "--json").json
    finally:
        path.write_bytes(content)
    assert [one["prompt"] for one in done["left_out"]] == ["an otterish creature", "an otterish house"]
    stages = {one["stage"] for one in done["timings"]}
    assert {"retrieve", "compose", "generate"} <= stages
    assert "load adapters" not in stages


def test_figure_that_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    from velatura.eval.plots import Stack, stacked_figure

    figure = stacked_figure([Stack(label="base", parts=(("generate", 1.0),))], title="Seconds")
    for name in ("taken.png", "taken.svg", "gone/figure.png"):
        if name.startswith("taken"):
            (tmp_path / name).mkdir()
        with pytest.raises(InputError, match="cannot be written"):
            figure.save(tmp_path / name)


def test_what_was_measured_is_told_though_the_figure_is_lost(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("matplotlib")

    def lost(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "write_bytes", lost)
    done = time(home, "--prompts", "prompts.txt", "--limit", 1, "--batches", "1", "--repeats", 1, "-o", "lost.png")
    assert done.returncode == 1
    assert "retrieve" in done.stdout
    assert "the figure lost.png cannot be written: Permission denied" in done.stderr
    assert "Traceback" not in done.stderr


def test_prompts_suit_the_base() -> None:
    assert prompts_for("sdxl") == PROMPTS
    assert prompts_for("miniature") == OWN_PROMPTS["miniature"]


@pytest.mark.parametrize(
    ("options", "code", "sentence"),
    [
        (("--batches", "two"), 2, "whole numbers"),
        (("--batches", "0,1"), 2, "from 1 to 256"),
        (("-o", "time.gif"), 1, ".png or .svg"),
        (("-o", "folder.png"), 1, "folder.png is a folder"),
        (("-o", "nowhere/time.png"), 1, "there is no folder nowhere"),
        (("--prompts", "gone.txt"), 1, "gone.txt"),
        (("--db", "gone.db"), 1, "gone.db"),
    ],
)
def test_bad_input_is_one_sentence_before_anything_is_measured(
    home: Path, options: tuple[object, ...], code: int, sentence: str
) -> None:
    (home / "folder.png").mkdir(exist_ok=True)
    done = time(home, *options)
    assert done.returncode == code
    assert sentence in done.stderr
    assert "Traceback" not in done.stderr
