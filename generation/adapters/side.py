"""Adapters beside the weights: every image of a batch may wear another set, and nothing is written.

Each touched module gets one low-rank branch over the ranks of all sets, with a weight for every rank and image, so a
batch costs one thin product however its sets differ. Kinds that are not low-rank go as whole differences, one for
each set that has them. It is slower than patched weights as soon as a set is used more than once or twice
(`choice.py` has the arithmetic), and it is the only way for quantised weights and for ranks that depend on time.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from ...errors import InputError
from .kinds import LowRank, Turning
from .patch import Layers, by_parameter, checked, compose, plainly, working
from .plan import AdapterPlan, Part

Set = Mapping[AdapterPlan, float]
"""Adapters with their weights, as one image wears them."""


class SideBranch:
    """Carries adapters beside the weights of one model. As a context manager it takes all off at the end.

    A batch that passes through a module is read as images in the order of the sets, once or several times over (as
    with guidance, where the images come without and with the prompt): row b wears set b modulo the number of sets.

    Args:
        modules: The model's modules by name (see `names.targets`), as the plans were made for.
        layers: What lays adapters on the same weights, so that both at once are refused.
        rank_floor: The ranks of a T-LoRA that act even at the noisiest step, as it was trained with.
        rank_power: The exponent of its schedule, as it was trained with.
    """

    def __init__(
        self,
        modules: Mapping[str, nn.Module],
        layers: Layers | None = None,
        *,
        rank_floor: int = 1,
        rank_power: float = 1.0,
    ) -> None:
        self._modules = modules
        self._layers = layers
        self._schedule = rank_floor, rank_power
        self._branches: list[_Branch] = []
        self._handles: list[Any] = []
        self._following: list[Any] = []
        self._lock = threading.RLock()

    def wear(self, sets: Sequence[Set]) -> None:
        """Give the images of a batch these sets, whatever was worn before. The weights must be bare.

        If anything fails, nothing is worn, and the error goes on.

        Raises:
            InputError: a weight is not a finite number, adapters lie on the weights, an adapter needs a base weight
                that is quantised, or changes a module of a sort that has no branch.
            UnreadableFile: an adapter's tensors are damaged.
        """
        if self._layers is not None and self._layers.laid:
            raise InputError("adapters lie on the weights; take them off before others are worn beside them")
        wanted = [by_parameter(checked(weights)) for weights in sets]
        with self._lock, plainly():
            self._bare()
            try:
                for name in dict.fromkeys(name for parts in wanted for name in parts):
                    self._add(name, [parts.get(name, []) for parts in wanted])
            except BaseException:
                self._bare()
                raise

    def follow(self, model: nn.Module, *, steps: float = 1000) -> None:
        """Read the time step from the calls of a denoiser (its second argument), for ranks that depend on it.

        Args:
            model: The denoiser.
            steps: What it calls pure noise: 1000 for UNets, 1 for the transformer of FLUX.
        """

        def called(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            step = kwargs["timestep"] if "timestep" in kwargs else args[1]
            self.at(float(torch.as_tensor(step).flatten()[0]) / steps)

        self._following.append(model.register_forward_pre_hook(called, with_kwargs=True))

    def at(self, time: float) -> None:
        """Set the time for ranks that depend on it: 1 is pure noise, 0 the picture."""
        for branch in self._branches:
            branch.mask = _mask(branch.timed, time, *self._schedule)

    def off(self) -> None:
        """Take everything off, and follow nothing."""
        with self._lock:
            self._bare()
            for handle in self._following:
                handle.remove()
            self._following = []

    def __enter__(self) -> SideBranch:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.off()

    def _bare(self) -> None:
        for handle in self._handles:
            handle.remove()
        self._handles, self._branches = [], []

    def _add(self, name: str, sets: Sequence[Sequence[tuple[Part, float]]]) -> None:
        module_name, _, parameter = name.rpartition(".")
        if module_name not in self._modules:
            raise InputError(f"the plan was made for another model: this one has no {module_name}")
        module = self._modules[module_name]
        if not isinstance(module, nn.Linear | nn.Conv2d | nn.LayerNorm | nn.GroupNorm):
            raise InputError(f"{module_name} is a {type(module).__name__}, which wears adapters on its weights only")
        # Each group of a convolution would need thin factors of its own.
        grouped = isinstance(module, nn.Conv2d) and module.groups > 1
        thin = [not grouped and all(isinstance(part.network, LowRank) for part, _ in parts) for parts in sets]
        branch = _Branch(module, parameter)
        branch.read_thin([parts if is_thin else [] for parts, is_thin in zip(sets, thin, strict=True)])
        branch.read_whole([[] if is_thin else parts for parts, is_thin in zip(sets, thin, strict=True)])
        self._branches.append(branch)
        self._handles.append(module.register_forward_hook(branch))


@dataclass(eq=False)
class _Branch:
    """What one parameter of one module gets beside it; a forward hook."""

    module: nn.Module
    parameter: str
    down: Tensor | None = None
    """(ranks, inputs, *kernel)"""
    up: Tensor | None = None
    """(outputs, ranks)"""
    weights: Tensor | None = None
    """(sets, ranks)"""
    timed: Tensor | None = None
    """(2, ranks) the place of each rank in its T-LoRA, and how many that has; (-1, 0) where a rank always acts."""
    mask: Tensor | None = None
    """(ranks,) what acts now."""
    whole: tuple[tuple[Tensor, Tensor], ...] = ()
    """Differences, each with the sets that wear it, (sets,)."""

    def read_thin(self, sets: Sequence[Sequence[tuple[Part, float]]]) -> None:
        columns: dict[Part, int] = {}
        ups, downs, timed, first = [], [], [], 0
        for part in dict.fromkeys(part for parts in sets for part, _ in parts):
            up, down = part.factors(self._base() if part.needs_base else None)
            columns[part], first = first, first + up.shape[1]
            ups.append(up)
            downs.append(down)
            timed.append(_order(up.shape[1], timed=isinstance(part.network, LowRank) and part.network.timed))
        if not ups:
            return
        live = getattr(self.module, self.parameter)
        kernel = live.shape[1:] if live.is_floating_point() and live.ndim > 2 else downs[0].shape[1:]
        kind, device = _computing(live), live.device
        self.up = torch.cat(ups, dim=1).to(device, kind)
        self.down = torch.cat(downs).view(-1, *kernel).to(device, kind)
        weights = torch.zeros(len(sets), first)
        for row, parts in enumerate(sets):
            for part, weight in parts:
                weights[row, columns[part] : columns[part] + (part.network.rank or 0)] += weight
        self.weights, self.timed = weights.to(device, kind), torch.cat(timed, dim=1).to(device)

    def read_whole(self, sets: Sequence[Sequence[tuple[Part, float]]]) -> None:
        groups: dict[tuple[tuple[Part, float], ...], list[int]] = {}
        for row, parts in enumerate(sets):
            if parts:
                groups.setdefault(tuple(parts), []).append(row)
        found = []
        for parts, rows in groups.items():
            needs = any(part.needs_base or isinstance(part.network, Turning) for part, _ in parts)
            live = getattr(self.module, self.parameter)
            base = self._base() if needs else torch.zeros(_whole_shape(self.module, live))
            laid = compose(base, parts, out=torch.empty_like(base, dtype=working(base)))
            wearing = torch.zeros(len(sets))
            wearing[rows] = 1
            difference = (laid - base).to(live.device, _computing(live))
            found.append((difference, wearing.to(live.device, _computing(live))))
        self.whole = tuple(found)

    def __call__(self, module: nn.Module, inputs: tuple[Any, ...], output: Tensor) -> Tensor:
        given: Tensor = inputs[0]
        if self.down is not None and self.up is not None and self.weights is not None:
            output = output + self._thin(given, self.down.to(given), self.up.to(given), self.weights)
        for difference, wearing in self.whole:
            row = _rows(wearing.unsqueeze(1), given.shape[0])
            output = output + self._wide(given, difference) * row.view(-1, *[1] * (output.ndim - 1)).to(output)
        return output

    def _thin(self, given: Tensor, down: Tensor, up: Tensor, weights: Tensor) -> Tensor:
        rows = _rows(weights if self.mask is None else weights * self.mask, given.shape[0]).to(given)
        if isinstance(self.module, nn.Conv2d):
            ranks = _convolve(self.module, given, down)
            return functional.conv2d(ranks * rows.unsqueeze(-1).unsqueeze(-1), up.view(*up.shape, 1, 1))
        ranks = functional.linear(given, down)
        return functional.linear(ranks * rows.view(rows.shape[0], *[1] * (given.ndim - 2), -1), up)

    def _wide(self, given: Tensor, difference: Tensor) -> Tensor:
        module, difference = self.module, difference.to(given)
        if isinstance(module, nn.LayerNorm | nn.GroupNorm):
            if self.parameter == "bias":
                return _along(difference, module, given)
            if isinstance(module, nn.LayerNorm):
                normed = functional.layer_norm(given, module.normalized_shape, eps=module.eps)
            else:
                normed = functional.group_norm(given, module.num_groups, eps=module.eps)
            return normed * _along(difference, module, given)
        if self.parameter == "bias":
            return _along(difference, module, given)
        if isinstance(module, nn.Conv2d):
            return _convolve(module, given, difference)
        return functional.linear(given, difference)

    def _base(self) -> Tensor:
        live = getattr(self.module, self.parameter)
        if not isinstance(live, Tensor) or live.is_meta or not live.is_floating_point() or live.element_size() < 2:
            raise InputError("an adapter that turns or rescales a weight cannot be worn beside a quantised one")
        return live.detach().to("cpu", torch.float32).reshape(_whole_shape(self.module, live))


def _convolve(module: nn.Conv2d, given: Tensor, weight: Tensor) -> Tensor:
    # The module's own way: with its stride and groups, and the padding that seamless textures ask for.
    convolved: Tensor = module._conv_forward(given, weight.view(weight.shape[0], -1, *module.kernel_size), None)
    return convolved


def _along(values: Tensor, module: nn.Module, given: Tensor) -> Tensor:
    """Lay one value a channel along the channels of an output."""
    channels_first = isinstance(module, nn.Conv2d | nn.GroupNorm)
    return values.view(1, -1, *[1] * (given.ndim - 2)) if channels_first else values


def _rows(weights: Tensor, batch: int) -> Tensor:
    """Repeat the sets' rows over a batch."""
    if batch % weights.shape[0]:
        raise InputError(f"a batch of {batch} cannot be shared out to {weights.shape[0]} sets of adapters")
    return weights.repeat(batch // weights.shape[0], 1)


def _order(ranks: int, *, timed: bool) -> Tensor:
    """The place of each rank and the number of ranks; a T-LoRA has two halves, one for either product."""
    if not timed:
        return torch.tensor([[-1.0], [0.0]]).expand(2, ranks)
    half = ranks // 2
    return torch.stack([torch.arange(half).repeat(2).float(), torch.full((ranks,), float(half))])


def _mask(timed: Tensor | None, time: float, floor: int, power: float) -> Tensor | None:
    """Return which ranks act at a time: the first int((1 - t)^power (R - floor)) + floor (Soboleva et al., eq. 4)."""
    if timed is None or not timed[1].any():
        return None
    place, ranks = timed
    acting = (max(0.0, 1 - time) ** power * (ranks - floor)).floor() + floor
    mask: Tensor = (place < acting).float()
    return mask


def _computing(live: Tensor) -> torch.dtype:
    """The precision to compute in beside a weight; a quantised one has none of its own."""
    return live.dtype if live.is_floating_point() and live.element_size() > 1 else torch.float32


def _whole_shape(module: nn.Module, live: Tensor) -> tuple[int, ...]:
    if live.ndim == 1:
        return (live.shape[0],)
    if isinstance(module, nn.Linear):
        return (module.out_features, module.in_features)
    return (live.shape[0], live[0].numel())
