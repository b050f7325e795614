"""Every stage for a few steps on tiny networks: what is saved, and that everybody's loaders take it."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import asdict, replace

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionPipeline, StableDiffusionXLPipeline, UNet2DConditionModel
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from transformers import AutoModel, AutoTokenizer, CLIPModel, CLIPProcessor, CLIPTextModel, CLIPTextModelWithProjection

from velatura.errors import InputError
from velatura.playground.training.base import load_base, paint_texts
from velatura.playground.training.evaluator import load_evaluator
from velatura.playground.training.folders import load_pipeline
from velatura.playground.training.ledger import Ledger
from velatura.playground.training.lora import laid_on, touched_layers
from velatura.playground.training.pictures import WORLD, to_bytes, to_tensor
from velatura.playground.training.plan import processor_plan, trial_plan
from velatura.playground.training.stages import STAGES, Studio, broaden_base, keep_latents, train, train_onestep
from velatura.playground.world import vocabulary

PLAN = replace(trial_plan(), adapters=("heart", "neon_style"))

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")


@pytest.fixture(scope="module", autouse=True)
def _one_thread():
    """On a busy machine threads that wait for each other take minutes for what one does in a second."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def studio(tmp_path_factory):
    folder = tmp_path_factory.mktemp("studio")
    train(folder, plan=PLAN, machine="a test")
    return folder


@pytest.fixture(scope="module")
def pipeline(studio):
    loaded = StableDiffusionPipeline.from_pretrained(studio / "base", local_files_only=True)
    loaded.set_progress_bar_config(disable=True)
    return loaded


def noise(count=1):
    return torch.randn(count, 8, 16, 16, generator=torch.Generator().manual_seed(3))


def painted(pipeline, steps=4, guidance=2.0):
    images = pipeline(
        "a red star at night", num_inference_steps=steps, guidance_scale=guidance, latents=noise(), output_type="pt"
    ).images
    return images * 2 - 1


def test_everything_is_saved_and_told(studio):
    ledger = json.loads((studio / "training.json").read_text())
    assert set(ledger) == {*STAGES, "adapter heart", "adapter neon_style"} - {"adapters"}
    for entry in ledger.values():
        assert entry["machine"] == "a test"
        assert entry["wall_seconds"] >= 0 <= entry["processor_seconds"]
        assert entry["samples"] == entry["recipe"]["steps"] * entry["recipe"]["batch"]
        assert entry["loss"] > 0
    assert {file.stem for file in (studio / "sheets").iterdir()} == {"autoencoder", "base", "broad", "onestep", "xl"}


def test_a_second_run_changes_nothing(studio):
    before = {path: path.stat().st_mtime_ns for path in studio.rglob("*") if path.is_file()}
    train(studio, plan=PLAN, machine="another")
    assert {path: path.stat().st_mtime_ns for path in studio.rglob("*") if path.is_file()} == before


@pytest.fixture
def copied(studio, tmp_path):
    """A studio of one's own to spoil."""
    return shutil.copytree(studio, tmp_path / "copied")


@pytest.mark.parametrize("stages", [["autoencoder"], ["base"], ["adapters"], ["onestep"], list(STAGES)])
def test_a_stage_that_another_plan_trained_is_refused_before_anything_is_trained(copied, stages):
    before = {path: path.stat().st_mtime_ns for path in copied.rglob("*")}
    with pytest.raises(InputError, match=r"in .*copied was trained by another plan: take another folder, or delete"):
        train(copied, stages, plan=processor_plan())
    assert {path: path.stat().st_mtime_ns for path in copied.rglob("*")} == before


def test_an_adapter_that_another_plan_trained_is_named(copied):
    longer = replace(PLAN, adapter=replace(PLAN.adapter, steps=9))
    with pytest.raises(InputError, match="the adapter heart in "):
        train(copied, ["adapters"], plan=longer)


def test_a_stage_needs_what_its_own_plan_trained(copied):
    ledger = json.loads((copied / "training.json").read_text())
    del ledger["xl"]
    (copied / "training.json").write_text(json.dumps(ledger))
    with pytest.raises(InputError, match=r"the stage autoencoder in .* was trained by another plan"):
        train(copied, ["xl"], plan=replace(PLAN, autoencoder=replace(PLAN.autoencoder, rate=0.5)))


def test_where_a_stage_was_computed_makes_no_difference(tmp_path):
    ledger, recipe = Ledger(tmp_path), replace(PLAN.base, batch=8)
    told = {"recipe": {**asdict(recipe), "batch": 4, "processes": 2, "device": "cuda"}}
    (tmp_path / "training.json").write_text(json.dumps({"base": told, "broad": {"recipe": None}}))
    ledger.check("base", recipe)
    ledger.check("xl", recipe)
    for entry, other in (("base", replace(recipe, batch=4)), ("base", replace(recipe, seed=1)), ("broad", recipe)):
        with pytest.raises(InputError, match=f"the stage {entry} in "):
            ledger.check(entry, other)


def test_what_is_kept_on_the_way_is_named_by_what_decides_it(copied):
    kept = {re.sub("_[0-9a-f]{8}", "", path.name): path for path in (copied / "state").iterdir()}
    assert {"latents.npy", "varied.npy", "dreams"} < set(kept)
    mine = Studio(copied, PLAN, Ledger(copied))
    assert keep_latents(mine) == kept["latents.npy"]
    thinner = keep_latents(Studio(copied, replace(PLAN, thinned=1000), Ledger(copied)))
    assert len(np.load(thinner)) == -(-len(np.load(kept["latents.npy"])) // 2)
    weights = copied / "parts" / "vae" / "diffusion_pytorch_model.safetensors"
    save_file({name: tensor / 2 for name, tensor in load_file(weights).items()}, weights, {"format": "pt"})
    other = keep_latents(mine)
    assert len({thinner, other, kept["latents.npy"]}) == 3
    assert not np.array_equal(np.load(other), np.load(kept["latents.npy"]))


def test_another_count_is_varied_and_dreamt_anew_and_another_base_too(copied):
    state = copied / "state"
    for stage in ("broad", "onestep"):
        (state / f"{stage}.safetensors").unlink()
    studio = Studio(copied, replace(PLAN, varied=30, dreams=5), Ledger(copied))
    broaden_base(studio)
    assert {len(np.load(file)) for file in state.glob("varied_*.npy")} == {20, 30}
    train_onestep(studio)
    dreams = {len(load_file(file)["noise"]) for file in state.glob("dreams_*/*.safetensors")}
    assert dreams == {8, 5}
    parts = [studio.base / part for part in ("unet", "text_encoder")]
    for part in parts:
        before = studio.kept("dreams", *parts, count=5)
        (weights,) = part.glob("*.safetensors")
        save_file({name: tensor / 2 for name, tensor in load_file(weights).items()}, weights, {"format": "pt"})
        assert studio.kept("dreams", *parts, count=5) != before


def test_a_pipelines_weights_are_read_from_safetensors_alone(copied):
    (weights,) = (copied / "base" / "unet").glob("*.safetensors")
    torch.save(load_file(weights), weights.with_suffix(".bin"))
    weights.unlink()
    with pytest.raises(OSError, match="safetensors"):
        load_pipeline(copied / "base")


def test_no_weight_is_missing_or_left_over_in_everybodys_loaders(studio):
    for kind, part in (
        (CLIPTextModel, "base/text_encoder"),
        (CLIPTextModel, "xl/text_encoder"),
        (CLIPTextModelWithProjection, "xl/text_encoder_2"),
        (CLIPModel, "evaluator"),
        (UNet2DConditionModel, "base/unet"),
        (UNet2DConditionModel, "onestep/unet"),
        (UNet2DConditionModel, "xl/unet"),
    ):
        model, told = kind.from_pretrained(studio / part, output_loading_info=True, local_files_only=True)
        assert not any(told.values()), part
        assert {weight.dtype for weight in model.parameters()} == {torch.float32}, part


def test_weights_are_saved_as_half_floats(studio):
    for file in studio.rglob("*.safetensors"):
        if "state" in file.parts:
            continue
        with safe_open(file, framework="pt") as opened:
            assert {opened.get_tensor(name).dtype for name in opened.keys()} == {torch.float16}, file  # noqa: SIM118


def test_the_stock_pipeline_paints_what_training_paints(studio, pipeline):
    model, words, autoencoder = load_base(studio / "base")
    mine = paint_texts(model, words, autoencoder, ["a red star at night"], seed=3, steps=4)
    theirs = painted(pipeline)
    assert theirs.shape == (1, 3, 32, 32)
    assert torch.allclose(mine, theirs, atol=1e-3)


@pytest.mark.parametrize("name", ["heart", "neon_style"])
def test_an_adapter_loads_whole_into_the_stock_pipeline_and_does_the_same_there(studio, pipeline, name):
    file = studio / "loras" / f"{name}.safetensors"
    with safe_open(file, framework="pt") as opened:
        keys = list(opened.keys())
    touched = touched_layers(pipeline.unet, thorough=name.endswith("_style"))
    assert len(keys) == 3 * len(touched)
    plain = painted(pipeline)
    pipeline.load_lora_weights(file)
    weights = [weight for layer, weight in pipeline.unet.named_parameters() if ".lora_" in layer]
    with_adapter = painted(pipeline)
    pipeline.unload_lora_weights()
    assert len(weights) == 2 * len(touched)
    assert not torch.equal(with_adapter, plain)
    model, words, autoencoder = load_base(studio / "base")
    changed = laid_on(model.unet, {file: 1.0})
    mine = paint_texts(model, words, autoencoder, ["a red star at night"], seed=3, steps=4, changed=changed)
    assert torch.allclose(mine, with_adapter, atol=1e-3)


def test_an_adapters_header_tells_how_it_was_made_and_nothing_of_the_machine(studio):
    with safe_open(studio / "loras" / "neon_style.safetensors", framework="pt") as opened:
        header = opened.metadata()
    assert header["ss_base_model_version"] == "velatura_miniature"
    assert (header["ss_network_dim"], header["ss_num_train_images"]) == ("2", "16")  # half of them doodles
    (tags,) = json.loads(header["ss_tag_frequency"]).values()
    assert any("neon" in tag for tag in tags)
    assert sum(tags.values()) >= 8
    assert str(studio) not in json.dumps(header)


def test_the_evaluator_loads_like_any_clip(studio):
    clip = AutoModel.from_pretrained(studio / "evaluator", local_files_only=True)
    processor = CLIPProcessor.from_pretrained(studio / "evaluator", local_files_only=True)
    import random

    pictures = WORLD.draw(random.Random(0), 3)
    images = to_tensor(pictures)
    ready = processor(text=["a red heart"], images=to_bytes(images), return_tensors="pt", padding="max_length")
    assert torch.allclose(ready.pixel_values, images, atol=1e-5)
    mine = load_evaluator(studio / "evaluator")
    with torch.inference_mode():
        features = clip.get_image_features(pixel_values=ready.pixel_values)
        features = getattr(features, "pooler_output", features)
        words = clip.get_text_features(input_ids=ready.input_ids, attention_mask=ready.attention_mask)
        words = getattr(words, "pooler_output", words)
        assert torch.allclose(features, mine.see(images), atol=1e-5)
        assert torch.allclose(words, mine.read(ready.input_ids), atol=1e-5)


def test_the_evaluators_tokenizer_knows_the_world(studio):
    tokenizer = AutoTokenizer.from_pretrained(studio / "evaluator", local_files_only=True)
    assert all(len(tokenizer(word).input_ids) == 3 for word in vocabulary())


def test_the_one_step_model_is_a_pipeline_without_a_middle(studio):
    quick = StableDiffusionPipeline.from_pretrained(studio / "onestep", local_files_only=True)
    quick.set_progress_bar_config(disable=True)
    assert quick.unet.mid_block is None
    assert torch.isfinite(painted(quick, steps=1, guidance=1.0)).all()


def test_the_xl_sibling_is_told_sizes(studio):
    xl = StableDiffusionXLPipeline.from_pretrained(studio / "xl", local_files_only=True)
    xl.set_progress_bar_config(disable=True)
    whole, part = (
        xl(
            "a red star", num_inference_steps=2, latents=noise(), crops_coords_top_left=(top, 0), output_type="pt"
        ).images
        for top in (0, 32)
    )
    assert whole.shape == (1, 3, 32, 32)
    assert not torch.equal(whole, part)


def test_an_unknown_stage_is_named(tmp_path):
    with pytest.raises(InputError, match=r"there is no stage 'bases'; the stages are autoencoder, base"):
        train(tmp_path, ["bases"], plan=PLAN)


def test_a_stage_says_what_it_needs(tmp_path):
    with pytest.raises(InputError, match="the stage base needs autoencoder; train that first"):
        train(tmp_path, ["base"], plan=PLAN)
    assert not list(tmp_path.iterdir())
