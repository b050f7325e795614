"""How an index follows the catalogue: what came since is added, what has gone is masked, and seldom all is made anew.

Most passages are in one segment, the *base*; what came since, and what of both is gone, is in a small second one.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from .faiss_index import FaissIndex
from .segment import Field, Segment

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..db.vectors import Snapshot
    from ..protocols import Ids

RECENT = 1_000, 16
"""The second segment becomes part of the base when it has more passages than this, and than one in so many of the
base's."""

DEAD = 4
"""The base is made anew when more than one in so many of its passages are gone."""

NOTED = frozenset({"model", "revision", "base", "state", "last", "ground", "texts"})
"""What a segment's note tells."""

_TEXTS = 8
"""Of so many of the passages that were there, and of so many new ones, the note tells the texts."""
_NONE: Ids = np.empty(0, dtype=np.int64)


@dataclass(frozen=True, slots=True)
class _Rows:
    passages: Ids
    adapters: Ids
    fields: NDArray[np.str_]
    vectors: NDArray[Any]


def caught_up(now: Snapshot, named: Mapping[str, str], segments: tuple[Segment, ...]) -> tuple[Segment, ...]:
    """Return the segments, one or two, of the catalogue's present state.

    Args:
        now: the catalogue's vectors.
        named: `model` and `revision`.
        segments: those of an earlier state, none where there are none.
    """
    note = segments[-1].note if segments else {}
    if not segments or not _same_history(now, note):
        new = _Rows(*now.rows(), now.load())
        note = _noted(now, named, {"base": secrets.token_hex(8)}, new.passages)
        return (Segment(_built(new), _NONE, note),)
    base = segments[0]
    gone, new = _changes(now, segments)
    note = _noted(now, named, note, new.passages)
    recent = _together([*(_rows(segment.fields) for segment in segments[1:]), new])
    anew = note | {"base": secrets.token_hex(8)}
    if len(gone) * DEAD > len(base):
        return (Segment(_built(_together([_rows(base.fields), recent], gone)), _NONE, anew),)
    if len(recent.passages) > max(RECENT[0], len(base) // RECENT[1]):
        return (Segment(_grown(base.fields, recent), gone, anew),)
    return base, Segment(_built(recent), gone, note)


def _same_history(now: Snapshot, note: Mapping[str, Any]) -> bool:
    """Tell whether passages are still those that they were: an older copy put back gives numbers a second time."""
    texts: Mapping[str, str] = note["texts"]
    present = now.texts([int(number) for number in texts])
    return bool(present) and all(texts[str(number)] == text for number, text in present.items())


def _changes(now: Snapshot, segments: tuple[Segment, ...]) -> tuple[Ids, _Rows]:
    """Return the passages of the segments that are gone, and the rows that no segment has."""
    note = segments[-1].note
    last, ground = note["last"], note["ground"]
    if asdict(now.ground(last, _whole(note))) == ground:
        return segments[-1].gone, _after(now, last)
    known = np.concatenate([part.passages for segment in segments for part in segment.fields.values()])
    passages = now.numbers()
    fresh = np.setdiff1d(passages, known)
    if not len(fresh):
        return np.setdiff1d(known, passages), _after(now, int(passages[-1]) if len(passages) else 0)
    new = _after(now, int(fresh[0]) - 1)
    chosen = np.isin(new.passages, fresh)
    new = _Rows(new.passages[chosen], new.adapters[chosen], new.fields[chosen], new.vectors[chosen])
    return np.setdiff1d(known, passages), new


def _after(now: Snapshot, last: int) -> _Rows:
    return _Rows(*now.rows(last), now.load(last))


def _noted(now: Snapshot, named: Mapping[str, str], before: Mapping[str, Any], new: Ids) -> dict[str, Any]:
    """Return the note of segments that have these rows beside those of before."""
    last = int(max([before.get("last", 0), *new[-1:]]))
    told = sorted({*_spread(sorted(map(int, before.get("texts", ())))), *_spread(new.tolist())})
    return {
        **named,
        "base": before["base"],
        "state": now.state,
        "last": last,
        "ground": asdict(now.ground(last, _whole(before))),
        "texts": {str(number): text for number, text in now.texts(told).items()},
    }


def _spread(numbers: Sequence[int]) -> list[int]:
    """Return a few of the numbers, from the first to the last: the latest alone are those that change next."""
    places = np.unique(np.linspace(0, len(numbers) - 1, _TEXTS, dtype=int)) if numbers else ()
    return [numbers[place] for place in places]


def _whole(note: Mapping[str, Any]) -> int:
    """Return up to which passage none lacks its vector."""
    return 0 if "ground" not in note or note["ground"]["lacking"] else int(note["last"])


def _rows(fields: Mapping[str, Field]) -> _Rows:
    return _together(
        _Rows(part.passages, part.adapters, np.full(len(part.passages), name), part.index.vectors())
        for name, part in fields.items()
    )


def _together(several: Iterable[_Rows], gone: Ids = _NONE) -> _Rows:
    """Return all rows save those of passages that are gone."""
    parts = [part for part in several if len(part.passages)]
    if not parts:
        return _Rows(_NONE, _NONE, np.empty(0, np.str_), np.empty((0, 0), np.float16))
    if len(gone):
        keeps = [~np.isin(part.passages, gone) for part in parts]
        parts = [
            _Rows(part.passages[keep], part.adapters[keep], part.fields[keep], part.vectors[keep])
            for part, keep in zip(parts, keeps, strict=True)
        ]
    return _Rows(
        np.concatenate([part.passages for part in parts]),
        np.concatenate([part.adapters for part in parts]),
        np.concatenate([part.fields for part in parts]),
        np.concatenate([part.vectors for part in parts]),
    )


def _built(rows: _Rows) -> dict[str, Field]:
    places = {str(name): rows.fields == name for name in np.unique(rows.fields)}
    return {
        name: Field(FaissIndex.build(rows.vectors[place]), rows.passages[place], rows.adapters[place])
        for name, place in places.items()
    }


def _grown(fields: Mapping[str, Field], more: _Rows) -> dict[str, Field]:
    grown = dict(fields)
    for name in map(str, np.unique(more.fields)):
        place = more.fields == name
        if name not in fields:
            grown |= _built(_Rows(more.passages[place], more.adapters[place], more.fields[place], more.vectors[place]))
            continue
        part = fields[name]
        grown[name] = Field(
            part.index.grown(more.vectors[place]),
            np.concatenate([part.passages, more.passages[place]]),
            np.concatenate([part.adapters, more.adapters[place]]),
        )
    return grown
