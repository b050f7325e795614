"""The ranked lists by page, so that the versions of one page take one place."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

import numpy as np

from ..records import Id
from .lists import Lists

if TYPE_CHECKING:
    from ..protocols import Ids

_ALIKE: Final = 0.8
"""Share of the best BM25 score that fits as well,"""
_NEAR: Final = 0.1
"""and how much less of a cosine does."""

Page = tuple[Id, bool]
"""A page, and whether these members of it are allowed."""


class Paged:
    """The lists by page, each page with its best member's score, so that ninety versions do not fill a list.

    What is not allowed keeps its place in the ranks, apart from the allowed members of its page.
    """

    def __init__(self, lists: Lists, pages: Mapping[int, Id], allowed: Ids | None) -> None:
        found = list(dict.fromkeys(adapter for scores in lists.scores.values() for adapter in scores))
        passes = [True] * len(found) if allowed is None else np.isin(found, allowed).tolist()
        self._page_of = {
            adapter: (pages.get(adapter, -adapter), may) for adapter, may in zip(found, passes, strict=True)
        }
        self.members: dict[Page, list[int]] = {}
        for adapter, page in self._page_of.items():
            self.members.setdefault(page, []).append(adapter)
        self.scores = {name: self._by_page(scores) for name, scores in lists.scores.items()}

    def _by_page(self, scores: Mapping[int, float]) -> dict[Page, float]:
        pages: dict[Page, float] = {}
        for adapter, score in scores.items():
            page = self._page_of[adapter]
            if score > pages.get(page, float("-inf")):
                pages[page] = score
        return pages


def representative(members: list[int], lists: Lists) -> int:
    """Return the page's member that fits best; among those that fit about as well the first listed.

    Versions differ in a few words, and a shorter page alone makes BM25 score a little higher: that is no reason to
    take a snapshot of the training before the version that its maker shows first.
    """
    words = max(lists.words.get(adapter, 0.0) for adapter in members)
    prompts = max(lists.prompts.get(adapter, 0.0) for adapter in members)

    def fit(adapter: int) -> tuple[float, bool, bool, int]:
        return (
            round(lists.triggers.get(adapter, 0.0), 3),
            lists.words.get(adapter, 0.0) >= _ALIKE * words,
            lists.prompts.get(adapter, 0.0) >= prompts - _NEAR,
            -adapter,
        )

    return max(members, key=fit)
