"""What an adapter holds for one weight or bias of a model, and the three things it can do to it.

Low-rank and dense networks add a difference that depends on the unchanged weight at most, so any number of them
commute and are summed; turning networks multiply, so they act after the sums, in the order in which they were asked
for. `turned` and `delta` take and give matrices of shape (outputs, inputs * kernel), or vectors for biases and norms.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal, Protocol

from torch import Tensor

Shape = tuple[int, ...]


class Stored(Protocol):
    """One tensor in a file."""

    @property
    def key(self) -> str:
        """Its name in the file."""

    @property
    def shape(self) -> Shape:
        """As the header tells."""

    def read(self) -> Tensor:
        """Read it as float32 on the CPU; NaN and infinity are refused."""


class Strength(Protocol):
    """What the file says about a network's own strength."""

    @property
    def alpha(self) -> float | None:
        """The file's own number."""

    def over(self, rank: int | None) -> float:
        """Return the factor for a rank: alpha / rank as a rule, 1 where nothing is told.

        Args:
            rank: None for a network that has none; its own alpha means nothing then, that of its settings does.
        """


@dataclass(frozen=True, slots=True, eq=False)
class Network(ABC):
    """An adapter's share for one stem."""

    kind: ClassVar[str]
    """The kind's name for people."""
    stem: str
    parts: Mapping[str, Stored]
    strength: Strength
    target: Literal["weight", "bias"] = "weight"

    @abstractmethod
    def fits(self, shape: Shape) -> bool:
        """Whether it belongs on a parameter of this shape: (outputs, inputs, *kernel), or (outputs,)."""

    @property
    def rank(self) -> int | None:
        """The rank of the difference, where the kind has one."""
        return None

    @property
    def width(self) -> int | None:
        """The highest rank that a difference of this shape can have, where `rank` may pass it."""
        return None

    @property
    def extent(self) -> int:
        """How many values of a model it is meant for, as far as its own shapes tell; see `tells_extent`."""
        return sum(math.prod(part.shape) for part in self.parts.values())

    @property
    def tells_extent(self) -> bool:
        """Whether its shapes tell how many values it is meant for."""
        return True

    @property
    def idle(self) -> bool:
        """Whether the file's own strength makes it do nothing."""
        return False

    def read_all(self) -> None:
        """Read every tensor once, so that damage shows.

        Raises:
            UnreadableFile: one of them is damaged.
        """
        for part in self.parts.values():
            part.read()


class Additive(Network):
    """Adds weight * difference."""

    __slots__ = ()

    @property
    def needs_base(self) -> bool:
        """Whether the difference depends on the unchanged weight."""
        return False

    @abstractmethod
    def delta(self, base: Tensor | None = None) -> Tensor:
        """Return the difference at weight 1, float32, of the shape (outputs, inputs * kernel) or (outputs,).

        Args:
            base: The unchanged weight in that shape, float32; only read where `needs_base`.
        """


class LowRank(Additive):
    """A difference that is a product of two thin matrices."""

    __slots__ = ()
    timed: ClassVar[bool] = False
    """Whether the ranks that act depend on the time step."""

    @abstractmethod
    def factors(self, base: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Read (up, down) of shapes (outputs, rank) and (rank, inputs * kernel), float32; the scale is in `up`."""

    def delta(self, base: Tensor | None = None) -> Tensor:
        """Return up @ down."""
        up, down = self.factors(base)
        return up @ down


class Dense(Additive):
    """A difference that has no thin factors, or none that are worth keeping apart."""

    __slots__ = ()


class Turning(Network):
    """Multiplies what is there."""

    __slots__ = ()

    @property
    def tells_extent(self) -> bool:
        """Never: one value turns a whole row."""
        return False

    @abstractmethod
    def turned(self, weight: Tensor, amount: float) -> Tensor:
        """Return the weight, float32 of shape (outputs, inputs * kernel), turned by this amount; 1 is the whole."""


def squeeze(kernel: Sequence[int]) -> Shape:
    """Drop a kernel of one pixel: a linear layer and a 1x1 convolution are the same map, and files mix them."""
    return () if math.prod(kernel) == 1 else tuple(kernel)


def same(found: Sequence[int], wanted: Sequence[int]) -> bool:
    """Whether two shapes of weights are one, but for a kernel of one pixel."""
    return tuple(found[:2]) == tuple(wanted[:2]) and squeeze(found[2:]) == squeeze(wanted[2:])
