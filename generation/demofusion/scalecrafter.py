"""ScaleCrafter (He and others, ICLR 2024): a picture in one piece, with the UNet's deep convolutions dilated.

Convolutions that were trained at one size see too little of a larger picture and repeat its subject; dilated by the
scale, they see what they were trained to see. Dispersed kernels (its section 3.3), which must be solved for by
themselves, are not made; the other two of its means are here: re-dilation, of any scale (3.2), and noise-damped
guidance (3.4).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

from torch import Tensor, nn
from torch.nn.functional import conv2d, interpolate

from .denoiser import Denoiser
from .plan import DILATED, damped


class ScaleCrafter:
    """Predicts a picture in one piece; see `loop.Model`.

    Args:
        denoiser: Over the UNet.
        unet: The UNet, whose convolutions are dilated while it predicts.
        scale: The picture's longer side over the model's own.
        train_timesteps: What the scheduler calls pure noise.
    """

    def __init__(self, denoiser: Denoiser, unet: nn.Module, scale: float, train_timesteps: int = 1000) -> None:
        self._denoiser, self._unet, self._scale, self._times = denoiser, unet, scale, train_timesteps

    def __call__(self, views: Tensor, timestep: Tensor, corners: Sequence[tuple[int, int]]) -> Tensor:
        """Predict."""
        noise = float(timestep) / self._times
        if noise <= DILATED or self._scale <= 1:
            return self._denoiser(views, timestep, corners)
        if not (self._denoiser.guided and damped(noise, self._scale)):
            with dilated(self._unet, self._scale):
                return self._denoiser(views, timestep, corners)
        plain = self._denoiser.negative(views, timestep, corners)
        with dilated(self._unet, self._scale):
            negative, positive = self._denoiser.both(views, timestep, corners).chunk(2)
        # What the dilated model says is coarse; of it the difference alone is taken, which holds the structure.
        return self._denoiser.guide(plain, positive - negative)


@contextmanager
def dilated(unet: nn.Module, scale: float) -> Iterator[None]:
    """Dilate the deep 3x3 convolutions of a UNet while the block runs.

    The deepest blocks are dilated by the scale, every block above them on the way up by one less.

    Args:
        unet: `diffusers.UNet2DConditionModel`.
        scale: Need not be whole: then features are stretched to the next whole scale, and back (its section 3.2).
    """
    changed = []
    try:
        for module, rate in _deep(unet, scale):
            changed.append((module, vars(module).get("_conv_forward")))
            # The one way in which a convolution, and an adapter beside it, passes features through its weights.
            module._conv_forward = partial(_dilated, module, rate)  # type: ignore[method-assign]
        yield
    finally:
        for module, before in changed:
            if before is None:
                del module._conv_forward
            else:
                module._conv_forward = before  # type: ignore[method-assign]


def _deep(unet: Any, scale: float) -> Iterator[tuple[nn.Conv2d, float]]:
    blocks = [(unet.down_blocks[-1], scale), (unet.mid_block, scale)]
    blocks += [(block, scale - height) for height, block in enumerate(unet.up_blocks[:-1])]
    for block, rate in blocks:
        if block is None or rate <= 1:
            continue
        layers = [convolution for resnet in block.resnets for convolution in (resnet.conv1, resnet.conv2)]
        layers += [up.conv for up in getattr(block, "upsamplers", None) or ()]
        yield from ((layer, rate) for layer in layers)


def _dilated(layer: nn.Conv2d, rate: float, features: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    whole = math.ceil(rate)
    reach = whole * (layer.kernel_size[0] // 2)
    size = features.shape[-2:]
    if whole != rate:
        stretched = tuple(round(side * whole / rate) for side in size)
        features = interpolate(features, size=stretched, mode="bilinear")
    found = conv2d(features, weight, bias, layer.stride, reach, whole, layer.groups)
    return found if whole == rate else interpolate(found, size=size, mode="bilinear")
