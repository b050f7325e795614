"""Words: how a text of any script is cut, the same way when it is written, asked for and shown."""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

_FUNCTION = """
a an the and or but of in on at by to from with without for into onto over under up down out off as is are was be being
it its he she his her they their this that these those there very some any no not
"""
FUNCTION_WORDS = frozenset(_FUNCTION.split())
"""English words that say nothing of what a picture shows."""

_ACCENTS = dict.fromkeys(range(0x300, 0x370))

# Scripts written without spaces: each character is a word, and a run of them is found as a phrase.
_UNSPACED = (
    range(0x0E00, 0x0F00),  # Thai, Lao
    range(0x1000, 0x10A0),  # Burmese
    range(0x1780, 0x1800),  # Khmer
    range(0x2E80, 0xA000),  # radicals, kana, bopomofo, Han
    range(0xAC00, 0xD7B0),  # Hangul syllables: particles stick to the words
    range(0xF900, 0xFB00),
    range(0x20000, 0x32000),
)

_BEYOND_ASCII = re.compile(r"[^\x00-\x7f]+")
_WORD = re.compile(r"[a-z0-9\x80-\U0010ffff]+")  # after folding, nothing beyond ASCII separates

_OFTEN = 16
_RUN = re.compile(r"[^\W_]+")


class _Letters(dict[int, str]):
    """What becomes of each character; worked out when it is first met."""

    def __missing__(self, code: int) -> str:
        character = chr(code)
        category = unicodedata.category(character)[0]
        if category not in "LMN":
            becomes = " "
        elif any(code in script for script in _UNSPACED):
            becomes = f" {character} "
        else:
            becomes = character
        self[code] = becomes
        return becomes


_LETTERS = _Letters()


def words(text: str) -> list[str]:
    """Cut a text of any script into lower-case words without accents.

    Underscores and punctuation separate; scripts without spaces are cut into characters.

    >>> words("Add_Detail, café (细节:1.2)")
    ['add', 'detail', 'cafe', '细', '节', '1', '2']
    """
    if not text.isascii():
        text = _BEYOND_ASCII.sub(_fold, text)
        if not text.isascii():
            return _WORD.findall(text.lower())
    return text.lower().translate(_LETTERS).split()


def places(text: str) -> list[tuple[str, int, int]]:
    """Return (word, start, end) of each word, so that what matched can be shown as it was written.

    >>> places("Café, 山水")
    [('cafe', 0, 4), ('山', 6, 7), ('水', 7, 8)]
    """
    found: list[tuple[str, int, int]] = []
    for run in _RUN.finditer(text):
        cut = words(run.group(0))
        if len(cut) > 1 and len(cut) == len(run.group(0)):
            found += [(word, run.start() + place, run.start() + place + 1) for place, word in enumerate(cut)]
        else:
            found += [(word, run.start(), run.end()) for word in cut]
    return found


def _fold(run: re.Match[str]) -> str:
    text = run[0]
    return _fold_often(text) if len(text) < _OFTEN else _fold_text(text)


def _fold_text(text: str) -> str:
    decomposed = unicodedata.normalize("NFD", unicodedata.normalize("NFKC", text).casefold())
    # Composed again before it is cut, so that a Hangul syllable is one character.
    return unicodedata.normalize("NFC", decomposed.translate(_ACCENTS)).translate(_LETTERS)


# Most runs are a curly quote, a dash or a short word, met again and again.
_fold_often = lru_cache(maxsize=20_000)(_fold_text)
