"""All that is known of an adapter, as our own API tells it: within the gates, to clients who may see no paths."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from ..answers import links

if TYPE_CHECKING:
    from ...records import BaseNorms, BlockNorm, Example, Probe, WeightMeasure
    from ..answers import Answers
    from ..studio import Studio

_MOST_ALTERNATIVES = 100


def known_of(studio: Studio, answers: Answers, number: int) -> dict[str, Any] | None:
    """Return all that is known of an adapter; None where there is none of this number within the gates."""
    velatura, wanted = studio.velatura, studio.filter()
    allowed = answers.known.get(("allowed", wanted), lambda: frozenset(velatura.store.select(wanted).tolist()))
    if number not in allowed:
        return None
    adapter = velatura.store.adapter(number)
    pages = answers.known.get("pages", velatura.store.pages)
    others = [other for other, page in pages.items() if page == pages.get(number) and other in allowed]
    measure, base = velatura.strength(number)
    known = answers.shareable(asdict(adapter.record))
    known["examples"] = [asdict(each) for each in adapter.record.examples if _may_be_shown(each, studio.settings.nsfw)]
    if not answers.is_local:
        del known["previews"], known["provenance"]
        for example in known["examples"]:
            example["image"] = example["image"] if "://" in (example["image"] or "") else None
    return {
        "id": number,
        **known,
        "refined": asdict(adapter.refinement),
        "strength": None if measure is None else _strength(measure, base),
        "probes": {probe.family: _probe(probe) for probe in velatura.store.probes([number]).get(number, ())},
        "alternatives": [other for other in others if other != number][:_MOST_ALTERNATIVES],
        **links(number, adapter.record),
    }


def _may_be_shown(example: Example, nsfw: int | None) -> bool:
    """Say whether a rating is allowed: what is not rated is not, unless everything is."""
    return nsfw is None or (example.nsfw is not None and not example.nsfw & ~nsfw)


def _probe(probe: Probe) -> dict[str, Any]:
    plain = asdict(probe)
    del plain["direction"]
    return plain


def _strength(measure: WeightMeasure, base: BaseNorms | None) -> dict[str, Any]:
    """Return what was measured, each block also relative to the checkpoint's weights there."""
    relative = measure.relative_to(base) if base else {}

    def plain(block: BlockNorm) -> dict[str, Any]:
        return {"norm": block.norm, "values": block.values, "rms": block.rms, "relative": relative.get(block.block)}

    return {
        **plain(measure.whole),
        "blocks": {block.block: plain(block) for block in measure.blocks},
        "unmeasured": dict(measure.unmeasured),
        "failure": measure.failure,
    }
