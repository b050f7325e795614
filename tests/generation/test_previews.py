"""Previews show what the picture is going to be, cost little, and change nothing."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import diffusers
import pytest
import torch
from PIL import Image
from torch import Tensor

from velatura.generation.previews import LONGEST, picture_of, previewing
from velatura.generation.schedulers import SAMPLERS, scheduler_like, without_numpy_warning
from velatura.generation.sd import StableDiffusionBackend
from velatura.protocols import Watch
from velatura.records import GenerationRequest

Asked = Callable[..., GenerationRequest]
NOISE = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}


def walked(scheduler: Any, clean: Tensor, look: Callable[[int, Tensor], None], steps: int = 6) -> Tensor:
    """Step from noise with a model that knows the clean latents, as a pipeline does it."""
    kind = scheduler.config.prediction_type
    with without_numpy_warning():
        scheduler.set_timesteps(steps)
        x = torch.randn(clean.shape, generator=torch.Generator().manual_seed(0)) * scheduler.init_noise_sigma
        takes = inspect.signature(scheduler.step).parameters
        options = {"generator": torch.Generator().manual_seed(1)} if "generator" in takes else {}
        for number, time in enumerate(scheduler.timesteps):
            given = scheduler.scale_model_input(x, time)
            floor, whole = int(time), float(time)
            powers = scheduler.alphas_cumprod
            power = powers[floor] + (powers[min(floor + 1, 999)] - powers[floor]) * (whole - floor)
            signal, noise = power.sqrt(), (1 - power).sqrt()
            eps = (given - signal * clean) / noise
            told = signal * eps - noise * clean if kind == "v_prediction" else eps
            x = scheduler.step(told, time, x, return_dict=False, **options)[0]
            look(number, x)
    return x


@pytest.mark.parametrize("kind", ["epsilon", "v_prediction"])
@pytest.mark.parametrize("name", SAMPLERS)
def test_the_clean_latents_are_told_from_the_first_steps_on(name: str, kind: str) -> None:
    own = diffusers.DDIMScheduler(**NOISE, prediction_type=kind, clip_sample=False)
    scheduler = scheduler_like(own, name)
    clean = torch.randn(2, 4, 6, 5, generator=torch.Generator().manual_seed(5))
    errors: list[float] = []
    with previewing(scheduler) as seen:
        noisy = torch.zeros_like(clean)
        assert seen.clean(noisy) is noisy
        walked(scheduler, clean, lambda _, x: errors.append(float((seen.clean(x) - clean).abs().mean())))
    # LCM tells what it would hand on, and PLMS begins twice; the others tell at once what the model knows.
    assert errors[1] < 0.1
    assert min(errors) < 0.02


@pytest.mark.parametrize("name", SAMPLERS)
def test_looking_changes_no_number(name: str) -> None:
    own = diffusers.DDIMScheduler(**NOISE, clip_sample=False)
    clean = torch.randn(1, 4, 4, 4, generator=torch.Generator().manual_seed(5))
    bare = walked(scheduler_like(own, name), clean, lambda *_: None)
    scheduler = scheduler_like(own, name)
    takes = inspect.signature(scheduler.step)
    shown: list[Tensor] = []
    with previewing(scheduler) as seen:
        assert inspect.signature(scheduler.step) == takes
        looked = walked(scheduler, clean, lambda _, x: shown.append(seen.clean(x)))
    assert torch.equal(bare, looked)
    assert "step" not in vars(scheduler)


def test_latents_that_are_not_numbers_give_way_to_the_noisy() -> None:
    scheduler = scheduler_like(diffusers.DDIMScheduler(**NOISE, clip_sample=False), "ddim")
    scheduler.set_timesteps(3)
    with previewing(scheduler) as seen:
        wrong = torch.full((1, 4, 4, 4), torch.nan)
        scheduler.step(wrong, scheduler.timesteps[0], torch.zeros(1, 4, 4, 4))
        noisy = torch.ones(1, 4, 4, 4)
        assert seen.clean(noisy) is noisy


@pytest.fixture(scope="module")
def autoencoders(backend: StableDiffusionBackend) -> dict[str, Any]:
    with torch.random.fork_rng():
        torch.manual_seed(1)  # some weights make every picture black
        tiny = diffusers.AutoencoderTiny(
            encoder_block_out_channels=(8,) * 4,
            decoder_block_out_channels=(8,) * 4,
            num_encoder_blocks=(1,) * 4,
            num_decoder_blocks=(1,) * 4,
        )
    return {"kl": backend._pipe.vae, "tiny": tiny.eval()}


@pytest.mark.parametrize("kind", ["kl", "tiny"])
@pytest.mark.parametrize(
    ("cells", "pixels"), [((16, 16), (128, 128)), ((64, 96), (256, 168)), ((200, 20), (24, 256)), ((1, 300), (256, 8))]
)
def test_a_picture_is_small(
    kind: str, cells: tuple[int, int], pixels: tuple[int, int], autoencoders: dict[str, Any]
) -> None:
    noise = torch.randn(2, 4, *cells, generator=torch.Generator().manual_seed(1))
    pictures = picture_of(autoencoders[kind], noise)
    assert [picture.size for picture in pictures] == [pixels] * 2
    assert {picture.mode for picture in pictures} == {"RGB"}
    assert pictures[0].tobytes() != pictures[1].tobytes()


def test_a_small_picture_is_the_whole_one_made_small(autoencoders: dict[str, Any]) -> None:
    vae = autoencoders["kl"]
    coarse = torch.randn(1, 4, LONGEST, LONGEST, generator=torch.Generator().manual_seed(2))
    blown = coarse.repeat_interleave(2, -1).repeat_interleave(2, -2)
    assert picture_of(vae, blown)[0].tobytes() == picture_of(vae, coarse)[0].tobytes()
    with torch.no_grad():
        whole = vae.decode(coarse / vae.config.scaling_factor).sample
    expected = ((whole[0] / 2 + 0.5).clamp(0, 1) * 255).round().byte().permute(1, 2, 0).numpy()
    assert picture_of(vae, coarse)[0].tobytes() == Image.fromarray(expected).tobytes()


def test_an_autoencoder_that_overflows_is_lifted_for_the_look_alone(autoencoders: dict[str, Any]) -> None:
    vae = diffusers.AutoencoderKL.from_config({**autoencoders["kl"].config, "force_upcast": True}).half().eval()
    lifted: list[torch.dtype] = []
    vae.decoder.register_forward_pre_hook(lambda module, given: lifted.append(given[0].dtype))
    before = {key: value.clone() for key, value in vae.state_dict().items()}
    picture_of(vae, torch.randn(1, 4, 8, 8))
    assert lifted == [torch.float32]
    assert vae.dtype == torch.float16
    assert all(torch.equal(value, before[key]) for key, value in vae.state_dict().items())


def test_not_a_number_is_black() -> None:
    class Blind:
        config = diffusers.configuration_utils.FrozenDict(scaling_factor=1.0)
        dtype = torch.float32

        def decode(self, latents: Tensor, return_dict: bool) -> tuple[Tensor]:
            return (torch.full((1, 3, 8, 8), torch.nan),)

    assert picture_of(Blind(), torch.zeros(1, 4, 1, 1))[0].getextrema() == ((0, 0),) * 3


def test_a_painted_picture_is_the_same_whether_somebody_looks_on(backend: StableDiffusionBackend, asked: Asked) -> None:
    request = replace(asked(steps=4, seed=11), scheduler="euler_a")
    shown: list[tuple[int, Image.Image]] = []
    watch = Watch(preview=lambda place, picture: shown.append((place, picture)), every=1)
    looked = next(iter(backend.generate(request, watch=watch))).image
    assert looked.tobytes() == next(iter(backend.generate(request))).image.tobytes()
    assert [place for place, _ in shown] == [0, 0, 0]
    assert {picture.size for _, picture in shown} == {(64, 64)}
