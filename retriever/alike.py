"""Which of the best candidates are one adapter that lies on several pages or paths, so that each is offered once."""

from __future__ import annotations

import re
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import combinations
from typing import TYPE_CHECKING, Final

import numpy as np

from ..words import words

if TYPE_CHECKING:
    from ..db import Store
    from ..db.identity import Identity
    from ..db.known import Known

OVERLAP: Final = 0.95
"""The least cosine of two sketches of weights, by whose estimate the adapters do the same to a model."""
_SAME_TEXT: Final = 0.97
"""The least cosine of two cards of one title."""

Pair = tuple[int, int]

_VERSION = re.compile(r"\b(?:v|ver|version)[ ._-]?\d+(?:[._]\d+)*\b|\b(?:lora|locon|loha|lokr|dora|lycoris)\b")
_BASES: Final[dict[str, re.Pattern[str]]] = {
    family: re.compile(rf"\b(?:{names})\b")
    for family, names in {
        "sd1": r"sd[ _-]?v?1(?:[._]?[45x])?",
        "sd2": r"sd[ _-]?v?2(?:[._]?[01x])?",
        "sdxl": r"(?:sd[ _-]?)?xl",
        "pony": r"pony(?:[ _-]?xl)?|pdxl|xl",
        "illustrious": r"illustrious(?:[ _-]?xl)?|ilxl|il|xl",
        "noobai": r"noob(?:ai)?(?:[ _-]?xl)?|xl",
        "flux1": r"flux(?:[ ._-]?1)?(?:[ ._-]?d(?:ev)?)?",
    }.items()
}


def collapse(
    store: Store | Known, ranked: Sequence[int], *, encoder: tuple[str, str] | None = None, across_families: bool = True
) -> dict[int, list[int]]:
    """Return the adapters that stand for themselves and others, in their order, each with those that it stands for.

    Two adapters are one when they are the same file or hold the same tensors, when their weights' sketches say that
    they do the same, when one creator gave them one title, or when they have one title and nearly the same card.
    Titles are compared as words, without a version, a kind of network, or the adapter's own base.

    The best of a group represents it, and everything is compared with the representative alone, so that a chain of
    small differences joins nothing unlike.

    Somebody who names no base has not said which of the editions for SD 1.5 and SDXL fits: ten places are better
    spent on ten adapters, and the other editions are named as alternatives. To somebody who names a base, an edition
    for another one is no copy: the model wears it in part only, and differently, so both are shown.

    Args:
        store: The catalogue.
        ranked: Catalogue numbers, the best first; adapters of one page are to be one already.
        encoder: The model and revision whose vectors of cards are compared; None compares no texts.
        across_families: Whether editions for other bases count as one; False when the filter names a family.
    """
    told = store.identities(ranked)
    ordered = [told[number] for number in ranked if number in told]
    near: dict[int, set[int]] = {}
    pairs = (*same_files(ordered), *same_weights(store, ranked), *_same_names(store, ordered, encoder, across_families))
    for one, other in pairs:
        near.setdefault(one, set()).add(other)
        near.setdefault(other, set()).add(one)
    groups: dict[int, list[int]] = {}
    for number in ranked:
        alike = near.get(number)
        host = next((shown for shown in groups if shown in alike), None) if alike else None
        if host is None:
            groups[number] = []
        else:
            groups[host].append(number)
    return groups


def same_files(adapters: Sequence[Identity]) -> Iterator[Pair]:
    """Yield the pairs that are one file, or hold the same tensors."""
    for name in ("sha256", "autov2", "autov3", "fingerprint"):
        digests = ((digest, adapter) for adapter in adapters if (digest := getattr(adapter, name)) is not None)
        for one, other in _pairs(digests):
            if one.is_same_file(other):
                yield one.number, other.number


def same_weights(store: Store | Known, numbers: Sequence[int]) -> Iterator[Pair]:
    """Yield the pairs whose weights were measured and do the same."""
    by_method: dict[Hashable, dict[int, np.ndarray]] = {}
    for number, (method, sketch) in store.sketches_of(numbers).items():
        by_method.setdefault((method, len(sketch)), {})[number] = sketch
    for sketches in by_method.values():
        owners = list(sketches)
        rows = np.stack(list(sketches.values())).astype(np.float64)
        rows /= np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-300)
        for one, other in np.argwhere(np.triu(rows @ rows.T >= OVERLAP, 1)).tolist():
            yield owners[one], owners[other]


def _same_names(
    store: Store | Known, adapters: Sequence[Identity], encoder: tuple[str, str] | None, across_families: bool
) -> Iterator[Pair]:
    """Yield the pairs of one title that one creator made, or whose cards say the same."""
    titled = ((title, adapter) for adapter in adapters if (title := core_title(adapter.title, adapter.family)))
    pairs = [pair for pair in _pairs(titled) if across_families or pair[0].family == pair[1].family]
    if not pairs:
        return
    numbers = sorted({adapter.number for pair in pairs for adapter in pair})
    creators = {adapter.id: words(adapter.record.creator or "") for adapter in store.adapters(numbers)}
    vectors = store.vectors_of(*encoder, numbers) if encoder is not None else {}
    cards = {number: fields["card"][0] for number, fields in vectors.items() if "card" in fields}
    for one, other in ((one.number, other.number) for one, other in pairs):
        made = creators.get(one)
        if (made and made == creators.get(other)) or _cosine(cards, one, other) > _SAME_TEXT:
            yield one, other


@lru_cache(maxsize=8192)
def core_title(title: str, family: str) -> str:
    """Return the words of a title, less version, kind of network and own base where anything else is left.

    >>> core_title("Red_Fox XL (v2.0)", "sdxl"), core_title("Red Fox - SD1.5 LoRA", "sd1"), core_title("XL", "sdxl")
    ('red fox', 'red fox', 'xl')
    >>> core_title("Pony rider", "sd1"), core_title("Pony rider", "pony")
    ('pony rider', 'rider')
    """
    text = _VERSION.sub(" ", title.casefold().replace("_", " "))
    if family in _BASES:
        text = _BASES[family].sub(" ", text)
    return " ".join(words(text) or words(title))


def _pairs(named: Iterable[tuple[str, Identity]]) -> Iterator[tuple[Identity, Identity]]:
    """Yield the pairs of adapters under one name."""
    together: dict[str, list[Identity]] = {}
    for name, adapter in named:
        together.setdefault(name, []).append(adapter)
    for members in together.values():
        yield from combinations(members, 2)


def _cosine(vectors: Mapping[int, np.ndarray], one: int, other: int) -> float:
    """Return the dot product of two vectors of length 1; 0 where one is not known."""
    return float(vectors[one] @ vectors[other]) if one in vectors and other in vectors else 0.0
