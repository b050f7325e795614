"""Adapters whose look or subject a picture shows: by their own pictures, and by their cards."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from ..errors import InputError
from ..records import Match
from .common_look import CommonLook, common_look
from .passages import open_index
from .similar import Found

if TYPE_CHECKING:
    from ..db import Store
    from ..protocols import Ids, ImageEmbedder, Vectors
    from .milvus_client import Milvus

_DEPTH: Final = 200
"""Entries per list."""
_SAMPLE: Final = 1024
"""Adapters that tell what their pictures have in common, and how near a card usually is."""
_HALF: Final = 3.0
"""A card that is nearer than usual by so many standard deviations counts half."""
_TOLD: Final = 0.25
"""A share below this says nothing to a reader, so it is not shown as a reason."""


@dataclass(frozen=True, slots=True)
class _Usual:
    """What a sample of the catalogue tells."""

    look: CommonLook
    cards: Vectors
    """Shape (cards, dimension)."""


class PictureIndex:
    """The vectors of pictures and cards, and what is usual among them.

    Args:
        store: The catalogue.
        embedder: The model that made the vectors.
        path: The index file; None keeps the index in memory.
        milvus: Where the vectors are kept instead; None keeps them in that file.
    """

    def __init__(
        self, store: Store, embedder: ImageEmbedder, path: Path | None = None, milvus: Milvus | None = None
    ) -> None:
        self._store = store
        self._encoder = embedder.model, embedder.revision
        self._index = open_index(store, embedder, path, milvus)
        self._known: _Usual | None = None

    def refresh(self) -> None:
        """Take in what anybody has embedded since."""
        if self._index.refresh():
            self._known = None

    def near(self, vector: Vectors, allowed: Ids) -> Found:
        """Find the adapters whose pictures or whose card are near to a picture.

        Two pictures are far nearer to each other than a picture and a text, in any CLIP model, so the two are never
        compared. A picture's share is its cosine where `common_look` puts pictures, of several pictures the nearest; a
        card's share is `z / (z + 3)`, where `z` is by how many standard deviations its cosine is above that of a usual
        card. A sample of the catalogue tells what is common and what is usual. The score takes the two shares as
        independent, `1 - (1 - picture) (1 - card)`: the same picture has 1, and an adapter without pictures is found
        by its card.

        Args:
            vector: The picture, shape (dimension,), of length 1.
            allowed: Sorted catalogue numbers that may be found; the sample is drawn from all.

        Raises:
            InputError: Nothing is embedded by this model.
        """
        usual = self._usual()
        near = {
            **self._index.best(vector, "image", _DEPTH, allowed),
            **self._index.best(usual.look.direction(vector), "image", _DEPTH, allowed),
            **self._index.best(vector, "card", _DEPTH, allowed),
        }
        found = self._store.vectors_of(*self._encoder, sorted(near))
        pictures = _picture_shares(vector, found, usual.look)
        cards = _card_shares(vector, found, usual.cards)
        scores = {number: 1 - (1 - pictures.get(number, 0.0)) * (1 - cards.get(number, 0.0)) for number in found}

        def explain(numbers: Sequence[int]) -> dict[int, tuple[Match, ...]]:
            kept = self._store.picture_vectors(*self._encoder, numbers)
            told = {}
            for number in numbers:
                shares = [(cards.get(number, 0.0), "the card")]
                if number in kept:
                    names, rows = zip(*kept[number], strict=True)
                    nearest = names[int(_likeness(vector, np.stack(rows), usual.look).argmax())]
                    shares.append((pictures.get(number, 0.0), f"its example picture {nearest}"))
                told[number] = tuple(
                    Match(by="picture", text=text, score=round(share, 3))
                    for share, text in sorted(shares, reverse=True)
                    if share >= _TOLD
                )
            return told

        return Found(scores, explain)

    def _usual(self) -> _Usual:
        if self._known is None:
            everyone = np.unique(self._index.adapters)
            if not len(everyone):
                raise InputError(f"nothing is embedded by the picture model {self._encoder[0]}; run `velatura embed`")
            sample = everyone[np.linspace(0, len(everyone) - 1, min(_SAMPLE, len(everyone))).astype(np.int64)]
            kept = self._store.vectors_of(*self._encoder, sample.tolist()).values()
            dimension = next(iter(next(iter(kept)).values())).shape[1]
            nothing = np.zeros((1, dimension), np.float32)
            # One card that is like nothing counts among them, so that a card that is alone can be near.
            cards = np.concatenate([nothing, *(fields["card"] for fields in kept if "card" in fields)])
            look = common_look([fields["image"] for fields in kept if "image" in fields] or [nothing])
            self._known = _Usual(look, cards)
        return self._known


def _picture_shares(vector: Vectors, found: Mapping[int, Mapping[str, Vectors]], look: CommonLook) -> dict[int, float]:
    shown = {number: fields["image"] for number, fields in found.items() if "image" in fields}
    if not shown:
        return {}
    starts = np.cumsum([0, *map(len, shown.values())])[:-1]
    nearest = np.maximum.reduceat(_likeness(vector, np.concatenate(list(shown.values())), look), starts)
    return dict(zip(shown, np.clip(nearest, 0, 1).tolist(), strict=True))


def _likeness(vector: Vectors, pictures: Vectors, look: CommonLook) -> Vectors:
    likeness: Vectors = look.place(pictures) @ look.place(vector[None])[0]
    return likeness


def _card_shares(vector: Vectors, found: Mapping[int, Mapping[str, Vectors]], usual: Vectors) -> dict[int, float]:
    known = usual @ vector
    mean, spread = float(known.mean()), max(float(known.std()), 1e-6)
    near = {number: float((fields["card"] @ vector).max()) for number, fields in found.items() if "card" in fields}
    above = {number: max(0.0, (cosine - mean) / spread) for number, cosine in near.items()}
    return {number: z / (z + _HALF) for number, z in above.items()}
