"""Every kind of adapter, and which one the tensors of a stem make up."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping

from .dora import DoRA
from .full import BiasDifference, Difference, LoRABias, NormDifference
from .lora import LoCon, LoRA, TuckerLoCon
from .lycoris import GLoRA, LoHa, LoKr
from .network import Additive, Dense, LowRank, Network, Shape, Stored, Strength, Turning
from .timed import TimedLoRA
from .turning import BOFT, IA3, OFT

__all__ = [
    "BOFT",
    "IA3",
    "OFT",
    "Additive",
    "BiasDifference",
    "Dense",
    "Difference",
    "DoRA",
    "GLoRA",
    "LoCon",
    "LoHa",
    "LoKr",
    "LoRA",
    "LoRABias",
    "LowRank",
    "Network",
    "NormDifference",
    "Shape",
    "Stored",
    "Strength",
    "TimedLoRA",
    "TuckerLoCon",
    "Turning",
    "networks_of",
]

Parts = Mapping[str, Stored]


def networks_of(stem: str, kinds: Mapping[str, Parts], shared: Parts, strength: Strength) -> Iterator[Network]:
    """Make the networks of one stem from its tensors.

    Args:
        stem: The stem.
        kinds: Its tensors by kind and part (see `keys.Role`).
        shared: Its parts that any kind may have.
        strength: What the file says of its strength.

    Raises:
        ValueError: a tensor is lacking, has a shape that its kind cannot have, or two kinds claim the weight; the
            message completes a sentence that begins with the stem.
    """
    if any(0 in part.shape for parts in (*kinds.values(), shared) for part in parts.values()):
        raise ValueError("has an empty factor")
    found = (make(stem, kinds[kind], strength) for kind, make in _KINDS.items() if kind in kinds)
    made = [network for network in found if network is not None]
    if len(made) > 1:
        raise ValueError(f"holds two kinds of network at once, {made[0].kind} and {made[1].kind}")
    magnitude = {name: part for name, part in shared.items() if name in ("dora_scale", "magnitude")}
    if len(magnitude) > 1:
        raise ValueError("holds two magnitudes")
    if magnitude:
        inner = made[0] if made else None
        if not isinstance(inner, Additive):
            raise ValueError("has a magnitude without a direction")
        if isinstance(inner, TimedLoRA):
            raise ValueError("has a magnitude for a direction that depends on the time step")
        made = [DoRA(stem, {**inner.parts, **magnitude}, strength, inner=inner)]
    yield from made
    yield from _beside(stem, kinds, strength)


def _lora(stem: str, parts: Parts, strength: Strength) -> Network:
    _need(parts, "down", "up")
    down, up = parts["down"].shape, parts["up"].shape
    if len(down) < 2 or len(up) < 2:
        raise ValueError(f"has factors of shapes {down} and {up}, which is no LoRA")
    own = {name: part for name, part in parts.items() if name != "bias"}
    if "mid" in own:
        _matrices(own, "mid")
        return TuckerLoCon(stem, own, strength)
    return (LoCon if math.prod(down[2:]) > 1 else LoRA)(stem, own, strength)


def _timed(stem: str, parts: Parts, strength: Strength) -> Network:
    _need(parts, "q", "p", "lambda")
    if any(name.startswith("base") for name in parts):
        _need(parts, "base_q", "base_p", "base_lambda")
    _matrices(parts, "q", "p")
    return TimedLoRA(stem, parts, strength)


def _loha(stem: str, parts: Parts, strength: Strength) -> Network:
    _need(parts, "w1_a", "w1_b", "w2_a", "w2_b", *(("t1", "t2") if {"t1", "t2"} & parts.keys() else ()))
    _matrices(parts, "w1_a", "w1_b", "w2_a", "w2_b")
    return LoHa(stem, parts, strength)


def _lokr(stem: str, parts: Parts, strength: Strength) -> Network:
    for factor, others in (("w1", ("w1_a", "w1_b")), ("w2", ("w2_a", "w2_b", "t2"))):
        names = (factor,) if factor in parts else others[:2]
        if factor in parts and parts.keys() & set(others):
            raise ValueError(f"holds its factor {factor} both whole and as a product")
        _need(parts, *names)
        _matrices(parts, *names)
    return LoKr(stem, parts, strength)


def _glora(stem: str, parts: Parts, strength: Strength) -> Network:
    _need(parts, "a1", "a2", "b1", "b2")
    _matrices(parts, "a1", "a2", "b1", "b2")
    return GLoRA(stem, parts, strength)


def _oft(stem: str, parts: Parts, strength: Strength) -> Network:
    _need(parts, "blocks")
    return (BOFT if len(parts["blocks"].shape) == 4 else OFT)(stem, parts, strength)


def _ia3(stem: str, parts: Parts, strength: Strength) -> Network:
    _need(parts, "weight", "on_input")
    if math.prod(parts["on_input"].shape) != 1:
        raise ValueError("does not say with one value whether it scales inputs")
    return IA3(stem, parts, strength)


def _full(stem: str, parts: Parts, strength: Strength) -> Network | None:
    if "diff" not in parts:
        return None
    # Extraction tools write norms, too, as full differences.
    make = NormDifference if len(parts["diff"].shape) == 1 else Difference
    return make(stem, {"diff": parts["diff"]}, strength)


def _norm(stem: str, parts: Parts, strength: Strength) -> Network | None:
    return NormDifference(stem, {"diff": parts["w"]}, strength) if "w" in parts else None


_KINDS: Mapping[str, Callable[[str, Parts, Strength], Network | None]] = {
    "lora": _lora,
    "tlora": _timed,
    "loha": _loha,
    "lokr": _lokr,
    "glora": _glora,
    "oft": _oft,
    "ia3": _ia3,
    "full": _full,
    "norm": _norm,
}


def _beside(stem: str, kinds: Mapping[str, Parts], strength: Strength) -> Iterator[Network]:
    """Make what a stem adds to the bias of its module."""
    found: list[Network] = []
    if "diff_b" in (full := kinds.get("full", {})):
        found.append(BiasDifference(stem, {"diff": full["diff_b"]}, strength, "bias"))
    if "b" in (norm := kinds.get("norm", {})):
        found.append(NormDifference(stem, {"diff": norm["b"]}, strength, "bias"))
    if "bias" in (lora := kinds.get("lora", {})):
        found.append(LoRABias(stem, {"diff": lora["bias"], "up": lora["up"]}, strength, "bias"))
    if len(found) > 1:
        raise ValueError("holds two differences of its bias")
    yield from found


def _need(parts: Parts, *names: str) -> None:
    if lacking := [name for name in names if name not in parts]:
        raise ValueError(f"lacks its {' and '.join(lacking)} factor")


def _matrices(parts: Parts, *names: str) -> None:
    for name in names:
        if len(parts[name].shape) < 2:
            raise ValueError(f"has a factor {name} of shape {parts[name].shape}, which is no matrix")
