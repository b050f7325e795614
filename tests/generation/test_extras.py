"""Every way of painting from more than words runs, does what it says, and leaves the checkpoint as it was."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor
from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

from velatura import playground
from velatura.errors import InputError
from velatura.generation.checkpoint import quiet
from velatura.generation.extras import Extras
from velatura.generation.image_prompt import Shown
from velatura.generation.schedulers import scheduler_like, without_numpy_warning
from velatura.generation.sd import StableDiffusionBackend
from velatura.playground.sample import make_checkpoint
from velatura.records import (
    Composition,
    Control,
    GenerationRequest,
    ImagePrompt,
    Picture,
    Start,
)

SIDE, HALF = 96, 48
Painted = Callable[..., list[Image.Image]]


def rough(seed: int, size: tuple[int, int] = (SIDE, SIDE)) -> Image.Image:
    blocks = np.random.default_rng(seed).integers(0, 256, (4, 4, 3), dtype=np.uint8)
    return Image.fromarray(blocks).resize(size, Image.Resampling.NEAREST)


class Painter:
    """A tiny pipeline that paints as a backend does, all of whose randomness is in its seeds."""

    def __init__(self, folder: Path, kind: str, dtype: torch.dtype = torch.float32) -> None:
        import diffusers

        self.kind, self.dtype = kind, dtype
        cls = diffusers.StableDiffusionXLPipeline if kind == "sdxl" else diffusers.StableDiffusionPipeline
        with quiet():
            self.pipe = cls.from_pretrained(folder).to(dtype=dtype)
        self.pipe.set_progress_bar_config(disable=True)
        self.own_scheduler = self.pipe.scheduler
        self.extras = Extras(self.pipe, local_files_only=True)
        self.steps: list[int] = []

    def paint(
        self, request: GenerationRequest, *, seeds: tuple[int, ...] = (1,), shown: tuple[Shown, ...] = ()
    ) -> list[Image.Image]:
        generators = [torch.Generator().manual_seed(seed) for seed in seeds]
        self.pipe.scheduler = scheduler_like(self.own_scheduler, request.scheduler)
        with self.extras.pipeline(request, seeds, shown=shown) as (pipe, given), without_numpy_warning():
            self.steps = []

            def stepped(_: Any, step: int, timestep: Any, kept: dict[str, Any]) -> dict[str, Any]:
                self.steps.append(pipe.num_timesteps)
                return kept

            if request.start is None:
                assert not {"latents", "width", "height"} & given.keys()
                shape = (1, 4, request.height // 8, request.width // 8)
                noise = [torch.randn(shape, generator=generator) for generator in generators]
                given |= {"latents": torch.cat(noise).to(self.dtype), "width": request.width, "height": request.height}
            latents = pipe(
                **self.words(len(seeds)),
                **given,
                generator=generators,
                num_inference_steps=request.steps,
                guidance_scale=request.guidance,
                callback_on_step_end=stepped,
                output_type="latent",
            ).images
        vae = self.pipe.vae
        with torch.no_grad():
            pixels = vae.decode((latents / vae.config.scaling_factor).to(vae.dtype)).sample.float()
        return self.extras.finish(request, self.pipe.image_processor.postprocess(pixels, output_type="pil"))

    def words(self, count: int) -> dict[str, Tensor]:
        def told(seed: int, *shape: int) -> Tensor:
            told = torch.randn(1, *shape, generator=torch.Generator().manual_seed(seed))
            return told.to(self.dtype).expand(count, *shape)

        width = self.pipe.unet.config.cross_attention_dim
        words = {"prompt_embeds": told(1, 77, width), "negative_prompt_embeds": told(2, 77, width)}
        if self.kind == "sdxl":
            words |= {"pooled_prompt_embeds": told(3, 128), "negative_pooled_prompt_embeds": told(4, 128)}
        return words


@pytest.fixture(scope="module", params=["sd", "sdxl"])
def painter(request: pytest.FixtureRequest, sd: Painter, tmp_path_factory: pytest.TempPathFactory) -> Painter:
    if request.param == "sd":
        return sd
    return Painter(make_checkpoint(tmp_path_factory.mktemp("models") / "sdxl", kind="sdxl"), "sdxl")


@pytest.fixture(scope="module")
def sd(checkpoint: Path) -> Painter:
    return Painter(checkpoint, "sd")


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pictures")
    rough(1).save(folder / "start.png")
    rough(2).save(folder / "control.png")
    half = Image.new("L", (SIDE, SIDE), 0)
    half.paste(255, (HALF, 0, SIDE, SIDE))
    half.save(folder / "half.png")
    Image.new("L", (SIDE, SIDE), 0).save(folder / "black.png")
    Image.new("L", (SIDE, SIDE), 255).save(folder / "white.png")
    return folder


@pytest.fixture(scope="module")
def net(painter: Painter, tmp_path_factory: pytest.TempPathFactory) -> str:
    from diffusers import ControlNetModel

    folder = tmp_path_factory.mktemp("control")
    torch.manual_seed(0)
    model = ControlNetModel.from_unet(painter.pipe.unet, conditioning_embedding_out_channels=(8, 8, 16, 16))
    for name, values in model.named_parameters():
        if name.startswith("controlnet_"):
            torch.nn.init.normal_(values, std=0.2)
    model.save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="module")
def adapter(painter: Painter, tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("ip")
    torch.manual_seed(0)
    config = CLIPVisionConfig(
        hidden_size=64, intermediate_size=64, num_hidden_layers=2, num_attention_heads=1, image_size=32, patch_size=8,
        projection_dim=48,
    )  # fmt: skip
    with quiet():
        CLIPVisionModelWithProjection(config).save_pretrained(folder / "image_encoder")
    unet = painter.pipe.unet
    text = unet.config.cross_attention_dim
    tensors = {"image_proj.proj.weight": torch.randn(4 * text, 48), "image_proj.proj.bias": torch.randn(4 * text)}
    tensors |= {"image_proj.norm.weight": torch.ones(text), "image_proj.norm.bias": torch.zeros(text)}
    for place, name in enumerate(name for name in unet.attn_processors if "attn2" in name):
        width = unet.get_submodule(name.removesuffix(".processor")).to_k.out_features
        for part in ("to_k_ip", "to_v_ip"):
            tensors[f"ip_adapter.{2 * place + 1}.{part}.weight"] = torch.randn(width, text) / text**0.5
    save_file(tensors, folder / "ip.safetensors")
    return str(folder / "ip.safetensors")


def asked(**fields: Any) -> GenerationRequest:
    plain = {"model": "", "steps": 2, "guidance": 3.0, "width": SIDE, "height": SIDE}
    return GenerationRequest(composition=Composition(prompt=""), **(plain | fields))


def started(files: Path, mask: str | None = None, **fields: Any) -> Start:
    name = fields.pop("name", "start.png")
    return Start(
        picture=Picture(path=str(files / name)),
        mask=None if mask is None else Picture(path=str(files / f"{mask}.png")),
        **fields,
    )


def ways(files: Path, net: str, adapter: str) -> dict[str, GenerationRequest]:
    """One request for each way to paint, and some for several at once."""
    followed = Control(model=net, picture=Picture(path=str(files / "control.png")), reading="canny")
    mapped = replace(followed, reading=None, weight=0.5)
    steering = ImagePrompt(model=adapter, pictures=(Picture(path=str(files / "control.png")),))
    return {
        "img2img": asked(start=started(files)),
        "inpaint": asked(start=started(files, "half")),
        "inpaint whole": asked(start=started(files, "half", strength=1.0)),
        "controlnet": asked(controls=(followed,)),
        "controlnets": asked(controls=(followed, mapped)),
        "controlnet img2img": asked(controls=(followed,), start=started(files)),
        "controlnets img2img": asked(controls=(followed, mapped), start=started(files)),
        "controlnet inpaint": asked(controls=(followed,), start=started(files, "half")),
        "image prompt": asked(image_prompts=(steering,)),
        "image prompts": asked(image_prompts=(steering, replace(steering, weight=0.4))),
        "image prompt inpaint": asked(image_prompts=(steering,), start=started(files, "half")),
        "freeu": asked(freeu=(0.9, 0.2, 1.3, 1.4)),
        "all": asked(
            controls=(followed,), image_prompts=(steering,), start=started(files, "half"), freeu=(0.9, 0.2, 1.3, 1.4)
        ),
    }


@pytest.mark.slow
def test_every_way_paints_the_same_twice_and_leaves_the_model_as_it_was(
    painter: Painter, files: Path, net: str, adapter: str
) -> None:
    bare = painter.paint(asked())[0].tobytes()
    requests = {name: painter.extras.completed(request) for name, request in ways(files, net, adapter).items()}
    first = {}
    for name, request in requests.items():
        image = painter.paint(request)[0]
        assert image.size == (SIDE, SIDE)
        first[name] = image.tobytes()
    assert painter.paint(asked())[0].tobytes() == bare
    for name in reversed(requests):  # the other way round: what one leaves behind would be in another's neighbour
        assert painter.paint(requests[name])[0].tobytes() == first[name], name
    assert painter.paint(asked())[0].tobytes() == bare
    assert len({bare, *first.values()}) == 14


def test_images_of_a_batch_are_what_they_are_alone(painter: Painter, files: Path, net: str, adapter: str) -> None:
    for name, request in ways(files, net, adapter).items():
        if name in ("inpaint", "controlnets img2img", "all"):
            request = painter.extras.completed(request)
            both = painter.paint(request, seeds=(4, 9))
            for seed, image in zip((4, 9), both, strict=True):
                alone = np.asarray(painter.paint(request, seeds=(seed,))[0]).astype(int)
                assert abs(np.asarray(image) - alone).max() <= 1, name


def test_words_alone_are_painted_by_the_checkpoints_own_pipeline(painter: Painter) -> None:
    with painter.extras.pipeline(asked(), [1]) as (pipe, given):
        assert pipe is painter.pipe
        assert given == {}
    pictures = [Image.new("RGB", (SIDE, SIDE))]
    assert painter.extras.finish(asked(), pictures) == pictures


@pytest.mark.parametrize(
    "scheduler", ["ddim", "euler", "euler_a", "heun", "dpmpp_2m_sde_karras", "pndm", "lcm", "unipc"]
)
def test_every_sort_of_scheduler_paints_from_a_picture(scheduler: str, sd: Painter, files: Path) -> None:
    for mask in (None, "half"):
        request = sd.extras.completed(asked(start=started(files, mask, strength=0.5), scheduler=scheduler))
        assert np.asarray(sd.paint(request)[0]).std() > 1
        assert len(sd.steps) == sd.steps[0]


def test_strength_is_the_share_of_the_steps(painter: Painter, files: Path) -> None:
    for strength, steps in ((0.25, 1), (0.5, 2), (0.99, 3), (1.0, 4)):
        request = painter.extras.completed(asked(start=started(files, strength=strength), steps=4))
        painter.paint(request)
        assert painter.steps == [steps] * steps


def test_a_black_mask_keeps_the_picture_and_a_white_one_none_of_it(painter: Painter, files: Path) -> None:
    black = painter.extras.completed(asked(start=started(files, "black")))
    assert painter.paint(black)[0].tobytes() == rough(1).tobytes()
    white = painter.extras.completed(asked(start=started(files, "white")))
    changed = (np.asarray(painter.paint(white)[0]) != np.asarray(rough(1))).any(axis=2)
    anew = (np.asarray(painter.paint(painter.extras.completed(asked(start=started(files))))[0]) != rough(1)).any(axis=2)
    assert changed.mean() > 0.95
    assert anew.mean() > 0.95


def test_of_half_a_mask_the_other_half_is_kept_to_the_byte(painter: Painter, files: Path, net: str) -> None:
    followed = Control(model=net, picture=Picture(path=str(files / "control.png")))
    for controls in ((), (followed,)):
        request = painter.extras.completed(asked(start=started(files, "half"), controls=controls))
        found, original = (np.asarray(image) for image in (painter.paint(request)[0], rough(1)))
        assert (found[:, :HALF] == original[:, :HALF]).all()
        assert (found[:, HALF:] != original[:, HALF:]).any(axis=2).mean() > 0.95


def test_a_thin_line_is_painted(sd: Painter, files: Path, tmp_path: Path) -> None:
    line = Image.new("L", (SIDE, SIDE), 0)
    line.paste(255, (45, 0, 47, SIDE))  # between the pixels that a mask of the latents' size would take
    line.save(tmp_path / "line.png")
    start = replace(started(files), mask=Picture(path=str(tmp_path / "line.png")))
    found = np.asarray(sd.paint(sd.extras.completed(asked(start=start)))[0])
    changed = (found != np.asarray(rough(1))).any(axis=2)
    assert changed[:, 45:47].mean() > 0.9
    assert not changed[:, :45].any()


def test_controls_act_by_weight_and_in_their_time(painter: Painter, files: Path, net: str) -> None:
    control = Control(model=net, picture=Picture(path=str(files / "control.png")))

    def of(**fields: Any) -> bytes:
        request = painter.extras.completed(asked(controls=(replace(control, **fields),)))
        return painter.paint(request)[0].tobytes()

    bare = painter.paint(asked())[0].tobytes()
    assert of(weight=0.0) == bare
    assert len({bare, of(), of(weight=0.4), of(begin=0.5), of(end=0.5), of(reading="canny")}) == 6


def test_edges_are_read_in_the_size_that_is_painted(sd: Painter, files: Path) -> None:
    control = Control(model="", picture=Picture(path=str(files / "control.png")), reading="canny")
    edges = sd.extras._map(control, asked(width=64, height=96))
    assert edges.size == (64, 96)
    assert set(np.unique(np.asarray(edges))) == {0, 255}


def test_pictures_that_no_file_holds_steer_as_well(painter: Painter, files: Path, adapter: str) -> None:
    prompt = ImagePrompt(model=adapter, pictures=(Picture(path=str(files / "control.png")),), weight=0.8)
    by_file = painter.paint(painter.extras.completed(asked(image_prompts=(prompt,))))
    shown = Shown(replace(prompt, pictures=()), (rough(2),))
    assert painter.paint(asked(), shown=(shown,))[0].tobytes() == by_file[0].tobytes()


def test_guidance_of_one_needs_no_picture_of_nothing(painter: Painter, files: Path, net: str, adapter: str) -> None:
    for name in ("image prompts", "all"):
        request = painter.extras.completed(replace(ways(files, net, adapter)[name], guidance=1.0))
        assert painter.paint(request)[0].size == (SIDE, SIDE)


def test_the_model_is_as_it_was_where_painting_fails(painter: Painter, files: Path, net: str, adapter: str) -> None:
    bare = painter.paint(asked())[0].tobytes()
    request = painter.extras.completed(ways(files, net, adapter)["all"])
    with pytest.raises(ZeroDivisionError), painter.extras.pipeline(request, [1]):
        raise ZeroDivisionError
    assert painter.paint(asked())[0].tobytes() == bare


# -------------------------------------------------------------------- completing


def test_digests_are_filled_in_and_a_changed_picture_is_refused(
    painter: Painter, files: Path, net: str, adapter: str, tmp_path: Path
) -> None:
    for name in ("start", "half", "control"):
        (tmp_path / f"{name}.png").write_bytes((files / f"{name}.png").read_bytes())
    request = painter.extras.completed(ways(tmp_path, net, adapter)["all"])
    assert request.start is not None
    assert request.start.mask is not None
    pictures = (
        request.start.picture,
        request.start.mask,
        request.controls[0].picture,
        *request.image_prompts[0].pictures,
    )
    assert all(picture.sha256 is not None and len(picture.sha256) == 64 for picture in pictures)
    assert painter.extras.completed(request) == request
    for picture in pictures:
        path = Path(picture.path)
        before = path.read_bytes()
        path.write_bytes(before + b" ")
        with pytest.raises(InputError, match=f"{path.name} has changed since"):
            painter.extras.completed(request)
        path.write_bytes(before)


@pytest.mark.parametrize(
    ("own", "width", "height", "expected"),
    [
        ((150, 101), None, None, (144, 96)),
        ((150, 101), 96, None, (96, 64)),
        ((150, 100), None, 64, (96, 64)),
        ((150, 101), 64, 128, (64, 128)),
        ((8, 8), None, None, (8, 8)),
        ((150, 101), 70, 50, (70, 50)),  # refused by the backend, which knows what is right
    ],
)
def test_without_a_size_the_pictures_own_is_painted(
    own: tuple[int, int], width: int | None, height: int | None, expected: tuple[int, int], sd: Painter, tmp_path: Path
) -> None:
    rough(3, own).save(tmp_path / "start.png")
    found = sd.extras.completed(asked(width=width, height=height, start=started(tmp_path)))
    assert (found.width, found.height) == expected


def test_another_size_is_cut_and_not_squeezed(sd: Painter, tmp_path: Path) -> None:
    wide, mask = Image.new("RGB", (300, 100), "red"), Image.new("L", (300, 100), 255)
    wide.paste("blue", (95, 0, 205, 100))
    mask.paste(0, (95, 0, 205, 100))
    wide.save(tmp_path / "start.png")
    mask.save(tmp_path / "half.png")
    request = sd.extras.completed(asked(start=started(tmp_path, "half")))
    assert sd.paint(request)[0].tobytes() == Image.new("RGB", (SIDE, SIDE), "blue").tobytes()


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"start": {"strength": 1.5}}, "the strength must be between 0 and 1, not 1.5"),
        ({"start": {"strength": float("nan")}}, "the strength must be between 0 and 1, not nan"),
        (
            {"start": {"strength": 0.1}},
            "a strength of 0.1 leaves none of 4 steps to be made; take a strength of at least 0.25, or 10 steps",
        ),
        (
            {"start": {"strength": 0.75}, "steps": 1},
            "a strength of 0.75 leaves none of one step to be made; take a strength of at least 1, or 2 steps",
        ),
        (
            {"start": {"strength": 0.0}},
            "a strength of 0 leaves none of 4 steps to be made; take a strength of at least 0.25$",
        ),
        ({"start": {"mask": "small"}}, "the mask is 40x64 and the picture 96x96: both must be of one size"),
        ({"start": {"mask": "none"}}, "there is no picture .*none.png"),
        ({"start": {"name": "none.png"}}, "there is no picture .*none.png"),
        ({"start": {"name": "tiny.png"}, "width": None, "height": None}, "is 5x5, too small to start from"),
        ({"control": {"weight": float("inf")}}, "the weight of .* must be a finite number, not inf"),
        ({"control": {"begin": 0.5, "end": 0.5}}, "must begin before it ends, both between 0 and 1, not 0.5 and 0.5"),
        ({"control": {"begin": -0.5}}, "must begin before it ends"),
        ({"control": {"end": 1.5}}, "must begin before it ends"),
        ({"control": {"end": float("nan")}}, "must begin before it ends"),
        ({"control": {"model": "nothing"}}, "there is no ControlNet 'nothing'"),
        ({"control": {"picture": Picture(path="nothing.png")}}, "there is no picture nothing.png"),
        ({"prompt": {"weight": float("nan")}}, "the weight of .* must be a finite number, not nan"),
        ({"prompt": {"pictures": ()}}, "is given no picture to steer with"),
        ({"prompt": {"model": "nothing"}}, "there is no IP-Adapter 'nothing'"),
        ({"prompt": {"pictures": (Picture(path="nothing.png"),)}}, "there is no picture nothing.png"),
        ({"freeu": (1.0, float("nan"), 1.0, 1.0)}, "FreeU takes four positive numbers"),
        ({"freeu": (0.0, 1.0, 1.0, 1.0)}, "FreeU takes four positive numbers"),
    ],
)
def test_what_cannot_be_is_one_sentence(
    fields: dict[str, Any], sentence: str, painter: Painter, files: Path, net: str, adapter: str, tmp_path: Path
) -> None:
    for name in ("start", "control"):
        (tmp_path / f"{name}.png").write_bytes((files / f"{name}.png").read_bytes())
    Image.new("L", (40, 64)).save(tmp_path / "small.png")
    Image.new("RGB", (5, 5)).save(tmp_path / "tiny.png")
    picture = Picture(path=str(tmp_path / "control.png"))
    given = dict(fields)
    if (start := given.pop("start", None)) is not None:
        given["start"] = started(tmp_path, **start)
    if (control := given.pop("control", None)) is not None:
        given["controls"] = (Control(**({"model": net, "picture": picture} | control)),)
    if (prompt := given.pop("prompt", None)) is not None:
        given["image_prompts"] = (ImagePrompt(**({"model": adapter, "pictures": (picture,)} | prompt)),)
    with pytest.raises(InputError, match=sentence) as caught:
        painter.extras.completed(asked(**({"steps": 4} | given)))
    assert "\n" not in str(caught.value)


# -------------------------------------------------------------------- other models


def test_half_precision_paints_every_way_and_the_autoencoder_stays_as_it_is(
    painter: Painter, files: Path, net: str, adapter: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    painter.pipe.save_pretrained(tmp_path)
    capfd.readouterr()
    with quiet():
        half = Painter(tmp_path, painter.kind, torch.float16)
    for name, request in ways(files, net, adapter).items():
        if name in ("img2img", "controlnets img2img", "image prompt", "all"):
            image = half.paint(half.extras.completed(request))[0]
            assert np.asarray(image).std() > 5, name
            assert half.pipe.vae.dtype == torch.float16
    assert "float32" not in "".join(capfd.readouterr())


def test_latents_of_any_depth_are_filled_in(tmp_path: Path) -> None:
    """The library's pipelines fill masks for models of four channels alone; the playground's has eight."""
    folder = Path(playground.__file__).parent / "weights" / "base"
    backend = StableDiffusionBackend(str(folder), device="cpu")
    rough(1, (32, 32)).save(tmp_path / "start.png")
    mask = Image.new("L", (32, 32), 0)
    mask.paste(255, (8, 8, 24, 24))
    mask.save(tmp_path / "half.png")
    plain = replace(asked(width=None, height=None), composition=Composition(prompt="a red house"))
    bare = next(iter(backend.generate(plain))).image.tobytes()
    painted = next(iter(backend.generate(replace(plain, start=started(tmp_path, "half"))))).image
    changed = (np.asarray(painted) != np.asarray(rough(1, (32, 32)))).any(axis=2)
    assert changed[8:24, 8:24].mean() > 0.9
    assert changed.sum() == changed[8:24, 8:24].sum()
    assert next(iter(backend.generate(plain))).image.tobytes() == bare
    assert backend._pipe.unet.config.in_channels == 8
