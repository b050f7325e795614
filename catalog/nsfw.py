"""How explicit a thing is, in Civitai's bits: 1 PG, 2 PG13, 4 R, 8 X, 16 XXX, 32 blocked.

Unrated is None, and is not safe. The forms that levels come in:

- the integer of today (`nsfwLevel`, `browsingLevel`): one bit, or the OR of several; 0 is unrated;
- the words of 2023 and of `/api/v1/images` (`None`, `Soft`, `Mature`, `X`, `Blocked`). `X` then stood for all that
  lies beyond R, so it is both 8 and 16;
- a page's flag. `true` tells only that something beyond PG13 is to be expected, so it is every bit from R to XXX.
  `false` is the page's word that nothing beyond PG13 is to be expected, and no more: PG and PG13 together, which a
  filter that lets only PG through does not accept. The flag is a default that nobody needs to have looked at, so
  readers use it only where nothing finer was rated.
"""

from __future__ import annotations

from collections.abc import Iterable

from ..records import BLOCKED, PG, PG13, XXX, R, X

_ALL = 63
_WORDS = {
    "none": PG,
    "pg": PG,
    "soft": PG13,
    "pg13": PG13,
    "pg-13": PG13,
    "mature": R,
    "r": R,
    "x": X | XXX,
    "xxx": XXX,
    "blocked": BLOCKED,
}


def read_nsfw(value: object) -> int | None:
    """Return the bits that a level of any form stands for, or None for unrated and for what is no level.

    >>> [read_nsfw(level) for level in (5, "Soft", "X", True, False, 0, None, "?", 2**70)]
    [5, 2, 24, 28, 3, None, None, None, None]
    """
    if isinstance(value, bool):
        return R | X | XXX if value else PG | PG13
    if isinstance(value, str):
        word = value.strip().lower()
        if not (word.isascii() and word.isdigit() and len(word) <= 2):
            return _WORDS.get(word)
        value = int(word)
    if isinstance(value, float) and value == value // 1:
        value = int(value)
    return value if isinstance(value, int) and 0 < value <= _ALL else None


def worst(levels: Iterable[int | None]) -> int | None:
    """Return the OR of the levels that are known, or None when none is.

    >>> worst([1, None, 4]), worst([None])
    (5, None)
    """
    total = 0
    for level in levels:
        total |= level or 0
    return total or None
