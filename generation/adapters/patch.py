"""Laying weighted adapters on a model's weights, and taking them off without a trace.

Each touched weight becomes round(W0 + sum_i w_i s_i B_i A_i): one matrix product over the concatenated ranks, in
float32, added to the unchanged base and rounded once to the model's own precision. Dense differences are added to
that, multiplicative kinds turn the sum in the order of the set. Since every set starts from the base, another set is
one pass, nothing drifts however often sets change, and taking all off is a copy.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from types import TracebackType

import torch
from torch import Tensor, nn

from ...errors import InputError
from .bases import Bases
from .kinds import Additive, LowRank, Turning
from .plan import AdapterPlan, Part

Weighted = Sequence[tuple[Part, float]]

_GROUP = 128 << 20
"""Values of a group of equal weights that are composed in one launch."""


class Layers:
    """The adapters that lie on one model. Thread-safe; as a context manager it takes all off at the end.

    Weights are written in place, so compiled graphs and other holders of the tensors follow.

    Args:
        modules: The model's modules by name (see `names.targets`), as the plans were made for.
        stored: The model's weights as its checkpoint's files hold them (see `bases.stored_weights`); what is not
            there, or differs, is copied when it is first touched.
        fresh: The model was loaded from `stored` and has not been written to since; see `bases.Bases`.
        grouped: Compose weights of equal shape together, which saves launches; None does so on a GPU.
    """

    def __init__(
        self,
        modules: Mapping[str, nn.Module],
        *,
        stored: Mapping[str, Tensor] | None = None,
        fresh: bool = False,
        grouped: bool | None = None,
    ) -> None:
        self._modules = modules
        self._bases = Bases(stored, fresh=fresh)
        self._grouped = grouped
        self._parts: dict[str, Weighted] = {}
        self._laid: list[tuple[AdapterPlan, float]] = []
        self._certain = True
        """Whether the weights are known to be what `_laid` says; not after a restoring that failed."""
        self._owners: dict[int, tuple[str, Tensor]] = {}
        self._lock = threading.RLock()
        self._scratch: dict[torch.device, Tensor] = {}

    @property
    def laid(self) -> dict[AdapterPlan, float]:
        """What lies on the model now, with the weights."""
        return dict(self._laid)

    @property
    def copied(self) -> int:
        """Bytes that copies of touched weights take."""
        return self._bases.copied

    def lay(self, weights: Mapping[AdapterPlan, float]) -> None:
        """Lay exactly this set, whatever lay before. The order of the set decides the last bit of the sums.

        If anything fails in the middle, the model is as if nothing had ever been laid, and the error goes on.

        Raises:
            InputError: a weight is not a finite number, a weight of the model cannot be written to, an adapter
                depends on the time step, or the checkpoint's file was written to.
            UnreadableFile: an adapter's tensors are damaged.
        """
        wanted = checked(weights)
        if timed := [plan.file.name for plan, _ in wanted if plan.timed]:
            raise InputError(f"{timed[0]} acts differently at every time step and cannot lie on the weights")
        with self._lock, plainly():
            if self._certain and wanted == self._laid:
                return
            self._bases.check()
            parts = by_parameter(wanted)
            before: Mapping[str, Weighted] = self._parts if self._certain else dict.fromkeys(self._bases, ())
            self._certain = False
            try:
                self._compose({name: found for name, found in parts.items() if before.get(name) != found})
                for name in before.keys() - parts.keys():
                    self._write(name, ())
            except BaseException:
                self.restore()
                raise
            self._laid, self._parts, self._certain = wanted, dict(parts), True

    def restore(self) -> None:
        """Take everything off: every weight is bit for bit what it was before the first laying.

        Raises:
            InputError: a weight cannot be written to (the others are restored), or the checkpoint's file was.
        """
        with self._lock, plainly():
            self._laid, self._parts, self._certain = [], {}, False
            self._bases.check()
            failed: InputError | None = None
            for name in self._bases:
                try:
                    self._write(name, ())
                except InputError as error:
                    failed = error
            if failed is not None:
                raise failed
            self._certain = True

    def verify(self) -> tuple[str, ...]:
        """Return the names of touched weights that are not, bit for bit, the base with what was laid on it."""
        with self._lock, plainly():
            self._bases.check()
            return tuple(name for name in self._bases if not self._holds(name))

    def __enter__(self) -> Layers:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.restore()

    def _compose(self, parts: Mapping[str, Weighted]) -> None:
        written: set[str] = set()
        for group in self._groups(parts):
            self._write_group(group, parts)
            written.update(group)
        for name, found in parts.items():
            if name not in written:
                self._write(name, found)

    def _write(self, name: str, parts: Weighted) -> None:
        live = self._live(name)
        base = self._bases.keep(name, live)
        if not parts:
            live.copy_(base)
        elif live.device == base.device and live.dtype == base.dtype == working(base) and live.is_contiguous():
            compose(base, parts, out=live)
        else:
            live.copy_(compose(base.to(live.device), parts, out=self._room(base, live.device)))

    def _room(self, base: Tensor, device: torch.device) -> Tensor:
        """Return working space of the shape of a weight; it is the same for all, so that its pages are there."""
        size, kind = base.numel(), working(base)
        room = self._scratch.get(device)
        if room is None or room.numel() < size or room.dtype != kind:
            room = self._scratch[device] = torch.empty(size, dtype=kind, device=device)
        return room[:size].view(base.shape)

    def _holds(self, name: str) -> bool:
        live, base = self._live(name), self._bases[name]
        parts = self._parts.get(name, ())
        expected = compose(base.to(live.device), parts, out=self._room(base, live.device)) if parts else base
        return torch.equal(live, expected.to(live))

    def _live(self, name: str) -> Tensor:
        module, _, parameter = name.rpartition(".")
        if module not in self._modules:
            raise InputError(f"the plan was made for another model: this one has no {module}")
        live = getattr(self._modules[module], parameter)
        if not isinstance(live, Tensor) or live.is_meta or not live.is_floating_point() or live.element_size() < 2:
            raise InputError(f"{module} cannot wear an adapter: its weight is offloaded or quantised")
        owner, _ = self._owners.setdefault(id(live), (name, live))
        if owner != name:
            raise InputError(f"{owner} and {name} share one weight, so adapters cannot lie on either alone")
        return live.detach()

    def _groups(self, parts: Mapping[str, Weighted]) -> Iterator[list[str]]:
        """Yield the names of weights that one launch can compose: equal in shape, precision and rank."""
        groups: dict[object, list[str]] = {}
        for name, found in parts.items():
            live = self._live(name)
            if not (live.is_cuda if self._grouped is None else self._grouped) or live.ndim < 2:
                continue
            if all(isinstance(part.network, LowRank) and not part.needs_base for part, _ in found):
                rank = sum(part.network.rank or 0 for part, _ in found)
                kernel = math.prod(live.shape[1:])
                groups.setdefault((live.shape[0], kernel, rank, live.dtype, live.device), []).append(name)
        for group in groups.values():
            most = max(1, _GROUP // self._live(group[0]).numel())
            for first in range(0, len(group), most):
                if len(group[first : first + most]) > 1:
                    yield group[first : first + most]

    def _write_group(self, names: Sequence[str], parts: Mapping[str, Weighted]) -> None:
        lives = [self._live(name) for name in names]
        bases = [self._bases.keep(name, live) for name, live in zip(names, lives, strict=True)]
        device, kind = lives[0].device, working(bases[0])
        pairs = [concatenated(parts[name]) for name in names]
        ups, downs = (torch.stack([pair[n] for pair in pairs]).to(device, kind, non_blocking=True) for n in (0, 1))
        flat = (lives[0].shape[0], -1)
        stacked = torch.stack([base.to(device, non_blocking=True).reshape(flat) for base in bases]).to(kind)
        torch.baddbmm(stacked, ups, downs, out=stacked)
        for live, composed in zip(lives, stacked, strict=True):
            live.copy_(composed.view(live.shape))


@contextmanager
def plainly() -> Iterator[None]:
    """Compute as written, whatever the caller is in the middle of: no graph, no inference tensors, no autocast."""
    with ExitStack() as stack:
        stack.enter_context(torch.inference_mode(False))
        stack.enter_context(torch.no_grad())
        for device in ("cpu", *(["cuda"] if torch.cuda.is_available() else [])):
            stack.enter_context(torch.autocast(device, enabled=False))
        yield


def checked(weights: Mapping[AdapterPlan, float]) -> list[tuple[AdapterPlan, float]]:
    """Return a set without its zeros.

    Raises:
        InputError: a weight is not a finite number.
    """
    for plan, weight in weights.items():
        if not isinstance(weight, int | float) or not math.isfinite(weight):
            raise InputError(f"the weight of an adapter must be a finite number, not {plan.file.name}: {weight}")
    return [(plan, float(weight)) for plan, weight in weights.items() if weight != 0]


def by_parameter(wanted: Sequence[tuple[AdapterPlan, float]]) -> dict[str, list[tuple[Part, float]]]:
    """Return what goes onto each parameter, in the order of the set."""
    parts: dict[str, list[tuple[Part, float]]] = {}
    for plan, weight in wanted:
        for name, part in plan.parts.items():
            parts.setdefault(name, []).append((part, weight))
    return parts


def working(base: Tensor) -> torch.dtype:
    """The precision that a weight is composed in: float32, and float64 for a model of that."""
    return torch.float64 if base.dtype == torch.float64 else torch.float32


def compose(base: Tensor, parts: Weighted, *, out: Tensor) -> Tensor:
    """Write a weight with everything that lies on it to `out`, in the working precision, and return it.

    Args:
        base: The unchanged weight, of any precision.
        parts: What lies on it, with the weights.
        out: Of the base's shape and device, contiguous, of the working precision; not the base itself.
    """
    flat = out.view(base.shape[0], -1) if base.ndim > 1 else out
    start = base.reshape(flat.shape).to(out.dtype)
    low = [(part, weight) for part, weight in parts if isinstance(part.network, LowRank)]
    if low:
        up, down = concatenated(low, start)
        torch.addmm(start, up.to(out), down.to(out), out=flat)
    else:
        flat.copy_(start)
    turning = []
    for part, weight in parts:
        if isinstance(part.network, Turning):
            turning.append((part.network, weight))
        elif isinstance(part.network, Additive) and not isinstance(part.network, LowRank):
            delta = part.delta(_plain(start) if part.needs_base else None)
            flat.add_(delta.to(flat).view(flat.shape), alpha=weight)
    for network, weight in turning:
        flat.copy_(network.turned(flat.float().cpu(), weight))
    return out


def concatenated(parts: Weighted, base: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Read the factors of all parts side by side: (outputs, ranks) with the weights in, and (ranks, inputs)."""
    ups, downs = [], []
    for part, weight in parts:
        up, down = part.factors(_plain(base) if part.needs_base else None)
        ups.append(up * weight)
        downs.append(down)
    return torch.cat(ups, dim=1), torch.cat(downs)


def _plain(base: Tensor | None) -> Tensor | None:
    return None if base is None else base.float().cpu()
