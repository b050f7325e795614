"""Words: how texts are cut, the same way when they are written and when they are asked for."""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

from ..records import AdapterRecord

COLUMNS = ("title", "triggers", "tags", "description", "prompts", "names")
"""The columns of words of an adapter. `names` holds the version's name, the file's stem and the creator."""

LONGEST = 100_000
"""Characters of a column that are searchable; what an honest page says ends long before."""

_TRAINING_TAGS = 40
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

# In a prompt `<lora:name:0.8>` names another file, and `:1.2` is an emphasis.
_MARKUP = re.compile(r"<[^<>]*>|:\s*-?\d*\.?\d+")
_SUFFIX = re.compile(r"\.(?:safetensors|ckpt|pt|pth|bin)$", re.IGNORECASE)


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


def stem(file_name: str) -> str:
    """Return a file's name without its folders and without the suffix of a weights file.

    >>> stem("styles/ink.v2.safetensors"), stem("ink.v2")
    ('ink.v2', 'ink.v2')
    """
    return _SUFFIX.sub("", re.split(r"[\\/]", file_name)[-1])


def texts(record: AdapterRecord, description: str | None) -> tuple[str, ...]:
    """Return the words of each of `COLUMNS`, joined by single spaces.

    Args:
        record: The adapter.
        description: What a describer wrote about it.
    """
    prompts = dict.fromkeys(example.prompt for example in record.examples if example.prompt)
    tags = (*record.tags, *(tag for tag, _ in record.training_tags[:_TRAINING_TAGS]))
    columns = (
        (record.title,),
        (phrase for group in record.triggers for phrase in group),
        tags,
        (record.description, record.notes, description),
        (_MARKUP.sub(" ", prompt[:LONGEST]) for prompt in prompts),
        (record.version_name, stem(record.file_name or ""), record.creator),
    )
    return tuple(" ".join(words("\n".join(filter(None, parts))[:LONGEST])) for parts in columns)


def _fold(run: re.Match[str]) -> str:
    text = run[0]
    return _fold_often(text) if len(text) < _OFTEN else _fold_text(text)


def _fold_text(text: str) -> str:
    decomposed = unicodedata.normalize("NFD", unicodedata.normalize("NFKC", text).casefold())
    # Composed again before it is cut, so that a Hangul syllable is one character.
    return unicodedata.normalize("NFC", decomposed.translate(_ACCENTS)).translate(_LETTERS)


# Most runs are a curly quote, a dash or a short word, met again and again.
_fold_often = lru_cache(maxsize=20_000)(_fold_text)
