"""An inverted index over the fields of adapters: which adapters a word stands with, and how much that says.

A word's score in a field is BM25 as SQLite's FTS5 computes it (k1 1.2, b 0.75), of which all but the rarity of the
word is kept with the posting. The arrays never change once they are made, and are read from their file as they lie
there, so that processes share them.
"""

from __future__ import annotations

import hashlib
import json
import math
from array import array
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from ..db.words import COLUMNS
from ..whole_file import whole_file
from ..words import with_pairs
from .mapped import ALIGNED, checksum

if TYPE_CHECKING:
    from ..protocols import Ids

FIELDS: Final = COLUMNS
SPEAKING: Final = tuple(FIELDS.index(field) for field in ("title", "triggers", "tags", "prompts", "names"))
"""The fields by which a word is common or rare; prose holds many words that say nothing of pictures."""

_K1: Final = 1.2
_B: Final = 0.75
_MAGIC: Final = b"VELAWORD"

Scores = NDArray[np.float64]
Hashes = NDArray[np.uint64]
Places = NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class Postings:
    """The words of some adapters; adapters, words and phrases are told by their places in these arrays."""

    numbers: Ids
    """Catalogue numbers, ascending; an adapter's place here is its row."""
    words: Hashes
    """The hashes of the words, ascending."""
    starts: NDArray[np.int64]
    """Shape (fields, words + 1): the postings of word w in field f are `starts[f, w]` to `starts[f, w + 1]`."""
    rows: Places
    """The adapter of each posting."""
    gains: NDArray[np.float32]
    """Its BM25 score over the word's rarity."""
    averages: Scores
    """How many words an adapter has in each field, on average, by which the gains are reckoned."""
    phrases: Hashes
    """The hashes of the trigger phrases, ascending."""
    phrase_starts: NDArray[np.int64]
    """The adapters that phrase p calls are `phrase_rows[phrase_starts[p]:phrase_starts[p + 1]]`."""
    phrase_rows: Places
    phrase_weights: NDArray[np.float32]
    """How much all words of a phrase say together."""
    holding_starts: NDArray[np.int64]
    """The phrases in which word w stands are `holding[holding_starts[w]:holding_starts[w + 1]]`."""
    holding: Places

    def places(self, hashes: Hashes) -> NDArray[np.int64]:
        """Return the places of words; -1 for those that stand nowhere."""
        return _places(self.words, hashes)

    def phrase_places(self, hashes: Hashes) -> NDArray[np.int64]:
        """Return the places of trigger phrases; -1 for those that call nothing."""
        return _places(self.phrases, hashes)

    def called(self, phrase: int) -> Places:
        """Return the rows that a phrase calls."""
        called: Places = self.phrase_rows[self.phrase_starts[phrase] : self.phrase_starts[phrase + 1]]
        return called

    def counted(self, rows: NDArray[np.bool_]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return (field times the number of words plus word, ascending; with how many of some rows it stands)."""
        postings = np.flatnonzero(rows[self.rows])
        return np.unique(np.searchsorted(self.starts[:, :-1].ravel(), postings, side="right") - 1, return_counts=True)

    def weighted(self, frequencies: NDArray[np.int64], count: int) -> Postings:
        """Return the same with phrases weighed by how common words are in a larger whole, of which this is a part.

        Args:
            frequencies: Of this part's words, shape (fields, words).
            count: How many adapters the whole has.
        """
        says = np.repeat(specificity(frequencies, count), np.diff(self.holding_starts))
        weights = np.bincount(self.holding, says, len(self.phrases)).astype(np.float32)
        return replace(self, phrase_weights=weights)

    def standing(self, word: int, field: int) -> Places:
        """Return the rows with a word in a field."""
        standing: Places = self.rows[self.starts[field, word] : self.starts[field, word + 1]]
        return standing

    def bearing(self, words: NDArray[np.int64], rows: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Return whether each word stands in each field of each row, shape (rows, fields, words)."""
        wanted = rows[:, None, None]
        ends = np.repeat(self.starts[None, :, words + 1], len(rows), axis=0)
        low, high, last = np.repeat(self.starts[None, :, words], len(rows), axis=0), ends, len(self.rows) - 1
        # Halved for all at once: the rows of a word ascend.
        while (unsure := low < high).any():
            middle = (low + high) // 2
            less = unsure & (self.rows[np.minimum(middle, last)] < wanted)
            low, high = np.where(less, middle + 1, low), np.where(unsure & ~less, middle, high)
        bearing: NDArray[np.bool_] = (low < ends) & (self.rows[np.minimum(low, last)] == wanted)
        return bearing

    def bm25(self, words: Iterable[tuple[int, int, float]]) -> Scores:
        """Return the sum, for each row, of the scores of (word, field, rarity)."""
        rows, scores = [], []
        for word, field, rarity in words:
            start, end = self.starts[field, word], self.starts[field, word + 1]
            rows.append(self.rows[start:end])
            scores.append(self.gains[start:end] * np.float32(rarity))
        if not rows:
            return np.zeros(len(self.numbers))
        # In the types that `bincount` counts in: it would copy them once more.
        every, told = np.concatenate(rows, dtype=np.int64), np.concatenate(scores, dtype=np.float64)
        return np.bincount(every, told, len(self.numbers)).astype(np.float64, copy=False)

    def coverage(self, words: Iterable[tuple[int, float]]) -> Scores:
        """Return, for each row, the greatest share of one of its phrases that words with these weights make up."""
        covered = np.zeros(len(self.numbers))
        phrases, weights = [], []
        for word, weight in words:
            phrases.append(self.holding[self.holding_starts[word] : self.holding_starts[word + 1]])
            weights.append(np.full(len(phrases[-1]), weight))
        if not phrases:
            return covered
        touched, back = np.unique(np.concatenate(phrases), return_inverse=True)
        shares = np.bincount(back, weights=np.concatenate(weights)) / np.maximum(self.phrase_weights[touched], 1e-6)
        starts, ends = self.phrase_starts[touched], self.phrase_starts[touched + 1]
        sizes = ends - starts
        within = np.arange(sizes.sum()) - np.repeat(np.cumsum(sizes) - sizes, sizes)
        rows = self.phrase_rows[np.repeat(starts, sizes) + within]
        np.maximum.at(covered, rows, np.repeat(np.minimum(shares, 1.0), sizes))
        return covered


def build(
    texts: Iterable[tuple[int, Sequence[str]]],
    triggers: Iterable[tuple[str, int]],
    averages: Scores | None = None,
) -> Postings:
    """Make an index.

    Args:
        texts: (catalogue number, the words of each field joined by spaces), numbers ascending.
        triggers: (trigger phrase, catalogue number).
        averages: Those of the index that this one will stand beside; None takes its own.
    """
    numbers, vocabulary, postings = _count(texts)
    hashes = np.fromiter(map(word_hash, vocabulary), np.uint64, len(vocabulary))
    order = np.argsort(hashes)
    place = np.empty(len(hashes), np.int32)
    place[order] = np.arange(len(hashes), dtype=np.int32)
    starts, rows, gains = [], [], []
    before = 0
    usual = np.array([field.average() for field in postings]) if averages is None else averages
    for field, average in zip(postings, usual.tolist(), strict=True):
        start, row, gain = field.sorted(place, len(numbers), average)
        starts.append(start + before)
        rows.append(row)
        gains.append(gain)
        before += len(row)
    table = np.stack(starts)
    known = {word: int(place[number]) for word, number in vocabulary.items()}
    alone = Postings(
        numbers=numbers,
        words=hashes[order],
        starts=table,
        rows=np.concatenate(rows),
        gains=np.concatenate(gains),
        averages=usual,
        **_phrases(triggers, numbers, known),
    )
    return alone.weighted(np.diff(table, axis=1), len(numbers))


def word_hash(text: str) -> int:
    """Return the 64 bits by which a word or a phrase is known: among millions, no two are alike by accident."""
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little")


def specificity(frequencies: NDArray[np.int64], count: int) -> Scores:
    """Return how much each word says, 0 to 1: the log of adapters over those that speak it, by its commonest field.

    It is told as a share of what a word would say that nobody speaks, so that it means the same in a catalogue of any
    size.

    Args:
        frequencies: shape (fields, words).
        count: How many adapters there are.
    """
    common = frequencies[list(SPEAKING)].max(axis=0, initial=0)
    says: Scores = np.log((count + 1) / (np.minimum(common, count) + 1)) / math.log(count + 2)
    return says


def save(postings: Postings, path: Path, stamp: Any) -> None:
    """Write an index and what it was made from; a reader never sees half a file."""
    arrays = {field.name: np.ascontiguousarray(getattr(postings, field.name)) for field in fields(Postings)}
    told: dict[str, Any] = {"stamp": stamp, "arrays": {}}
    with whole_file(path) as part, part.open("wb") as file:
        for name, values in arrays.items():
            told["arrays"][name] = [values.dtype.str, list(values.shape), file.tell()]
            values.tofile(file)
            file.write(b"\0" * (-file.tell() % ALIGNED))
        file.flush()
        end = file.tell()
        told["sum"] = checksum(np.memmap(part, np.uint8, mode="r", shape=(end,)).view(np.ndarray))
        note = json.dumps(told).encode()
        file.write(note + len(note).to_bytes(8, "little") + _MAGIC)


def load(path: Path) -> tuple[Postings, Any] | None:
    """Return an index that `save` wrote, mapped from its file, and its stamp; None when there is none to be read."""
    try:
        # Opened once: another process may replace it meanwhile.
        with path.open("rb") as file:
            content = np.memmap(file, np.uint8, mode="r").view(np.ndarray)
        tail = len(_MAGIC) + 8
        length = int.from_bytes(content[-tail : -len(_MAGIC)].tobytes(), "little")
        if content[-len(_MAGIC) :].tobytes() != _MAGIC or length > len(content) - tail:
            return None
        end = len(content) - tail - length
        told = json.loads(content[end:-tail].tobytes())
        if told["sum"] != checksum(content[:end]):
            return None
        arrays = {
            name: content[start : start + math.prod(shape) * np.dtype(kind).itemsize].view(kind).reshape(shape)
            for name, (kind, shape, start) in told["arrays"].items()
        }
        return Postings(**arrays), told["stamp"]
    except Exception:  # what a damaged note raises depends on what is damaged
        return None


class _Vocabulary(dict[str, int]):
    """Numbers words as they are first met."""

    def __missing__(self, word: str) -> int:
        self[word] = number = len(self)
        return number


class _Field:
    """The postings of one field, in the order of the adapters."""

    def __init__(self) -> None:
        self.words, self.counts = array("i"), array("i")
        self.sizes, self.lengths = array("i"), array("i")

    def take(self, text: str, vocabulary: _Vocabulary) -> None:
        cut = text.split()
        counts = Counter(with_pairs(cut))
        self.words.extend([vocabulary[word] for word in counts])
        self.counts.extend(counts.values())
        self.sizes.append(len(counts))
        self.lengths.append(len(cut))

    def average(self) -> float:
        """Return how many words an adapter has."""
        return sum(self.lengths) / len(self.lengths) if self.lengths else 0.0

    def sorted(self, place: Places, rows: int, average: float) -> tuple[NDArray[np.int64], Places, NDArray[np.float32]]:
        """Return where each word's postings start, and rows and gains by word."""
        words = place[_numbers(self.words)]
        owners = np.repeat(np.arange(rows, dtype=np.int32), _numbers(self.sizes))
        counts, lengths = _numbers(self.counts).astype(np.float32), _numbers(self.lengths).astype(np.float32)
        norm = _K1 * (1 - _B + _B * lengths / (average or 1.0))
        gains = counts * np.float32(_K1 + 1) / (counts + norm.astype(np.float32)[owners])
        order = np.argsort(words, kind="stable")
        starts = np.zeros(len(place) + 1, np.int64)
        np.cumsum(np.bincount(words, minlength=len(place)), out=starts[1:])
        return starts, owners[order], gains[order]


def _count(texts: Iterable[tuple[int, Sequence[str]]]) -> tuple[Ids, _Vocabulary, list[_Field]]:
    numbers, vocabulary, postings = array("q"), _Vocabulary(), [_Field() for _ in FIELDS]
    for number, columns in texts:
        numbers.append(number)
        for field, text in zip(postings, columns, strict=True):
            field.take(text, vocabulary)
    return np.frombuffer(numbers, np.int64), vocabulary, postings


def _phrases(triggers: Iterable[tuple[str, int]], numbers: Ids, known: dict[str, int]) -> dict[str, Any]:
    """Return the arrays about trigger phrases, not weighed yet; what the index does not have is passed over."""
    rows = {int(number): row for row, number in enumerate(numbers)}
    calling: dict[str, list[int]] = {}
    for phrase, number in triggers:
        if number in rows:
            calling.setdefault(phrase, []).append(rows[number])
    by_hash = sorted((word_hash(phrase), phrase) for phrase in calling)
    words: list[int] = []
    owners: list[int] = []
    for place, (_, phrase) in enumerate(by_hash):
        standing = {known[word] for word in phrase.split() if word in known}
        words += standing
        owners += [place] * len(standing)
    held = np.array(words, np.int64)
    order = np.argsort(held, kind="stable")
    called = [calling[phrase] for _, phrase in by_hash]
    return {
        "phrases": np.array([number for number, _ in by_hash], np.uint64),
        "phrase_starts": _starts([len(part) for part in called]),
        "phrase_rows": np.array([row for part in called for row in part], np.int32),
        "phrase_weights": np.zeros(len(by_hash), np.float32),
        "holding_starts": _starts(np.bincount(held, minlength=len(known))),
        "holding": np.array(owners, np.int32)[order],
    }


def _starts(sizes: Sequence[int] | NDArray[np.int64]) -> NDArray[np.int64]:
    starts = np.zeros(len(sizes) + 1, np.int64)
    np.cumsum(sizes, out=starts[1:])
    return starts


def _numbers(values: array[int]) -> Places:
    return np.frombuffer(values, np.int32) if values else np.empty(0, np.int32)


def _places(sorted_hashes: Hashes, asked: Hashes) -> NDArray[np.int64]:
    if not len(sorted_hashes):
        return np.full(len(asked), -1, np.int64)
    places = np.minimum(np.searchsorted(sorted_hashes, asked), len(sorted_hashes) - 1)
    return np.where(sorted_hashes[places] == asked, places, -1)
