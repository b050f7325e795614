"""What a fetched file is called here: a name that strangers gave, made into one that every system takes."""

from __future__ import annotations

import re
import unicodedata
from typing import Final

SUFFIX: Final = ".safetensors"

_MOST: Final = 180
"""Bytes of the name less its suffix; file systems take 255 in all, and ours puts endings behind it."""
_FORBIDDEN: Final = frozenset('/\\:*?"<>|%')
"""What Windows refuses, what divides folders, and what tools spell other characters by."""
_RESERVED: Final = re.compile(
    r"(?:con|prn|aux|nul|conin\$|conout\$|clock\$|com[0-9¹²³]|lpt[0-9¹²³])(?:\..*)?", re.IGNORECASE
)


def safe_file_name(name: str | None, otherwise: str) -> str:
    r"""Return a name for a file: one piece, printable, short, of no device, and ending in `.safetensors`.

    Args:
        name: What the site calls it.
        otherwise: What it is called where nothing is left of that.

    >>> safe_file_name("../../etc/red fox.safetensors", "7"), safe_file_name("CON.safetensors", "7")
    ('red fox.safetensors', '_CON.safetensors')
    >>> safe_file_name("a\x00b\u202e\uff0fc.pt. .", "7"), safe_file_name("..", "civitai-7")
    ('ab_c.pt.safetensors', 'civitai-7.safetensors')
    """
    text = unicodedata.normalize("NFC", name or "")
    last = re.split(r"[\\/]", text)[-1]
    kept = "".join(_fit(letter) for letter in last[: 4 * _MOST] if letter.isprintable())
    stem = " ".join(kept.split()).strip(". ").removesuffix(SUFFIX)
    if stem.lower().endswith(SUFFIX):
        stem = stem[: -len(SUFFIX)]
    # A dash in front reads as an option, a dot hides, and Windows drops dots and spaces at the end.
    stem = stem.lstrip("-~. ").encode()[:_MOST].decode(errors="ignore").rstrip(". ")
    if not any(letter.isalnum() for letter in stem):
        stem = otherwise
    return f"{'_' if _RESERVED.fullmatch(stem) else ''}{stem}{SUFFIX}"


def _fit(letter: str) -> str:
    """Return a letter, or `_` for what is forbidden and for what only looks like it, such as a wide slash."""
    if letter in _FORBIDDEN or (not letter.isascii() and _looks_forbidden(letter)):
        return "_"
    return letter


def _looks_forbidden(letter: str) -> bool:
    return letter in "\u2044\u2215\u2216\u29f5\u29f8\ua789" or bool(
        (_FORBIDDEN | {"."}) & set(unicodedata.normalize("NFKC", letter))
    )
