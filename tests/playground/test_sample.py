"""The tiny checkpoints have the structure of the real models, paint as they do, and their adapters fit."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open

from velatura.generation.adapters.names import targets
from velatura.generation.adapters.plan import Plans
from velatura.generation.adapters.sdxs import stand_ins
from velatura.generation.checkpoint import load_checkpoint
from velatura.generation.schedulers import scheduler_like, without_numpy_warning
from velatura.generation.structure import structure
from velatura.playground.sample import make_adapter, make_checkpoint
from velatura.playground.sample_models import KINDS

Loaded = Callable[[str], Any]
REAL = {
    "sd": "sd1",
    "sd2": "sd2",
    "sdxl": "sdxl",
    "sdxl-turbo": "sdxl-turbo",
    "sdxs": "sdxs-dreamshaper",
    "sdxs-0.9": "sdxs-0.9",
}
STEPS = {
    "sd": [501, 1],
    "sd2": [501, 1],
    "sdxl": [501, 1],
    "sdxl-turbo": [999, 499],
    "sdxs": [999, 500],
    "sdxs-0.9": [999, 500],
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    return cache(lambda kind: make_checkpoint(tmp_path_factory.mktemp("tiny") / "model", kind=kind))


@pytest.fixture(scope="module")
def loaded(folder: Callable[[str], Path]) -> Loaded:
    return cache(lambda kind: load_checkpoint(str(folder(kind)), dtype=torch.float32, kinds=("sd", "sdxl")).pipe)


def modules(pipe: Any) -> dict[str, torch.nn.Module]:
    parts = ("unet", "text_encoder", "text_encoder_2")
    return targets(**{part: getattr(pipe, part) for part in parts if hasattr(pipe, part)})


def alike(names: Any, kind: str) -> set[str]:
    """Leave out the numbers of transformer blocks and of CLIP's layers, of which the tiny ones have fewer.

    SD's tiny levels are of one width, but for the last, so that other layers change it.
    """
    found = {re.sub(r"(transformer_blocks|layers)\.\d+", r"\1.N", name) for name in names}
    return {name for name in found if not (kind in ("sd", "sd2") and name.endswith("conv_shortcut"))}


@pytest.mark.parametrize("kind", KINDS)
def test_a_tiny_checkpoint_has_the_modules_of_the_real_one(
    loaded: Loaded, kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    tiny, real = modules(loaded(kind)), structure(REAL[kind])
    assert alike(tiny, kind) == alike(real, kind)
    assert all(type(module) is type(real.get(name, module)) for name, module in tiny.items())


@pytest.mark.parametrize("kind", KINDS)
def test_a_tiny_checkpoint_paints_at_the_time_steps_of_the_real_one(loaded: Loaded, kind: str) -> None:
    pipe = loaded(kind)
    generator = torch.Generator().manual_seed(0)
    with without_numpy_warning():
        picture = pipe(
            "a red fox", num_inference_steps=2, guidance_scale=0 if STEPS[kind][0] == 999 else 5, generator=generator
        ).images[0]
    assert picture.size == (128, 128)
    assert pipe.scheduler.timesteps.tolist() == STEPS[kind]
    assert len(set(picture.tobytes())) > 20


def test_sdxs_makes_its_one_step_from_pure_noise(loaded: Loaded) -> None:
    """The two numbers are those that others measured of the published model."""
    scheduler = scheduler_like(loaded("sdxs").scheduler, None)
    zero, one = torch.zeros(1, 1, 1, 1), torch.ones(1, 1, 1, 1)
    found = []
    with without_numpy_warning():
        for noise, latents in ((zero, one), (one, zero)):
            scheduler.set_timesteps(1)
            assert scheduler.timesteps.tolist() == [999]
            found.append(scheduler.step(noise, scheduler.timesteps[0], latents).prev_sample.item())
    assert found == pytest.approx([14.642591, -14.579279], abs=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_checkpoints_are_small_and_equal_for_equal_seeds(
    folder: Callable[[str], Path], tmp_path: Path, kind: str
) -> None:
    def weights(root: Path) -> dict[str, bytes]:
        return {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*.safetensors"))}

    assert sum(path.stat().st_size for path in folder(kind).rglob("*")) < 14e6
    assert weights(make_checkpoint(tmp_path / "again", kind=kind)) == weights(folder(kind))
    assert weights(make_checkpoint(tmp_path / "other", kind=kind, seed=1)) != weights(folder(kind))


@pytest.mark.parametrize("kind", ["sd", "sd2", "sdxl", "sdxl-turbo"])
def test_an_adapter_fits_whole(folder: Callable[[str], Path], loaded: Loaded, tmp_path: Path, kind: str) -> None:
    path = make_adapter(tmp_path / "ink.safetensors", folder(kind))
    plan = Plans(modules(loaded(kind))).of(path, force=True)
    assert plan.coverage == 1
    with safe_open(path, framework="np") as stream:
        names, header = list(stream.keys()), stream.metadata()
    if kind.startswith("sdxl"):
        assert header["ss_base_model_version"] == "sdxl_base_v1-0"
        assert {name.split("_text_model")[0] for name in names if "_te" in name} == {"lora_te1", "lora_te2"}
        assert any(name.startswith("lora_unet_input_blocks_4_1_transformer_blocks_0_attn1_to_k") for name in names)
        assert not any("text_projection" in name for name in names)
    else:
        assert header["ss_base_model_version"] == {"sd": "sd_v1", "sd2": "sd_v2_v"}[kind]


@pytest.mark.parametrize("kind", ["sdxs", "sdxs-0.9"])
def test_every_module_of_sdxs_stands_in_for_one_of_sd(loaded: Loaded, kind: str) -> None:
    names = [name for name in modules(loaded(kind)) if name.startswith("unet.")]
    assert stand_ins(names).keys() == set(names)
