"""What was found by page, so that the versions of one page take one place."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import numpy as np

from .lists import DEPTH, Lists, top

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..protocols import Ids
    from .corpus import Corpus, Mask, Rows
    from .postings import Scores

_ALIKE: Final = 0.8
"""Share of the best BM25 score that fits as well,"""
_NEAR: Final = 0.1
"""and how much less of a cosine does."""
_RANK: Final = 10.0


class Paged:
    """Rows in groups, one for each page."""

    def __init__(self, corpus: Corpus, rows: Rows) -> None:
        pages = corpus.page_of[rows]
        order = np.lexsort((rows, pages))
        self._rows, pages = rows[order], pages[order]
        starts = np.flatnonzero(np.diff(pages, prepend=-1))
        self.pages = pages[starts]
        """The page of each group."""
        self._starts: NDArray[np.int64] = np.append(starts, len(rows))

    def __len__(self) -> int:
        return len(self.pages)

    def members(self, group: int) -> list[int]:
        """Return the rows of a group, ascending."""
        members: list[int] = self._rows[self._starts[group] : self._starts[group + 1]].tolist()
        return members

    def best(self, scores: Scores) -> Scores:
        """Return the greatest score of each group."""
        if not len(self):
            return np.empty(0)
        best: Scores = np.maximum.reduceat(scores[self._rows], self._starts[:-1])
        return best


def ranks(corpus: Corpus, scores: Scores, asked: Scores, present: Mask) -> Scores:
    """Return 10 / (10 + rank) of scores among those of all pages; 0 beyond the depth of a list.

    Equal scores share the better rank.

    Args:
        corpus: The catalogue.
        scores: One for each row.
        asked: The scores to be ranked.
        present: The rows among which they are ranked.
    """
    best = Paged(corpus, top(scores, present, DEPTH)).best(scores)
    if not len(best):
        return np.zeros(len(asked))
    best.sort()
    above = len(best) - np.searchsorted(best, asked, side="right")
    return np.where(asked >= best[0], _RANK / (_RANK + above), 0.0)


def representative(members: Sequence[int], lists: Lists, numbers: Ids) -> int:
    """Return the page's row that fits best; among those that fit about as well that of the least catalogue number.

    Versions differ in a few words, and a shorter page alone makes BM25 score a little higher: that is no reason to
    take a snapshot of the training before the version that its maker shows first.
    """
    if len(members) == 1:
        return members[0]
    words = max(lists.words[row] for row in members)
    prompts = max(lists.prompts[row] for row in members)

    def fit(row: int) -> tuple[float, bool, bool, int]:
        return (
            round(lists.triggers.get(row, 0.0), 3),
            bool(lists.words[row] >= _ALIKE * words),
            bool(lists.prompts[row] >= prompts - _NEAR),
            -int(numbers[row]),
        )

    return max(members, key=fit)
