"""Which part of an adapter goes onto which parameter of a model, found by name and proved by shape."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from ...errors import IncompatibleAdapter, InputError, UnreadableFile
from ...families import TITLES, support
from .family import Told, adapter_family, model_family_of
from .file import AdapterFile
from .kinds import Additive, LowRank, Network, Shape
from .names import Place, places
from .peft_config import PeftConfig, plain
from .sdxs import left_out, stand_ins
from .spelling import block_of, spell

SAME, REMAPPED = 0.95, 0.60
"""The share of an adapter's networks that must fit a model of its own family, and one that it is remapped to."""

_KEPT = 256
"""Plans that are kept."""


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """What one network does to one parameter."""

    network: Network
    rows: tuple[slice, ...] | None = None
    """The rows of the network's outputs that are this parameter's, where it was made for a wider matrix."""

    def factors(self, base: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Read (up, down) of a low-rank network, float32 of shapes (outputs, rank) and (rank, inputs * kernel)."""
        if not isinstance(self.network, LowRank):
            raise TypeError(f"{self.network.kind} has no factors")
        up, down = self.network.factors(base)
        return self._own(up), down

    def delta(self, base: Tensor | None = None) -> Tensor:
        """Return the difference at weight 1 of an additive network, float32; see `kinds.Additive.delta`."""
        if not isinstance(self.network, Additive):
            raise TypeError(f"{self.network.kind} adds nothing")
        return self._own(self.network.delta(base))

    @property
    def needs_base(self) -> bool:
        """Whether what it adds depends on the unchanged weight."""
        return isinstance(self.network, Additive) and self.network.needs_base

    def _own(self, values: Tensor) -> Tensor:
        return values if self.rows is None else torch.cat([values[rows] for rows in self.rows])


@dataclass(frozen=True, slots=True, eq=False)
class AdapterPlan:
    """How one adapter lies on one model. Compared and hashed by identity: a plan is one laying's unit."""

    file: AdapterFile
    parts: Mapping[str, Part]
    """By the parameter's name: a name of `names.targets`, and `.weight` or `.bias`."""
    placed: tuple[Network, ...]
    missing: tuple[Network, ...]
    """Networks whose stems name no module of the model."""
    mismatched: tuple[Network, ...]
    """Networks whose module is there with another shape."""
    uncut: tuple[Network, ...]
    """Networks that act on a whole matrix, which the model keeps in pieces."""
    left_out: tuple[Network, ...]
    """Networks that are not asked of this model: for a text encoder where it has none, and, remapped, for the layers
    of the larger model that it leaves out."""
    family: Told
    model_family: str
    remapped: bool = False
    """Whether modules of another structure stand in for the adapter's own; the effect is approximate then."""

    @property
    def coverage(self) -> float:
        """The share of the networks asked of the model that found their place, between 0 and 1."""
        asked = sum(map(len, (self.placed, self.missing, self.mismatched, self.uncut)))
        return len(self.placed) / asked if asked else 0.0

    @property
    def timed(self) -> bool:
        """Whether it acts differently at every time step, so that only a side branch can carry it."""
        return any(isinstance(network, LowRank) and network.timed for network in self.placed)


def plan(file: AdapterFile, modules: Mapping[str, nn.Module], *, force: bool = False) -> AdapterPlan:
    """Match an adapter with the modules of a model (see `names.targets`).

    Args:
        file: The opened adapter.
        modules: The model's modules by name.
        force: Lay even what fits in part, or is of another family. What fits nowhere is refused all the same.

    Raises:
        IncompatibleAdapter: of another family, or too little of it fits; one sentence says which.
        UnreadableFile: two parts of the file claim the same parameter.
    """
    found = match(file, modules)
    if reason := refusal(found, force=force):
        raise IncompatibleAdapter(reason)
    return found


def match(file: AdapterFile, modules: Mapping[str, nn.Module]) -> AdapterPlan:
    """Match an adapter with a model as far as it goes, and refuse nothing.

    Raises:
        UnreadableFile: two parts of the file claim the same parameter.
    """
    names = places(modules, file.header)
    direct = _matched(file, modules, names)
    if not (others := stand_ins(modules)):
        return direct
    # Its own adapters name layers that the larger model does not have; names alone would put others on wrong layers.
    larger = places(modules, file.header, others)
    without = places(dict.fromkeys(left_out(modules), nn.Identity()), file.header).keys() - larger.keys()
    if any(network.stem in names and network.stem not in larger.keys() | without for network in file.networks):
        return direct
    return _matched(file, modules, larger, without, remapped=True)


def refusal(found: AdapterPlan, *, force: bool = False) -> str | None:
    """Say in one sentence why an adapter is not to be laid on this model; None where nothing speaks against it."""
    name, total = found.file.name, len(found.file.networks)
    family, model = found.family.family, found.model_family
    if support(family, model) == "none" and not force:
        return (
            f"{name} is made for {TITLES[family]} and this model is {TITLES[model]}, which does not wear its adapters"
        )
    if not found.placed:
        why = "the names are there with other shapes" if found.mismatched else "none of the names is known"
        if found.left_out and not found.mismatched:
            why = "the model leaves out what it is for"
        if found.uncut:
            why = f"the model keeps in pieces what a {found.uncut[0].kind} acts on as a whole"
        return f"{name} fits no module of this model: {why}"
    if force:
        return None
    if all(network.idle for network in found.placed):
        return f"{name} has alpha 0 everywhere, so it would change nothing"
    needed = REMAPPED if found.remapped else SAME
    if found.coverage < needed:
        return (
            f"{name} fits {len(found.placed)} of its {total} networks on this model ({found.coverage:.0%}, at least "
            f"{needed:.0%} is asked): {len(found.missing)} are missing and "
            f"{len(found.mismatched) + len(found.uncut)} of another shape"
        )
    return None


class Plans:
    """The plans of one model's adapters; a file that has not changed is read and matched once.

    Each keeps its file mapped, so the least recently used go when there are many.
    """

    def __init__(self, modules: Mapping[str, nn.Module]) -> None:
        self._modules = modules
        self._found: dict[tuple[str, int, int, int], AdapterPlan] = {}

    def of(self, path: str | Path, *, force: bool = False) -> AdapterPlan:
        """Return the plan of an adapter file; see `plan`.

        Raises:
            InputError: the file is not there.
            UnreadableFile: it is damaged, or no adapter.
            IncompatibleAdapter: it does not fit.
        """
        try:
            path = Path(path).expanduser()
            stat = path.stat()
        except (OSError, ValueError, RuntimeError) as error:  # no such file; no such name; no such home
            raise InputError(f"{plain(str(path))} cannot be read: {getattr(error, 'strerror', error)}") from None
        key = (str(path.resolve()), stat.st_size, stat.st_mtime_ns, PeftConfig.stamp(path))
        found = self._found.pop(key, None) or match(AdapterFile(path), self._modules)
        self._found[key] = found  # the last asked for is the last to go
        if len(self._found) > _KEPT:
            del self._found[next(iter(self._found))]
        if reason := refusal(found, force=force):
            raise IncompatibleAdapter(reason)
        return found


def of_text(network: Network) -> bool:
    """Whether a network is for a text encoder."""
    return block_of(spell(network.stem)).startswith(("text", "t5"))


def _matched(
    file: AdapterFile,
    modules: Mapping[str, nn.Module],
    names: Mapping[str, Place],
    without: Collection[str] = (),
    *,
    remapped: bool = False,
) -> AdapterPlan:
    parts: dict[str, Part] = {}
    placed: list[Network] = []
    missing: list[Network] = []
    mismatched: list[Network] = []
    uncut: list[Network] = []
    unasked: list[Network] = []
    reads = any(name.startswith("text_encoder") for name in modules)
    for network in file.networks:
        place = names.get(network.stem)
        if place is None:
            (unasked if network.stem in without or (not reads and of_text(network)) else missing).append(network)
            continue
        found = _parts(network, place, modules)
        if not found:
            (mismatched if found is None else uncut).append(network)
            continue
        for name, part in found.items():
            if name in parts:
                raise UnreadableFile(f"{file.title} names {name} twice")
            parts[name] = part
        placed.append(network)
    return AdapterPlan(
        file,
        parts,
        tuple(placed),
        tuple(missing),
        tuple(mismatched),
        tuple(uncut),
        tuple(unasked),
        adapter_family(file, names),
        model_family_of(modules),
        remapped,
    )


def _parts(network: Network, place: Place, modules: Mapping[str, nn.Module]) -> dict[str, Part] | None:
    """Return what a network does to which parameters: none where it cannot be cut, None where a shape forbids it."""
    shapes: list[Shape] = []
    for name in place.modules:
        parameter = getattr(modules[name], network.target, None)
        if not isinstance(parameter, Tensor):
            return None
        shapes.append(_shape(modules[name], parameter))
    whole = (sum(shape[0] for shape in shapes), *shapes[0][1:])
    if any(shape[1:] != whole[1:] for shape in shapes) or not network.fits(whole):
        return None
    if len(shapes) == 1 and not place.swapped:
        return {f"{place.modules[0]}.{network.target}": Part(network)}
    if not isinstance(network, Additive) or network.needs_base:
        return {}
    parts: dict[str, Part] = {}
    first = 0
    for name, shape in zip(place.modules, shapes, strict=True):
        rows: tuple[slice, ...] = (slice(first, first + shape[0]),)
        if place.swapped:
            half = shape[0] // 2
            rows = (slice(first + half, first + shape[0]), slice(first, first + half))
        parts[f"{name}.{network.target}"] = Part(network, rows)
        first += shape[0]
    return parts


def _shape(module: nn.Module, parameter: Tensor) -> Shape:
    """The shape of a parameter; that of a quantised matrix, which is packed, is told by its module."""
    if parameter.ndim > 1 and isinstance(module, nn.Linear):
        return (module.out_features, module.in_features)
    return tuple(parameter.shape)
