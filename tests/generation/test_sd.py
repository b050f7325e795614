"""The backend paints what was asked, the same way every time, and says in one sentence what it cannot."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import ImageChops
from safetensors.torch import load_file, save_file

from velatura.errors import IncompatibleAdapter, InputError, MissingDependency, UnreadableFile, VelaturaError
from velatura.generation import PaintingWarning, open_backend
from velatura.generation.schedulers import SAMPLERS
from velatura.generation.sd import StableDiffusionBackend
from velatura.protocols import Watch
from velatura.records import AdapterRecord, Choice, Composition, GenerationRequest

Asked = Callable[..., GenerationRequest]


def pixels(backend: StableDiffusionBackend, request: GenerationRequest, count: int = 1) -> list[bytes]:
    return [image.image.tobytes() for image in backend.generate(request, count)]


def test_opening_the_package_loads_nothing_heavy() -> None:
    code = "import sys, velatura.generation; sys.exit(bool({'torch', 'diffusers', 'PIL'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_an_unknown_backend_lists_the_known(checkpoint: Path) -> None:
    with pytest.raises(InputError, match="there is no backend 'dalle'; take one of sd"):
        open_backend("dalle", str(checkpoint))


def test_a_missing_package_prints_the_line_that_installs_it(checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "transformers.utils", None)
    with pytest.raises(MissingDependency, match=r"pip install 'velatura\[generate\]'"):
        open_backend("sd", str(checkpoint))


def test_a_broken_package_is_one_sentence(checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Broken:
        def __getattr__(self, name: str) -> Any:
            raise RuntimeError("Failed to import diffusers:\noperator torchvision::nms does not exist")

    monkeypatch.setitem(sys.modules, "diffusers", Broken())
    with pytest.raises(VelaturaError, match=r"cannot be imported; try `velatura doctor`: operator torchvision::nms"):
        open_backend("sd", str(checkpoint))


def test_the_backend_is_opened_by_name(checkpoint: Path) -> None:
    backend = open_backend("sd", str(checkpoint), device="cpu")
    assert backend.name == "sd"
    assert backend.family == "sd1"


def test_an_image_carries_its_seed_and_completed_request(backend: StableDiffusionBackend, asked: Asked) -> None:
    request = asked(seed=40, width=None, height=None)
    first, second = backend.generate(request, 2)
    assert (first.seed, second.seed) == (40, 41)
    assert first.request == replace(request, width=128, height=128, scheduler="ddim", guidance=7.0, backend="sd")
    assert first.image.size == (128, 128)
    assert first.image.tobytes() != second.image.tobytes()
    assert first.seconds > 0


def test_a_batch_is_its_images_drawn_one_by_one(backend: StableDiffusionBackend, asked: Asked) -> None:
    for scheduler in (None, "euler_a"):
        batch = pixels(backend, asked(seed=7, scheduler=scheduler), 3)
        singles = [pixels(backend, asked(seed=seed, scheduler=scheduler))[0] for seed in (7, 8, 9)]
        assert batch == singles


@pytest.mark.parametrize("scheduler", [None, "euler_a", "dpmpp_2m_sde"])
def test_drawing_several_at_once_changes_rounding_only(
    scheduler: str | None, checkpoint: Path, backend: StableDiffusionBackend, asked: Asked
) -> None:
    together = StableDiffusionBackend(str(checkpoint), device="cpu", batch_size=3)
    request = asked(seed=3, scheduler=scheduler)
    for one, other in zip(backend.generate(request, 4), together.generate(request, 4), strict=True):
        assert one.seed == other.seed
        assert np.asarray(ImageChops.difference(one.image, other.image)).max() <= 1


@pytest.mark.parametrize("scheduler", SAMPLERS)
def test_every_scheduler_paints(scheduler: str, backend: StableDiffusionBackend, asked: Asked) -> None:
    image = next(backend.generate(asked(scheduler=scheduler, steps=3)))
    assert image.request.scheduler == scheduler
    assert np.asarray(image.image).std() > 1


def test_schedulers_differ(backend: StableDiffusionBackend, asked: Asked) -> None:
    few = ("ddim", "euler", "euler_a", "dpmpp_2m", "dpmpp_2m_karras", "lcm", "unipc")
    assert len({pixels(backend, asked(scheduler=name, steps=4))[0] for name in few}) == len(few)


def test_adapters_change_the_picture_and_leave_no_trace(
    backend: StableDiffusionBackend, adapters: list[Path], asked: Asked
) -> None:
    bare = pixels(backend, asked())
    one = pixels(backend, asked("a red fox", (adapters[0], 0.8)))
    two = pixels(backend, asked("a red fox", (adapters[0], 0.8), (adapters[1], -0.4)))
    assert len({*bare, *one, *two}) == 3
    assert backend.laid == {str(adapters[0]): 0.8, str(adapters[1]): -0.4}
    assert pixels(backend, asked("a red fox", (adapters[0], 0.8))) == one
    assert pixels(backend, asked()) == bare
    assert backend.laid == {}


def test_a_mask_takes_choices_off(backend: StableDiffusionBackend, adapters: list[Path], asked: Asked) -> None:
    both = asked("a red fox", (adapters[0], 0.8), (adapters[1], 0.5))
    assert pixels(backend, replace(both, mask=(False, True))) == pixels(backend, asked("a red fox", (adapters[1], 0.5)))
    assert pixels(backend, replace(both, mask=(False, False))) == pixels(backend, asked())


def test_the_same_file_chosen_twice_adds_up(
    backend: StableDiffusionBackend, adapters: list[Path], asked: Asked
) -> None:
    twice = asked("a red fox", (adapters[0], 0.25), (adapters[0], 0.5))
    assert pixels(backend, twice) == pixels(backend, asked("a red fox", (adapters[0], 0.75)))


def test_an_adapter_of_the_text_encoder_alone_changes_the_picture(
    tmp_path: Path, backend: StableDiffusionBackend, adapters: list[Path], asked: Asked
) -> None:
    words = {key: value for key, value in load_file(adapters[0]).items() if key.startswith("lora_te_")}
    save_file(words, tmp_path / "words.safetensors")
    assert pixels(backend, asked("a fox", (tmp_path / "words.safetensors", 1.0))) != pixels(backend, asked("a fox"))


def test_another_request_between_two_images_does_not_change_them(
    backend: StableDiffusionBackend, adapters: list[Path], asked: Asked
) -> None:
    request = asked("a red fox", (adapters[0], 1.0))
    expected = pixels(backend, request, 2)
    drawing: Iterator[Any] = backend.generate(request, 2)
    first = next(drawing).image.tobytes()
    pixels(backend, asked("a cat", (adapters[1], 1.0)))
    assert [first, next(drawing).image.tobytes()] == expected


def test_an_edited_file_is_read_anew(
    tmp_path: Path, backend: StableDiffusionBackend, adapters: list[Path], asked: Asked
) -> None:
    path = tmp_path / "style.safetensors"
    path.write_bytes(adapters[0].read_bytes())
    first = pixels(backend, asked("a fox", (path, 1.0)))
    path.unlink()
    path.write_bytes(adapters[1].read_bytes())
    assert pixels(backend, asked("a fox", (path, 1.0))) != first


def test_nothing_is_written_into_the_checkpoint(checkpoint: Path, adapters: list[Path], asked: Asked) -> None:
    def digest() -> list[str]:
        return [hashlib.sha256(p.read_bytes()).hexdigest() for p in sorted(checkpoint.rglob("*")) if p.is_file()]

    before = digest()
    # In the files' own precision, the weights could be the mapped files themselves.
    backend = StableDiffusionBackend(str(checkpoint), device="cpu", dtype=torch.float16)
    backend._layers.lay({backend.plan(adapters[0]): 1.0})
    assert digest() == before


def test_guidance_of_one_needs_no_negative_prompt(backend: StableDiffusionBackend, asked: Asked) -> None:
    plain = asked(guidance=1.0, width=128, height=128)
    assert pixels(backend, plain) == pixels(backend, replace(plain, negative="a cat"))
    strong = asked(guidance=5.0)
    assert pixels(backend, strong) != pixels(backend, replace(strong, negative="a cat"))


def test_clip_skip_and_size_are_obeyed(backend: StableDiffusionBackend, asked: Asked) -> None:
    assert pixels(backend, asked(clip_skip=1)) != pixels(backend, asked())
    assert next(backend.generate(asked(width=72, height=40))).image.size == (72, 40)


def test_progress_runs_from_nothing_to_all(backend: StableDiffusionBackend, asked: Asked) -> None:
    shares: list[float] = []
    list(backend.generate(asked(steps=3), 2, watch=Watch(progress=shares.append)))
    assert shares == pytest.approx([1 / 6, 2 / 6, 3 / 6, 4 / 6, 5 / 6, 1])


@pytest.mark.parametrize(
    ("fields", "count", "sentence"),
    [
        ({"width": 70}, 1, "multiples of 8 up to 4096, not 70"),
        ({"height": 8192}, 1, "multiples of 8 up to 4096, not 8192"),
        ({"width": 0}, 1, "multiples of 8 up to 4096, not 0"),
        ({"height": 0}, 1, "multiples of 8 up to 4096, not 0"),
        ({"width": -64}, 1, "multiples of 8 up to 4096, not -64"),
        ({"steps": 0}, 1, "steps must be between 1 and 1000, not 0"),
        ({"guidance": float("nan")}, 1, "guidance must be between 0 and 100, not nan"),
        ({"guidance": -1.0}, 1, "guidance must be between 0 and 100"),
        ({"seed": -1}, 1, "seed must be between 0"),
        ({"seed": 2**63}, 1, "seed must be between 0"),
        ({"clip_skip": 2}, 1, "clip_skip must be below 2, not 2"),
        ({"mask": (True,)}, 1, "mask must be as long as the 0 choices"),
        ({"model": "another"}, 1, "not another"),
        ({"scheduler": "magic"}, 1, "no scheduler 'magic'; take one of ddim, ddpm, deis, dpmpp_2m,"),
        ({}, 0, "count must be at least 1, not 0"),
    ],
)
def test_wrong_requests_are_refused_before_anything_is_painted(
    fields: dict[str, Any], count: int, sentence: str, backend: StableDiffusionBackend, asked: Asked
) -> None:
    with pytest.raises(InputError, match=sentence) as caught:
        backend.generate(asked(**fields), count)
    assert "\n" not in str(caught.value)


def test_an_adapter_elsewhere_is_asked_for(backend: StableDiffusionBackend, asked: Asked) -> None:
    away = AdapterRecord(source="civitai", key="1/2/3", title="Foxy", url="https://example.org/foxy")
    composition = Composition(prompt="a fox", choices=(Choice(adapter=away, weight=1.0, span="fox"),))
    with pytest.raises(InputError, match=r"Foxy is not on this machine; download it from https://example\.org/foxy or"):
        backend.generate(replace(asked(), composition=composition))


def test_adapters_that_cannot_be_laid_are_refused_and_the_model_goes_on(
    tmp_path: Path, backend: StableDiffusionBackend, asked: Asked
) -> None:
    bare = pixels(backend, asked())
    wide = {"lora_unet_x.lora_down.weight": torch.ones(2, 768), "lora_unet_x.lora_up.weight": torch.ones(320, 2)}
    save_file(wide, tmp_path / "wide.safetensors")
    (tmp_path / "pickle.pt").write_bytes(b"\x80\x04N.")
    for path, error in (
        (tmp_path / "wide.safetensors", IncompatibleAdapter),
        (tmp_path / "pickle.pt", UnreadableFile),
        (tmp_path / "none.safetensors", InputError),
    ):
        with pytest.raises(error) as caught:
            backend.generate(asked("a fox", (path, 1.0)))
        assert "\n" not in str(caught.value)
    with pytest.raises(InputError, match="must be a finite number"):
        backend.generate(asked("a fox", (tmp_path / "wide.safetensors", float("nan"))))
    assert pixels(backend, asked()) == bare


def test_an_overflow_is_told(checkpoint: Path, adapters: list[Path], asked: Asked) -> None:
    backend = StableDiffusionBackend(str(checkpoint), device="cpu")
    with pytest.warns(PaintingWarning, match="weights overflow: the picture is empty"):
        image = next(backend.generate(asked("a fox", (adapters[0], 1e38))))
    assert np.asarray(image.image).max() == 0
    with torch.no_grad():
        backend._pipe.vae.decoder.conv_out.weight.fill_(float("nan"))
    with pytest.warns(PaintingWarning, match="autoencoder overflows"):
        next(backend.generate(asked()))
    with torch.no_grad():
        backend._pipe.vae.decoder.conv_out.weight.zero_()
    with pytest.warns(PaintingWarning, match="one colour"):
        next(backend.generate(asked()))


def test_wrong_options_are_refused(checkpoint: Path) -> None:
    for options, sentence in (
        ({"device": "abacus"}, "there is no device 'abacus' on this machine"),
        ({"device": "cuda:63"}, "there is no device 'cuda:63' on this machine"),
        ({"batch_size": 0}, "batch size must be at least 1"),
    ):
        with pytest.raises(InputError, match=sentence):
            StableDiffusionBackend(str(checkpoint), **options)
