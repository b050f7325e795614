"""A weight from what people used and advised."""

from __future__ import annotations

from velatura.composer.weights import DEFAULT, advise
from velatura.records import AdapterRecord, WeightEvidence


def adapter(*evidence: tuple[float, str]) -> AdapterRecord:
    weights = tuple(WeightEvidence(weight=weight, source=source) for weight, source in evidence)
    return AdapterRecord(source="folder", key="a", title="A", weights=weights)


def test_owner_s_own_weight_beats_what_others_used() -> None:
    advice = advise(adapter((1.0, "prompt"), (1.0, "resources"), (0.4, "preferred")))
    assert (advice.weight, advice.reason) == (0.4, "stored for this file")


def test_use_beats_advice() -> None:
    assert advise(adapter((0.6, "prompt"), (1.0, "prose"))).weight == 0.6


def test_median_ignores_one_wild_use() -> None:
    advice = advise(adapter((0.7, "prompt"), (0.7, "prompt"), (0.8, "resources"), (12.0, "prompt"), (0.7, "prompt")))
    assert advice.weight == 0.7
    assert "5 uses" in advice.reason


def test_author_s_advice_is_better_than_nothing() -> None:
    assert advise(adapter((0.65, "prose"))).reason == "advised by its author"


def test_nothing_known_is_the_default() -> None:
    assert advise(adapter()).weight == DEFAULT
