"""What a dataset asks of a catalogue: which models embedded, vectors by the digest of their text, numbers by key."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from sqlalchemy import select

from .codec import storable
from .connect import chunks
from .schema import adapter, embedding, encoder

if TYPE_CHECKING:
    from .store import Store


def encoders(store: Store) -> list[tuple[str, str, int]]:
    """Return (model, revision, dimension) of every model that has embedded anything, in the order of their names."""
    with store._database.reading() as connection:
        rows = connection.execute(select(encoder.c.model, encoder.c.revision, encoder.c.dimension))
        return sorted((model, revision, dimension) for model, revision, dimension in rows)


def vectors_by_digest(store: Store, model: str, revision: str, digests: Sequence[str]) -> Iterator[tuple[str, bytes]]:
    """Yield (digest, vector as it is stored: float32, little-endian) of those of the texts that the model embedded."""
    with store._database.reading() as connection:
        number = connection.execute(
            select(encoder.c.id).where(encoder.c.model == model, encoder.c.revision == revision)
        ).scalar()
        for chunk in chunks(digests):
            rows = connection.execute(
                select(embedding.c.digest, embedding.c.vector).where(
                    embedding.c.encoder_id == number, embedding.c.digest.in_(chunk)
                )
            )
            yield from ((digest, bytes(vector)) for digest, vector in rows)


def numbers_by_key(store: Store, source: str, keys: Iterable[str]) -> dict[str, int]:
    """Return the numbers of those of the adapters of a source that the catalogue has, by their keys."""
    found: dict[str, int] = {}
    with store._database.reading() as connection:
        for chunk in chunks(storable(key) for key in keys):
            rows = connection.execute(
                select(adapter.c.key, adapter.c.id).where(adapter.c.source == source, adapter.c.key.in_(chunk))
            )
            found.update((key, number) for key, number in rows)
    return found
