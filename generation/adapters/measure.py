"""What an adapter does to weights, told from its file alone: how strongly, where, and how like another it does so.

The thin factors suffice: with D = B A, |D|^2 is the sum over B'B * AA', and the inner product of two differences is
the sum over Ba'Bb * Aa Ab'. No difference that has thin factors is ever formed. Sums run in float64.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor, nn

from ...errors import UnreadableFile
from ...records import BaseNorms, BlockNorm, WeightMeasure
from .bases import stored_weights
from .family import model_family_of
from .file import AdapterFile
from .kinds import Additive, LowRank, Network
from .names import targets
from .peft_config import brief
from .sketch import Sketch, least_cosine
from .spelling import Share, block_of, modules_of, numbered_modules, spell

__all__ = ["METHOD", "base_norms", "checkpoint_norms", "least_cosine", "measure", "overlap"]

METHOD = "1"
"""Raise it when sketches or strengths come out otherwise than before: every file is measured again then."""

_LARGEST = 1 << 28
"""Values of the largest matrix that is formed of smaller ones; four times the largest that image models have."""
_MOST = 1 << 35
"""Values of all matrices that are formed for one file; more than the largest image models have."""

Factors = tuple[Tensor, Tensor | None]
"""(up, down), or (the whole difference as a matrix, None)."""


def measure(path: str | Path) -> WeightMeasure:
    """Measure an adapter file at weight 1.

    Kinds whose effect depends on the weights they lie on (DoRA, GLoRA, the turning kinds) are counted, not guessed.

    Raises:
        UnreadableFile: the file is damaged or holds no adapter; one sentence.
    """
    squares: dict[str, float] = {}
    values: dict[str, int] = {}
    sketch = Sketch()
    with _alone():
        differences = _Differences(path)
        for name in differences:
            up, down = factors = differences[name]
            block = block_of(name)
            values[block] = values.get(block, 0) + up.shape[0] * _inputs(factors)
            squares[block] = squares.get(block, 0.0) + _product(factors, factors)
            if down is None:
                sketch.add_matrix(name, up)
            else:
                sketch.add_product(name, up, down)
        numbers = sketch.numbers()
    if not (math.isfinite(sum(squares.values())) and bool(numbers.isfinite().all())):
        raise UnreadableFile(f"{differences.name} holds values so large that it cannot be measured")
    blocks = tuple(
        BlockNorm(block=block, norm=math.sqrt(squares[block]), values=values[block]) for block in sorted(squares)
    )
    changes = any(block.norm > 0 for block in blocks)
    return WeightMeasure(
        method=METHOD,
        blocks=blocks,
        unmeasured=differences.unmeasured,
        sketch=tuple(numbers.tolist()) if changes else (),
    )


def overlap(one: str | Path, other: str | Path) -> float:
    """Return the cosine of the whole differences of two adapter files, between -1 and 1.

    1 means the same difference, whatever the rank, alpha, layout, precision or strength. What only one of the two
    reaches counts in the norms. What cannot be measured without a model (see `measure`) is left out, and adapters of
    which one changes nothing have the overlap 0.

    Raises:
        UnreadableFile: one of the files is damaged or holds no adapter.
    """
    mine, theirs = _Differences(one), _Differences(other)
    both = my_square = their_square = 0.0
    with _alone():
        for name in mine:
            factors = mine[name]
            my_square += _product(factors, factors)
            if name in theirs:
                matching = theirs[name]
                their_square += _product(matching, matching)
                both += _product(factors, matching)
        for name in theirs:
            if name not in mine:
                factors = theirs[name]
                their_square += _product(factors, factors)
    if not math.isfinite(my_square + their_square + abs(both)):
        raise UnreadableFile(f"{mine.name} or {theirs.name} holds values so large that it cannot be measured")
    if my_square <= 0 or their_square <= 0:
        return 0.0
    return max(-1.0, min(1.0, both / math.sqrt(my_square) / math.sqrt(their_square)))


def base_norms(modules: Mapping[str, nn.Module]) -> dict[str, BlockNorm]:
    """Return how large the weights of a model are, by the blocks that `measure` tells.

    Args:
        modules: The model's modules by name (see `names.targets`). Offloaded and quantised weights are left out.
    """
    return _norms((name, module.weight) for name, module in modules.items() if isinstance(module.weight, Tensor))


def checkpoint_norms(model: str) -> BaseNorms:
    """Return how large the weights of a checkpoint are.

    A diffusers folder of any family that `structure` knows is read where it lies, a weight at a time; other
    checkpoints are loaded, which the backend `sd` must be able to.

    Args:
        model: A diffusers folder, a `.safetensors` file, or a hub id.

    Raises:
        InputError: it is not there, damaged, or of another architecture; one sentence.
    """
    from ..checkpoint import load_checkpoint
    from ..structure import structure

    path = Path(model).expanduser()
    if path.is_dir():
        modules = structure(model)
        stored = stored_weights(path)
        if all(f"{name}.weight" in stored for name in modules):
            return _base(model, modules, _norms((name, stored[f"{name}.weight"]) for name in modules))
    # Half precision halves the memory, and costs the norms no digit that is shown.
    pipe = load_checkpoint(model, dtype=torch.float16).pipe
    modules = targets(unet=pipe.unet, text_encoder=pipe.text_encoder)
    return _base(model, modules, base_norms(modules))


def _base(model: str, modules: Mapping[str, nn.Module], norms: Mapping[str, BlockNorm]) -> BaseNorms:
    return BaseNorms(family=model_family_of(modules), model=model, blocks=tuple(norms.values()))


def _norms(weights: Iterable[tuple[str, Tensor]]) -> dict[str, BlockNorm]:
    squares: dict[str, float] = {}
    values: dict[str, int] = {}
    for name, weight in weights:
        if weight.is_meta or not weight.is_floating_point():
            continue
        block = block_of(spell(name))
        norm = float(torch.linalg.vector_norm(weight.detach(), dtype=torch.float64))
        squares[block] = squares.get(block, 0.0) + norm**2
        values[block] = values.get(block, 0) + weight.numel()
    return {
        block: BlockNorm(block=block, norm=math.sqrt(squares[block]), values=values[block]) for block in sorted(squares)
    }


@contextmanager
def _alone() -> Iterator[None]:
    """Compute without gradients and on one thread: thin products gain little from more, and sums stay the same."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.no_grad():
            yield
    finally:
        torch.set_num_threads(before)


class _Differences:
    """What a file does to each module, by the module's one spelling; read when asked for."""

    def __init__(self, path: str | Path) -> None:
        self._file = AdapterFile(Path(path))
        self._places: dict[str, tuple[Additive, Share]] = {}
        self._last: tuple[Network, Factors] | None = None
        unmeasured: dict[str, int] = {}
        formed = 0
        numbered = numbered_modules(self._file.header) if any(":" in n.stem for n in self._file.networks) else {}
        for network in self._file.networks:
            if not isinstance(network, Additive) or network.needs_base:
                unmeasured[network.kind] = unmeasured.get(network.kind, 0) + 1
                continue
            formed += 0 if isinstance(network, LowRank) else network.extent
            for name, share in modules_of(network.stem, numbered):
                self._places[self._free(f"{name}.{network.target}")] = network, share
        if formed > _MOST:
            raise UnreadableFile(f"{self.name} asks for more weights than any model has")
        self.unmeasured = tuple(sorted(unmeasured.items()))

    @property
    def name(self) -> str:
        """The file's name."""
        return self._file.path.name

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __contains__(self, name: str) -> bool:
        return name in self._places

    def __getitem__(self, name: str) -> Factors:
        """Read what is done to one module: thin factors, or the whole where they would not be thin."""
        network, share = self._places[name]
        if self._last is None or self._last[0] is not network:
            self._last = network, self._read(network)
        up, down = self._last[1]
        return up[share.rows(up.shape[0])], down

    def _free(self, name: str) -> str:
        """Return the name, with a number where another stem has the same in the one spelling: each counts."""
        taken, number = name, 2
        while taken in self._places:
            taken, number = f"{name}#{number}", number + 1
        return taken

    def _read(self, network: Additive) -> Factors:
        stem = f"{self.name}: {brief(network.stem)}"
        try:
            if _formed(network) > _LARGEST:
                raise UnreadableFile(f"{stem} asks for a matrix larger than any model has")
            if not isinstance(network, LowRank):
                whole = network.delta()
                return whole.reshape(whole.shape[0], -1), None
            up, down = network.factors()
            if up.shape[1] < min(up.shape[0], down.shape[1]) and up.shape[1] == down.shape[0]:
                return up, down
            return up @ down, None
        except (RuntimeError, IndexError, ValueError) as error:  # torch, on factors that do not fit each other
            line = (str(error).splitlines() or [type(error).__name__])[0]
            raise UnreadableFile(f"{stem} has factors that do not fit each other: {line}") from None


def _product(one: Factors, other: Factors) -> float:
    """Return the inner product of two differences; 0 where they are of different shapes."""
    (up, down), (other_up, other_down) = one, other
    if down is None and other_down is not None:
        return _product(other, one)
    if up.shape[0] != other_up.shape[0] or _inputs(one) != _inputs(other):
        return 0.0
    up, other_up = up.double(), other_up.double()
    if down is None:
        return float((up * other_up).sum())
    right = down.double() if other_down is None else down.double() @ other_down.double().T
    return float(((up.T @ other_up) * right).sum())


def _inputs(factors: Factors) -> int:
    up, down = factors
    return (up if down is None else down).shape[1]


def _formed(network: Network) -> int:
    """Return the values of the largest matrix that reading a network may form, where the file does not hold as many."""
    shapes = {name: part.shape for name, part in network.parts.items()}
    sizes = [network.extent] if not isinstance(network, LowRank) else []
    if "mid" in shapes:
        rank, _, *kernel = shapes["mid"]
        sizes.append(rank * max(shapes["down"]) * math.prod(kernel))
    for name, shape in shapes.items():
        if name.endswith("_a"):
            core_shape = shapes.get(f"t{name[1]}", ())
            sizes.append(max(shape) * max(shapes[f"{name[:-1]}b"]) * math.prod(core_shape[2:]))
    largest = max(sizes, default=0)
    return largest if largest > sum(math.prod(shape) for shape in shapes.values()) else 0
