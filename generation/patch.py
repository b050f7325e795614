"""Laying weighted adapters on a model's weights, and taking them off without a trace.

Each touched weight becomes round(W0 + sum_i w_i s_i B_i A_i): one matrix product over the concatenated ranks, in
float32, added to the unchanged base and rounded once to the module's own precision. Since every set starts from the
base, another set is one pass, nothing drifts however often sets change, and taking all off is a copy.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Mapping, Sequence
from types import TracebackType

import torch
from torch import Tensor, nn

from ..errors import InputError
from .plan import AdapterPlan, LowRank

Weighted = Sequence[tuple[LowRank, float]]


class Layers:
    """The adapters that lie on one model. Thread-safe; as a context manager it takes all off at the end.

    Weights are written in place, so compiled graphs and other holders of the tensors follow. A copy of each touched
    weight as it was is kept on the CPU.

    Args:
        modules: The model's modules by name (see `aliases.targets`), as the plans were made for.
    """

    def __init__(self, modules: Mapping[str, nn.Module]) -> None:
        self._modules = modules
        self._base: dict[str, Tensor] = {}
        self._parts: dict[str, Weighted] = {}
        self._laid: list[tuple[AdapterPlan, float]] = []
        self._lock = threading.RLock()

    @property
    def laid(self) -> dict[AdapterPlan, float]:
        """What lies on the model now, with the weights."""
        return dict(self._laid)

    def lay(self, weights: Mapping[AdapterPlan, float]) -> None:
        """Lay exactly this set, whatever lay before. The order of the set decides the last bit of the sums.

        If anything fails in the middle, the model is as if nothing had ever been laid, and the error goes on.

        Raises:
            InputError: a weight is not a finite number, or a weight of the model cannot be written to.
            UnreadableFile: an adapter's tensors are damaged.
        """
        wanted = [(plan, float(weight)) for plan, weight in weights.items() if weight != 0]
        if wrong := [f"{plan.file.name}: {weight}" for plan, weight in wanted if not math.isfinite(weight)]:
            raise InputError(f"the weight of an adapter must be a finite number, not {wrong[0]}")
        with self._lock, torch.no_grad():
            if wanted == self._laid:
                return
            parts: dict[str, list[tuple[LowRank, float]]] = {}
            for plan, weight in wanted:
                for name, part in plan.parts.items():
                    parts.setdefault(name, []).append((part, weight))
            try:
                for name in parts:
                    self._write(name, parts[name])
                for name in self._parts.keys() - parts.keys():
                    self._write(name, ())
            except BaseException:
                self.restore()
                raise
            self._laid, self._parts = wanted, dict(parts)

    def restore(self) -> None:
        """Take everything off: every weight is bit for bit what it was before the first laying."""
        with self._lock, torch.no_grad():
            for name in self._base:
                self._write(name, ())
            self._laid, self._parts = [], {}

    def verify(self) -> tuple[str, ...]:
        """Return the names of touched weights that are not, bit for bit, the base with what was laid on it."""
        with self._lock, torch.no_grad():
            return tuple(name for name in self._base if not self._holds(name))

    def __enter__(self) -> Layers:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.restore()

    def _weight(self, name: str) -> Tensor:
        if name not in self._modules:
            raise InputError(f"the plan was made for another model: this one has no {name}")
        weight = self._modules[name].weight
        if not isinstance(weight, Tensor) or weight.is_meta or not weight.is_floating_point():
            raise InputError(f"{name} cannot wear an adapter: its weight is offloaded or quantised")
        return weight.detach()

    def _write(self, name: str, parts: Weighted) -> None:
        weight = self._weight(name)
        base = self._base.get(name)
        if base is None:
            base = weight.to("cpu", copy=True).contiguous()
            self._base[name] = base
        if not parts:
            weight.copy_(base)
        elif weight.device == base.device and weight.dtype == base.dtype == _work(base) and weight.is_contiguous():
            _compose(base, parts, out=weight)
        else:
            weight.copy_(_compose(base.to(weight.device), parts))

    def _holds(self, name: str) -> bool:
        weight, base = self._weight(name), self._base[name]
        parts = self._parts.get(name, ())
        expected = _compose(base.to(weight.device), parts) if parts else base
        return torch.equal(weight, expected.to(weight))


def _work(base: Tensor) -> torch.dtype:
    return torch.float64 if base.dtype == torch.float64 else torch.float32


def _compose(base: Tensor, parts: Weighted, out: Tensor | None = None) -> Tensor:
    """Return base + sum of weighted deltas in the working precision, written to `out` where that is given."""
    pairs = [part.factors() for part, _ in parts]
    ups = [up * (weight * part.scale) for (up, _), (part, weight) in zip(pairs, parts, strict=True)]
    work = _work(base)
    up = torch.cat(ups, dim=1).to(base.device, work)
    down = torch.cat([down for _, down in pairs]).to(base.device, work)
    flat = base.reshape(base.shape[0], -1)
    if out is not None:
        torch.addmm(flat, up, down, out=out.view(flat.shape))
        return out
    return torch.addmm(flat.to(work), up, down).view(base.shape)
