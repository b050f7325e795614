"""The words of the catalogue, kept in step with it: one large index in a file, and a small one of what came since.

The database is the truth and the file can be deleted at any time.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from .postings import FIELDS, Postings, Scores, build, load, save, specificity, word_hash

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..db import Store
    from ..protocols import Ids

LONGEST_ASKED: Final = 512
"""Words of a prompt that count."""

_FEW: Final = 500
"""So many changed adapters are read in an instant,"""
_SHARE: Final = 0.02
"""and more than this share of all is worth a new file."""


_NONE: Final = np.empty(0, np.int64)


@dataclass(frozen=True, slots=True)
class Asked:
    """What the catalogue knows of the words of a prompt."""

    words: tuple[str, ...]
    places: tuple[NDArray[np.int64], ...]
    """Where they stand in each part; -1 where they do not."""
    rarity: NDArray[np.float64]
    """The rarity of each in each field, as FTS5 reckons it, shape (fields, words)."""
    weights: Scores
    """How much each says."""


class Lexicon:
    """Says how well the words of a prompt fit each adapter; an adapter is told by its row.

    Args:
        store: The catalogue.
        path: The index file; None keeps the index in memory.
    """

    def __init__(self, store: Store, path: Path | None = None) -> None:
        self._store = store
        self._path = path
        self._base, self._made_from = self._open()
        self._seen = self._made_from
        self._parts: tuple[Postings, ...] = (self._base,)
        self._settle([])
        self.refresh()

    def refresh(self) -> bool:
        """Take in what has changed in the catalogue; return whether anything has."""
        state = self._store.words_state()
        if state == self._seen:
            return False
        changed = self._store.words_changed(self._made_from)
        if changed is None or len(changed) > max(_FEW, _SHARE * len(self._base.numbers)):
            self._base, self._made_from = self._make()
            changed = []
        self._parts = (self._base,)
        if changed:
            texts, phrases = self._store.word_texts(changed), self._store.trigger_phrases(changed)
            self._parts = (self._base, build(texts, phrases, self._base.averages))
        self._seen = state
        self._settle(changed)
        return True

    def __len__(self) -> int:
        return len(self.numbers)

    def rows_of(self, numbers: Ids) -> NDArray[np.int64]:
        """Return the row of each adapter; -1 for those without words."""
        if not len(self._known):
            return np.full(len(numbers), -1, np.int64)
        places = np.minimum(np.searchsorted(self._known, numbers), len(self._known) - 1)
        return np.where(self._known[places] == numbers, self._rows[places], -1)

    def ask(self, words: Sequence[str]) -> Asked:
        """Look up the words of a prompt."""
        asked = tuple(dict.fromkeys(words))[:LONGEST_ASKED]
        hashes = np.fromiter(map(word_hash, asked), np.uint64, len(asked))
        places = tuple(part.places(hashes) for part in self._parts)
        count = len(self._known)
        frequencies = np.zeros((len(FIELDS), len(asked)), np.int64)
        for part, at in zip(self._parts, places, strict=True):
            known = at >= 0
            frequencies[:, known] += part.starts[:, at[known] + 1] - part.starts[:, at[known]]
        frequencies -= self._lost_of(places[0])
        rarity = np.maximum(np.log((count - frequencies + 0.5) / (frequencies + 0.5)), 1e-6)
        return Asked(asked, places, rarity, specificity(frequencies, count))

    def bm25(self, asked: Asked, fields: Iterable[str]) -> Scores:
        """Return the sum of each row's BM25 scores over fields."""
        chosen = [FIELDS.index(field) for field in fields]
        return self._joined(
            part.bm25(
                (word, field, asked.rarity[field, at])
                for field in chosen
                for at, word in enumerate(places.tolist())
                if word >= 0
            )
            for part, places in zip(self._parts, asked.places, strict=True)
        )

    def best_word(self, asked: Asked, field: str) -> Scores:
        """Return how much the word that says most says, of those that stand in a field of each row."""
        position = FIELDS.index(field)
        rising = np.argsort(asked.weights, kind="stable").tolist()
        found = []
        for part, places in zip(self._parts, asked.places, strict=True):
            best = np.zeros(len(part.numbers))
            for at in rising:
                if places[at] >= 0:
                    best[part.standing(places[at], position)] = asked.weights[at]
            found.append(best)
        return self._joined(found)

    def coverage(self, asked: Asked) -> Scores:
        """Return the greatest share of a trigger phrase of each row that stands in the prompt, by what words say."""
        return self._joined(
            part.coverage((word, asked.weights[at]) for at, word in enumerate(places.tolist()) if word >= 0)
            for part, places in zip(self._parts, asked.places, strict=True)
        )

    def called(self, phrases: Sequence[str]) -> dict[str, list[int]]:
        """Return, of phrases, those that call adapters, with the rows that they call."""
        hashes = np.fromiter(map(word_hash, phrases), np.uint64, len(phrases))
        found: dict[str, list[int]] = {}
        for part, first in zip(self._parts, self._firsts, strict=True):
            places = part.phrase_places(hashes)
            for at in np.flatnonzero(places >= 0).tolist():
                rows = part.called(places[at]) + first
                found.setdefault(phrases[at], []).extend(rows[self._live[rows]].tolist())
        return {phrase: rows for phrase, rows in found.items() if rows}

    def standing(self, words: Sequence[str], rows: NDArray[np.int64]) -> list[dict[str, list[str]]]:
        """Return, for each of some rows, those of the words that stand in each of its fields, in their order."""
        asked = self.ask(words)
        standing: list[dict[str, list[str]]] = [{} for _ in rows]
        for part, places, first in zip(self._parts, asked.places, self._firsts, strict=True):
            known = np.flatnonzero(places >= 0)
            inside = np.flatnonzero((rows >= first) & (rows < first + len(part.numbers)))
            said = [asked.words[word] for word in known.tolist()]
            told = [standing[row] for row in inside.tolist()]
            for at, field, word in np.argwhere(part.bearing(places[known], rows[inside] - first)).tolist():
                told[at].setdefault(FIELDS[field], []).append(said[word])
        return standing

    def speaking(self, word: str) -> NDArray[np.int64]:
        """Return the rows in any of whose fields a word stands; some more than once."""
        asked = self.ask([word])
        rows = [
            part.standing(int(places[0]), field).astype(np.int64) + first
            for part, places, first in zip(self._parts, asked.places, self._firsts, strict=True)
            if places[0] >= 0
            for field in range(len(FIELDS))
        ]
        return np.concatenate(rows) if rows else np.empty(0, np.int64)

    def _joined(self, parts: Iterable[Scores]) -> Scores:
        first, *others = parts
        scores = np.concatenate([first, *others]) if others else first
        scores[self._dead] = 0.0
        return scores

    def _settle(self, changed: Sequence[int]) -> None:
        """Work out which row speaks for which adapter: of what has changed since, the later."""
        self.numbers = np.concatenate([part.numbers for part in self._parts])
        """The catalogue number of each row."""
        sizes = [len(part.numbers) for part in self._parts]
        self._firsts = [sum(sizes[:place]) for place in range(len(sizes))]
        self._live = np.ones(len(self.numbers), bool)
        self._live[: sizes[0]] = ~np.isin(self._base.numbers, np.array(changed, np.int64))
        self._dead = np.flatnonzero(~self._live)
        self._lost = self._base.counted(~self._live[: sizes[0]]) if len(self._dead) else (_NONE, _NONE)
        rows = np.flatnonzero(self._live)
        order = np.argsort(self.numbers[rows], kind="stable")
        self._rows = rows[order]
        self._known = self.numbers[self._rows]
        if changed:
            self._weigh()

    def _lost_of(self, places: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return with how many adapters words of the base stand no more, shape (fields, words)."""
        keys, counts = self._lost
        if not len(keys):
            return np.zeros((len(FIELDS), len(places)), np.int64)
        asked = places + np.arange(len(FIELDS))[:, None] * len(self._base.words)
        at = np.minimum(np.searchsorted(keys, asked), len(keys) - 1)
        return np.where((keys[at] == asked) & (places >= 0), counts[at], 0)

    def _weigh(self) -> None:
        """Weigh the phrases of all parts by how common words are in the whole."""
        base, recent = self._parts
        common, late = np.diff(base.starts, axis=1), np.diff(recent.starts, axis=1)
        keys, counts = self._lost
        common.ravel()[keys] -= counts
        places = base.places(recent.words)
        known = places >= 0
        common[:, places[known]] += late[:, known]
        late[:, known] = common[:, places[known]]
        count = len(self._known)
        self._parts = base.weighted(common, count), recent.weighted(late, count)

    def _open(self) -> tuple[Postings, tuple[int, int]]:
        if self._path is not None and (found := load(self._path)) is not None:
            postings, stamp = found
            if _is_state(stamp) and self._store.words_changed((stamp[0], stamp[1])) is not None:
                return postings, (stamp[0], stamp[1])
        return self._make()

    def _make(self) -> tuple[Postings, tuple[int, int]]:
        # What is written while this reads is later than the state, and will be read again.
        state = self._store.words_state()
        postings = build(self._store.word_texts(), self._store.trigger_phrases())
        if self._path is not None and len(postings.numbers):
            # Where nothing may be written the index lives in memory, and the next run makes it again.
            with suppress(OSError):
                save(postings, self._path, list(state))
        return postings, state


def _is_state(stamp: Any) -> bool:
    return isinstance(stamp, list) and len(stamp) == 2 and all(isinstance(part, int) for part in stamp)
