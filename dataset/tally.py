"""Counts of what a dataset holds, for its card."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Final

from ..families import TITLES
from ..records import BLOCKED, PG, PG13, USES, XXX, AdapterRecord, R, Refinement, X

RATINGS: Final = {PG: "PG", PG13: "PG13", R: "R", X: "X", XXX: "XXX", BLOCKED: "blocked"}
UNRATED: Final = "not rated"
UNTOLD: Final = "not known"
_MOST: Final = 1000


@dataclass(slots=True)
class Tally:
    """How many adapters there are of each sort."""

    adapters: int = 0
    described: int = 0
    families: Counter[str] = field(default_factory=Counter)
    kinds: Counter[str] = field(default_factory=Counter)
    sources: Counter[str] = field(default_factory=Counter)
    ratings: Counter[str] = field(default_factory=Counter)
    """By the most explicit thing that an adapter is rated for."""
    uses: Counter[str] = field(default_factory=Counter)
    """By each commercial use that a licence allows, `none`, and `not known`; they overlap."""
    licences: Counter[str] = field(default_factory=Counter)
    """By the name of the licence, where the source has one."""
    writers: Counter[str] = field(default_factory=Counter)
    """By who described them; `nobody` too."""

    def add(self, record: AdapterRecord, said: Refinement) -> None:
        """Count one adapter."""
        self.adapters += 1
        self.described += said.writer is not None
        self.families[TITLES.get(record.family, record.family)] += 1
        _count(self.kinds, record.kind)
        _count(self.sources, record.source)
        self.ratings[_rating(record.nsfw)] += 1
        _count(self.licences, record.licence.name or UNTOLD)
        _count(self.writers, said.writer or "nobody")
        allowed = record.licence.commercial
        if allowed is None:
            self.uses[UNTOLD] += 1
        else:
            self.uses.update([use for use in USES if use in {one.lower() for one in allowed}] or ["none"])


def _count(counter: Counter[str], name: str) -> None:
    # What strangers name may be as many things as there are adapters.
    counter[name if name in counter or len(counter) < _MOST else "others"] += 1


def _rating(bits: int | None) -> str:
    known = [name for bit, name in RATINGS.items() if bits and bits & bit]
    return known[-1] if known else UNRATED
