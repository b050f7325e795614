"""Upscaling models are built from their shapes as the published code builds them, and enlarge without seams."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor

from velatura.errors import Cancelled, InputError, UnreadableFile
from velatura.generation.esrgan import load_upscaling_model
from velatura.generation.upscale import Upscaler

Tensors = dict[str, Tensor]


def wave(shape: tuple[int, ...], number: int) -> Tensor:
    """Weights that are the same everywhere."""
    count, fan = math.prod(shape), math.prod(shape[1:])
    values = torch.sin(torch.arange(count, dtype=torch.float64) * (1.3 + number * 0.37) + number)
    return (values * 1.2 / math.sqrt(fan)).reshape(shape).float()


def rrdb(doublings: int, entering: int = 3, *, features: int = 8, growth: int = 32, blocks: int = 2) -> Tensors:
    """An RRDBNet in Real-ESRGAN's names."""
    shapes = {"conv_first": (features, entering)}
    for block in range(blocks):
        for dense in (1, 2, 3):
            for layer in range(5):
                made = features if layer == 4 else growth
                shapes[f"body.{block}.rdb{dense}.conv{layer + 1}"] = (made, features + layer * growth)
    for name in ("conv_body", *(f"conv_up{number + 1}" for number in range(doublings)), "conv_hr"):
        shapes[name] = (features, features)
    shapes["conv_last"] = (3, features)
    found = {}
    for number, (name, shape) in enumerate(shapes.items()):
        found[f"{name}.weight"] = wave((*shape, 3, 3), 2 * number)
        found[f"{name}.bias"] = wave((shape[0],), 2 * number + 1) * 0.3
    return found


def compact(scale: int, *, features: int = 8, layers: int = 3) -> Tensors:
    shapes = [(features, 3), *[(features, features)] * layers, (3 * scale**2, features)]
    found, number = {}, 0
    for place, shape in enumerate(shapes):
        found[f"body.{2 * place}.weight"] = wave((*shape, 3, 3), number)
        found[f"body.{2 * place}.bias"] = wave((shape[0],), number + 1) * 0.3
        number += 2
        if place < len(shapes) - 1:
            found[f"body.{2 * place + 1}.weight"] = wave((features,), number) * 0.3
            number += 1
    return found


def as_bsrgan(tensors: Tensors) -> Tensors:
    names = {
        "conv_body": "trunk_conv",
        "body.": "RRDB_trunk.",
        ".rdb": ".RDB",
        "conv_up": "upconv",
        "conv_hr": "HRconv",
    }
    found = {}
    for key, value in tensors.items():
        for ours, theirs in names.items():
            key = key.replace(ours, theirs)
        found[key] = value
    return found


def as_first_esrgan(tensors: Tensors, doublings: int, blocks: int = 2) -> Tensors:
    places = {
        "conv_first": "0",
        "conv_body": f"1.sub.{blocks}",
        "conv_hr": f"{3 * doublings + 2}",
        "conv_last": f"{3 * doublings + 4}",
    } | {f"conv_up{number}": f"{3 * number}" for number in range(1, doublings + 1)}
    found = {}
    for key, value in tensors.items():
        name, _, kind = key.rpartition(".")
        if name not in places:
            _, block, dense, layer = name.split(".")
            places[name] = f"1.sub.{block}.RDB{dense[3:]}.{layer}.0"
        found[f"model.{places[name]}.{kind}"] = value
    return found


def saved(folder: Path, tensors: Tensors, name: str = "model.safetensors") -> Path:
    save_file({key: value.contiguous() for key, value in tensors.items()}, folder / name)
    return folder / name


def made(path: Path) -> Tensor:
    picture = torch.sin(torch.arange(3 * 5 * 6, dtype=torch.float64) * 0.9).reshape(1, 3, 5, 6).float() * 0.5 + 0.5
    with torch.no_grad():
        output: Tensor = load_upscaling_model(path)(picture)
    return output


def photograph(width: int, height: int) -> Image.Image:
    generator = torch.Generator().manual_seed(3)
    coarse = (torch.rand(8, 8, 3, generator=generator) * 255).byte().numpy()
    return Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)


# Made once by spandrel 0.4.2, whose imports of torchvision were stood in for: ModelLoader().load_from_state_dict on
# the same weights, the same picture in; every sixth part of the output's values, in order, and the mean of all.
@pytest.mark.parametrize(
    ("tensors", "shape", "probes", "mean"),
    [
        pytest.param(
            rrdb(2), (20, 24), [0.3322, 0.31709, -0.15173, -0.105, 0.03979, 0.01997], 0.058597, id="real-esrgan"
        ),
        pytest.param(
            as_bsrgan(rrdb(1)), (10, 12), [0.09605, -0.0945, 0.42144, 0.39799, -0.15573, 0.02294], 0.088018, id="bsrgan"
        ),
        pytest.param(
            as_first_esrgan(rrdb(3), 3),
            (40, 48),
            [-0.29114, -0.24201, 0.2321, 0.25674, -0.23475, -0.25981],
            -0.083595,
            id="first-esrgan",
        ),
        pytest.param(
            rrdb(2, 12), (10, 12), [0.33325, 0.31401, -0.15132, -0.09909, 0.03843, 0.01863], 0.05873, id="folded-twice"
        ),
        pytest.param(
            rrdb(2, 48), (5, 6), [0.33164, 0.3528, -0.14608, -0.3336, 0.03612, 0.15513], 0.061351, id="folded-4-times"
        ),
        pytest.param(
            compact(4), (20, 24), [0.41579, -0.18329, 0.93262, 0.72749, 0.42891, 0.81989], 0.464005, id="compact"
        ),
    ],
)
def test_networks_compute_what_the_published_ones_do(
    tmp_path: Path, tensors: Tensors, shape: tuple[int, int], probes: list[float], mean: float
) -> None:
    output = made(saved(tmp_path, tensors))
    assert output.shape == (1, 3, *shape)
    flat = output.flatten()
    assert flat[:: flat.numel() // 6][:6].tolist() == pytest.approx(probes, abs=2e-5)
    assert float(output.double().mean()) == pytest.approx(mean, abs=2e-5)


def test_the_three_spellings_of_one_network_are_the_same(tmp_path: Path) -> None:
    plain = rrdb(2, features=4, growth=3)
    wrapped = {f"params_ema.{key}": value for key, value in plain.items()}
    outputs = [
        made(saved(tmp_path, spelt, f"{number}.safetensors"))
        for number, spelt in enumerate((plain, wrapped, as_bsrgan(plain), as_first_esrgan(plain, 2)))
    ]
    assert all(torch.equal(output, outputs[0]) for output in outputs)


def test_without_a_model_pictures_are_interpolated() -> None:
    image = photograph(40, 30)
    told: list[float] = []
    large = Upscaler().upscale(image, 160, 96, progress=told.append)
    assert large.tobytes() == image.resize((160, 96), Image.Resampling.LANCZOS).tobytes()
    assert Upscaler().scale is None
    assert told == [1.0]


@pytest.mark.parametrize(("width", "height"), [(200, 64), (64, 200), (150, 131), (65, 65)])
def test_tiles_leave_no_seams(tmp_path: Path, width: int, height: int) -> None:
    path = saved(tmp_path, compact(2))
    image = photograph(width, height)
    whole = np.asarray(Upscaler(path).upscale(image, 2 * width, 2 * height), dtype=int)
    tiled = np.asarray(Upscaler(path, tile=64).upscale(image, 2 * width, 2 * height), dtype=int)
    assert whole.std() > 5
    assert np.abs(whole - tiled).max() <= 1


def test_the_model_runs_until_the_size_is_reached(tmp_path: Path) -> None:
    upscaler = Upscaler(saved(tmp_path, compact(2)))
    image = photograph(20, 16)
    twice = upscaler.upscale(upscaler.upscale(image, 40, 32), 80, 64)
    assert upscaler.upscale(image, 80, 64).tobytes() == twice.tobytes()
    between = upscaler.upscale(image, 60, 48)
    assert between.tobytes() == twice.resize((60, 48), Image.Resampling.LANCZOS).tobytes()


def test_a_model_that_enlarges_nothing_runs_once(tmp_path: Path) -> None:
    upscaler = Upscaler(saved(tmp_path, rrdb(0, features=4, growth=3)))
    assert upscaler.scale == 1
    assert upscaler.upscale(photograph(20, 16), 40, 32).size == (40, 32)


def test_progress_counts_tiles_and_may_end_the_work(tmp_path: Path) -> None:
    upscaler = Upscaler(saved(tmp_path, compact(2)), tile=64)
    told: list[float] = []
    upscaler.upscale(photograph(100, 60), 200, 120, progress=told.append)
    assert told == [1 / 3, 2 / 3, 1.0]

    def stop(share: float) -> None:
        raise Cancelled("stopped")

    with pytest.raises(Cancelled):
        upscaler.upscale(photograph(100, 60), 200, 120, progress=stop)


def test_a_pickle_is_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "RealESRGAN_x4plus.pth"
    path.write_bytes(b"PK\x03\x04")
    with pytest.raises(UnreadableFile, match=r"RealESRGAN_x4plus\.pth is a pickle, .* take the model as a"):
        Upscaler(path)


def test_what_is_not_there_or_damaged_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(UnreadableFile, match="there is no upscaling model"):
        Upscaler(tmp_path / "none.safetensors")
    cut = tmp_path / "cut.safetensors"
    cut.write_bytes(saved(tmp_path, compact(2)).read_bytes()[:-10])
    with pytest.raises(UnreadableFile, match=r"cut\.safetensors is truncated, damaged or no"):
        Upscaler(cut)
    broken = compact(2)
    broken["body.2.weight"][0, 0] = math.nan
    with pytest.raises(UnreadableFile, match="holds NaN or infinity"):
        Upscaler(saved(tmp_path, broken))


@pytest.mark.parametrize(
    "tensors",
    [
        {"lora_unet_mid.lora_up.weight": torch.zeros(2, 2)},
        {key: value for key, value in rrdb(1).items() if key != "body.1.rdb2.conv3.bias"},
        rrdb(1) | {"body.0.rdb1.conv1x1.weight": torch.zeros(2, 2, 1, 1)},
        rrdb(4),
        {"conv_first.weight": torch.zeros(0, 0), "conv_last.weight": torch.zeros(0)},
        {"body.0.weight": torch.zeros(4), "body.7.weight": torch.zeros(12, 0, 3, 3)},
        {"model.0.weight": torch.zeros(4, 3, 3, 3)},
        {},
    ],
    ids=[
        "adapter",
        "a-part-missing",
        "another-network",
        "too-large",
        "no-channels",
        "no-convolution",
        "first",
        "empty",
    ],
)
def test_another_file_is_refused_in_one_sentence(tmp_path: Path, tensors: Tensors) -> None:
    with pytest.raises(UnreadableFile, match=r"is no upscaling model that is known here: take an ESRGAN"):
        Upscaler(saved(tmp_path, tensors, "odd.safetensors"))


def test_a_model_for_grey_pictures_is_refused(tmp_path: Path) -> None:
    grey = rrdb(1) | {"conv_last.weight": torch.zeros(1, 8, 3, 3), "conv_last.bias": torch.zeros(1)}
    grey["conv_first.weight"] = torch.zeros(8, 1, 3, 3)
    with pytest.raises(UnreadableFile, match="for colour pictures"):
        Upscaler(saved(tmp_path, grey))


def test_bad_sizes_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="0 x 8 pixels"):
        Upscaler().upscale(photograph(8, 8), 0, 8)
    with pytest.raises(InputError, match="at least 64 pixels large, not 32"):
        Upscaler(tile=32)
