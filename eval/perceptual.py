"""LPIPS (Zhang and others, 2018): how different two pictures look, by the features of a network.

Its weights come with the packages `lpips` or `torchmetrics`, one of which is needed, and torchvision with it. The
network under them, AlexNet, is downloaded by torchvision when it is first used.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from ..errors import InputError, MissingDependency
from .cells import Cell
from .diversity import mean_over_pairs
from .estimates import Estimate
from .records import Better

if TYPE_CHECKING:
    from PIL.Image import Image

_SMALLEST: Final = 64
"""Pixels a side: AlexNet leaves nothing of smaller pictures."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lpips:
    """The mean LPIPS over pairs of one prompt's pictures: high where they are diverse.

    Args:
        most: Pairs of one prompt that are looked at; of more, so many are drawn.
        seed: For drawing them.

    Raises:
        MissingDependency: neither `lpips` nor `torchmetrics` can be used, for want of torchvision maybe.
    """

    most: int = 100
    seed: int = 0
    name: str = "lpips"
    title: str = "LPIPS"
    unit: str = ""
    better: Better = "higher"
    ranking: bool = True
    needs: tuple[str, ...] = ()
    package: str = field(init=False)
    """Whose it is, and its version."""
    _build: Callable[[], Any] = field(init=False, repr=False, compare=False)
    _built: list[Any] = field(init=False, repr=False, compare=False, default_factory=list)

    def __post_init__(self) -> None:
        package, build = _implementation()
        object.__setattr__(self, "package", package)
        object.__setattr__(self, "_build", build)

    @property
    def signature(self) -> str:
        """The network, whose it is, and how pairs are drawn."""
        return f"{self.name}|net=alex|by={self.package}|pairs={self.most}|seed={self.seed}"

    def estimate(self, cell: Cell) -> Estimate:
        """Measure a cell.

        Raises:
            InputError: no prompt has two pictures; or pictures are too small, of different sizes, or not to be read;
                or the network's weights cannot be loaded.
        """
        return mean_over_pairs(cell, self.prepare, self.compare, most=self.most, seed=self.seed)

    def prepare(self, image: Image) -> Any:
        """Return a picture as the network takes it, shape (1, 3, height, width), -1 to 1.

        Raises:
            InputError: it is too small.
        """
        import torch

        if min(image.size) < _SMALLEST:
            raise InputError(f"LPIPS needs {_SMALLEST} pixels a side, and there are {image.width} x {image.height}")
        pixels = np.array(image.convert("RGB"), np.float32) / 127.5 - 1
        return torch.from_numpy(pixels).permute(2, 0, 1).unsqueeze(0)

    def compare(self, one: Any, other: Any) -> float:
        """Return how different two pictures are: 0 where they are equal.

        Raises:
            InputError: they differ in size; or the network's weights cannot be loaded.
        """
        import torch

        if one.shape != other.shape:
            raise InputError("they differ in size")
        with torch.no_grad():
            return float(self._network()(one, other))

    def _network(self) -> Any:
        if not self._built:
            try:
                self._built.append(self._build())
            except (OSError, RuntimeError) as error:
                raise InputError(f"the weights of LPIPS cannot be loaded: {' '.join(str(error).split())}") from None
        return self._built[0]


def _implementation() -> tuple[str, Callable[[], Any]]:
    """Return who offers LPIPS here, with the version, and what builds its network.

    Raises:
        MissingDependency: nobody.
    """
    for package, module, kind in (
        ("lpips", "lpips", "LPIPS"),
        ("torchmetrics", "torchmetrics.image.lpip", "LearnedPerceptualImagePatchSimilarity"),
    ):
        try:
            importlib.import_module("torchvision")
            network = getattr(importlib.import_module(module), kind)
            version = getattr(importlib.import_module(package), "__version__", "unknown")
        except (ImportError, AttributeError, RuntimeError):  # a torchvision of another torch fails as it is imported
            continue
        options = {"net": "alex", "verbose": False} if package == "lpips" else {"net_type": "alex"}
        return f"{package}-{version}", lambda network=network, options=options: network(**options).eval()
    raise MissingDependency("lpips", extra="eval")
