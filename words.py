"""Words: how a text of any script is cut, the same way when it is written, asked for and shown."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from functools import lru_cache
from itertools import pairwise

_FUNCTION = """
a an the and or but of in on at by to from with without for into onto over under up down out off as is are was be being
it its he she his her they their this that these those there very some any no not
"""
FUNCTION_WORDS = frozenset(_FUNCTION.split())
"""English words that say nothing of what a picture shows."""

# What is written above and below letters: accents, Hebrew points, Arabic vowels; and what only stretches a word.
_ACCENTS = {
    code: None
    for code in (*range(0x300, 0x370), *range(0x591, 0x5C8), *range(0x610, 0x671))
    if unicodedata.category(chr(code)) == "Mn" or code == 0x640
}

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

_UNSPACED_LETTER = f"[{''.join(f'{chr(script.start)}-{chr(script.stop - 1)}' for script in _UNSPACED)}]"
# `_Letters` stands each of them between spaces, so two spaces are between neighbours, and more where something was.
_TERM = re.compile(rf"{_UNSPACED_LETTER}(?:  {_UNSPACED_LETTER})*|{_WORD.pattern}")
_VOICED = "\u3099\u309a"  # marks that stand behind the kana they voice, where these are decomposed
_PLACE = re.compile(
    rf"{_UNSPACED_LETTER}[{_VOICED}]?|(?:(?!{_UNSPACED_LETTER})[^\W_]|[{''.join(map(chr, _ACCENTS))}{_VOICED}])+"
)

_OFTEN = 16


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


def terms(text: str) -> list[str]:
    """Cut a text into words as `words` does, and add the pairs of neighbours of scripts without spaces.

    A character alone says little: 山 stands in a thousand names. A pair of them is about what a word is elsewhere. The
    pairs of a run stand behind its characters.

    >>> terms("赛博朋克 city")
    ['赛', '博', '朋', '克', '赛博', '博朋', '朋克', 'city']
    >>> terms("a red_fox, 山 水")
    ['a', 'red', 'fox', '山', '水']
    """
    if not text.isascii():
        text = _BEYOND_ASCII.sub(_fold, text)
        if not text.isascii():
            return [term for run in _TERM.findall(text.lower()) for term in _characters_and_pairs(run)]
    return text.lower().translate(_LETTERS).split()


def with_pairs(cut: Sequence[str]) -> list[str]:
    """Return words with the pairs of neighbours of scripts without spaces behind them: of a kept text, its `terms`.

    What stood between two words is not known any more, so that there are pairs across a comma, too.

    >>> with_pairs(["赛", "博", "city"])
    ['赛', '博', 'city', '赛博']
    """
    whole = list(cut)
    if "".join(whole).isascii():
        return whole
    alone = [len(word) == 1 and len(_LETTERS[ord(word)]) > 1 for word in whole]
    pairs = (at for at in range(len(whole) - 1) if alone[at] and alone[at + 1])
    return whole + [whole[at] + whole[at + 1] for at in pairs]


def _characters_and_pairs(run: str) -> list[str]:
    characters = run.split("  ")
    if len(characters) == 1:
        return characters
    return characters + [before + after for before, after in pairwise(characters)]


def places(text: str) -> list[tuple[str, int, int]]:
    """Return (word, start, end) of each word, so that what matched can be shown as it was written.

    >>> places("Café, 山水")
    [('cafe', 0, 4), ('山', 6, 7), ('水', 7, 8)]
    """
    return [(word, run.start(), run.end()) for run in _PLACE.finditer(text) for word in words(run.group(0))]


def _fold(run: re.Match[str]) -> str:
    text = run[0]
    return _fold_often(text) if len(text) < _OFTEN else _fold_text(text)


def _fold_text(text: str) -> str:
    decomposed = unicodedata.normalize("NFD", unicodedata.normalize("NFKC", text).casefold())
    # Composed again before it is cut, so that a Hangul syllable is one character.
    return unicodedata.normalize("NFC", decomposed.translate(_ACCENTS)).translate(_LETTERS)


# Most runs are a curly quote, a dash or a short word, met again and again.
_fold_often = lru_cache(maxsize=20_000)(_fold_text)
