"""The seams of evaluation: what looks at pictures, what measures them, and who judges them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

from .cells import Cell, Features
from .estimates import Estimate
from .records import Better

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from PIL.Image import Image


class FeatureExtractor(Protocol):
    """Turns pictures into feature vectors."""

    @property
    def name(self) -> str:
        """What metrics ask for: `inception`, `clip`, `resnet50`, `dinov2`, ..."""

    @property
    def fingerprint(self) -> str:
        """Another one whenever the same picture would have other features: a digest of weights and preparation."""

    @property
    def signature(self) -> str:
        """What it is, for signatures: `inc=2015-12-05:6f3a1b2c|resize=clean`."""

    @property
    def width(self) -> int:
        """Numbers of a feature vector."""

    def prepare(self, image: Image) -> NDArray:  # type: ignore[type-arg]
        """Return one decoded RGB picture as the network takes it; runs beside other extractors' on one decode."""

    def extract(self, prepared: NDArray) -> Features:  # type: ignore[type-arg]
        """Return the features of a batch of prepared pictures, shape (pictures, width)."""


class TextExtractor(FeatureExtractor, Protocol):
    """One whose pictures and texts lie in one space."""

    def read(self, texts: Sequence[str]) -> Features:
        """Return the features of texts, not normalised, shape (texts, width)."""

    def truncated(self, texts: Sequence[str]) -> int:
        """Return how many texts are longer than it can read; their ends are not read."""


class Metric(Protocol):
    """A number of a cell. One file, and one row of `eval.metrics.METRICS`."""

    @property
    def name(self) -> str:
        """As it is asked for: `clip`, `fid`, ..."""

    @property
    def title(self) -> str:
        """As tables have it: `CLIP score`, `FID`, ..."""

    @property
    def unit(self) -> str:
        """Of its values; empty for none."""

    @property
    def better(self) -> Better:
        """Which way is good."""

    @property
    def ranking(self) -> bool:
        """Whether it may be ranked by; False of the Inception Score."""

    @property
    def needs(self) -> tuple[str, ...]:
        """The names of the extractors whose features it reads."""

    @property
    def signature(self) -> str:
        """All that its value depends on but the pictures, without counts: begins with its name, parts split by `|`."""

    def estimate(self, cell: Cell) -> Estimate:
        """Measure a cell.

        Raises:
            InputError: it cannot be measured, such as too few or too small pictures; one sentence that says why.
        """
