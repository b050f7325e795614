r"""Trigger words as alternative groups of phrases.

Pages state them as a list, and use it in two ways: as alternatives (a character and her outfits, or ninety
characters) and as parts of one description (`lumine`, `blonde hair`, `yellow eyes`). Nothing on the page tells
which. Every entry of the list is taken as one alternative, because the two mistakes do not weigh the same: a part
taken alone still brings the adapter to life (the naming part mostly stands first), while ninety characters taken
together spoil the picture. Only commas inside one entry, which the author wrote in one breath, keep phrases
together.

A phrase is plain words. Emphasis is gone and escapes are undone, so `celia \(walkure\)` reads `celia (walkure)`:
whatever brackets are left are part of the name, and who writes a prompt for a program that reads brackets as
emphasis must escape them again.
"""

from __future__ import annotations

import re

from .text import clean_text

_GROUPS = 200
_PHRASES = 60
_PHRASE_LENGTH = 200
_ENTRY_LENGTH = 4000

_PLAIN = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_ '-]*")
_TAG = re.compile(r"<\s*\w+\s*:[^<>]*>?|</?\w+>")
_ALTERNATIVES = re.compile(r"\s*\|\|\s*")
_COMMAS = re.compile("[,;\n、\uff0c\uff1b]|\\bBREAK\\b|\\bAND\\b")
_WEIGHT = re.compile(r"\s*:\s*[+-]?(?:\d+\.?\d*|\.\d+)\s*(?=[)\]}])")
_BARE_WEIGHT = re.compile(r"\s*:\s*[+-]?\d*\.\d+$")
_ESCAPES = str.maketrans({"(": "\x01", ")": "\x02", "[": "\x03", "]": "\x04", "{": "\x05", "}": "\x06"})
_ESCAPED = re.compile(r"\\([()\[\]{}])")
_LITERALS = str.maketrans({"\x01": "(", "\x02": ")", "\x03": "[", "\x04": "]", "\x05": "{", "\x06": "}", "\\": None})
_WRAPPED = re.compile(r"([(\[{]+)([^()\[\]{}]*)([)\]}]+)")
_JUNK = re.compile(
    r"[\W_]{0,2}|[-.*_ ]*|.*\.(?:safetensors|pt|ckpt|bin|pth)|https?:.*|www\..*|none|null|nan|n/?a|nothing|no|"
    r"(?:no|none) triggers?(?: words?)?(?: needed| required)?|not (?:needed|required)",
    re.IGNORECASE,
)
# Brackets of an East Asian keyboard.
_WIDE = str.maketrans("\uff08\uff09\uff3b\uff3d", "()[]")


def trigger_groups(words: object) -> tuple[tuple[str, ...], ...]:
    r"""Return the alternative groups that a list of trigger words, or one string of them, states.

    Each entry of a list, and each side of ` || `, is a group; its commas part the phrases. Adapter tags, emphasis,
    file names, empty and repeated phrases (whatever their case) are dropped.

    >>> trigger_groups(["foxy, red fur,", "FOXY, red fur", "<lora:foxy:1>", r"celia \(walkure\)", "(ink:1.2) || wash"])
    (('foxy', 'red fur'), ('celia (walkure)',), ('ink',), ('wash',))
    >>> trigger_groups(None), trigger_groups({"no": "list"})
    ((), ())
    """
    entries = words if isinstance(words, list | tuple) else (words,)
    groups: dict[tuple[str, ...], tuple[str, ...]] = {}
    for entry in entries[: _GROUPS * 2]:
        if isinstance(entry, str) and len(entry) <= _PHRASE_LENGTH and _PLAIN.fullmatch(entry):
            alternatives = [entry]
        else:
            alternatives = _ALTERNATIVES.split(_TAG.sub(" ", clean_text(entry, _ENTRY_LENGTH) or ""))
        for alternative in alternatives:
            group = _phrases(alternative)
            if group:
                groups.setdefault(tuple(phrase.casefold() for phrase in group), group)
    return tuple(groups.values())[:_GROUPS]


def _phrases(text: str) -> tuple[str, ...]:
    if "\\" in text:
        text = _ESCAPED.sub(lambda escaped: escaped.group(1).translate(_ESCAPES), text)
    found: dict[str, str] = {}
    for part in _COMMAS.split(_WEIGHT.sub("", text.translate(_WIDE))):
        phrase = _phrase(part)
        if phrase and not _JUNK.fullmatch(phrase):
            found.setdefault(phrase.casefold(), phrase)
    return tuple(found.values())[:_PHRASES]


def _phrase(part: str) -> str:
    phrase = " ".join(part.split())
    if wrapped := _WRAPPED.fullmatch(phrase):
        phrase = wrapped.group(2)
    elif _brackets(phrase, "([{") != _brackets(phrase, ")]}"):
        # Half of an emphasis that spans several phrases.
        phrase = phrase.lstrip("([{") if _brackets(phrase, "([{") else phrase.rstrip(")]}")
    phrase = _BARE_WEIGHT.sub("", phrase).translate(_LITERALS)
    return phrase.strip(' .:"“”`*')[:_PHRASE_LENGTH].strip()


def _brackets(text: str, kinds: str) -> int:
    return sum(map(text.count, kinds))
