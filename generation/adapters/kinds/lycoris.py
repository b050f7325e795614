"""The dense kinds of LyCORIS (Yeh et al. 2023): products of Hadamard and Kronecker, and GLoRA."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from .network import Dense, Shape, same


class LoHa(Dense):
    """(alpha / rank) (w1a w1b) * (w2a w2b), each product with a Tucker core where the file has one."""

    __slots__ = ()
    kind = "LoHa"

    @property
    def rank(self) -> int:
        """The rank of each product."""
        return self.parts["w1_b"].shape[0]

    @property
    def extent(self) -> int:
        """Outputs x inputs x kernel."""
        return math.prod(self._shape(1))

    @property
    def idle(self) -> bool:
        """Whether alpha is 0."""
        return self.strength.over(self.rank) == 0

    def fits(self, shape: Shape) -> bool:
        """Whether both products have this shape."""
        if len(shape) < 2:
            return False
        return all(self._sound(n) and _flat_same(self._shape(n), shape) for n in (1, 2))

    def delta(self, base: Tensor | None = None) -> Tensor:
        """Return the Hadamard product."""
        one, two = (self._product(n) for n in (1, 2))
        return one * two * self.strength.over(self.rank)

    def _shape(self, n: int) -> Shape:
        a, b = self.parts[f"w{n}_a"].shape, self.parts[f"w{n}_b"].shape
        if f"t{n}" in self.parts:
            return (a[-1], b[-1], *self.parts[f"t{n}"].shape[2:])
        return (a[0], b[-1])

    def _sound(self, n: int) -> bool:
        a, b = self.parts[f"w{n}_a"].shape, self.parts[f"w{n}_b"].shape
        if len(a) != 2 or len(b) != 2:
            return False
        core = self.parts.get(f"t{n}")
        return a[1] == b[0] if core is None else len(core.shape) >= 2 and core.shape[:2] == (a[0], b[0])

    def _product(self, n: int) -> Tensor:
        a, b = self.parts[f"w{n}_a"].read(), self.parts[f"w{n}_b"].read()
        if f"t{n}" not in self.parts:
            return a @ b
        return tucker(self.parts[f"t{n}"].read(), a, b).flatten(1)


class LoKr(Dense):
    """scale * kron(w1, w2), either factor whole or itself a product.

    Where both are whole the scale is 1, but for PEFT's, which is alpha / r of its settings even then.
    """

    __slots__ = ()
    kind = "LoKr"

    @property
    def rank(self) -> int | None:
        """The rank of the last factor that is a product."""
        ranks = [self.parts[name].shape[0] for name in ("w1_b", "w2_b") if name in self.parts]
        return ranks[-1] if ranks else None

    @property
    def extent(self) -> int:
        """Outputs x inputs x kernel."""
        return math.prod(self._factor(1)) * math.prod(self._factor(2))

    @property
    def idle(self) -> bool:
        """Whether alpha is 0."""
        return self._scale == 0

    def fits(self, shape: Shape) -> bool:
        """Whether the Kronecker product has this shape."""
        if len(shape) < 2 or not all(self._sound(n) for n in (1, 2)):
            return False
        (a, c), (b, d, *kernel) = self._factor(1), self._factor(2)
        return _flat_same((a * b, c * d, *kernel), shape)

    def delta(self, base: Tensor | None = None) -> Tensor:
        """Return the Kronecker product."""
        one, two = self._read(1), self._read(2)
        (a, c), (b, d) = one.shape, two.shape[:2]
        # torch.kron fails where a factor comes strided from a contraction.
        blocks = one.reshape(a, 1, c, 1, 1) * two.reshape(1, b, 1, d, -1)
        return blocks.reshape(a * b, -1) * self._scale

    @property
    def _scale(self) -> float:
        return self.strength.over(self.rank)

    def _factor(self, n: int) -> Shape:
        if f"w{n}" in self.parts:
            return self.parts[f"w{n}"].shape
        a, b = self.parts[f"w{n}_a"].shape, self.parts[f"w{n}_b"].shape
        return (a[-1], b[-1], *self.parts[f"t{n}"].shape[2:]) if f"t{n}" in self.parts else (a[0], b[-1])

    def _sound(self, n: int) -> bool:
        if f"w{n}" in self.parts:
            return len(self.parts[f"w{n}"].shape) in ((2,) if n == 1 else (2, 3, 4, 5))
        a, b = self.parts[f"w{n}_a"].shape, self.parts[f"w{n}_b"].shape
        core = self.parts.get(f"t{n}")
        if len(a) != 2 or len(b) != 2 or (n == 1 and core is not None):
            return False
        return a[1] == b[0] if core is None else len(core.shape) >= 2 and core.shape[:2] == (a[0], b[0])

    def _read(self, n: int) -> Tensor:
        if f"w{n}" in self.parts:
            return self.parts[f"w{n}"].read()
        a, b = self.parts[f"w{n}_a"].read(), self.parts[f"w{n}_b"].read()
        return tucker(self.parts[f"t{n}"].read(), a, b) if f"t{n}" in self.parts else a @ b


class GLoRA(Dense):
    """(alpha / rank) (W a1 a2 + b1 b2) (Chavan et al. 2023); the first releases wrote the factors the other way."""

    __slots__ = ()
    kind = "GLoRA"

    @property
    def needs_base(self) -> bool:
        """Always: one half multiplies the weight."""
        return True

    @property
    def rank(self) -> int:
        """The rank of both halves."""
        return min(self.parts["b1"].shape[:2])

    @property
    def idle(self) -> bool:
        """Whether alpha is 0."""
        return self.strength.over(self.rank) == 0

    @property
    def extent(self) -> int:
        """Outputs x inputs x kernel."""
        (rank, last), b1, b2 = self.parts["a1"].shape[:2], self.parts["b1"].shape, self.parts["b2"].shape
        new = b1[0] * b2[1] if last == b1[1] == b2[0] else 0
        old = b2[0] * b1[1] if rank == b1[0] == b2[1] else 0
        return max(new, old) * math.prod(self._kernel)  # a square weight can be read in both ways, its rank is less

    def fits(self, shape: Shape) -> bool:
        """Whether both halves have this shape."""
        return len(shape) >= 2 and (self._reads(shape) or self._reads_old(shape))

    def delta(self, base: Tensor | None = None) -> Tensor:
        """Return W a1 a2 + b1 b2."""
        if base is None:
            raise ValueError("GLoRA needs the weight it lies on")
        read = {name: part.read() for name, part in self.parts.items() if name != "alpha"}
        a1, a2, b1, b2 = (read[name].flatten(1) for name in ("a1", "a2", "b1", "b2"))
        inputs = self.parts["a1"].shape[0]
        if not self._reads((base.shape[0], inputs, *self._kernel)):
            a1, a2, b1, b2 = a2, a1, b2, b1
            inputs = a1.shape[0]
        weight = base.view(base.shape[0], inputs, -1)
        turned = torch.einsum("oik,ir,rj->ojk", weight, a1, a2).flatten(1)
        if "bm" in read:
            core = read["bm"].reshape(*read["bm"].shape[:2], -1)
            b2 = (core.transpose(1, 2) @ b2).transpose(1, 2).flatten(1)
        return (turned + b1 @ b2) * self.strength.over(a1.shape[1])

    @property
    def _kernel(self) -> Shape:
        return self.parts.get("bm", self.parts["b2"]).shape[2:]

    def _reads(self, shape: Shape) -> bool:
        a1, a2, b1, b2 = (self.parts[name].shape for name in ("a1", "a2", "b1", "b2"))
        rank = a1[1]
        halves = a1[:2] == (shape[1], rank) and a2[:2] == (rank, shape[1]) and b1[:2] == (shape[0], rank)
        if "bm" in self.parts:
            core = self.parts["bm"].shape
            beside = b2[:2] == (rank, shape[1]) and same(core, (rank, rank, *shape[2:]))
            return halves and beside and _thin(a1, a2, b1, b2)
        return halves and same(b2, (rank, shape[1], *shape[2:])) and _thin(a1, a2, b1)

    def _reads_old(self, shape: Shape) -> bool:
        a1, a2, b1, b2 = (self.parts[name].shape for name in ("a1", "a2", "b1", "b2"))
        rank = a1[0]
        square = math.prod(shape[2:]) == 1 and "bm" not in self.parts
        halves = a2[:2] == (shape[1], rank) and a1[:2] == (rank, shape[1])
        beside = b2[:2] == (shape[0], rank) and b1[:2] == (rank, shape[1])
        return square and halves and beside and _thin(a1, a2, b1, b2)


def _thin(*factors: Shape) -> bool:
    """Whether they are matrices, but for a kernel of one pixel."""
    return all(math.prod(factor[2:]) == 1 for factor in factors)


def tucker(core: Tensor, a: Tensor, b: Tensor) -> Tensor:
    """Contract a Tucker core (i, j, *kernel) with a (i, outputs) and b (j, inputs)."""
    return torch.einsum("ij...,ip,jr->pr...", core, a, b)


def _flat_same(found: Shape, wanted: Shape) -> bool:
    """Whether a product has the weight's shape, or that of its flattened form (outputs, inputs * kernel)."""
    return same(found, wanted) or tuple(found) == (wanted[0], math.prod(wanted[1:]))
