"""SDXL-Turbo paints in few steps without guidance from the last time on, and says what spoils its pictures."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from velatura.errors import InputError
from velatura.generation import PaintingWarning, open_backend
from velatura.generation.schedulers import without_numpy_warning
from velatura.generation.turbo import SdxlTurboBackend
from velatura.playground.sample import make_adapter, make_checkpoint
from velatura.records import AdapterRecord, Choice, Composition, GenerationRequest

Asked = Callable[..., GenerationRequest]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_checkpoint(tmp_path_factory.mktemp("turbo") / "tiny-turbo", kind="sdxl-turbo")


@pytest.fixture(scope="module")
def turbo(folder: Path) -> SdxlTurboBackend:
    return SdxlTurboBackend(str(folder), device="cpu")


@pytest.fixture
def asked(folder: Path) -> Asked:
    def make(*choices: Choice, **fields: object) -> GenerationRequest:
        composition = Composition(prompt="a red fox", choices=choices)
        return GenerationRequest(
            **{"composition": composition, "model": str(folder), "width": 64, "height": 64, **fields}
        )

    return make


def asked_times(backend: SdxlTurboBackend, request: GenerationRequest) -> list[tuple[int, int]]:
    """Paint, and return the time and the number of samples of every call of the UNet."""
    calls: list[tuple[int, int]] = []
    hook = backend._pipe.unet.register_forward_pre_hook(
        lambda _, given: calls.append((round(float(given[1])), given[0].shape[0]))
    )
    try:
        next(iter(backend.generate(request)))
    finally:
        hook.remove()
    return calls


def test_it_is_opened_by_name_and_fills_in_its_own(folder: Path, asked: Asked) -> None:
    backend = open_backend("sdxl-turbo", str(folder), device="cpu")
    image = next(iter(backend.generate(asked(width=None, height=None))))
    request = image.request
    assert (request.backend, request.steps, request.guidance) == ("sdxl-turbo", 4, 0.0)
    assert (request.width, request.height, request.scheduler) == (128, 128, "euler_a_sgm_uniform")
    assert image.image.size == (128, 128)
    assert np.asarray(image.image).std() > 1


@pytest.mark.parametrize(
    ("steps", "times"), [(1, [999]), (2, [999, 499]), (3, [999, 666, 332]), (4, [999, 749, 499, 249])]
)
def test_the_model_is_asked_at_trailing_times_and_once_a_step(
    steps: int, times: list[int], turbo: SdxlTurboBackend, asked: Asked
) -> None:
    assert asked_times(turbo, asked(steps=steps)) == [(time, 1) for time in times]


@pytest.mark.parametrize("scheduler", ["euler_a", "euler", "ddim", "dpmpp_2m", "lcm", "tcd"])
def test_every_scheduler_keeps_to_them(scheduler: str, turbo: SdxlTurboBackend, asked: Asked) -> None:
    assert asked_times(turbo, asked(steps=1, scheduler=scheduler)) == [(999, 1)]


def test_one_that_begins_elsewhere_is_refused(folder: Path, tmp_path: Path, asked: Asked) -> None:
    other = shutil.copytree(folder, tmp_path / "sd_xl_turbo")
    path = other / "scheduler" / "scheduler_config.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    backend = SdxlTurboBackend(str(other), device="cpu")
    with without_numpy_warning():
        backend._own_scheduler = type(backend._own_scheduler).from_config({**config, "timestep_spacing": "leading"})
    with pytest.raises(InputError, match="SDXL-Turbo begins at the time 999, and euler_a at 751; take euler_a_sgm_"):
        backend.complete(asked(model=str(other)))
    assert backend.complete(asked(model=str(other), scheduler="euler_a_sgm_uniform")).steps == 4


def test_more_steps_and_guidance_are_painted_with_a_warning(turbo: SdxlTurboBackend, asked: Asked) -> None:
    with pytest.warns(PaintingWarning) as told:
        next(iter(turbo.generate(asked(steps=6, guidance=2.5))))
    assert [str(warning.message) for warning in told] == [
        "SDXL-Turbo was made for 1 to 4 steps; 6 of them over-bake the picture",
        "SDXL-Turbo was trained without guidance; 2.5 over-saturates the picture",
    ]
    with pytest.warns(PaintingWarning, match="without guidance"):
        assert asked_times(turbo, asked(steps=1, guidance=2.5)) == [(999, 2)]


def test_adapters_of_sdxl_are_worn(turbo: SdxlTurboBackend, folder: Path, tmp_path: Path, asked: Asked) -> None:
    path = make_adapter(tmp_path / "style.safetensors", folder, seed=1)
    record = AdapterRecord(source="folder", key="style", title="Style", path=str(path))
    choice = Choice(adapter=record, weight=1.0, span="fox")
    worn, bare = (next(iter(turbo.generate(request))).image for request in (asked(choice, steps=1), asked(steps=1)))
    assert worn.tobytes() != bare.tobytes()
    assert next(iter(turbo.generate(asked(steps=1)))).image.tobytes() == bare.tobytes()


def test_another_model_is_refused_by_name(checkpoint: Path) -> None:
    with pytest.raises(InputError, match=r"tiny is an SD 1.x or 2.x checkpoint; take --backend sd"):
        SdxlTurboBackend(str(checkpoint), device="cpu")


@pytest.mark.parametrize("steps", [0, 1001, -3])
def test_steps_that_cannot_be_are_one_sentence(steps: int, turbo: SdxlTurboBackend, asked: Asked) -> None:
    with pytest.raises(InputError, match=f"the steps must be between 1 and 1000, not {steps}"):
        turbo.complete(asked(steps=steps))
