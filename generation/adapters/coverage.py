"""How much of an adapter works on a model, and how one knows: what `velatura check` prints."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from torch import Tensor, nn

from ...families import TITLES
from .embeddings import learned_tokens
from .kinds import LowRank, Network
from .plan import AdapterPlan, of_text, refusal
from .spelling import block_of, spell

_STRONGEST = 100
"""The highest alpha over rank that trainers write; most write 1 or less."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """How many networks of a block found their place."""

    fitted: int
    of: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Coverage:
    """One adapter on one model."""

    name: str
    lays: bool
    """Whether it would be laid without force."""
    refusal: str | None
    """Why not, in one sentence."""
    family: str
    evidence: str
    """What tells the family."""
    model_family: str
    networks: int
    mapped: int
    missing: tuple[str, ...]
    """Stems that name no module of the model."""
    mismatched: tuple[str, ...]
    """Stems whose module has another shape, or is kept in pieces."""
    left_out: tuple[str, ...]
    """Stems of what is not asked of this model; see `AdapterPlan.left_out`."""
    coverage: float
    """The share that the thresholds judge, between 0 and 1."""
    parameters: float
    """The share of the values that the adapter is meant for, between 0 and 1."""
    blocks: Mapping[str, Share]
    kinds: Mapping[str, int]
    """Networks of each kind."""
    dropped: tuple[str, ...]
    """Keys of the file that are no part of any network."""
    remapped: bool
    """Whether another structure's modules stand in, so that the effect is approximate."""
    text_encoder: str
    """`used`, `not used` (the model has no such part, or it does not fit), or `none` in the file."""
    tokens: tuple[str, ...]
    """Names of the learned tokens that the file brings, in it or beside it."""
    warnings: tuple[str, ...]

    def to_plain(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return asdict(self)


def coverage(plan: AdapterPlan, modules: Mapping[str, nn.Module]) -> Coverage:
    """Describe how an adapter lies on a model.

    Args:
        plan: The plan, as `plan.match` makes it.
        modules: The model's modules, for which it was made.
    """
    reason, learned = refusal(plan), learned_tokens(plan.file)
    return Coverage(
        name=plan.file.path.name,
        lays=reason is None,
        refusal=reason,
        family=plan.family.family,
        evidence=plan.family.evidence,
        model_family=plan.model_family,
        networks=len(plan.file.networks),
        mapped=len(plan.placed),
        missing=_stems(plan.missing),
        mismatched=_stems(plan.mismatched + plan.uncut),
        left_out=_stems(plan.left_out),
        coverage=plan.coverage,
        parameters=_parameters(plan, modules),
        blocks=_blocks(plan),
        kinds=plan.file.kinds,
        dropped=plan.file.ignored,
        remapped=plan.remapped,
        text_encoder=_text_encoder(plan),
        tokens=tuple(token.name for token in learned.tokens),
        warnings=(*_warnings(plan), *learned.left_out),
    )


def _blocks(plan: AdapterPlan) -> dict[str, Share]:
    fitted: dict[str, int] = {}
    wanted: dict[str, int] = {}
    places = {part.network: name for name, part in plan.parts.items()}
    for network in plan.file.networks:
        block = block_of(spell(places.get(network, network.stem)))
        wanted[block] = wanted.get(block, 0) + 1
        fitted[block] = fitted.get(block, 0) + (network in places)
    return {block: Share(fitted=fitted[block], of=wanted[block]) for block in sorted(wanted)}


def _parameters(plan: AdapterPlan, modules: Mapping[str, nn.Module]) -> float:
    laid = 0
    for name in plan.parts:
        module, _, parameter = name.rpartition(".")
        values: Tensor = getattr(modules[module], parameter)
        laid += values.numel()
    lost = plan.missing + plan.mismatched + plan.uncut
    told = sum(network.extent for network in lost if network.tells_extent)
    # Of the others we only know how much their like reach.
    untold = sum(not network.tells_extent for network in lost) * laid / max(1, len(plan.placed))
    return laid / (laid + told + untold) if laid + told + untold else 0.0


def _text_encoder(plan: AdapterPlan) -> str:
    reading = [network for network in plan.file.networks if of_text(network)]
    used = any(name.startswith("text_encoder") for name in plan.parts)
    return "used" if used else "not used" if reading else "none"


def _warnings(plan: AdapterPlan) -> Iterable[str]:
    if plan.remapped:
        title = TITLES.get(plan.family.family, plan.family.family)
        yield f"made for the structure of {title} and remapped to a smaller one: its effect is approximate"
    if any(isinstance(n, LowRank) and n.timed and n.needs_base for n in plan.placed):
        yield "does not say where its training began; the first singular vectors of the weights are taken for it"
    if plan.timed:
        yield "acts differently at every time step, so it is carried beside the weights"
    if idle := sum(network.idle for network in plan.placed):
        yield f"{idle} of its networks have alpha 0 and do nothing"
    if odd := sum(not 0 <= n.strength.over(n.rank) <= _STRONGEST for n in plan.placed if n.rank):
        yield f"{odd} of its networks have a strength of their own below 0 or above {_STRONGEST} (alpha over rank)"
    if wide := [n.rank for n in plan.placed if n.rank and n.width and n.rank > n.width]:
        yield f"{len(wide)} of its networks have a rank above the width of their module, the highest {max(wide)}"


def _stems(networks: Iterable[Network]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(network.stem for network in networks))
