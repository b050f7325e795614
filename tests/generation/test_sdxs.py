"""SDXS paints in one step at the last time, and wears what was made for the models that it was distilled from."""

from __future__ import annotations

import json
import shutil
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from velatura.errors import IncompatibleAdapter, InputError
from velatura.generation import PaintingWarning, open_backend
from velatura.generation.adapters.sdxs import stand_ins
from velatura.generation.sdxs import SdxsBackend
from velatura.playground.library import find_weights
from velatura.playground.sample import make_adapter, make_checkpoint
from velatura.records import (
    AdapterRecord,
    Choice,
    Composition,
    Control,
    GenerationRequest,
    Picture,
    Start,
)

Asked = Callable[..., GenerationRequest]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_checkpoint(tmp_path_factory.mktemp("sdxs") / "tiny-sdxs", kind="sdxs")


@pytest.fixture(scope="module")
def sdxs(folder: Path) -> SdxsBackend:
    return SdxsBackend(str(folder), device="cpu")


@pytest.fixture(scope="module")
def of_sd1(sdxs: SdxsBackend, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A LoRA over all attentions of SD 1.5, in the widths of the tiny model."""
    return write_larger(tmp_path_factory.mktemp("loras") / "ink.safetensors", sdxs)


def write_larger(path: Path, backend: SdxsBackend) -> Path:
    generator = torch.Generator().manual_seed(3)
    tensors: dict[str, torch.Tensor] = {}
    stems = {
        larger.removeprefix("unet."): backend._modules[own].weight.shape
        for own, larger in stand_ins(backend._modules).items()
        if "attentions" in own and hasattr(backend._modules[own], "weight") and backend._modules[own].weight.ndim > 1
    }
    middle = "mid_block.attentions.0.transformer_blocks.0.attn1.to_q"
    for name, shape in {**stems, middle: torch.Size((64, 64))}.items():
        outputs, inputs, *kernel = shape
        stem = f"lora_unet_{name.replace('.', '_')}"
        ones = [1] * len(kernel)
        tensors[f"{stem}.lora_down.weight"] = torch.randn(4, inputs, *ones, generator=generator) / inputs**0.5
        tensors[f"{stem}.lora_up.weight"] = torch.randn(outputs, 4, *ones, generator=generator) / 2
        tensors[f"{stem}.alpha"] = torch.tensor(4.0)
    save_file(tensors, path, metadata={"ss_base_model_version": "sd_v1", "ss_network_module": "networks.lora"})
    return path


def chosen(path: Path, **fields: Any) -> Choice:
    record = AdapterRecord(source="folder", key=path.name, title=path.stem, path=str(path), **fields)
    return Choice(adapter=record, weight=1.0, span="fox")


@pytest.fixture
def asked(folder: Path) -> Asked:
    def make(*choices: Choice, prompt: str = "a red fox", **fields: Any) -> GenerationRequest:
        composition = Composition(prompt=prompt, choices=choices)
        return GenerationRequest(**{"composition": composition, "model": str(folder), **fields})

    return make


def drawn(backend: SdxsBackend, request: GenerationRequest) -> Image.Image:
    return next(iter(backend.generate(request))).image


def test_it_is_opened_by_name_and_paints_in_one_step(folder: Path, asked: Asked) -> None:
    backend = open_backend("sdxs", str(folder), device="cpu")
    calls: list[tuple[float, int]] = []
    backend._pipe.unet.register_forward_pre_hook(lambda _, given: calls.append((float(given[1]), given[0].shape[0])))
    first, second = backend.generate(asked(), 2)
    request = first.request
    assert (request.backend, request.steps, request.guidance, request.scheduler) == ("sdxs", 1, 0.0, "deis")
    assert (request.width, request.height) == first.image.size == (128, 128)
    assert calls == [(999.0, 1)] * 2
    assert first.image.tobytes() != second.image.tobytes()
    assert np.asarray(first.image).std() > 1


def test_its_step_is_that_of_the_released_code(sdxs: SdxsBackend) -> None:
    """Which is exported as x0 = 14.642591 x - 14.579279 eps."""
    from velatura.generation.schedulers import scheduler_like, without_numpy_warning

    scheduler = scheduler_like(sdxs._own_scheduler, "deis")
    with without_numpy_warning():
        scheduler.set_timesteps(1)
        one, none = torch.ones(1, dtype=torch.float64), torch.zeros(1, dtype=torch.float64)
        of_noise = scheduler.step(none, scheduler.timesteps[0], one).prev_sample
        scheduler.set_timesteps(1)
        of_prediction = scheduler.step(one, scheduler.timesteps[0], none).prev_sample
    # The last step ends at the least noise that was trained on, 0.0292, rather than at none.
    assert float(of_noise) == pytest.approx(14.642591, rel=2e-3)
    assert float(of_prediction) == pytest.approx(-14.579279, rel=3e-3)


def test_a_scheduler_that_asks_elsewhere_is_refused(folder: Path, tmp_path: Path, asked: Asked) -> None:
    other = shutil.copytree(folder, tmp_path / "leading")
    path = other / "scheduler" / "scheduler_config.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps({**config, "timestep_spacing": "leading"}), encoding="utf-8")
    backend = SdxsBackend(str(other), device="cpu")
    with pytest.raises(
        InputError,
        match="SDXS paints at the time 999, and the scheduler deis would ask it at 501; take euler_sgm_uniform",
    ):
        backend.complete(asked(model=str(other)))
    drawn(backend, asked(model=str(other), scheduler="euler_sgm_uniform"))


@pytest.mark.parametrize("scheduler", ["deis", "euler_sgm_uniform", "ddim_trailing", "dpmpp_2m", "lcm"])
def test_schedulers_that_ask_at_the_last_time_agree(scheduler: str, sdxs: SdxsBackend, asked: Asked) -> None:
    ours = np.asarray(drawn(sdxs, asked(scheduler=scheduler)), dtype=float)
    assert np.abs(ours - np.asarray(drawn(sdxs, asked()), dtype=float)).mean() < 1


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"steps": 4}, "SDXS paints in 1 step, not in 4"),
        ({"steps": 0}, "SDXS paints in 1 step, not in 0"),
        ({"start": Start(picture=Picture(path="a.png"))}, "never learned to go on from a picture; take the backend sd"),
        ({"controls": (Control(model="c", picture=Picture(path="a.png")),)}, "no ControlNet of the shape of SDXS"),
        ({"scheduler": "ddim"}, "the scheduler ddim would ask it at 0; take euler_sgm_uniform"),
        ({"width": 100}, "multiples of 8"),
    ],
)
def test_what_it_cannot_do_is_one_sentence(
    fields: dict[str, Any], sentence: str, sdxs: SdxsBackend, asked: Asked
) -> None:
    with pytest.raises(InputError, match=sentence):
        sdxs.complete(asked(**fields))


def test_guidance_is_painted_with_a_warning(sdxs: SdxsBackend, asked: Asked) -> None:
    with pytest.warns(PaintingWarning, match="SDXS was distilled with its guidance in it; 7 on top spoils"):
        drawn(sdxs, asked(guidance=7.0))


def test_an_adapter_of_sd1_is_remapped_and_called_approximate(sdxs: SdxsBackend, of_sd1: Path, asked: Asked) -> None:
    plan = sdxs.plan(of_sd1)
    assert plan.remapped
    assert plan.coverage == 1
    assert len(plan.left_out) == 1
    bare = drawn(sdxs, asked())
    with pytest.warns(PaintingWarning) as told:
        worn = drawn(sdxs, asked(chosen(of_sd1)))
    assert [str(warning.message) for warning in told] == [
        "ink was made for a larger model, and SDXS has places for 99% of it: its effect is approximate"
    ]
    assert worn.tobytes() != bare.tobytes()
    assert drawn(sdxs, asked()).tobytes() == bare.tobytes()


def test_an_adapter_of_its_own_is_exact(sdxs: SdxsBackend, folder: Path, tmp_path: Path, asked: Asked) -> None:
    own = make_adapter(tmp_path / "own.safetensors", folder, seed=1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert drawn(sdxs, asked(chosen(own))).tobytes() != drawn(sdxs, asked()).tobytes()


def test_an_adapter_for_few_steps_changes_no_settings(sdxs: SdxsBackend, of_sd1: Path, asked: Asked) -> None:
    fast = replace(chosen(of_sd1), adapter=replace(chosen(of_sd1).adapter, title="lcm-lora-sdv1-5"))
    request = sdxs.complete(asked(fast))
    assert (request.steps, request.guidance, request.scheduler) == (1, 0.0, "deis")


def test_sdxs_09_is_of_the_shape_of_sd2(of_sd1: Path, tmp_path: Path) -> None:
    later = SdxsBackend(str(make_checkpoint(tmp_path / "tiny-09", kind="sdxs-0.9", text=1024)), device="cpu")
    assert later.family == "sd2"
    with pytest.raises(IncompatibleAdapter, match=r"ink is made for SD 1.x and this model is SD 2.x"):
        later.plan(of_sd1)


def test_sdxs_dreamshaper_is_of_the_shape_of_sd1(tmp_path: Path) -> None:
    former = SdxsBackend(str(make_checkpoint(tmp_path / "tiny-ds", kind="sdxs", text=768)), device="cpu")
    assert former.family == "sd1"


def test_the_large_autoencoder_decodes_as_well(folder: Path, checkpoint: Path, tmp_path: Path, asked: Asked) -> None:
    other = shutil.copytree(folder, tmp_path / "large")
    shutil.rmtree(other / "vae")
    shutil.copytree(checkpoint / "vae", other / "vae")
    backend = SdxsBackend(str(other), device="cpu")
    assert isinstance(backend._pipe.vae, diffusers.AutoencoderKL)
    assert drawn(backend, asked(model=str(other))).size == (128, 128)


def test_another_model_is_refused_by_name(checkpoint: Path) -> None:
    with pytest.raises(InputError, match=r"tiny is an SD 1.x or 2.x checkpoint; take --backend sd"):
        SdxsBackend(str(checkpoint), device="cpu")


@pytest.fixture(scope="module")
def onestep() -> SdxsBackend:
    return SdxsBackend(str(find_weights() / "onestep"), device="cpu")


def test_the_trained_model_paints_what_is_asked(onestep: SdxsBackend, asked: Asked) -> None:
    means = []
    for colour in ("red", "green", "blue"):
        image = drawn(onestep, asked(prompt=f"a {colour} fish in a meadow", model=onestep.model, seed=3))
        assert image.size == (32, 32)
        means.append(np.asarray(image, dtype=float)[8:24, 8:24].mean((0, 1)))
    # Where the fish stands, each channel is brightest in the picture whose colour it is, and darker in the others.
    assert [int(np.argmax([mean[channel] - mean.mean() for mean in means])) for channel in range(3)] == [0, 1, 2]


def test_an_adapter_of_its_teacher_carries_over(onestep: SdxsBackend, asked: Asked) -> None:
    sketch = find_weights() / "loras" / "sketch_style.safetensors"
    assert onestep.plan(sketch).coverage == pytest.approx(0.864, abs=0.01)
    with pytest.warns(PaintingWarning, match="SDXS has places for 86% of it: its effect is approximate"):
        worn = drawn(onestep, asked(chosen(sketch), prompt="a red fish, sketch style", model=onestep.model, seed=5))
    bare = drawn(onestep, asked(prompt="a red fish", model=onestep.model, seed=5))
    # A sketch in pencil has less colour than what it is of, where the fish stands.
    chroma = [np.ptp(np.asarray(image, dtype=float)[8:24, 8:24], axis=-1).mean() for image in (worn, bare)]
    assert chroma[0] < 0.7 * chroma[1]
