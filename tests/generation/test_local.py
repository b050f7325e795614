"""What all backends that paint here share: rows, batches with sets of their own, a watch, lack of memory."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import ImageChops
from PIL.Image import Image

from velatura.errors import Cancelled, IncompatibleAdapter, InputError, VelaturaError
from velatura.generation import PaintingWarning
from velatura.generation.adapters.patch import Layers
from velatura.generation.batches import Row
from velatura.generation.sd import StableDiffusionBackend
from velatura.protocols import Watch
from velatura.records import AdapterRecord, GenerationRequest

Asked = Callable[..., GenerationRequest]


def each(backend: StableDiffusionBackend, requests: Sequence[GenerationRequest]) -> list[Image]:
    found = {place: made.image for place, made in backend.generate_each(requests)}
    assert sorted(found) == list(range(len(requests)))
    return [found[place] for place in range(len(requests))]


def alone(backend: StableDiffusionBackend, request: GenerationRequest) -> Image:
    return next(backend.generate(request)).image


@pytest.fixture
def mixed(adapters: list[Path], asked: Asked) -> list[GenerationRequest]:
    """Five requests over three sets of adapters, in turns."""
    sets = ([(adapters[0], 0.8)], [], [(adapters[0], 0.8), (adapters[1], -0.4)])
    return [asked("a red fox", *sets[number % 3], seed=number) for number in range(5)]


def test_each_request_is_painted_as_it_is_alone_and_each_set_is_laid_once(
    checkpoint: Path, mixed: list[GenerationRequest], monkeypatch: pytest.MonkeyPatch
) -> None:
    backend = StableDiffusionBackend(str(checkpoint), device="cpu", laying="weights")
    singles = [alone(backend, request).tobytes() for request in mixed]
    assert len(set(singles)) == 5
    changes: list[int] = []
    compose = Layers._compose

    def counted(self: Layers, parts: Any) -> None:
        changes.append(len(parts))
        compose(self, parts)

    monkeypatch.setattr(Layers, "_compose", counted)
    assert [image.tobytes() for image in each(backend, mixed)] == singles
    assert len(changes) == 3


def test_one_batch_wears_several_sets_beside_the_weights(checkpoint: Path, mixed: list[GenerationRequest]) -> None:
    backend = StableDiffusionBackend(str(checkpoint), device="cpu", laying="beside", batch_size=5)
    drawn: list[int] = []
    draw = backend._draw

    def counted(rows: Sequence[Row], *others: Any) -> list[Image]:
        drawn.append(len(rows))
        return draw(rows, *others)

    backend._draw = counted  # type: ignore[method-assign]
    singles = [alone(backend, request) for request in mixed]
    drawn.clear()
    for one, other in zip(each(backend, mixed), singles, strict=True):
        assert np.asarray(ImageChops.difference(one, other)).max() <= 1
    assert drawn == [5]
    assert backend.laid == {}


def test_prompts_of_other_lengths_are_not_filled_up_to_share_a_batch(checkpoint: Path, asked: Asked) -> None:
    backend = StableDiffusionBackend(str(checkpoint), device="cpu", batch_size=4)
    requests = [asked("a fox"), asked("a fox " * 60), asked("a cat"), asked("a fox", negative="snow")]
    for image, request in zip(each(backend, requests), requests, strict=True):
        assert np.asarray(ImageChops.difference(image, alone(backend, request))).max() <= 1


def test_masks_of_one_composition_are_painted_together(checkpoint: Path, adapters: list[Path], asked: Asked) -> None:
    backend = StableDiffusionBackend(str(checkpoint), device="cpu", batch_size=2)
    whole = asked("a red fox", (adapters[0], 0.8), (adapters[1], 0.8))
    masks = [(True, True), (True, False), (False, False), (True, False)]
    requests = [replace(whole, mask=mask) for mask in masks]
    images = [image.tobytes() for image in each(backend, requests)]
    assert len(set(images)) == 3
    assert images[1] == images[3]


def test_requests_are_all_checked_before_the_first_is_painted(backend: StableDiffusionBackend, asked: Asked) -> None:
    with pytest.raises(InputError, match="multiples of 8 up to 4096, not 70"):
        backend.generate_each([asked(), asked(width=70)])


def test_what_is_left_open_is_filled_in(backend: StableDiffusionBackend, asked: Asked) -> None:
    found = backend.complete(asked(steps=None, guidance=None, width=None, height=None))
    assert (found.steps, found.guidance, found.width, found.height, found.scheduler) == (25, 7.0, 128, 128, "ddim")


def test_an_adapter_that_paints_in_few_steps_brings_its_own(backend: StableDiffusionBackend, asked: Asked) -> None:
    request = asked("a fox", (Path("lcm-lora-sdv1-5.safetensors"), 1.0), steps=None, guidance=None)
    found = backend.complete(request)
    assert (found.steps, found.guidance, found.scheduler) == (4, 1.0, "lcm")
    assert backend.complete(replace(request, steps=9, scheduler="ddim")).steps == 9


def test_a_few_step_adapter_in_many_steps_is_warned_of(
    backend: StableDiffusionBackend, adapters: list[Path], asked: Asked, tmp_path: Path
) -> None:
    path = tmp_path / "lcm-lora-sdv1-5.safetensors"
    path.write_bytes(adapters[0].read_bytes())
    with pytest.warns(PaintingWarning, match="paints in 2 to 12 steps, not in 30"):
        next(backend.generate(asked("a fox", (path, 1.0), steps=30, guidance=1.0, width=128, height=128)))


def test_a_watch_stops_between_steps_and_nothing_is_lost(
    backend: StableDiffusionBackend, adapters: list[Path], asked: Asked
) -> None:
    request = asked("a red fox", (adapters[0], 0.8), steps=4)
    whole = alone(backend, request).tobytes()
    shares: list[float] = []
    watch = Watch(progress=shares.append, stopped=lambda: len(shares) == 6)
    painted = backend.generate(request, 3, watch=watch)
    assert next(painted).image.tobytes() == whole
    with pytest.raises(Cancelled):
        next(painted)
    assert len(shares) == 6
    assert alone(backend, request).tobytes() == whole


def test_previews_show_each_picture_small_and_change_nothing(backend: StableDiffusionBackend, asked: Asked) -> None:
    seen: list[tuple[int, tuple[int, int]]] = []
    request = asked(steps=5)
    watch = Watch(preview=lambda place, picture: seen.append((place, picture.size)), every=2)
    images = [made.image.tobytes() for made in backend.generate(request, 2, watch=watch)]
    assert images == [made.image.tobytes() for made in backend.generate(request, 2)]
    assert seen == [(place, (64, 64)) for place in (0, 0, 1, 1)]


def lacking(backend: StableDiffusionBackend, limit: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the memory suffice for so many pixels in all."""
    draw = backend._draw

    def drawn(rows: Sequence[Row], *others: Any) -> list[Image]:
        if len(rows) * rows[0].size[0] * rows[0].size[1] > limit:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return draw(rows, *others)

    monkeypatch.setattr(backend, "_draw", drawn)


def test_a_lack_of_memory_is_told_with_what_fits(
    checkpoint: Path, asked: Asked, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend = StableDiffusionBackend(str(checkpoint), device="cpu", batch_size=2)
    lacking(backend, 128 * 128, monkeypatch)
    with pytest.raises(VelaturaError, match="not enough memory for pictures of 256x256; 128x128 fits"):
        alone(backend, asked(width=256, height=256))
    with pytest.raises(VelaturaError, match="of 128x128 and 2 at once; one at a time fits: set the batch size to 1"):
        list(backend.generate(asked(width=128, height=128), 2))
    alone(backend, asked(width=128, height=128))


def test_other_failures_are_not_taken_for_a_lack_of_memory(
    backend: StableDiffusionBackend, asked: Asked, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any) -> list[Image]:
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    monkeypatch.setattr(backend, "_draw", broken)
    with pytest.raises(RuntimeError, match="mat1"):
        alone(backend, asked())


def test_an_adapter_of_another_family_is_refused_before_painting(
    backend: StableDiffusionBackend, adapters: list[Path], asked: Asked, tmp_path: Path
) -> None:
    from safetensors.torch import load_file, save_file

    path = tmp_path / "xl.safetensors"
    save_file(load_file(adapters[0]), path, metadata={"ss_base_model_version": "sdxl_base_v1-0"})
    with pytest.raises(IncompatibleAdapter, match="SDXL"):
        backend.generate(asked("a fox", (path, 1.0)))


def test_an_adapter_that_is_not_here_says_where_it_can_be_had(backend: StableDiffusionBackend, asked: Asked) -> None:
    request = asked("a fox", (Path("x.safetensors"), 1.0))
    far = AdapterRecord(source="civitai", key="1/2/3", title="Far", url="https://example.org/far")
    [choice] = request.composition.choices
    request = replace(request, composition=replace(request.composition, choices=(replace(choice, adapter=far),)))
    with pytest.raises(InputError, match=r"Far is not on this machine; download it from https://example\.org/far or"):
        backend.generate(request)


def test_the_stamp_tells_the_precision(checkpoint: Path, backend: StableDiffusionBackend) -> None:
    assert backend.stamp == "float32"
    assert StableDiffusionBackend(str(checkpoint), device="cpu", dtype=torch.bfloat16).stamp == "bfloat16"
