"""All weights of a model in one flat tensor, so that processes can share them and split the work of the optimiser."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from torch import Tensor, nn

if TYPE_CHECKING:
    from collections.abc import Callable

Matrix = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Place:
    """Where one weight lies in the flat tensor."""

    name: str
    shape: tuple[int, ...]
    start: int
    size: int

    @property
    def matrix(self) -> Matrix:
        """The weight's shape as a matrix: outputs by everything that feeds them."""
        return self.shape[0], self.size // self.shape[0]

    def view(self, flat: Tensor) -> Tensor:
        """Return this weight's part of a flat tensor, in its own shape."""
        return flat[self.start : self.start + self.size].view(self.shape)


class Layout:
    """Where each trained weight of a model lies: those for AdamW first, then the matrices for Muon."""

    def __init__(self, model: nn.Module, is_matrix: Callable[[str, Tensor], bool]) -> None:
        trained = [(name, weight) for name, weight in model.named_parameters() if weight.requires_grad]
        trained.sort(key=lambda item: is_matrix(*item))  # stable: False, hence AdamW, comes first
        self.places: list[Place] = []
        self.plain = 0
        """Numbers from the start that AdamW moves; the rest is Muon's."""
        start = 0
        for name, weight in trained:
            self.places.append(Place(name, tuple(weight.shape), start, weight.numel()))
            start += weight.numel()
            if not is_matrix(name, weight):
                self.plain = start
        self.size = start

    def gather(self, model: nn.Module, flat: Tensor) -> None:
        """Copy the model's weights into a flat tensor."""
        weights = dict(model.named_parameters())
        for place in self.places:
            place.view(flat).copy_(weights[place.name].detach())

    def bind(self, model: nn.Module, flat: Tensor, gradients: Tensor | None = None) -> None:
        """Let the model's weights, and their gradients, be views of flat tensors."""
        weights = dict(model.named_parameters())
        for place in self.places:
            weight = weights[place.name]
            weight.data = place.view(flat)
            if gradients is not None:
                weight.grad = place.view(gradients)

    def matrices_of(self, process: int, processes: int) -> dict[Matrix, list[Place]]:
        """Return the matrices that one process updates, by shape: each process gets about the same work."""
        shared: list[dict[Matrix, list[Place]]] = [{} for _ in range(processes)]
        loads = [0] * processes
        matrices = [place for place in self.places if place.start >= self.plain]
        for place in sorted(matrices, key=lambda place: (-_work(place), place.start)):
            least = loads.index(min(loads))
            loads[least] += _work(place)
            shared[least].setdefault(place.matrix, []).append(place)
        return shared[process]

    def plain_of(self, process: int, processes: int) -> slice:
        """Return the stretch of AdamW's numbers that one process updates."""
        return slice(self.plain * process // processes, self.plain * (process + 1) // processes)


def _work(place: Place) -> int:
    """Estimate the multiplications of one orthogonalisation."""
    short, long = sorted(place.matrix)
    return short * short * (2 * long + short)
