"""From scored pictures to the figures that are claimed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np

from ..cards import Truth
from .conditions import Compositions, Shelf
from .frechet import Reference, gain_share, quotient
from .intervals import Figure, Values, mean_over_prompts, ratio_over_prompts, share
from .prompts import KINDS, Ask
from .scores import PARTS, Scored

Bounds = Mapping[str, float]
"""A `value`, and the `low` and `high` of its 95 % interval where it has one."""

GROUPS: Final[dict[str, tuple[str, ...]]] = {
    **{kind: (kind,) for kind in KINDS},
    "needing": tuple(kind for kind in KINDS if kind != "none"),
    "all": KINDS,
}
"""The kinds of prompts that are taken together."""


def condition_figures(scored: Mapping[str, Scored], reference: Scored) -> dict[str, Any]:
    """Return, for each condition and group of prompts, CLIP score, accuracies and Fréchet distance.

    A condition has no row for a group of which it lacks prompts: wrong adapters for what needs none.
    """
    references = {}
    for group, kinds in GROUPS.items():
        features = reference.of(kinds).features
        if features.size:
            references[group] = Reference(features.reshape(-1, features.shape[-1]))
    table: dict[str, Any] = {}
    for condition, all_scores in scored.items():
        table[condition] = {}
        for group, kinds in GROUPS.items():
            own = all_scores.of(kinds)
            if own.asks and len(own.asks) == len(reference.of(kinds).asks):
                table[condition][group] = _row(own, references[group])
    return table


def _row(own: Scored, reference: Reference) -> dict[str, Any]:
    distance = own.distance(reference)
    row: dict[str, Any] = {
        "prompts": len(own.asks),
        "pictures": int(own.clip.size),
        "clip": mean_over_prompts(own.clip.mean(1)).plain(2),
        "right": mean_over_prompts(own.right.mean(1)).plain(),
        "fid": distance.figure.plain(3) if distance else None,
    }
    return row | {part: mean_over_prompts(own.hits[part].mean(1)).plain() for part in PARTS}


def gain_figures(scored: Mapping[str, Scored], reference: Scored) -> dict[str, Any]:
    """Return the share of the right adapters' gain over the base that the picks reach, in CLIP score and distance.

    All prompts count, those that need nothing among them: there the right adapters gain nothing, and picks can lose.
    """
    base, best, ours = (scored[name] for name in ("base", "oracle", "picks"))
    clip = ratio_over_prompts(ours.clip.mean(1) - base.clip.mean(1), best.clip.mean(1) - base.clip.mean(1))
    world = Reference(reference.features.reshape(-1, reference.features.shape[-1]))
    distances = [one.distance(world) for one in (base, ours, best)]
    fid = None
    if all(distance is not None for distance in distances):
        fid = gain_share(*(distance for distance in distances if distance is not None))
    needing = GROUPS["needing"]
    features = reference.of(needing).features
    world = Reference(features.reshape(-1, features.shape[-1]))
    fall = [scored[name].of(needing).distance(world) for name in ("oracle", "base")]
    third = quotient(fall[0], fall[1]) if fall[0] is not None and fall[1] is not None else None
    return {
        "gain_of_oracle": round(clip.value, 4) if clip else None,
        "gain_of_oracle_interval": _interval(clip),
        "gain_of_oracle_fid": round(fid.value, 4) if fid else None,
        "gain_of_oracle_fid_interval": _interval(fid),
        "fid_of_oracle_over_base": third.plain() if third else None,
        "clip_wrong_less_base": _difference(scored["wrong"], base),
    }


def _difference(one: Scored, other: Scored) -> dict[str, float] | None:
    """Return the mean difference in CLIP score over the prompts that both have."""
    numbers = [ask.number for ask in one.asks]
    kept = [place for place, ask in enumerate(other.asks) if ask.number in set(numbers)]
    if not kept:
        return None
    return mean_over_prompts(one.clip.mean(1) - other.clip.mean(1)[kept]).plain(2)


def _interval(figure: Figure | None) -> list[float] | None:
    return [round(figure.low, 4), round(figure.high, 4)] if figure else None


def pick_figures(asks: Sequence[Ask], picks: Compositions, shelf: Shelf) -> dict[str, Any]:
    """Return what was picked, against what was needed: by file, whatever the pictures look like."""
    chosen = {ask.number: [shelf.what(choice) for choice in picks[ask.number].choices] for ask in asks}
    needed = [(ask, part) for ask in asks for part in ask.needs]
    found = sum(any(truth.serves == part and not truth.harmful for truth in chosen[ask.number]) for ask, part in needed)
    fitting = sum(truth.serves in ask.needs and not truth.harmful for ask in asks for truth in chosen[ask.number])
    count = sum(len(truths) for truths in chosen.values())
    exact = sum(_is_exact(ask, chosen[ask.number]) for ask in asks)
    idle = [ask for ask in asks if not ask.needs]
    troubled = Counter(truth.trouble for truths in chosen.values() for truth in truths if truth.trouble)
    return {
        "recall": _plain(share(found, len(needed))),
        "precision": _plain(share(fitting, count)),
        "exact": _plain(share(exact, len(asks))),
        "no_need_without_adapter": _plain(share(sum(not chosen[ask.number] for ask in idle), len(idle))),
        "troubled_files_picked": dict(sorted(troubled.items())),
        "mistakes": [
            {
                "prompt": ask.prompt,
                "needs": [name for _, name in ask.needs],
                "picked": [truth.file for truth in chosen[ask.number]],
                "harmful": {truth.file: truth.trouble for truth in chosen[ask.number] if truth.harmful},
            }
            for ask in asks
            if not _is_exact(ask, chosen[ask.number])
        ],
    }


def _is_exact(ask: Ask, truths: Sequence[Truth]) -> bool:
    served = sorted(str(truth.serves) for truth in truths)
    return served == sorted(map(str, ask.needs)) and not any(truth.harmful for truth in truths)


def harm_figures(scored: Mapping[str, Scored], picks: Mapping[str, Compositions], rejected: int) -> dict[str, Any]:
    """Return what the library's troubles cost: its picks against those from the same library less the troubled files.

    Args:
        scored: The pictures.
        picks: Of `picks` and `picks_clean`.
        rejected: How many files of the library were refused when it was catalogued.
    """
    whole, clean = scored["picks"], scored["picks_clean"]
    gain: Values = whole.clip.mean(1) - clean.clip.mean(1)
    changed = sum(_laid(picks["picks"][ask.number]) != _laid(picks["picks_clean"][ask.number]) for ask in whole.asks)
    return {
        "clip": mean_over_prompts(gain).plain(2),
        "right": mean_over_prompts(whole.right.mean(1) - clean.right.mean(1)).plain(),
        "prompts_changed": changed,
        "prompts": len(whole.asks),
        "files_rejected": rejected,
    }


def _laid(composition: Any) -> list[tuple[str | None, float]]:
    return [(choice.adapter.file_name, choice.weight) for choice in composition.choices]


def _plain(figure: Figure | None) -> dict[str, float] | None:
    return figure.plain() if figure else None


def claims(figures: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return what is claimed of the playground: its figure, its bound, whether it holds, and whether that is sure.

    A claim `holds` when its figure does, and is `sure` when the whole 95 % interval does; a figure without an interval
    is not judged sure or unsure.
    """
    rows = figures["conditions"]

    def figure(condition: str, group: str, name: str) -> Bounds | None:
        row: Mapping[str, Any] | None = rows.get(condition, {}).get(group)
        return row[name] if row else None

    speed = figures["speed"]
    listed: list[tuple[str, Bounds | None, str, float]] = [
        ("the autoencoder gives pictures back at this many dB", figures["autoencoder"]["psnr"], ">=", 29),
        ("the evaluator names painted new subjects", figures["evaluator"]["subject"], ">=", 0.97),
        ("the evaluator names painted new styles", figures["evaluator"]["style"], ">=", 0.97),
        ("the right subject adapter: subject right", figure("oracle", "subject", "subject"), ">=", 0.92),
        ("the right style adapter: style right", figure("oracle", "style", "style"), ">=", 0.92),
        ("the right pair: both right", figure("oracle", "pair", "right"), ">=", 0.75),
        ("the base alone on those prompts: right", figure("base", "needing", "right"), "<", 0.05),
        ("wrong adapters less the base, CLIP score", figures["clip_wrong_less_base"], "<", 0),
        ("FID of the right adapters over that of the base", figures["fid_of_oracle_over_base"], "<", 1 / 3),
        ("share of the right adapters' gain in CLIP score", _bounds(figures, "gain_of_oracle"), ">=", 0.95),
        ("share of the right adapters' gain in FID", _bounds(figures, "gain_of_oracle_fid"), ">=", 0.95),
        ("prompts without need that get no adapter", figures["picks"]["no_need_without_adapter"], ">=", 0.95),
        ("CLIP score that troubled files cost, upper bound", {"value": -figures["harm"]["clip"]["low"]}, "<=", 0.5),
        ("seconds a picture, 20 steps", {"value": speed["base"]["seconds"]}, "<", 1.5),
        ("seconds a picture, one step", _seconds(speed["one_step"]), "<", 0.15),
    ]
    return [_claim(*row) for row in listed]


def _bounds(figures: Mapping[str, Any], name: str) -> Bounds | None:
    interval = figures[f"{name}_interval"]
    return {"value": figures[name], "low": interval[0], "high": interval[1]} if interval else None


def _seconds(speed: Mapping[str, Any] | None) -> Bounds | None:
    return {"value": speed["seconds"]} if speed else None


def _claim(claim: str, figure: Bounds | None, sign: str, bound: float) -> dict[str, Any]:
    value, low, high = ((figure or {}).get(name) for name in ("value", "low", "high"))
    ends = [_holds(end, sign, bound) for end in (low, high)]
    return {
        "claim": claim,
        "value": value,
        "low": low,
        "high": high,
        "bound": f"{sign} {round(bound, 4):g}",
        "holds": _holds(value, sign, bound),
        "sure": None if None in ends else all(ends),
    }


def _holds(value: float | None, sign: str, bound: float) -> bool | None:
    if value is None or not np.isfinite(value):
        return None
    return {">=": value >= bound, "<": value < bound, "<=": value <= bound}[sign]
