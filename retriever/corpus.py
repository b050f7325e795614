"""The catalogue as the retriever sees it: the words, the vectors, the pages and what a filter allows, kept in step."""

from __future__ import annotations

from collections.abc import Mapping
from copy import copy
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from ..db.known import Known
from ..records import Filter, Id
from .lexicon import Lexicon
from .passages import open_index

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..db import Store
    from ..protocols import Ids, TextEmbedder
    from .baselines import Ranker
    from .milvus_client import Milvus

    Mask = NDArray[np.bool_]
    Rows = NDArray[np.int64]

_FILTERS: Final = 16
"""Filters whose answer is remembered."""


@dataclass(frozen=True, eq=False)
class Allowed:
    """What may be found."""

    numbers: Ids
    """Catalogue numbers, ascending."""
    rows: Mask
    """The same by row."""

    @cached_property
    def members(self) -> frozenset[int]:
        """The numbers, to be asked of one at a time."""
        return frozenset(self.numbers.tolist())


class Corpus:
    """Words, vectors and pages of a catalogue in one state; an adapter is told by its row in the lexicon.

    It stays as it is, so that threads that search it are not disturbed when the catalogue changes.

    Args:
        store: The catalogue.
        embedder: None leaves the vectors out.
        index_path: Where the vectors' index file lies, and with another suffix that of the words; None keeps both in
            memory.
        milvus: Where the vectors are kept instead; None keeps them in that file.
    """

    def __init__(
        self,
        store: Store,
        embedder: TextEmbedder | None = None,
        index_path: Path | None = None,
        milvus: Milvus | None = None,
    ) -> None:
        self.store = store
        self.encoder = (embedder.model, embedder.revision) if embedder is not None else None
        self._mark = store.mark()
        self.index = open_index(store, embedder, index_path, milvus) if embedder is not None else None
        self.lexicon = Lexicon(store, index_path.with_suffix(".words") if index_path is not None else None)
        self._read()

    @property
    def is_current(self) -> bool:
        """Whether nobody has written to the catalogue since."""
        return self.store.mark() == self._mark

    def refreshed(self) -> Corpus:
        """Return a corpus with what anybody has written since; this one where nothing was."""
        mark = self.store.mark()
        if mark == self._mark:
            return self
        new = copy(self)
        new._mark = mark
        if self.index is not None:
            new.index = copy(self.index)
            new.index.refresh()
        new.lexicon = copy(self.lexicon)
        new.lexicon.refresh()
        new._read()
        return new

    def allow(self, wanted: Filter) -> Allowed:
        """Return what a filter lets through; asked again, it is remembered."""
        allowed = self._allowed.get(wanted)
        if allowed is None:
            allowed = self.only(self.store.select(wanted))
            if len(self._allowed) >= _FILTERS:
                self._allowed.clear()
            self._allowed[wanted] = allowed
        return allowed

    def only(self, numbers: Ids) -> Allowed:
        """Return leave for these adapters alone, ascending."""
        rows = np.zeros(len(self.lexicon), bool)
        places = self.lexicon.rows_of(numbers)
        rows[places[places >= 0]] = True
        return Allowed(numbers, rows)

    @property
    def all(self) -> Allowed:
        """Leave for everything that is not missing."""
        return self.allow(Filter())

    def pages_of(self, rows: Rows) -> int:
        """Return how many pages these rows are on."""
        marked = np.zeros(len(self.page_names), bool)
        marked[self.page_of[rows]] = True
        return int(marked.sum())

    def _read(self) -> None:
        self.pages: Mapping[int, Id] = self.store.pages()
        """The page of each adapter."""
        names: dict[Id, int] = {}
        order = np.argsort(self.lexicon.numbers, kind="stable")
        numbers = self.lexicon.numbers[order].tolist()
        self.page_of = np.empty(len(order), np.int64)
        self.page_of[order] = [names.setdefault(self.pages.get(number, -number), len(names)) for number in numbers]
        """The place of each row's page among `page_names`."""
        self.page_names = list(names)
        self._allowed: dict[Filter, Allowed] = {}
        self.rarities: dict[str, float] = {}
        """What was worked out of trigger phrases already; see `lists.rarity`."""
        self.rankers: dict[str, Ranker] = {}
        """Other people's methods, made ready for these adapters."""
        self.known = Known(self.store)
