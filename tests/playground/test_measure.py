"""The measure asks for everything, paints nothing twice, and its figures mean what they are called."""

from __future__ import annotations

import json
import math
import random
import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import load_file, save_file

from velatura.errors import InputError
from velatura.pipeline import Velatura
from velatura.playground.cards import read_truth
from velatura.playground.measure import figures as figures_of
from velatura.playground.measure import measure, prompts, run, sheets, speed, text_of, worlds, write_sheet
from velatura.playground.measure.cells import Cells, Painted
from velatura.playground.measure.conditions import Shelf, choose, servable
from velatura.playground.measure.evaluator import Evaluator, clip_scores
from velatura.playground.measure.frechet import Distance, Reference, gain_share, quotient
from velatura.playground.measure.intervals import mean_over_prompts, ratio_over_prompts, share
from velatura.playground.measure.prompts import KINDS, Ask, every_ask
from velatura.playground.measure.scores import Scored
from velatura.playground.sample import make_adapter, make_checkpoint
from velatura.playground.world import (
    COLOURS,
    NEW_SCENES,
    NEW_STYLES,
    NEW_SUBJECTS,
    SCENES,
    STYLES,
    SUBJECTS,
    Picture,
    captions,
)
from velatura.records import AdapterRecord, Choice, Composition
from velatura.words import words

ADAPTERS = ("heart", "cat", "sketch_style", "neon_style", "robot_overtrained")
"""Trained for these tests: one subject and one style that can be measured, each with another of its kind."""


class HashedWords:
    """Embeds a text as the words that it holds, which takes no time."""

    model, revision = "hashed words", "1"

    def embed(self, texts: list[str]) -> np.ndarray:
        rows = np.full((len(texts), 256), 1e-3, np.float32)
        for row, text in zip(rows, texts, strict=True):
            for word in words(text):
                row[crc32(word.encode()) % 256] += 1
        return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def save_evaluator(folder: Path, tokenizer: Path) -> None:
    """Write an evaluator as the trainer does, with random weights."""
    import torch
    from safetensors.torch import save_file
    from transformers import CLIPConfig, CLIPModel

    shutil.copytree(tokenizer, folder)
    size = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 1}
    vocabulary = len(json.loads((folder / "vocab.json").read_text()))
    text = {**size, "vocab_size": vocabulary, "eos_token_id": vocabulary - 1}
    vision = {**size, "image_size": 32, "patch_size": 8}
    torch.manual_seed(0)
    CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=8)).save_pretrained(folder)
    names = {"subject": SUBJECTS, "colour": COLOURS, "scene": SCENES, "style": STYLES}
    heads = {f"{part}.weight": torch.randn(len(own), 8) for part, own in names.items()}
    heads |= {f"{part}.bias": torch.zeros(len(own)) for part, own in names.items()}
    save_file(heads, folder / "heads.safetensors", metadata={part: ",".join(own) for part, own in names.items()})


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("weights")
    base = make_checkpoint(folder / "base", text=128)
    (folder / "loras").mkdir()
    for number, name in enumerate(ADAPTERS):
        make_adapter(folder / "loras" / f"{name}.safetensors", base, seed=number)
    save_evaluator(folder / "evaluator", base / "tokenizer")
    return folder


@pytest.fixture(scope="module")
def small() -> Iterator[None]:
    """Few prompts, few pictures, one step, and an embedder that costs nothing."""
    with pytest.MonkeyPatch.context() as patch:
        for module, name, value in (
            (run, "STEPS", 1),
            (run, "GUIDANCE", 1.0),
            (run, "COUNT", 2),
            (sheets, "COUNT", 2),
            (speed, "_BATCHES", 1),
            (worlds, "_SHOWN", 20),
            (worlds, "_EACH_STYLE", 1),
        ):
            patch.setattr(module, name, value)
        patch.setattr(Velatura, "embedder", HashedWords())
        for kind, rounds in {"subject": 1, "style": 1, "pair": 1, "scene": 1, "none": 2}.items():
            patch.setitem(prompts.ROUNDS, kind, rounds)
        yield


@pytest.fixture(scope="module")
def output(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("measured")


@pytest.fixture(scope="module")
def measured(weights: Path, output: Path, small: None) -> dict[str, Any]:
    return measure(weights, output)


# -------------------------------------------------------------------- prompts


def test_prompts_ask_for_everything_new_and_for_nothing_new() -> None:
    asks = every_ask()
    assert sum(bool(ask.needs) for ask in asks) >= 100
    asked = Counter(need for ask in asks for need in ask.needs)
    for part, names in (("subject", NEW_SUBJECTS), ("style", NEW_STYLES), ("scene", NEW_SCENES)):
        assert min(asked[part, name] for name in names) >= 2
    lengths = {kind: {len(ask.needs) for ask in asks if ask.kind == kind} for kind in KINDS}
    assert lengths == {"subject": {1}, "style": {1}, "pair": {2}, "scene": {1}, "none": {0}}
    assert asks == every_ask()
    assert len({ask.number for ask in asks}) == len({ask.seed for ask in asks}) == len(asks)


def test_prompts_are_in_wordings_that_nothing_was_trained_on() -> None:
    lot = random.Random(0)
    for ask in every_ask():
        assert ask.prompt not in {captions(ask.picture, lot) for _ in range(200)}


def test_quick_run_takes_some_of_each_kind() -> None:
    quick = every_ask(5)
    assert {ask.kind for ask in quick} == set(KINDS)
    assert set(quick) < set(every_ask())
    assert len({name for ask in quick for part, name in ask.needs if part == "style"}) >= 5


# -------------------------------------------------------------------- statistics


def test_interval_of_a_mean_holds_it_and_shrinks_with_more_prompts() -> None:
    numbers = np.random.default_rng(0)
    few, many = (mean_over_prompts(numbers.normal(3, 1, count)) for count in (20, 2000))
    assert few.low < 3 < few.high
    assert many.high - many.low < (few.high - few.low) / 5


def test_share_of_a_gain_counts_what_is_lost_where_nothing_could_be_gained() -> None:
    best = np.array([10.0, 10, 10, 0, 0])
    assert ratio_over_prompts(best, best).value == 1
    assert ratio_over_prompts(best - [0, 0, 0, 6, 0], best).value == pytest.approx(0.8)
    assert ratio_over_prompts(best, -best) is None


def test_share_is_wilsons() -> None:
    found = share(99, 146)
    assert (found.low, found.value, found.high) == pytest.approx((0.5986, 0.6781, 0.7485), abs=1e-4)
    assert share(0, 0) is None


def test_distance_of_two_clouds_is_the_closed_form() -> None:
    numbers = np.random.default_rng(0)
    cloud = numbers.normal(size=(4000, 3))
    cloud = (cloud - cloud.mean(0)) @ np.linalg.inv(np.linalg.cholesky(np.cov(cloud, rowvar=False))).T
    other = cloud * [1.0, 2.0, 3.0] + [1.0, 0.0, 2.0]
    prompts_of = np.repeat(np.arange(1000), 4)
    assert Reference(cloud).distance(other, prompts_of).value == pytest.approx(1 + 4 + 1 + 4, rel=1e-6)
    assert Reference(cloud).distance(cloud, prompts_of).value == pytest.approx(0, abs=1e-9)


def test_too_few_pictures_have_no_distance() -> None:
    cloud = np.random.default_rng(0).normal(size=(8, 8))
    assert Reference(cloud).distance(cloud, np.arange(8)) is None


def test_interval_of_a_distance_covers_as_often_as_it_says() -> None:
    numbers = np.random.default_rng(1)
    reference = Reference(numbers.normal(size=(20_000, 4)))
    widths = np.array([1.0, 1.5, 0.7, 1.0])
    draws = [_clustered(numbers, widths) for _ in range(200)]
    distances = [reference.distance(*draw) for draw in draws]
    centre = np.mean([distance.value for distance in distances])
    covered = np.mean([distance.figure.low < centre < distance.figure.high for distance in distances])
    assert 0.9 <= covered <= 0.995


def _clustered(numbers: np.random.Generator, widths: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Pictures whose prompts differ more than the pictures of one prompt do."""
    prompts_of = np.repeat(np.arange(100), 8)
    shared = numbers.normal(size=(100, 4))[prompts_of]
    return (0.8 * shared + 0.6 * numbers.normal(size=(800, 4))) * widths + [0.5, 0, 0, 0], prompts_of


def test_share_of_a_fall_and_quotient_go_by_the_distances() -> None:
    pulls = np.array([0.1, -0.1])
    base, ours, best = (Distance(value, pulls) for value in (10.0, 3.0, 2.0))
    assert gain_share(base, ours, best).value == pytest.approx(7 / 8)
    assert gain_share(base, best, best).plain() == {"value": 1.0, "low": 1.0, "high": 1.0}
    assert gain_share(best, ours, base) is None
    assert quotient(best, base).value == pytest.approx(0.2)


def test_clip_score_is_a_hundred_cosines() -> None:
    assert clip_scores(np.float32([[2, 0], [0, 3], [1, 1]]), np.float32([5, 0])) == pytest.approx(
        [100, 0, 100 / math.sqrt(2)]
    )


# -------------------------------------------------------------------- what counts as right


def crafted(hits: dict[str, list[bool]], asks: list[Ask]) -> Scored:
    given = {part: np.array(values)[:, None] for part, values in hits.items()}
    return Scored(tuple(asks), np.zeros((len(asks), 1, 2), np.float32), np.zeros((len(asks), 1)), given)


def ask(kind: str, **parts: str) -> Ask:
    picture = Picture(**({"subject": "ball", "colour": "red", "scene": "sea"} | parts))
    return Ask(number=hash(kind) % 1000, kind=kind, prompt=kind, picture=picture)


def test_picture_is_right_when_every_needed_part_is() -> None:
    asks = [
        ask("subject", subject="cat"),
        ask("style", style="neon"),
        ask("pair", subject="cat", style="neon"),
        ask("none"),
    ]
    hits = {
        "subject": [True, False, True, True],
        "style": [False, True, False, True],
        "scene": [False, False, True, False],
    }
    assert crafted(hits, asks).right[:, 0].tolist() == [True, True, False, False]


def composed(*files: str) -> Composition:
    records = (AdapterRecord(source="folder", key=file, title=file, file_name=file) for file in files)
    return Composition(prompt="", choices=tuple(Choice(adapter=one, weight=1, span="") for one in records))


def test_picks_are_judged_by_what_the_files_really_are() -> None:
    asks = [
        Ask(number=number, kind="subject", prompt="", picture=Picture(subject=subject, colour="red", scene="sea"))
        for number, subject in enumerate(("cat", "robot", "sword", "ball", "ball"))
    ]
    picks = {
        0: composed("pixelcat_v3 (1).safetensors"),
        1: composed("robot_v1-e60.safetensors"),
        2: composed("blade_of_dawn.safetensors", "neon_tubes.safetensors"),
        3: composed("quality_booster.safetensors"),
        4: composed(),
    }
    judged = figures_of.pick_figures(asks, picks, Shelf({}, read_truth()))
    assert judged["recall"]["value"] == pytest.approx(2 / 3, abs=1e-4)
    assert judged["precision"]["value"] == pytest.approx(2 / 5)
    assert judged["no_need_without_adapter"]["value"] == 0.5
    assert judged["exact"]["value"] == pytest.approx(2 / 5)
    assert judged["troubled_files_picked"] == {"copy": 1, "noise": 1, "overtrained": 1}
    assert [(mistake["picked"], mistake["harmful"]) for mistake in judged["mistakes"]] == [
        (["robot_v1-e60.safetensors"], {"robot_v1-e60.safetensors": "overtrained"}),
        (["blade_of_dawn.safetensors", "neon_tubes.safetensors"], {}),
        (["quality_booster.safetensors"], {"quality_booster.safetensors": "noise"}),
    ]


def test_claim_is_sure_when_its_whole_interval_holds(measured: dict[str, Any]) -> None:
    wide, narrow = {"value": -1.0, "low": -3.0, "high": 1.0}, {"value": 0.1, "low": 0.05, "high": 0.2}
    crafted = {"clip_wrong_less_base": wide, "fid_of_oracle_over_base": narrow}
    crafted |= {"gain_of_oracle": 0.9, "gain_of_oracle_interval": [0.8, 0.97]}
    crafted |= {"gain_of_oracle_fid": None, "gain_of_oracle_fid_interval": None}
    judged = measured | crafted
    judged["claims"] = figures_of.claims(judged)
    lines = text_of(judged).splitlines()

    def told(name: str) -> tuple[object, object, str]:
        claim = next(claim for claim in judged["claims"] if claim["claim"].startswith(name))
        line = next(line for line in reversed(lines) if line.startswith(f"  {name}"))
        return claim["holds"], claim["sure"], " ".join(line.split(claim["claim"])[1].split())

    assert told("wrong adapters less") == (True, False, "-1 [-3, 1] < 0 holds, within error")
    assert told("FID of the right") == (True, True, "0.1 [0.05, 0.2] < 0.3333 holds")
    assert told("share of the right adapters' gain in CLIP") == (False, False, "0.9 [0.8, 0.97] >= 0.95 FAILS")
    assert told("share of the right adapters' gain in FID")[:2] == (None, None)
    assert told("share of the right adapters' gain in FID")[2] == "- >= 0.95 not measured"
    assert told("seconds a picture, 20 steps")[1] is None


def test_rows_of_the_sheet_are_as_unlike_as_can_be() -> None:
    alike = [ask("subject", subject=name) for name in ("cat", "cat", "cat", "heart", "key")]
    alike += [ask("style", style=name) for name in ("neon", "neon", "neon", "sketch", "comic")]
    pairs = (("cat", "neon"), ("crown", "glass"), ("crown", "sepia"), ("ghost", "glass"), ("ghost", "sepia"))
    pairs += (("duck", "chalkboard"), ("robot", "thermal"))
    alike += [ask("pair", subject=subject, style=style) for subject, style in pairs]
    rows = sheets._spread(alike)
    assert [row.kind for row in rows] == ["subject"] * 3 + ["style"] * 3 + ["pair"] * 4
    assert len({row.picture.subject for row in rows} - {"ball"}) == 7
    assert len({row.picture.style for row in rows} - {"flat"}) == 7


# -------------------------------------------------------------------- the whole run


def test_everything_is_measured_on_prompts_that_the_adapters_serve(measured: dict[str, Any]) -> None:
    assert measured["signature"]["prompts"] == {"subject": 1, "style": 1, "pair": 1, "scene": 0, "none": 2}
    assert set(measured["conditions"]) == {"base", "oracle", "picks", "picks_clean", "wrong", "painted"}
    for condition, groups in measured["conditions"].items():
        assert groups["subject"]["pictures"] == 2
        assert ("none" in groups) == (condition != "wrong")
    assert measured["harm"]["files_rejected"] == 0  # the rocket is not trained here, and so not broken off
    assert measured["speed"]["base"]["seconds"] > 0
    assert measured["speed"]["one_step"] is None
    assert all(claim["holds"] in (True, False, None) for claim in measured["claims"])


def test_figures_are_plain_json_and_plain_text(measured: dict[str, Any], output: Path) -> None:
    assert json.loads((output / "figures.json").read_text()) == json.loads(json.dumps(measured, allow_nan=False))
    text = text_of(measured)
    assert "wrong adapters" in text
    assert "share of the right adapters' gain" in text
    assert "comparable within this table alone" in text


def test_second_run_paints_nothing_says_the_same_and_tells_how_far_it_is(
    measured: dict[str, Any], weights: Path, output: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Cells, "_paint", lambda *_: pytest.fail("painted again"))
    told: list[tuple[str, int, int]] = []
    again = measure(weights, output, progress=lambda *step: told.append(step))
    assert again["conditions"] == measured["conditions"]
    assert again["gain_of_oracle"] == measured["gain_of_oracle"]
    stages = list(dict.fromkeys(stage for stage, _, _ in told))
    assert stages == ["catalogue", "paint", "score", "time"]
    for stage in stages:
        steps = [(done, of) for name, done, of in told if name == stage]
        assert steps[0][0] == 0
        assert steps[-1][0] == steps[-1][1]


def test_stopped_run_goes_on(
    measured: dict[str, Any], weights: Path, output: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cells = sorted((output / "cells").glob("*.npz"))
    cells[0].unlink()
    cells[1].write_bytes(b"cut off")
    painted = []
    paint = Cells._paint
    monkeypatch.setattr(Cells, "_paint", lambda self, request: painted.append(request) or paint(self, request))
    assert measure(weights, output)["conditions"] == measured["conditions"]
    assert len(painted) == 2


def test_wrong_adapters_are_of_the_same_kind_and_never_right(
    weights: Path, measured: dict[str, Any], output: Path
) -> None:
    with Velatura.open(db=str(output / "library" / "catalogue.db")) as whole:
        shelf = Shelf.of(whole)
        asks = servable(every_ask(), shelf)
        chosen = choose(asks, whole, whole)
    for one in asks:
        right = [shelf.what(choice).serves for choice in chosen["oracle"][one.number].choices]
        assert right == list(one.needs)
        assert not chosen["base"][one.number].choices
        if one.needs:
            wrong = [shelf.what(choice).serves for choice in chosen["wrong"][one.number].choices]
            assert [part for part, _ in wrong] == [part for part, _ in right]
            assert not set(wrong) & set(right)


def test_adapter_that_cannot_be_laid_gives_black_pictures_and_its_reason(weights: Path, tmp_path: Path) -> None:
    (tmp_path / "bad.safetensors").write_bytes(b"no adapter")
    cells = Cells(folder=tmp_path / "cells", model=weights / "base", steps=1, guidance=1.0, count=2)
    record = AdapterRecord(source="folder", key="bad", title="bad", path=str(tmp_path / "bad.safetensors"))
    composition = Composition(prompt="a", choices=(Choice(adapter=record, weight=1, span="a"),))
    painted = cells.paint(composition, 1)
    assert painted.failure
    assert not cells.has(composition, 1)
    assert not list(tmp_path.rglob("*.npz"))
    assert painted.pictures.shape == (2, 32, 32, 3)
    assert not painted.pictures.any()


def test_model_that_cannot_paint_ends_the_run(weights: Path, tmp_path: Path) -> None:
    record = AdapterRecord(source="folder", key="a", title="a", path=str(weights / "loras" / "cat.safetensors"))
    composition = Composition(prompt="a", choices=(Choice(adapter=record, weight=1, span="a"),))
    shutil.copytree(weights / "base", tmp_path / "base")
    (tmp_path / "base" / "unet" / "diffusion_pytorch_model.safetensors").write_bytes(b"damaged")
    with pytest.raises(InputError, match="the unet cannot be loaded"):
        Cells(folder=tmp_path / "cells", model=tmp_path / "base", steps=1, guidance=1.0, count=1).paint(composition, 1)
    no_steps = Cells(folder=tmp_path / "cells", model=weights / "base", steps=0, guidance=1.0, count=1)
    with pytest.raises(InputError, match="the steps must be"):
        no_steps.paint(Composition(prompt="a"), 1)


def test_failures_are_told_with_their_condition(measured: dict[str, Any]) -> None:
    black = np.zeros((1, 32, 32, 3), np.uint8)
    failed = {"oracle": {1: Painted(black, "too wide"), 2: Painted(black, "too wide")}, "base": {1: Painted(black)}}
    failures = run._failures(failed)
    assert failures == [{"condition": "oracle", "failure": "too wide"}]
    assert "  the right adapters: too wide" in text_of(measured | {"failures": failures}).splitlines()
    assert "could not be laid" not in text_of(measured)


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("model.safetensors", b"damaged"),
        ("model.safetensors", None),
        ("heads.safetensors", b"damaged"),
        ("config.json", b"[]"),
    ],
)
def test_damaged_evaluator_is_one_sentence_before_anything_is_painted(
    file: str,
    content: bytes | None,
    weights: Path,
    output: Path,
    measured: dict[str, Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("base", "loras"):
        (tmp_path / name).symlink_to(weights / name)
    shutil.copytree(weights / "evaluator", tmp_path / "evaluator")
    (tmp_path / "evaluator" / file).unlink()
    if content is not None:
        (tmp_path / "evaluator" / file).write_bytes(content)
    monkeypatch.setattr(Cells, "paint", lambda *_: pytest.fail("painted"))
    with pytest.raises(InputError, match=r"evaluator.* cannot be loaded: ") as caught:
        measure(tmp_path, output)
    assert "\n" not in str(caught.value)


def test_evaluator_that_lacks_weights_is_refused(weights: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(weights / "evaluator", tmp_path / "evaluator")
    tensors = load_file(folder / "model.safetensors")
    del tensors["logit_scale"]
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(InputError, match="lacks 1 of its weights, logit_scale first"):
        Evaluator(folder)


def test_pickled_weights_are_not_opened(weights: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(weights / "evaluator", tmp_path / "evaluator")
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(InputError, match="cannot be loaded"):
        Evaluator(folder)


@pytest.mark.parametrize(
    ("config", "sentence"),
    [
        ('{"_class_name": "DiffusionPipeline"}', "must be AutoencoderKL or AutoencoderTiny"),
        ('{"_class_name": ["AutoencoderKL"]}', "must be AutoencoderKL or AutoencoderTiny"),
        ("[]", r"config\.json cannot be loaded"),
        ("{}", r"config\.json cannot be loaded"),
        ('{"_class_name": "AutoencoderTiny"}', r"vae cannot be loaded"),
    ],
)
def test_autoencoder_is_one_of_two_kinds_and_whole(config: str, sentence: str, tmp_path: Path) -> None:
    (tmp_path / "vae").mkdir()
    (tmp_path / "vae" / "config.json").write_text(config)
    with pytest.raises(InputError, match=sentence):
        worlds.measure_autoencoder(tmp_path)


def test_changed_adapter_has_a_cell_of_its_own(weights: Path, tmp_path: Path) -> None:
    file = tmp_path / "one.safetensors"
    record = AdapterRecord(source="folder", key="one", title="one", path=str(file))
    composition = Composition(prompt="a", choices=(Choice(adapter=record, weight=1, span="a"),))

    def cell() -> Path:
        cells = Cells(folder=tmp_path, model=weights / "base", steps=1, guidance=1.0, count=1)
        return cells._path(cells._request(composition, 1))

    shutil.copy(weights / "loras" / "cat.safetensors", file)
    first = cell()
    assert first == cell()
    shutil.copy(weights / "loras" / "heart.safetensors", file)
    assert first != cell()


def test_sheet_shows_what_was_measured(weights: Path, output: Path, measured: dict[str, Any], tmp_path: Path) -> None:
    path = write_sheet(weights, output, tmp_path / "new" / "sheet.png")
    with Image.open(path) as sheet:
        assert sheet.height > 3 * 32 * 4


def test_folder_without_trained_models_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"base/model_index\.json is not there"):
        measure(tmp_path, tmp_path / "out")
