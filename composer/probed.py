"""What probes say of candidates: which of them do nothing at all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from ..records import Candidate, Probe, Refusal

NO_EFFECT: Final = "no effect: its probe found pictures with and without it the same"
_TOLD: Final = 0.03
"""Below this score a candidate is not worth a refusal's line."""


def effective(
    candidates: Sequence[Candidate], probes: Mapping[int, Probe]
) -> tuple[list[Candidate], tuple[Refusal, ...]]:
    """Return the candidates that do something, as far as is known, and a refusal for each likely one that does not.

    Args:
        candidates: What the retriever found.
        probes: What adapters really do on the model's base, by catalogue number, where that was probed.
    """
    kept: list[Candidate] = []
    refused: list[Refusal] = []
    for candidate in candidates:
        probe = probes.get(candidate.adapter.id)
        if probe is None or "no effect" not in probe.flags:
            kept.append(candidate)
        elif candidate.score >= _TOLD:
            refused.append(Refusal(adapter=candidate.adapter.record, reason=NO_EFFECT))
    return kept, tuple(refused)
