"""Networks of transformers that look at pictures: ResNet-50's pooled features, and DINOv2's class token."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from ...errors import InputError
from .pictures import DECODER
from .preparation import IMAGENET_MEAN, IMAGENET_SPREAD, Triple, read_preparation
from .weights import digest_weights, exact, fingerprint, load_network, locate, read_config, require

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from PIL.Image import Image

    from ..cells import Features

_METHOD = "1"
"""Changes when the same network would give other features."""


class VisionExtractor:
    """A network of transformers in safetensors. Its weights are read when a picture is first looked at.

    Args:
        model: A folder, or a hub id.
        device: `cpu`, `cuda`, ...
        local_files_only: Never ask the hub.

    Raises:
        MissingDependency: torch or transformers is not installed.
        InputError: the network is neither on this machine nor on a hub that answers, is of another kind, or damaged.
    """

    name: ClassVar[str]
    kind: ClassVar[str]
    """Its `model_type`."""
    mean: ClassVar[Triple] = IMAGENET_MEAN
    spread: ClassVar[Triple] = IMAGENET_SPREAD
    fixed: ClassVar[bool] = False
    """Whether it takes pictures of one size alone."""

    def __init__(self, model: str, *, device: str = "cpu", local_files_only: bool = False) -> None:
        require("torch", "transformers")
        self._folder = locate(model, local_files_only=local_files_only)
        self._device = device
        self._config = read_config(self._folder, self.kind)
        self._preparation = read_preparation(
            self._folder, self._side(), mean=self.mean, spread=self.spread, fixed=self.fixed
        )
        self._weights = digest_weights(self._folder)

    @cached_property
    def fingerprint(self) -> str:
        """A digest of the weights, the configuration, the preparation, and how they are used here."""
        prepared = (self._preparation.signature, str(self._preparation.mean), str(self._preparation.spread))
        settings = str(sorted((key, str(value)) for key, value in self._config.items()))
        return fingerprint(self.name, _METHOD, DECODER, self._weights, settings, *prepared, *self._also())

    @property
    def signature(self) -> str:
        """What it is, for signatures: eight digits of the weights' SHA-256, eight of the fingerprint, the preparation.

        `clip=41e81ed4:9c0ffee1|prep=pil-bicubic-224`: whatever changes features changes it, the tokenizer too.
        """
        return f"{self.name}={self._weights[:8]}:{self.fingerprint[:8]}|{self._preparation.signature}"

    @property
    def width(self) -> int:
        """Numbers of a feature vector."""
        raise NotImplementedError

    def prepare(self, image: Image) -> NDArray[np.float32]:
        """Return an RGB picture as the network takes it, float32, shape (3, side, side)."""
        return self._preparation.prepare(image)

    def extract(self, prepared: NDArray[np.float32]) -> Features:
        """Return the features of a batch of prepared pictures, not normalised, shape (pictures, width)."""
        import torch

        if not len(prepared):
            return np.empty((0, self.width), np.float32)
        with exact():
            seen = self._look(torch.tensor(prepared, device=self._device))
        features: Features = seen.float().cpu().numpy()
        return features

    def _side(self) -> int:
        """Return the pixels of each side that the network takes, or was made for."""
        return 224

    def _also(self) -> tuple[str, ...]:
        """Return what else the features depend on."""
        return ()

    def _count(self, *names: str) -> int:
        """Return a positive whole number of the configuration, within its parts of these names."""
        found: Any = self._config
        for name in names:
            found = found.get(name) if isinstance(found, dict) else None
        if not isinstance(found, int) or isinstance(found, bool) or not 1 <= found <= 1_000_000:
            raise InputError(f"{self._folder / 'config.json'} is damaged: its {'.'.join(names)} is {str(found)[:80]!r}")
        return found

    def _look(self, pixels: Any) -> Any:
        raise NotImplementedError

    @cached_property
    def _network(self) -> Any:
        return load_network(self._class(), self._folder, self._device)

    def _class(self) -> Any:
        raise NotImplementedError


class ResNet(VisionExtractor):
    """A ResNet's features after the last pooling, 2,048 of ResNet-50.

    Two sets of weights are about under that name, V1 and V2, and papers seldom say which: the signature has the
    weights' digest.
    """

    name = "resnet50"
    kind = "resnet"

    @cached_property
    def width(self) -> int:
        """Numbers of a feature vector."""
        sizes = self._config.get("hidden_sizes", [256, 512, 1024, 2048])
        if not isinstance(sizes, list) or not sizes or not isinstance(sizes[-1], int):
            raise InputError(f"{self._folder / 'config.json'} is damaged: its hidden_sizes are {str(sizes)[:80]!r}")
        return sizes[-1]

    def _look(self, pixels: Any) -> Any:
        return self._network(pixel_values=pixels).pooler_output.flatten(1)

    def _class(self) -> Any:
        from transformers import ResNetModel

        return ResNetModel


class Dinov2(VisionExtractor):
    """DINOv2's class token after the last norm, as dgm-eval's FD-DINOv2 takes it (Stein et al., 2306.04675)."""

    name = "dinov2"
    kind = "dinov2"

    @cached_property
    def width(self) -> int:
        """Numbers of a feature vector."""
        return self._count("hidden_size")

    def _look(self, pixels: Any) -> Any:
        return self._network(pixel_values=pixels).last_hidden_state[:, 0]

    def _class(self) -> Any:
        from transformers import Dinov2Model

        return Dinov2Model
