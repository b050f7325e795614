"""Checkpoints that were trained to fill masks paint over pictures, and nothing else."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from velatura.errors import InputError
from velatura.generation.kinds import kind_of
from velatura.generation.sd import StableDiffusionBackend
from velatura.generation.sdxl import StableDiffusionXLBackend
from velatura.playground.sample import make_adapter, make_checkpoint
from velatura.records import AdapterRecord, Choice, Composition, Control, GenerationRequest, Picture, Start

SIDE, HALF = 64, 32


@pytest.fixture(scope="module", params=["sd", "sdxl"])
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint whose UNet takes a mask and a picture beside the noise, and pictures."""
    place = tmp_path_factory.mktemp("models")
    folder = make_checkpoint(place / "model", kind=request.param)
    config, weights = folder / "unet" / "config.json", folder / "unet" / "diffusion_pytorch_model.safetensors"
    config.write_text(json.dumps({**json.loads(config.read_text()), "in_channels": 9}))
    tensors = load_file(weights)
    kernel = tensors["conv_in.weight"]
    more = torch.randn(kernel.shape[0], 5, *kernel.shape[2:], generator=torch.Generator().manual_seed(1))
    save_file({**tensors, "conv_in.weight": torch.cat([kernel, more.to(kernel.dtype) / 9], 1)}, weights)
    blocks = np.random.default_rng(1).integers(0, 256, (4, 4, 3), dtype=np.uint8)
    Image.fromarray(blocks).resize((SIDE, SIDE), Image.Resampling.NEAREST).save(place / "start.png")
    mask = Image.new("L", (SIDE, SIDE), 0)
    mask.paste(255, (HALF, 0, SIDE, SIDE))
    mask.save(place / "half.png")
    return folder


@pytest.fixture(scope="module")
def backend(folder: Path) -> StableDiffusionBackend:
    backends = {"sd": StableDiffusionBackend, "sdxl": StableDiffusionXLBackend}
    return backends[kind_of(str(folder))](str(folder), device="cpu")


def asked(folder: Path, *, masked: bool = True) -> GenerationRequest:
    start = Start(
        picture=Picture(path=str(folder.parent / "start.png")),
        mask=Picture(path=str(folder.parent / "half.png")) if masked else None,
    )
    return GenerationRequest(composition=Composition(prompt="a fox"), model=str(folder), steps=2, start=start)


def painted(backend: StableDiffusionBackend, request: GenerationRequest) -> np.ndarray:
    return np.asarray(next(iter(backend.generate(request))).image)


def test_without_a_mask_they_are_refused_in_one_sentence(backend: StableDiffusionBackend, folder: Path) -> None:
    for request in (asked(folder, masked=False), replace(asked(folder), start=None)):
        with pytest.raises(InputError) as told:
            backend.generate(request)
        said = "model is an inpainting checkpoint: give it a picture and a mask (--image, --inpaint)"
        assert str(told.value) == said


def test_they_fill_masks_and_see_the_picture_around(backend: StableDiffusionBackend, folder: Path) -> None:
    original = np.asarray(Image.open(folder.parent / "start.png"))
    found = painted(backend, asked(folder))
    assert found.shape == (SIDE, SIDE, 3)
    assert np.array_equal(found[:, :HALF], original[:, :HALF])
    assert (found[:, HALF:] != original[:, HALF:]).mean() > 0.9
    assert np.array_equal(painted(backend, asked(folder)), found)
    # From pure noise nothing but the five channels more can tell of the picture.
    whole = replace(asked(folder), start=replace(asked(folder).start, strength=1.0))
    before = painted(backend, whole)
    other = folder.parent / "other.png"
    Image.fromarray(255 - original).save(other)
    after = painted(backend, replace(whole, start=replace(whole.start, picture=Picture(path=str(other)))))
    assert not np.array_equal(after[:, HALF:], before[:, HALF:])


def test_adapters_and_controlnets_of_the_plain_model_fit(
    backend: StableDiffusionBackend, folder: Path, tmp_path: Path
) -> None:
    from diffusers import ControlNetModel

    plain = painted(backend, asked(folder))
    path = make_adapter(tmp_path / "style.safetensors", folder)
    record = AdapterRecord(source="folder", key=str(path), title="style", path=str(path))
    worn = Composition(prompt="a fox", choices=(Choice(adapter=record, weight=1.0, span="fox"),))
    assert not np.array_equal(painted(backend, replace(asked(folder), composition=worn)), plain)
    torch.manual_seed(0)
    net = ControlNetModel.from_unet(
        backend._pipe.unet, conditioning_embedding_out_channels=(8, 8, 16, 16), load_weights_from_unet=False
    )
    kernel = net.conv_in.weight
    net.conv_in = torch.nn.Conv2d(4, kernel.shape[0], kernel.shape[-1], padding=1)
    net.register_to_config(in_channels=4)
    for name, values in net.named_parameters():
        if name.startswith("controlnet_"):
            torch.nn.init.normal_(values, std=0.2)
    net.save_pretrained(tmp_path / "net")
    control = Control(model=str(tmp_path / "net"), picture=Picture(path=str(folder.parent / "start.png")))
    assert not np.array_equal(painted(backend, replace(asked(folder), controls=(control,))), plain)
