"""The networks of upscaling models, built from what their files hold: RRDBNet and SRVGGNetCompact.

RRDBNet is that of ESRGAN (Wang and others, 2018), BSRGAN (Zhang and others, 2021) and Real-ESRGAN (Wang and others,
2021), which spell it in three ways; SRVGGNetCompact is Real-ESRGAN's small one. Every size stands in the shapes. The
library for such files, spandrel, cannot be imported without torchvision, which breaks transformers and diffusers
wherever its build is not exactly that of torch; hence these.
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn
from torch.nn import functional

from ..errors import UnreadableFile
from .adapters.file import PICKLES

Shapes = Mapping[str, tuple[int, ...]]

_WRAPPINGS = ("params_ema.", "params.", "module.", "netG.")
"""What trainers leave before every name."""
_FIRST = "conv_first.weight"
_COMPACT = re.compile(r"body\.\d+\.weight")
_OLD_BLOCK = re.compile(r"model\.1\.sub\.(\d+)\.RDB(\d)\.conv(\d)\.0\.")
_NEW_BLOCK = re.compile(r"RRDB_trunk\.(\d+)\.RDB(\d)\.")
_NEW = {"trunk_conv.": "conv_body.", "upconv": "conv_up", "HRconv.": "conv_hr."}
_LARGEST = 8
"""How many times a network may enlarge."""


class DenseBlock(nn.Module):
    """Five convolutions, each of which sees what all before it made.

    Args:
        features: Channels that come in and go out.
        growth: Channels that each convolution adds.
    """

    def __init__(self, features: int, growth: int) -> None:
        super().__init__()
        for number in range(5):
            made = features if number == 4 else growth
            self.add_module(f"conv{number + 1}", _convolution(features + number * growth, made))

    def forward(self, given: Tensor) -> Tensor:
        """Return what came in and a fifth of what was made of it."""
        *inner, last = self.children()
        seen = given
        for convolution in inner:
            seen = torch.cat([seen, _leaky(convolution(seen))], dim=1)
        made: Tensor = last(seen)
        return given + 0.2 * made


class ResidualBlock(nn.Module):
    """Three dense blocks, one behind the other."""

    def __init__(self, features: int, growth: int) -> None:
        super().__init__()
        for number in (1, 2, 3):
            self.add_module(f"rdb{number}", DenseBlock(features, growth))

    def forward(self, given: Tensor) -> Tensor:
        """Return what came in and a fifth of what was made of it."""
        made = given
        for block in self.children():
            made = block(made)
        return given + 0.2 * made


class RRDBNet(nn.Module):
    """The generator of ESRGAN, in Real-ESRGAN's names.

    Args:
        channels: Of the pictures that come out.
        features: Channels within.
        growth: Channels that each convolution of a dense block adds.
        blocks: How many residual blocks there are.
        doublings: How often the picture is doubled at the end.
        folding: The side of the squares of pixels that are folded into channels at the beginning.
    """

    def __init__(
        self, *, channels: int, features: int, growth: int, blocks: int, doublings: int, folding: int = 1
    ) -> None:
        super().__init__()
        self.folding = folding
        self.doublings = doublings
        self.scale = max(1, 2**doublings // folding)
        self.conv_first = _convolution(channels * folding**2, features)
        self.body = nn.Sequential(*(ResidualBlock(features, growth) for _ in range(blocks)))
        self.conv_body = _convolution(features, features)
        for number in range(1, doublings + 1):
            self.add_module(f"conv_up{number}", _convolution(features, features))
        self.conv_hr = _convolution(features, features)
        self.conv_last = _convolution(features, channels)

    def forward(self, picture: Tensor) -> Tensor:
        """Enlarge pictures (N, channels, height, width) of values 0 to 1."""
        height, width = picture.shape[-2:]
        if self.folding > 1:
            spare = (0, -width % self.folding, 0, -height % self.folding)
            way = "reflect" if min(height, width) > max(spare) else "replicate"
            picture = functional.pixel_unshuffle(functional.pad(picture, spare, mode=way), self.folding)
        first: Tensor = self.conv_first(picture)
        made = first + self.conv_body(self.body(first))
        for number in range(1, self.doublings + 1):
            double = functional.interpolate(made, scale_factor=2.0, mode="nearest")
            made = _leaky(self.get_submodule(f"conv_up{number}")(double))
        large: Tensor = self.conv_last(_leaky(self.conv_hr(made)))
        return large[..., : height * self.scale, : width * self.scale]


class CompactNet(nn.Module):
    """Real-ESRGAN's SRVGGNetCompact: convolutions at the picture's own size, unfolded to pixels at the end.

    Args:
        channels: Of the pictures.
        features: Channels within.
        layers: How many convolutions there are between the first and the last.
        scale: How many times larger the picture becomes.
    """

    def __init__(self, *, channels: int, features: int, layers: int, scale: int) -> None:
        super().__init__()
        self.scale = scale
        parts: list[nn.Module] = [_convolution(channels, features), nn.PReLU(features)]
        for _ in range(layers):
            parts += [_convolution(features, features), nn.PReLU(features)]
        self.body = nn.Sequential(*parts, _convolution(features, channels * scale**2))

    def forward(self, picture: Tensor) -> Tensor:
        """Enlarge pictures (N, channels, height, width) of values 0 to 1."""
        made = functional.pixel_shuffle(self.body(picture), self.scale)
        return made + functional.interpolate(picture, scale_factor=float(self.scale), mode="nearest")


def load_upscaling_model(path: Path) -> RRDBNet | CompactNet:
    """Load an upscaling model in float32 onto the CPU.

    Raises:
        UnreadableFile: it is not there, damaged, a pickle, or none of these networks; one sentence.
    """
    if path.suffix.lower() in PICKLES:
        raise UnreadableFile(
            f"{path.name} is a pickle, which can run code when opened; take the model as a .safetensors file"
        )
    if not path.is_file():
        raise UnreadableFile(f"there is no upscaling model {path}")
    try:
        with safe_open(path, framework="pt", device="cpu") as stream:
            names = _names(list(stream.keys()))
            # A checkpoint that was taken for an upscaling model is refused before it is read.
            model = _model({name: tuple(stream.get_slice(key).get_shape()) for key, name in names.items()}, path)
            tensors = {name: stream.get_tensor(key).float() for key, name in names.items()}
    except (SafetensorError, OSError) as error:
        line = str(error).strip().splitlines()[0].rstrip(".")
        raise UnreadableFile(f"{path.name} is truncated, damaged or no .safetensors file: {line}") from None
    if not all(value.isfinite().all() for value in tensors.values()):
        raise UnreadableFile(f"{path.name} holds NaN or infinity, so the file is damaged")
    model.load_state_dict(tensors, assign=True)
    return model.requires_grad_(False).eval()


def _model(shapes: Shapes, path: Path) -> RRDBNet | CompactNet:
    """Build the network of these shapes without memory for its weights, and insist on every one of them."""
    try:
        with torch.device("meta"):
            model = _rrdb(shapes) if _FIRST in shapes else _compact(shapes)
        wanted = {name: tuple(value.shape) for name, value in model.state_dict().items()}
    except (KeyError, IndexError, ValueError, ArithmeticError, RuntimeError):
        wanted = None
    if wanted != shapes:
        raise UnreadableFile(
            f"{path.name} is no upscaling model that is known here: take an ESRGAN, BSRGAN or Real-ESRGAN "
            "(RRDBNet or SRVGGNetCompact) for colour pictures, as .safetensors"
        )
    return model


def _names(keys: list[str]) -> dict[str, str]:
    """Return each key of a file with Real-ESRGAN's name for it."""
    wrapping = next((start for start in _WRAPPINGS if all(key.startswith(start) for key in keys)), "")
    plain = {key: key.removeprefix(wrapping) for key in keys}
    if "model.0.weight" in plain.values():
        ends = _ends(plain.values())
        return {key: _old(name, ends) for key, name in plain.items()}
    return {key: _new(name) for key, name in plain.items()}


def _new(key: str) -> str:
    key = _NEW_BLOCK.sub(r"body.\1.rdb\2.", key)
    for theirs, ours in _NEW.items():
        if key.startswith(theirs):
            return ours + key.removeprefix(theirs)
    return key


def _ends(names: Collection[str]) -> dict[str, str]:
    """Name what lies outside the blocks in ESRGAN's first code: its places count activations, too.

    0 the first convolution, 1 the blocks, then three places for each doubling, of which the last is its convolution,
    and two convolutions with an activation between them.
    """
    places = sorted({int(key.split(".")[1]) for key in names if re.fullmatch(r"model\.\d{1,3}\.weight", key)})
    blocks = [int(found[1]) for key in names if (found := re.match(r"model\.1\.sub\.(\d{1,3})\.", key))]
    if len(places) < 3:
        return {}
    *doublings, hr, last = places[1:]
    names = {f"model.{place}.": f"conv_up{number}." for number, place in enumerate(doublings, start=1)}
    return names | {
        "model.0.": "conv_first.",
        f"model.1.sub.{max(blocks, default=0)}.": "conv_body.",
        f"model.{hr}.": "conv_hr.",
        f"model.{last}.": "conv_last.",
    }


def _old(key: str, ends: Mapping[str, str]) -> str:
    if (found := _OLD_BLOCK.match(key)) is not None:
        return f"body.{found[1]}.rdb{found[2]}.conv{found[3]}.{key[found.end() :]}"
    return next((ours + key.removeprefix(theirs) for theirs, ours in ends.items() if key.startswith(theirs)), key)


def _compact(shapes: Shapes) -> CompactNet:
    last = max(int(key.split(".")[1]) for key in shapes if _COMPACT.fullmatch(key))
    features, channels = shapes["body.0.weight"][:2]
    scale = math.isqrt(shapes[f"body.{last}.weight"][0] // channels)
    _check(channels, scale)
    return CompactNet(channels=channels, features=features, layers=last // 2 - 1, scale=scale)


def _rrdb(shapes: Shapes) -> RRDBNet:
    features, entering = shapes[_FIRST][:2]
    channels = shapes["conv_last.weight"][0]
    folding = math.isqrt(entering // channels)
    doublings = sum(key.startswith("conv_up") and key.endswith(".weight") for key in shapes)
    _check(channels, 2**doublings // folding)
    return RRDBNet(
        channels=channels,
        features=features,
        growth=shapes["body.0.rdb1.conv1.weight"][0],
        blocks=sum(key.startswith("body.") and key.endswith(".rdb1.conv1.weight") for key in shapes),
        doublings=doublings,
        folding=folding,
    )


def _check(channels: int, scale: int) -> None:
    if channels != 3 or not 1 <= scale <= _LARGEST:
        raise ValueError(f"{channels} channels, {scale} times")


def _convolution(inputs: int, outputs: int) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, 3, padding=1)


def _leaky(values: Tensor) -> Tensor:
    return functional.leaky_relu(values, 0.2)
