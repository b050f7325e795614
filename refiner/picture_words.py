"""The picture describer: what an adapter's pictures have in common, in words, beside what its card says.

No language model is asked: a CLIP model compares the pictures with lists of words, and a word is told only where it
stands out in every picture. What differs between them is what the adapter leaves to the prompt. All of it is the
model's guess, and is told apart from the card's own words.
"""

from __future__ import annotations

import io
import threading
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from ..categories import category_of
from ..protocols import Described
from ..records import FACETS, AdapterRecord, RefinedAdapter, Refinement
from ..words import words
from .card import CardDescriber
from .passages import digest
from .word_lists import LISTS
from .word_vectors import word_vectors

if TYPE_CHECKING:
    from ..protocols import ImageEmbedder, Vectors
    from .interrogate import Lists
    from .shown import ShownPictures

VERSION: Final = "1"
"""Changes when the same pictures and words would give another description."""

_SUBJECTS, _SETTINGS = "subjects", "settings"
_FACET: Final = {
    "subjects": "subject", "mediums": "medium", "movements": "style", "styles": "style", "settings": "setting",
    "moods": "mood", "eras": "era",
}  # fmt: skip
"""The side of a picture that the words of a list are about; those of other lists stand in the description alone."""
_DECIDES: Final = {
    "style": {"style", "medium", "mood", "era"},
    "background": {"setting", "mood", "era"},
    "tool": set[str](),
}
"""By category, the facets that are taken from pictures; of other categories these, since the look of their pictures
is mostly the base model's:"""
_SHOWN: Final = {"subject", "setting"}
_UNTOLD: Final = frozenset({"artists"})
"""Lists that are not used: to whom a stranger's adapter owes its look is not for a guess."""
_KINDS: Final = frozenset({"animal", "building", "vehicle", "clothing", "object", "background"})
"""Categories that a subject's word alone tells; any other thing is a concept, for who it is cannot be seen."""

_MANY: Final = 3
"""Pictures that tell a style or a place by what stays when the subject differs: two are too often alike by chance."""

_NOTHING: Final = "a picture"
"""Says nothing about a picture: a word that is no nearer than this does not stand out."""
_SCALE: Final = 100.0
"""What CLIP multiplies cosines by before it compares texts."""
_LEAST: Final = 0.2
"""The least probability, among the words of a list, that a word has in each picture that has it."""
_CHANCE: Final = 3.0
"""Times chance that it must be at least, which counts in short lists,"""
_SUREST: Final = 0.9
"""but never more than this."""
_WORDS: Final = 2
"""Words that are told of a list."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Common:
    """What the pictures of an adapter have in common."""

    pictures: int
    """How many were looked at."""
    shared: Mapping[str, tuple[str, ...]]
    """By list, the words that stand out in every picture, the surest first."""
    varied: frozenset[str]
    """Lists of which different words stand out in different pictures, and none in all."""


class PictureDescriber:
    """A describer (see `velatura.protocols.Describer`) that reads the card and puts pictures into words.

    May be asked by several threads at once; the model works for one at a time.

    Args:
        embedder: A CLIP model.
        pictures: Chooses the pictures that are looked at.
        lists: The words (see `velatura.refiner.interrogate.read_lists`); None takes ours.
        cache: A folder for the vectors of the lists; None computes them for this object.
    """

    def __init__(
        self,
        embedder: ImageEmbedder,
        pictures: ShownPictures,
        lists: Lists | None = None,
        *,
        cache: Path | None = None,
    ) -> None:
        self._embedder = embedder
        self._pictures = pictures
        chosen = LISTS if lists is None else lists
        used = sorted((_place(name), name) for name, entries in chosen.items() if entries and name not in _UNTOLD)
        self._lists = {name: tuple(chosen[name]) for _, name in used}
        self.name = _name(embedder, None if lists is None else self._lists)
        """`pictures`, the version, the model with its revision, and a digest of the words where they are not ours."""
        self._cache = cache
        self._card = CardDescriber()
        self._lock = threading.Lock()

    def origin(self, adapter: RefinedAdapter) -> str:
        """Return the digest of the card's fields and of the pictures that it would look at."""
        shown = self._pictures.identities(adapter.record)
        most = self._pictures.most
        return digest(repr((self._card.origin(adapter), shown[:most], shown[most:])))

    def describe(self, adapter: RefinedAdapter) -> Described:
        """Return what the card says, with what the pictures share.

        Raises:
            InputError: The model cannot be read.
        """
        common = self.look(adapter.record)
        record = adapter.record
        # The captions that an adapter was trained on are no card: "style" in one does not make it a style.
        page = category_of(replace(record, training_tags=()))
        kind = page.name if page is not None else _kind(common)
        if page is None and kind is not None:  # the rules then read the card as that of such an adapter
            record = replace(record, tags=(*record.tags, kind))
        told = self._card.describe(replace(adapter, record=record)).refinement
        return Described(refinement=replace(_joined(told, kind, common), writer=self.name))

    def look(self, record: AdapterRecord) -> Common:
        """Return what the pictures that may be looked at have in common; nothing where there is none.

        Raises:
            InputError: The model cannot be read.
        """
        from PIL import Image

        images = [Image.open(io.BytesIO(picture)) for picture in self._pictures.show(record)]
        if not images:
            return Common(pictures=0, shared={}, varied=frozenset())
        with self._lock:
            seen, nothing = self._embedder.embed_images(images), self._nothing
            vectors = self._vectors
        shared: dict[str, tuple[str, ...]] = {}
        varied: set[str] = set()
        for name, entries in self._lists.items():
            chances = _chances(seen, np.concatenate([vectors[name], nothing]))
            chances, of_nothing = chances[:, :-1], chances[:, -1:]
            sure = (chances >= max(_LEAST, min(_SUREST, _CHANCE / len(entries)))) & (chances > of_nothing)
            told = sure[sure.any(axis=1)]  # by the pictures in which some word stands out
            if sure.all(axis=0).any():
                ranked = np.argsort(-np.where(sure.all(axis=0), chances.min(axis=0), 0), kind="stable")
                shared[name] = tuple(entries[place] for place in ranked[:_WORDS] if sure[:, place].all())
            elif len(told) > 1 and not told.all(axis=0).any():
                varied.add(name)
        return Common(pictures=len(images), shared=shared, varied=frozenset(varied))

    @cached_property
    def _vectors(self) -> dict[str, Vectors]:
        return {
            name: word_vectors(
                self._embedder,
                [f"a picture of {entry}" if name == _SUBJECTS else entry for entry in entries],
                self._nothing.shape[1],
                self._cache,
            )
            for name, entries in self._lists.items()
        }

    @cached_property
    def _nothing(self) -> Vectors:
        return self._embedder.embed([_NOTHING])


def _name(embedder: ImageEmbedder, own: Lists | None) -> str:
    called = Path(embedder.model).resolve().name if Path(embedder.model).is_dir() else embedder.model
    name = f"pictures {VERSION}: {called}@{embedder.revision}"
    return name if own is None else f"{name}, words {digest(repr(sorted(own.items())))[:8]}"


def _place(name: str) -> int:
    """Return where the words of a list stand in a description: things and places before looks, the rest last."""
    told = ("subject", "setting", "medium", "style", "mood", "era")
    return told.index(_FACET[name]) if name in _FACET else len(told)


def _chances(seen: Vectors, texts: Vectors) -> Vectors:
    """Return how probable each text is of each picture, shape (pictures, texts), each row of sum 1."""
    logits = _SCALE * (seen @ texts.T)
    odds = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(odds / odds.sum(axis=1, keepdims=True), dtype=np.float32)


def _kind(common: Common) -> str | None:
    """Return the category that several pictures tell: what stays when all else differs."""
    if common.pictures < 2:
        return None
    if _SUBJECTS in common.shared:
        found = category_of(AdapterRecord(source="pictures", key="", title=common.shared[_SUBJECTS][0]))
        return found.name if found is not None and found.name in _KINDS else "concept"
    if _SUBJECTS not in common.varied or common.pictures < _MANY:
        return None
    has_look = any(_FACET.get(name) in ("style", "medium") for name in common.shared)
    if (_SETTINGS in common.shared) == has_look:
        return None
    return "style" if has_look else "background"


def _joined(told: Refinement, kind: str | None, common: Common) -> Refinement:
    """Return what the card says with what the pictures of an adapter of a category share."""
    decides = _DECIDES.get(kind or "", _SHOWN)
    if not decides:
        return told
    if common.pictures < 2:
        # One picture shares nothing with another: of all that it shows, only what such an adapter is made for counts.
        made_for = decides - {"setting"} if decides is _SHOWN else decides
        shown = [word for name, found in common.shared.items() if _FACET.get(name) in made_for for word in found]
        return replace(told, description=_with(told.description, "In its one picture", shown))
    shared = [word for found in common.shared.values() for word in found]
    facets = dict(told.facets)
    for name, found in common.shared.items():
        facet = _FACET.get(name)
        if facet in decides and not set(words(found[0])) <= set(words(facets.get(facet, ""))):
            facets[facet] = f"{facets[facet]}, {found[0]}" if facet in facets else found[0]
    return replace(
        told,
        description=_with(told.description, f"Shared by its {common.pictures} pictures", shared),
        facets=tuple((facet, facets[facet]) for facet in FACETS if facet in facets),
    )


def _with(description: str | None, by: str, found: list[str]) -> str | None:
    """Return a description with what pictures show behind it."""
    if not found:
        return description
    seen = f"{by}: {', '.join(dict.fromkeys(found))}."
    return f"{description} {seen}" if description else seen
