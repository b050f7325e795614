"""Holds the adapters of a dataset to what the catalogue knows already of the same files: the stricter word stands.

Else somebody's dataset could rate a file softer, or license it more freely, than its page does, and so bring it past
the gates under a second name.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import partial, reduce
from itertools import islice
from typing import TYPE_CHECKING, Final

from ..db.codec import storable
from ..db.exchange import SAME, Verdict, verdicts_elsewhere
from ..db.rows import names_of
from ..protocols import Entry
from ..records import AdapterRecord, Rejection

if TYPE_CHECKING:
    from ..db import Store
    from .source import DatasetSource

_CHUNK: Final = 500


class Stricter:
    """A dataset's adapters, each no freer than the catalogue has it from elsewhere (implements `protocols.Source`).

    Elsewhere is every other source, and every other dataset. A file is the same where its SHA-256, AutoV3 or AutoV2 is,
    or the site's id of its version; a row, where its key is. What is known nowhere else is believed.

    Args:
        source: The dataset.
        store: The catalogue.
    """

    def __init__(self, source: DatasetSource, store: Store) -> None:
        self._source = source
        self._store = store
        self.name = source.name
        self.scope = source.scope
        self.held = 0
        """Adapters that the dataset tells more freely than the catalogue."""

    @property
    def complete(self) -> bool:
        """Whether all of the dataset could be read."""
        return self._source.complete

    def entries(self) -> Iterator[Entry | Rejection]:
        """Yield each adapter, and a rejection for each row that is none.

        Raises:
            MissingDependency: pyarrow is not installed.
        """
        offered = self._source.entries()
        while some := list(islice(offered, _CHUNK)):
            records = [one.read()[0] if isinstance(one, Entry) else one for one in some]
            known = self._known(record for record in records if isinstance(record, AdapterRecord))
            for one, record in zip(some, records, strict=True):
                if isinstance(one, Rejection) or isinstance(record, Rejection):
                    yield one
                    continue
                verdicts = {verdict for name in _names(record) for verdict in known.get(name, ())}
                strict = reduce(stricter, sorted(verdicts, key=repr), record)
                if strict == record:
                    yield one
                    continue
                self.held += 1
                # Another stamp, so that what the catalogue learns later holds from the next import on.
                told = (strict.nsfw, strict.licence.commercial, strict.real_person, strict.minor)
                yield replace(one, stamp=f"{one.stamp} held {told}", read=partial(_given, strict))

    def _known(self, records: Iterable[AdapterRecord]) -> dict[tuple[str, str], set[Verdict]]:
        """Return what is said elsewhere, by each name that makes a file the same."""
        asked: dict[str, set[str]] = defaultdict(set)
        for record in records:
            for column, value in _names(record):
                asked[column].add(value)
        known: dict[tuple[str, str], set[Verdict]] = defaultdict(set)
        for name, verdict in verdicts_elsewhere(self._store, self.name, storable(self.scope), asked):
            known[name].add(verdict)
        return known


def stricter(record: AdapterRecord, known: Verdict) -> AdapterRecord:
    """Return a record that is no freer than what is known of the same file; what is not known there changes nothing.

    >>> fox = AdapterRecord(source="dataset", key="civitai:1", title="Fox", nsfw=1)
    >>> stricter(fox, Verdict(nsfw=16, commercial=(), real_person=True, minor=None)).nsfw
    17
    """
    rating, uses = record.nsfw, record.licence.commercial
    if rating is not None and known.nsfw is not None:
        rating |= known.nsfw
    if uses is not None and known.commercial is not None:
        uses = tuple(use for use in uses if use in known.commercial)
    return replace(
        record,
        nsfw=rating,
        licence=replace(record.licence, commercial=uses),
        real_person=True if known.real_person else record.real_person,
        minor=True if known.minor else record.minor,
    )


def _names(record: AdapterRecord) -> Iterator[tuple[str, str]]:
    columns = names_of(record)
    for column in SAME:
        if (value := columns[column]) is not None:
            yield column, value


def _given(record: AdapterRecord) -> list[AdapterRecord | Rejection]:
    return [record]
