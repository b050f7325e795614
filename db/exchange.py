"""What a dataset asks of a catalogue: which models embedded, vectors by digest, numbers by key, what gates go by."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from sqlalchemy import and_, or_, select

from .codec import storable
from .connect import chunks
from .rows import USES
from .schema import adapter, embedding, encoder, entry, offer, scope

if TYPE_CHECKING:
    from .store import Store

SAME: Final = ("key", "version_id", "sha256", "autov3", "autov2")
"""The columns by any of which two adapters are one file, or one version of one page; the key, within a source."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What gates go by, as a catalogue has it of one adapter; None is not known."""

    nsfw: int | None
    commercial: tuple[str, ...] | None
    real_person: bool | None
    minor: bool | None


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


def verdicts_elsewhere(
    store: Store, source: str, scope_name: str, names: Mapping[str, Collection[str]]
) -> Iterator[tuple[tuple[str, str], Verdict]]:
    """Yield ((column, value), verdict) of each adapter that has one of these values and that not this run alone offers.

    Args:
        store: The catalogue.
        source: The source of the run.
        scope_name: What it covers. Adapters that another scope of the source offers count, too.
        names: Values by the column of `SAME` that they may stand in.
    """
    others = select(offer.c.adapter_id).select_from(offer.join(entry).join(scope))
    others = others.where(offer.c.adapter_id == adapter.c.id, scope.c.source == source, scope.c.scope != scope_name)
    elsewhere = or_(adapter.c.source != source, others.exists())
    within = and_(adapter.c.source == source, others.exists())  # as the index of keys is made
    gates = (adapter.c.nsfw, adapter.c.commercial, adapter.c.real_person, adapter.c.minor)
    with store._database.reading() as connection:
        for name, values in names.items():
            column = adapter.c[name]
            for chunk in chunks(values):
                counted = within if name == "key" else elsewhere
                rows = connection.execute(select(column, *gates).where(column.in_(chunk), counted).distinct())
                for value, nsfw, uses, real_person, minor in rows:
                    allowed = None if uses is None else tuple(use for use, bit in USES.items() if uses & bit)
                    yield (
                        (name, value),
                        Verdict(nsfw=nsfw, commercial=allowed, real_person=real_person, minor=minor),
                    )
