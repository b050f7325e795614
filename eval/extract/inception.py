"""The Inception network of 2015, which FID, KID and the Inception Score are defined by.

NVIDIA's translation to TorchScript of TensorFlow's own file, the one that clean-fid and StyleGAN take. A TorchScript
file is a program, and its tensors are listed by a pickle. torch reads that with its own reader in C++, which knows
tensors and plain values and can import nothing; still the program would run. So a file is opened only when its
SHA-256 is the published one, or when the caller trusts it.
"""

from __future__ import annotations

import warnings
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from ...errors import InputError, UnreadableFile
from .pictures import DECODER
from .resize import Squared
from .weights import digest_file, exact, fingerprint, require

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from PIL.Image import Image

    from ..cells import Features

PUBLISHED: Final = "f58cb9b6ec323ed63459aa4fb441fe750cfe39fafad6da5cb504a16f19e958f4"
"""The SHA-256 of `inception-2015-12-05.pt`, 95,607,719 bytes, as k-diffusion and others pin it."""
ADDRESS: Final = "https://nvlabs-fi-cdn.nvidia.com/stylegan2-ada-pytorch/pretrained/metrics/inception-2015-12-05.pt"

WIDTHS: Final = {
    "inception": 2048,
    "inception-logits": 1008,
    "inception-64": 64,
    "inception-192": 192,
    "inception-768": 768,
}
"""The outputs by their extractors' names: the last pooling, the logits without their bias, as the Inception Score is
computed, and the means over places after the first and the second pooling and before the auxiliary classifier."""

_METHOD: Final = "1"
"""Changes when the same network would give other features."""
_TAPS: Final = {"pool0": "inception-64", "pool1": "inception-192", "mixed_7": "inception-768"}
"""Layers of the file whose outputs are kept."""


class InceptionNetwork:
    """The network, once for all of its outputs.

    Args:
        file: `inception-2015-12-05.pt`.
        trusted: Open a file that is not the published one.
        squared: How pictures become squares.
        device: `cpu`, `cuda`, ...

    Raises:
        MissingDependency: torch is not installed.
        InputError: the file is not there, or is not the published one.
    """

    def __init__(
        self, file: str | Path, *, trusted: bool = False, squared: Squared | None = None, device: str = "cpu"
    ) -> None:
        require("torch")
        self.squared = squared or Squared()
        self._file = Path(file).expanduser()
        self._device = device
        if not self._file.is_file():
            raise InputError(f"there is no file {file}; the Inception network is at {ADDRESS}")
        self.sha256 = digest_file(self._file)
        if self.sha256 != PUBLISHED and not trusted:
            raise UnreadableFile(
                f"{file} is not the published Inception network (its SHA-256 is {self.sha256}), and such a file can "
                f"run code; take the one at {ADDRESS}"
            )
        self._seen: tuple[object, dict[str, Features]] | None = None

    @property
    def published(self) -> bool:
        """Whether it is the well-known network."""
        return self.sha256 == PUBLISHED

    def look(self, prepared: NDArray[np.float32]) -> dict[str, Features]:
        """Return every output of a batch, by the extractor's name: arrays of shape (pictures, width).

        A read-only batch is looked at once, however many ask for it.
        """
        if prepared.flags.writeable:
            return self._look(prepared)
        if self._seen is None or self._seen[0] is not prepared:
            self._seen = prepared, self._look(prepared)
        return self._seen[1]

    def _look(self, prepared: NDArray[np.float32]) -> dict[str, Features]:
        import torch

        found: dict[str, Any] = {}
        with exact():
            values = (torch.tensor(prepared, device=self._device) - 128) / 128
            for name, layer in self._layers:
                values = layer(values)
                if name in _TAPS:
                    found[_TAPS[name]] = values.mean((2, 3))
            found["inception"] = values.flatten(1)
            found["inception-logits"] = found["inception"] @ self._network.output.weight.T
        return {name: rows.float().cpu().numpy() for name, rows in found.items()}

    @cached_property
    def _network(self) -> Any:
        import torch

        try:
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", r"`torch\.jit\.load` is deprecated", DeprecationWarning)
                network = torch.jit.load(str(self._file), map_location=self._device)  # type: ignore[no-untyped-call]
            return network.eval()
        except Exception as error:  # it depends on what is damaged
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
            raise UnreadableFile(f"{self._file} is no TorchScript file that torch reads ({reason})") from error

    @cached_property
    def _layers(self) -> list[tuple[str, Any]]:
        layers = getattr(self._network, "layers", None)
        if layers is None or not hasattr(self._network, "output"):
            raise UnreadableFile(f"{self._file} is no Inception network: it has no layers, or no output")
        return list(layers.named_children())


class Inception:
    """One output of the Inception network.

    Args:
        network: Shared by all of its outputs.
        name: One of `WIDTHS`.
    """

    def __init__(self, network: InceptionNetwork, name: str = "inception") -> None:
        self.network = network
        self._name = name

    @property
    def name(self) -> str:
        """What metrics ask for."""
        return self._name

    @property
    def fingerprint(self) -> str:
        """A digest of the file, the preparation, and how they are used here."""
        squared = self.network.squared
        return fingerprint(self._name, _METHOD, DECODER, self.network.sha256, squared.signature, str(squared.side))

    @property
    def signature(self) -> str:
        """What it is, for signatures: `inc=2015-12-05:f58cb9b6:c3fd55b2|resize=clean`.

        Eight digits of the file's SHA-256 and eight of the fingerprint; then the output, where it is not the last.
        """
        output = self._name.removeprefix("inception").removeprefix("-")
        known = "2015-12-05" if self.network.published else "own"
        named = f"inc={known}:{self.network.sha256[:8]}:{self.fingerprint[:8]}" + (f":{output}" if output else "")
        return f"{named}|{self.network.squared.signature}"

    @cached_property
    def width(self) -> int:
        """Numbers of a feature vector."""
        if self.network.published:
            return WIDTHS[self._name]
        side = self.network.squared.side
        return int(self._of(np.zeros((1, 3, side, side), np.float32)).shape[1])

    def prepare(self, image: Image) -> NDArray[np.float32]:
        """Return an RGB picture as the network takes it: float32, 0 to 255, shape (3, 299, 299)."""
        return self.network.squared.prepare(image)

    def extract(self, prepared: NDArray[np.float32]) -> Features:
        """Return the features of a batch of prepared pictures, shape (pictures, width)."""
        return self._of(prepared) if len(prepared) else np.empty((0, self.width), np.float32)

    def _of(self, prepared: NDArray[np.float32]) -> Features:
        found = self.network.look(prepared)
        if self._name not in found:
            raise InputError(f"the Inception network has no layer for {self._name}")
        return found[self._name]
