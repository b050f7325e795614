"""A sketch steers the painter through an IP-Adapter: at weight 0 not at all, and the more the higher the weight."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, ImageChops
from safetensors.torch import save_file
from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

from velatura.errors import Cancelled, InputError
from velatura.generation import open_backend
from velatura.generation.checkpoint import quiet
from velatura.generation.fusion import FusionBackend
from velatura.generation.image_prompt import Shown
from velatura.generation.sd import StableDiffusionBackend
from velatura.playground.sample import make_checkpoint
from velatura.protocols import Watch
from velatura.records import GenerationRequest, ImagePrompt, Picture

Asked = Callable[..., GenerationRequest]

_SEEN = 32
"""The width of what the tiny CLIP sees."""


def make_ip_adapter(folder: Path, unet: Any, *, seed: int = 0) -> Path:
    """Write an IP-Adapter with random weights for a UNet, and its encoder beside it."""
    generator = torch.Generator().manual_seed(seed)
    context = unet.config.cross_attention_dim

    def random(*shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=generator) / shape[-1] ** 0.5

    tensors = {
        "image_proj.proj.weight": random(4 * context, _SEEN),
        "image_proj.proj.bias": random(4 * context),
        "image_proj.norm.weight": torch.ones(context),
        "image_proj.norm.bias": torch.zeros(context),
    }
    crossed = [name for name in unet.attn_processors if "attn2" in name]
    for place, name in enumerate(crossed):
        outputs = unet.get_submodule(name.removesuffix(".processor")).to_k.out_features
        for part in ("to_k_ip", "to_v_ip"):
            tensors[f"ip_adapter.{2 * place + 1}.{part}.weight"] = random(outputs, context)
    folder.mkdir(parents=True, exist_ok=True)
    save_file(tensors, folder / "ip.safetensors")
    with quiet(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        CLIPVisionModelWithProjection(
            CLIPVisionConfig(
                hidden_size=32,
                intermediate_size=64,
                num_hidden_layers=2,
                num_attention_heads=2,
                image_size=32,
                patch_size=8,
                projection_dim=_SEEN,
            )
        ).save_pretrained(folder / "image_encoder")
    return folder / "ip.safetensors"


@pytest.fixture(scope="module")
def sketcher(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_checkpoint(tmp_path_factory.mktemp("sketchers") / "sdxs", kind="sdxs", seed=5)


@pytest.fixture(scope="module")
def ip_adapter(backend: StableDiffusionBackend, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_ip_adapter(tmp_path_factory.mktemp("ip"), backend._pipe.unet)


@pytest.fixture(scope="module")
def painter(checkpoint: Path, sketcher: Path, ip_adapter: Path) -> FusionBackend:
    return FusionBackend(str(checkpoint), sketcher=str(sketcher), ip_adapter=str(ip_adapter), device="cpu")


@pytest.fixture(scope="module")
def alone(checkpoint: Path, ip_adapter: Path) -> FusionBackend:
    """Without a sketcher."""
    return FusionBackend(str(checkpoint), ip_adapter=str(ip_adapter), device="cpu")


@pytest.fixture
def picture(tmp_path: Path) -> Picture:
    path = tmp_path / "given.png"
    Image.linear_gradient("L").resize((80, 60)).convert("RGB").save(path)
    return Picture(path=str(path))


def one(backend: Any, request: GenerationRequest) -> Image.Image:
    image: Image.Image = next(backend.generate(request)).image
    return image


def apart(image: Image.Image, other: Image.Image) -> float:
    return float(np.asarray(ImageChops.difference(image, other), dtype=float).mean())


def steered(request: GenerationRequest, ip_adapter: Path, weight: float, *pictures: Picture) -> GenerationRequest:
    prompt = ImagePrompt(model=str(ip_adapter), pictures=pictures, weight=weight)
    return replace(request, image_prompts=(prompt,))


def test_it_paints_with_the_numbers_of_the_study(painter: FusionBackend, asked: Asked, ip_adapter: Path) -> None:
    request = painter.complete(asked(steps=None))
    assert (request.steps, request.guidance, request.scheduler) == (30, 6.0, "dpmpp_3m_sde_sgm_uniform")
    assert request.image_prompts == (ImagePrompt(model=str(ip_adapter), pictures=(), weight=0.8),)
    assert painter.complete(request) == request
    assert painter.name == "fusion"


def test_versions_differ_in_the_weight_of_the_sketch(checkpoint: Path, sketcher: Path, ip_adapter: Path) -> None:
    found = {}
    for options in ({"version": "v1"}, {"version": "v2"}, {"version": "v2", "weight": 0.3}):
        backend: Any = open_backend(
            "fusion", str(checkpoint), sketcher=str(sketcher), ip_adapter=str(ip_adapter), device="cpu", **options
        )
        request = backend.complete(GenerationRequest(composition=_plain(), model=""))
        found[tuple(options.values())] = request.image_prompts[0].weight
    assert found == {("v1",): 0.8, ("v2",): 1.4, ("v2", 0.3): 0.3}
    with pytest.raises(InputError, match="no version 'v3' of fusion; take v1 or v2"):
        FusionBackend(str(checkpoint), version="v3")  # type: ignore[arg-type]


def _plain() -> Any:
    from velatura.records import Composition

    return Composition(prompt="a red fox")


def test_the_sketch_steers_the_more_the_higher_its_weight(
    painter: FusionBackend, backend: StableDiffusionBackend, ip_adapter: Path, asked: Asked
) -> None:
    request = asked(steps=4, seed=3)
    bare = one(backend, replace(request, guidance=6.0, scheduler="dpmpp_3m_sde_sgm_uniform"))
    images = [one(painter, steered(request, ip_adapter, weight)) for weight in (0.0, 0.4, 0.8, 1.4)]
    assert images[0].tobytes() == bare.tobytes()
    distances = [apart(image, bare) for image in images]
    assert distances == sorted(distances)
    assert distances[1] > 0.5
    # Nothing of it is left behind.
    assert one(painter, steered(request, ip_adapter, 0.0)).tobytes() == bare.tobytes()


def test_each_image_has_a_sketch_of_its_own_seed(
    checkpoint: Path, painter: FusionBackend, sketcher: Path, ip_adapter: Path, asked: Asked
) -> None:
    request = asked(seed=7)
    three = [image.image.tobytes() for image in painter.generate(request, 3)]
    assert len(set(three)) == 3
    assert [one(painter, replace(request, seed=seed)).tobytes() for seed in (7, 8, 9)] == three
    many = FusionBackend(
        str(checkpoint), sketcher=str(sketcher), ip_adapter=str(ip_adapter), device="cpu", batch_size=3
    )
    assert [image.image.tobytes() for image in many.generate(request, 3)] == three


def test_the_sketch_is_what_the_sketcher_paints(
    painter: FusionBackend,
    backend: StableDiffusionBackend,
    sketcher: Path,
    ip_adapter: Path,
    asked: Asked,
    tmp_path: Path,
) -> None:
    request = asked(seed=7, steps=3)
    sketch = one(
        open_backend(None, str(sketcher), device="cpu"), replace(request, model="", steps=None, width=None, height=None)
    )
    sketch.save(tmp_path / "sketch.png")
    given = steered(request, ip_adapter, 0.8, Picture(path=str(tmp_path / "sketch.png")))
    same = one(backend, replace(given, guidance=6.0, scheduler="dpmpp_3m_sde_sgm_uniform"))
    assert one(painter, request).tobytes() == same.tobytes()


def test_given_pictures_steer_alone_or_beside_the_sketch(
    painter: FusionBackend,
    alone: FusionBackend,
    backend: StableDiffusionBackend,
    ip_adapter: Path,
    asked: Asked,
    picture: Picture,
) -> None:
    request = steered(asked(), ip_adapter, 0.8, picture)
    without, beside = one(alone, request), one(painter, request)
    assert without.tobytes() == one(backend, painter_numbers(request)).tobytes()
    assert len({without.tobytes(), beside.tobytes(), one(painter, asked()).tobytes()}) == 3
    # An image prompt that names no adapter takes the backend's.
    [prompt] = request.image_prompts
    assert one(alone, replace(request, image_prompts=(replace(prompt, model=""),))).tobytes() == without.tobytes()


def painter_numbers(request: GenerationRequest) -> GenerationRequest:
    return replace(request, guidance=6.0, scheduler="dpmpp_3m_sde_sgm_uniform")


def test_what_is_seen_stands_one_behind_the_other(
    painter: FusionBackend, ip_adapter: Path, asked: Asked, picture: Picture, monkeypatch: pytest.MonkeyPatch
) -> None:
    prompts: Any = painter._extras.image_prompts
    seen: list[Shown] = []
    embeddings = prompts.embeddings

    def spying(shown: Shown, *, guided: bool) -> Any:
        seen.append(shown)
        return embeddings(shown, guided=guided)

    monkeypatch.setattr(prompts, "embeddings", spying)
    one(painter, steered(asked(), ip_adapter, 0.8, picture))
    [shown] = seen
    assert [image.size for image in shown.pictures] == [(128, 128), (80, 60)]
    assert embeddings(shown, guided=True).shape == (2, 2, _SEEN)


def test_adapters_go_on_both_and_leave_no_trace(
    checkpoint: Path, adapters: list[Path], ip_adapter: Path, asked: Asked, tmp_path: Path
) -> None:
    other = make_checkpoint(tmp_path / "other", seed=9)
    backend = FusionBackend(str(checkpoint), sketcher=str(other), ip_adapter=str(ip_adapter), device="cpu")
    bare = one(backend, asked())
    image = next(backend.generate(asked("a red fox", (adapters[0], 0.8))))
    assert image.image.tobytes() != bare.tobytes()
    assert image.request.composition.notes == (
        "the picture that steers is painted by other, which wears the same adapters",
    )
    # The painter's own share apart: the sketch changes, too.
    worn, none = (backend._shown(backend._rows([request]))[0] for request in (image.request, asked()))
    assert worn.pictures[0].tobytes() != none.pictures[0].tobytes()
    assert one(backend, asked()).tobytes() == bare.tobytes()


def test_an_adapter_that_fits_the_painter_alone_is_told(
    painter: FusionBackend, adapters: list[Path], asked: Asked
) -> None:
    bare = one(painter, asked())
    image = next(painter.generate(asked("a red fox", (adapters[0], 0.8))))
    assert image.image.tobytes() != bare.tobytes()
    assert image.request.composition.notes == (
        f"the picture that steers is painted by sdxs, without {adapters[0].stem}",
    )
    assert one(painter, asked()).tobytes() == bare.tobytes()


def test_whoever_looks_on_is_told_and_may_stop(painter: FusionBackend, asked: Asked) -> None:
    shares: list[float] = []
    list(painter.generate(asked(), 2, watch=Watch(progress=shares.append)))
    assert shares == [0.25, 0.5, 0.75, 1.0]
    with pytest.raises(Cancelled):
        list(painter.generate(asked(), watch=Watch(stopped=lambda: True)))


def test_it_needs_a_picture_from_somewhere(alone: FusionBackend, asked: Asked, ip_adapter: Path) -> None:
    with pytest.raises(InputError, match="needs a picture that steers: name a sketcher, such as sdxs-dreamshaper"):
        alone.generate(asked())
    with pytest.raises(InputError, match="needs a picture that steers"):
        alone.generate(steered(asked(), ip_adapter, 0.8))


def test_the_first_image_prompt_alone_may_be_left_to_the_sketch(
    painter: FusionBackend, alone: FusionBackend, asked: Asked, ip_adapter: Path, picture: Picture
) -> None:
    bare, whole = ImagePrompt(model=str(ip_adapter), pictures=()), ImagePrompt(model="", pictures=(picture,))
    with pytest.raises(InputError, match="is given no picture to steer with; the sketch is the first image prompt's"):
        painter.generate(asked(image_prompts=(whole, bare)))
    for prompts in ((whole, bare), (bare, whole)):
        with pytest.raises(InputError, match=r"is given no picture to steer with$"):
            alone.generate(asked(image_prompts=prompts))
    assert one(painter, asked(image_prompts=(bare, whole))).size == (64, 64)


def test_its_stamp_tells_who_sketches_and_how_strongly(
    checkpoint: Path, painter: FusionBackend, alone: FusionBackend, sketcher: Path, ip_adapter: Path
) -> None:
    assert painter.stamp == f"{alone.stamp}, sketched by sdxs at 0.8"
    other = FusionBackend(
        str(checkpoint), sketcher=str(sketcher), ip_adapter=str(ip_adapter), version="v2", device="cpu"
    )
    assert other.stamp == f"{alone.stamp}, sketched by sdxs at 1.4"


def test_what_does_not_fit_is_one_sentence(
    checkpoint: Path, sketcher: Path, painter: FusionBackend, ip_adapter: Path, asked: Asked, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match="there is no IP-Adapter"):
        painter.generate(steered(asked(), tmp_path / "none.safetensors", 0.8))
    with pytest.raises(InputError, match="must be a finite number, not nan"):
        painter.generate(steered(asked(), ip_adapter, float("nan")))
    with pytest.raises(InputError, match="there is no checkpoint 'none'"):
        FusionBackend(str(checkpoint), sketcher="none")
    xl = make_checkpoint(tmp_path / "xl", kind="sdxl")
    with pytest.raises(InputError, match="is an SDXL checkpoint"):
        FusionBackend(str(xl), sketcher=str(sketcher))


def test_any_checkpoint_sketches(checkpoint: Path, ip_adapter: Path, asked: Asked) -> None:
    backend = FusionBackend(str(checkpoint), sketcher=str(checkpoint), ip_adapter=str(ip_adapter), device="cpu")
    assert one(backend, asked()).size == (64, 64)
