"""Counts what a catalogue holds."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import ColumnElement, Connection, and_, func, select

from .rows import USES
from .schema import adapter, embedding, encoder, passage, rejection


@dataclass(frozen=True, slots=True, kw_only=True)
class Stats:
    """What a catalogue holds. All but `rejected` and `missing` count only what is not missing."""

    models: int
    """Distinct pages, whichever sources tell of them; a file that belongs to no page counts as one."""
    versions: int
    """Distinct versions of pages; a file that belongs to none counts as one."""
    files: int
    """Adapters: one for each file of each version."""
    installed: int
    """Adapters whose file lies on this machine."""
    described: int
    """Adapters of which a describer says something."""
    rejected: int
    """Things that could not become a record."""
    missing: int
    """Adapters that were there once and are offered no more."""
    by_source: dict[str, int]
    by_family: dict[str, int]
    by_kind: dict[str, int]
    by_licence: dict[str, int]
    """Adapters for each commercial use that their licence allows, for `none`, and for `unknown`; they overlap."""
    embedded: dict[str, int]
    """Adapters with a vector, for each `model@revision` that made them."""


def count(connection: Connection) -> Stats:
    """Count everything."""
    present = adapter.c.missing_since.is_(None)

    def number(condition: ColumnElement[bool]) -> int:
        return connection.execute(select(func.count()).select_from(adapter).where(condition)).scalar_one()

    def distinct(column: ColumnElement[str | None]) -> int:
        known = select(column).where(present, column.is_not(None)).distinct().subquery()
        pages = connection.execute(select(func.count()).select_from(known)).scalar_one()
        return pages + number(and_(present, column.is_(None)))

    def groups(column: ColumnElement[str]) -> dict[str, int]:
        size = func.count()
        rows = connection.execute(select(column, size).where(present).group_by(column).order_by(size.desc(), column))
        return dict(rows.all())

    licences = {use: number(and_(present, adapter.c.commercial.bitwise_and(bit) != 0)) for use, bit in USES.items()}
    return Stats(
        models=distinct(adapter.c.model_id),
        versions=distinct(adapter.c.version_id),
        files=number(present),
        installed=number(and_(present, adapter.c.path.is_not(None))),
        described=number(and_(present, adapter.c.described.is_not(None))),
        rejected=connection.execute(select(func.count()).select_from(rejection)).scalar_one(),
        missing=number(adapter.c.missing_since.is_not(None)),
        by_source=groups(adapter.c.source),
        by_family=groups(adapter.c.family),
        by_kind=groups(adapter.c.kind),
        by_licence={
            **licences,
            "none": number(and_(present, adapter.c.commercial == 0)),
            "unknown": number(and_(present, adapter.c.commercial.is_(None))),
        },
        embedded=_embedded(connection),
    )


def _embedded(connection: Connection) -> dict[str, int]:
    rows = connection.execute(
        select(encoder.c.model, encoder.c.revision, func.count(adapter.c.id.distinct()))
        .select_from(passage)
        .join(adapter, and_(adapter.c.id == passage.c.adapter_id, adapter.c.missing_since.is_(None)))
        .join(embedding, embedding.c.digest == passage.c.digest)
        .join(encoder, encoder.c.id == embedding.c.encoder_id)
        .group_by(encoder.c.model, encoder.c.revision)
        .order_by(encoder.c.model, encoder.c.revision)
    )
    return {f"{model}@{revision}": adapters for model, revision, adapters in rows}
