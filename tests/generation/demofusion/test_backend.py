"""The backend paints large with every kind of checkpoint, and says in one sentence what it cannot."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, ImageStat

from velatura.errors import Cancelled, InputError
from velatura.generation import open_backend
from velatura.generation.demofusion import DemoFusionBackend
from velatura.generation.sd import StableDiffusionBackend
from velatura.playground.sample import make_checkpoint
from velatura.protocols import Watch
from velatura.records import Control, Enlargement, GenerationRequest, Picture, Start

Asked = Callable[..., GenerationRequest]


@pytest.fixture(scope="module")
def large(checkpoint: Path) -> DemoFusionBackend:
    return DemoFusionBackend(str(checkpoint), device="cpu")


@pytest.fixture(scope="module")
def turbo(tmp_path_factory: pytest.TempPathFactory) -> DemoFusionBackend:
    folder = make_checkpoint(tmp_path_factory.mktemp("models") / "sdxl-turbo", kind="sdxl-turbo")
    return DemoFusionBackend(str(folder), device="cpu")


@pytest.fixture
def twice(asked: Asked) -> Asked:
    def make(*given: Any, **fields: Any) -> GenerationRequest:
        return asked(*given, **({"width": 256, "height": 128, "guidance": 3.0, "scheduler": "ddim"} | fields))

    return make


@pytest.fixture(scope="module")
def picture(tmp_path_factory: pytest.TempPathFactory) -> Picture:
    path = tmp_path_factory.mktemp("pictures") / "start.png"
    level = np.linspace(0, 255, 160, dtype=np.uint8)
    Image.fromarray(np.stack([np.broadcast_to(level, (120, 160))] * 3, -1).copy()).save(path)
    return Picture(path=str(path))


def pixels(backend: Any, request: GenerationRequest, count: int = 1) -> list[bytes]:
    return [image.image.tobytes() for image in backend.generate(request, count)]


def test_it_is_opened_by_name(checkpoint: Path) -> None:
    backend = open_backend("demofusion", str(checkpoint), device="cpu")
    assert (backend.name, backend.family) == ("demofusion", "sd1")


def test_a_picture_is_as_large_as_was_asked_and_follows_from_its_seed(large: DemoFusionBackend, twice: Asked) -> None:
    request = twice(seed=4, height=120)
    first, second = large.generate(request, 2)
    assert first.image.size == (256, 120)
    assert (first.seed, second.seed) == (4, 5)
    assert first.image.tobytes() != second.image.tobytes()
    assert pixels(large, replace(request, seed=5)) == [second.image.tobytes()]
    assert first.request.enlargement is not None
    assert first.request.backend == "demofusion"


def test_at_the_models_own_size_it_paints_what_the_plain_backend_paints(
    large: DemoFusionBackend, backend: StableDiffusionBackend, asked: Asked
) -> None:
    for scheduler in ("ddim", "euler_a"):
        request = asked(width=128, height=96, scheduler=scheduler, steps=3)
        [mine], [plain] = large.generate(request), backend.generate(request)
        off = np.abs(np.asarray(mine.image, float) - np.asarray(plain.image, float))
        assert off.max() <= 2


def test_adapters_change_it_and_leave_no_trace(large: DemoFusionBackend, adapters: list[Path], twice: Asked) -> None:
    bare = pixels(large, twice())
    worn = pixels(large, twice("a red fox", (adapters[0], 0.8)))
    assert worn != bare
    assert large.laid == {str(adapters[0]): 0.8}
    assert pixels(large, twice()) == bare
    assert pixels(large, twice("a red fox", (adapters[0], 0.8))) == worn


@pytest.mark.parametrize("mode", ["demofusion", "scalecrafter"])
def test_adapters_beside_the_weights_do_the_same(
    mode: Any, checkpoint: Path, large: DemoFusionBackend, adapters: list[Path], twice: Asked
) -> None:
    beside = DemoFusionBackend(str(checkpoint), device="cpu", laying="beside")
    request = twice("a red fox", (adapters[0], 0.8), enlargement=Enlargement(mode=mode))
    [one], [other] = large.generate(request), beside.generate(request)
    assert np.abs(np.asarray(one.image, float) - np.asarray(other.image, float)).max() <= 3


@pytest.mark.parametrize("mode", ["multidiffusion", "scalecrafter", "upscale"])
def test_other_ways_paint_large_too(mode: Any, large: DemoFusionBackend, twice: Asked) -> None:
    [demofusion], [other] = (large.generate(twice(enlargement=wanted)) for wanted in (None, Enlargement(mode=mode)))
    assert other.image.size == (256, 128)
    assert other.image.tobytes() != demofusion.image.tobytes()


def test_a_plain_upscaler_enlarges_the_picture_of_the_models_own_size(
    large: DemoFusionBackend, backend: StableDiffusionBackend, twice: Asked
) -> None:
    [found] = large.generate(twice(width=256, height=192, enlargement=Enlargement(mode="upscale")))
    [small] = backend.generate(twice(width=128, height=96))
    assert found.image.tobytes() == small.image.resize((256, 192), Image.Resampling.LANCZOS).tobytes()


def test_it_starts_from_a_picture(large: DemoFusionBackend, twice: Asked, picture: Picture) -> None:
    request = twice(start=Start(picture=picture, strength=1.0), steps=3)
    [kept, loose] = (
        next(large.generate(replace(request, enlargement=Enlargement(cosine=(power, 1.0, 1.0)))))
        for power in (0.0, 50.0)
    )
    assert kept.image.size == (256, 128)
    assert kept.image.tobytes() != loose.image.tobytes()
    assert kept.request.start is not None
    assert kept.request.start.picture.sha256 is not None
    assert large.estimate(replace(request, start=Start(picture=picture, strength=0.4))).phases[0].steps[0].number == 2


def test_from_a_picture_it_makes_all_steps_where_it_is_held_to_the_picture(
    large: DemoFusionBackend, twice: Asked, picture: Picture
) -> None:
    request = twice(start=Start(picture=picture), steps=4)
    strengths = {
        mode: large.complete(replace(request, enlargement=Enlargement(mode=mode))).start
        for mode in ("demofusion", "multidiffusion", "upscale")
    }
    assert {mode: start and start.strength for mode, start in strengths.items()} == {
        "demofusion": 1.0,
        "multidiffusion": 0.75,
        "upscale": 0.75,
    }
    assert [step.number for step in large.estimate(request).phases[0].steps] == [0, 1, 2, 3]


def test_a_complete_request_tells_how_it_is_enlarged(large: DemoFusionBackend, twice: Asked) -> None:
    found = large.complete(twice(steps=3, enlargement=Enlargement(skip=0.05, views=5)))
    assert found.enlargement == Enlargement(
        stride=8, views=5, later_steps=3, skip=0.05, cosine=(0.5, 0.5, 1.0), sigma=0.8
    )
    assert pixels(large, found) == pixels(large, twice(steps=3, enlargement=Enlargement(skip=0.05, views=5)))


def test_later_phases_may_make_other_steps(large: DemoFusionBackend, twice: Asked) -> None:
    first, later = large.estimate(twice(steps=4, enlargement=Enlargement(later_steps=1))).phases
    assert (len(first.steps), len(later.steps)) == (4, 1)


def test_one_step_of_each_phase_tries_out_the_memory(
    large: DemoFusionBackend, twice: Asked, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried: list[int | None] = []

    def draw(rows: Any, *_: Any) -> list[Image.Image]:
        tried.extend(row.request.enlargement.later_steps for row in rows)
        return []

    monkeypatch.setattr(large, "_draw", draw)
    large.try_out(large._rows([twice(steps=4)]))
    assert tried == [1]


def test_without_a_size_it_is_twice_as_large(large: DemoFusionBackend, twice: Asked, picture: Picture) -> None:
    open_size = twice(width=None, height=None)
    assert (large.complete(open_size).width, large.complete(open_size).height) == (256, 256)
    from_picture = large.complete(replace(open_size, start=Start(picture=picture), steps=4))
    assert (from_picture.width, from_picture.height) == (320, 240)
    one_side = large.complete(replace(open_size, width=384))
    assert (one_side.width, one_side.height) == (384, 128)


def test_sdxl_turbo_has_its_own_settings(turbo: DemoFusionBackend, twice: Asked) -> None:
    request = twice(model="", steps=None, guidance=None, scheduler=None)
    found = turbo.complete(request)
    assert (found.steps, found.guidance, found.scheduler) == (10, 2.5, "euler_a_sgm_uniform")
    suiting = Enlargement(stride=12, views=12, later_steps=10, cosine=(0.5, 0.5, 1.0), sigma=0.8)
    assert found.enlargement == suiting
    # What is asked for goes first, and leaves everything else to the model.
    own = turbo.complete(replace(request, steps=4, guidance=0.0, enlargement=Enlargement(stride=8)))
    assert (own.steps, own.guidance, own.enlargement) == (4, 0.0, replace(suiting, stride=8, later_steps=4))
    assert turbo.complete(own) == own
    [image] = turbo.generate(replace(request, steps=2, guidance=0.0))
    assert ImageStat.Stat(image.image).stddev[0] > 1


def test_who_looks_on_sees_progress_and_small_pictures(large: DemoFusionBackend, twice: Asked) -> None:
    shares: list[float] = []
    shown: list[tuple[int, tuple[int, int]]] = []
    watch = Watch(progress=shares.append, preview=lambda place, small: shown.append((place, small.size)), every=1)
    list(large.generate(twice(), 2, watch=watch))
    assert shares == sorted(shares)
    assert shares[-1] == pytest.approx(1.0)
    assert {place for place, _ in shown} == {0, 1}
    assert {(128, 64), (256, 128)} == {size for _, size in shown}


def test_it_is_stopped_between_two_steps(large: DemoFusionBackend, twice: Asked) -> None:
    made: list[float] = []
    watch = Watch(progress=made.append, stopped=lambda: len(made) == 3)
    with pytest.raises(Cancelled):
        list(large.generate(twice(), watch=watch))
    assert len(made) == 3


def test_the_plan_is_told_before_anything_is_painted(large: DemoFusionBackend, twice: Asked) -> None:
    found = large.estimate(twice(steps=50, width=512, height=512), timed=True)
    assert found.samples == 11300
    assert found.size == (64, 64)
    assert found.seconds is not None
    assert found.seconds > 0
    assert large.estimate(twice(steps=50, height=256, guidance=1.0)).samples == 700
    with pytest.raises(InputError, match="upscaler has no plan"):
        large.estimate(twice(enlargement=Enlargement(mode="upscale")))


def test_a_model_whose_own_scheduler_does_not_fit_takes_another(
    large: DemoFusionBackend, twice: Asked, monkeypatch: pytest.MonkeyPatch
) -> None:
    from diffusers import PNDMScheduler

    own = PNDMScheduler.from_config(large._own_scheduler.config, skip_prk_steps=True)
    monkeypatch.setattr(large, "_own_scheduler", own)
    assert large.complete(twice(scheduler=None)).scheduler == "ddim"


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"width": 250}, "multiples of 8 up to 8192, not 250"),
        ({"height": 8200}, "multiples of 8 up to 8192, not 8200"),
        ({"scheduler": "heun"}, "painting large does not allow"),
        ({"scheduler": "nobody"}, "there is no scheduler"),
        ({"enlargement": Enlargement(stride=17)}, "the stride must be between 1 and the window's 16 cells, not 17"),
        ({"enlargement": Enlargement(later_steps=0)}, "later_steps must be between 1 and 1000, not 0"),
        ({"enlargement": Enlargement(mode="upscale", later_steps=-3)}, "later_steps must be .* not -3"),
        ({"enlargement": Enlargement(mode="upscale", sigma=math.nan)}, "sigma must be between 0 and 100, not nan"),
        ({"enlargement": Enlargement(mode="upscale", upscaler="nowhere.safetensors")}, "nowhere.safetensors"),
        ({"controls": (Control(model="x", picture=Picture(path="x.png")),)}, "demofusion follows no ControlNet"),
        ({"steps": 0}, "the steps must be between 1 and 1000"),
    ],
)
def test_what_cannot_be_is_one_sentence(
    fields: dict[str, Any], said: str, large: DemoFusionBackend, twice: Asked
) -> None:
    with pytest.raises(InputError, match=said):
        large.generate(twice(**fields))


def test_a_mask_is_refused(large: DemoFusionBackend, twice: Asked, picture: Picture) -> None:
    with pytest.raises(InputError, match="takes no mask"):
        large.complete(twice(start=Start(picture=picture, mask=picture)))


def test_a_model_of_one_step_is_refused(tmp_path: Path) -> None:
    folder = make_checkpoint(tmp_path / "sdxs", kind="sdxs")
    with pytest.raises(InputError, match="paints in one step, and painting large takes several"):
        DemoFusionBackend(str(folder), device="cpu")


def test_saving_memory_keeps_one_part_at_a_time_on_the_device(
    large: DemoFusionBackend, twice: Asked, monkeypatch: pytest.MonkeyPatch
) -> None:
    moved: list[tuple[str, str]] = []

    class Elsewhere:
        type = "elsewhere"

    for name in ("unet", "vae", "text_encoder"):
        part = getattr(large._pipe, name)
        monkeypatch.setattr(part, "to", lambda place, name=name: moved.append((name, getattr(place, "type", place))))
    monkeypatch.setattr(large, "_device", Elsewhere())
    with large._alone("unet", saving=True):
        assert moved == [("vae", "cpu"), ("text_encoder", "cpu")]
    assert moved[2:] == [("vae", "elsewhere"), ("text_encoder", "elsewhere")]
    with large._alone("unet", saving=False):
        assert len(moved) == 4


def test_saving_memory_changes_no_pixel(large: DemoFusionBackend, twice: Asked) -> None:
    assert pixels(large, twice(enlargement=Enlargement(saving=True))) == pixels(large, twice(enlargement=Enlargement()))


def test_an_empty_picture_is_told(large: DemoFusionBackend, twice: Asked, monkeypatch: pytest.MonkeyPatch) -> None:
    from velatura.generation import PaintingWarning
    from velatura.generation.demofusion import Painter

    broken = torch.full((1, 4, 16, 32), torch.nan)
    monkeypatch.setattr(Painter, "paint", lambda *_: broken)
    with pytest.warns(PaintingWarning, match="overflow"):
        list(large.generate(twice()))


def test_a_compiled_unet_sees_batches_of_few_sizes(
    checkpoint: Path, large: DemoFusionBackend, twice: Asked, monkeypatch: pytest.MonkeyPatch
) -> None:
    shapes: set[tuple[int, ...]] = set()

    def counted(unet: Any, *, dynamic: bool) -> Any:
        assert not dynamic

        def run(latents: torch.Tensor, *given: Any, **options: Any) -> Any:
            shapes.add(tuple(latents.shape))
            return unet(latents, *given, **options)

        return run

    monkeypatch.setattr(torch, "compile", counted)
    backend = DemoFusionBackend(str(checkpoint), device="cpu", compiled=True)
    request = twice(width=256, height=256)
    [one], [other] = backend.generate(request), large.generate(request)
    assert len(shapes) == 2  # the first phase's, and all others'
    assert np.abs(np.asarray(one.image, float) - np.asarray(other.image, float)).max() <= 2
