"""The grammar of prompts as people write them.

Tag lists, natural sentences, emphasis `(word:1.2)`, `((word))`, `[word]`, `1.2::word::`, scheduling `[from:to:0.5]`,
alternation `[a|b]` and `{a|b}`, wildcards `__name__`, `BREAK` and `AND`, escaped brackets, and adapters pinned by hand
as `<lora:name:0.8>` (A1111's `modules/extra_networks.py`). Every reading takes time linear in the prompt's length.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from decimal import Decimal

_TAG = re.compile(r"<(\w+):([^<>]*)>")
_ARGUMENTS = re.compile(r":|;(?=[a-z]+=)")
_PIECE = re.compile(r"\\[()\[\]{}\\]|[()\[\]{}|:]|[^()\[\]{}|:\\]+|\\")
_CLOSES = {")": "(", "]": "[", "}": "{"}
_WEIGHT = re.compile(r"\s*[+-]?(?:\d+(?:\.\d*)?|\.\d+)\s*")
_WEIGHT_INSIDE = re.compile(r"\s*[+-]?\d?\.\d{1,4}\s*(?=,)")
_DOUBLED = re.compile(r"(?<![\w.])(?:-?[\d.]{1,8}::|\d{1,3}(?:-\d{1,3})?\$\$)|::")
_WILDCARD = re.compile(r"__((?:[^\W_]|[-/*.]|_(?!_))+)__")
_BREAK = re.compile(r"\b(?:BREAK|ADD(?:COMM|BASE|COL|ROW))\b")  # the latter are Regional Prompter's
_AND = re.compile(r"\bAND\b")
_SPLIT = re.compile(r"[,;|、，；،؛。！？।]|(?<=[.!?؟])\s+")
_QUOTED = re.compile(r"[\"“”]([^\"“”]*)[\"“”]")
_SPACE = re.compile(r"\s+")
_WEIGHTED = re.compile(r"^\(.*:\s*-?[\d.]+\s*\)$", re.DOTALL)
# Of a text with single spaces: on others these would take quadratic time.
_COMMA = re.compile(r" ?,(?: ?,)* ?")
_COMMAS = re.compile(r" ?,(?: ?,)+ ?")


@dataclass(frozen=True, slots=True)
class Pinned:
    """An adapter that the writer named by hand."""

    name: str
    """File stem or alias, as written."""
    weight: float
    """The UNet's; where the tag gives the text encoder's alone, that. Of weights by step it is the strongest."""


def pinned(prompt: str) -> tuple[Pinned, ...]:
    """Return the adapters that the prompt names by `<lora:...>` or `<lyco:...>`, in order, each name once.

    Weights may change over the steps, `weight@step,weight@step` (sd-webui-loractl): the strongest is what the adapter
    was meant to reach.

    >>> pinned("a fox <lora:foxy:0.7> <lora:ink:1:0.5> <lora:plain> <hypernet:x:1>")
    (Pinned(name='foxy', weight=0.7), Pinned(name='ink', weight=0.5), Pinned(name='plain', weight=1.0))
    >>> pinned("<lora:late:0@0,0.8@0.5,0.3@1> <lora:named:te=0.2:unet=0.6>")
    (Pinned(name='late', weight=0.8), Pinned(name='named', weight=0.6))
    """
    found: dict[str, Pinned] = {}
    for kind, body in _TAG.findall(prompt):
        if kind.lower() not in ("lora", "lyco"):
            continue
        name, *arguments = (argument.strip() for argument in _ARGUMENTS.split(body))
        if name:
            found.setdefault(name, Pinned(name=name, weight=_unet(arguments)))
    return tuple(found.values())


def without_tags(prompt: str) -> str:
    """Return the prompt less its `<kind:...>` tags, as the text encoder must see it.

    >>> without_tags("a fox, <lora:foxy:0.7>, in (deep:1.2) snow")
    'a fox, in (deep:1.2) snow'
    """
    text = _TAG.sub("", prompt)
    if text == prompt:
        return prompt
    text = _SPACE.sub(" ", text)
    return _COMMAS.sub(", ", text).strip().strip(",").strip()


def plain_text(prompt: str) -> str:
    r"""Return the words of the prompt: no tags, no emphasis, no brackets but the escaped ones.

    Of scheduled and of alternating words all are there, between commas.

    >>> plain_text(r"(masterpiece:1.2), [[blurry]] fox \(animal\), <lora:x:1> BREAK snow_field")
    'masterpiece, blurry fox (animal), snow_field'
    >>> plain_text("a [red fox:grey wolf:0.5] by a [lake|river] at __time__")
    'a red fox, grey wolf by a lake, river at time'
    """
    text = _BREAK.sub(", ", _TAG.sub(" ", prompt))
    parts = _AND.split(text)
    if len(parts) > 1:
        text = ", ".join(part[: _end_less_weight(part)] for part in parts)
    text = _less_brackets(text)
    if "::" in text or "$$" in text:
        text = _DOUBLED.sub(lambda mark: ", " if mark[0] == "::" else "", text)
    if "__" in text:
        text = _WILDCARD.sub(r"\1", text)
    return _COMMA.sub(", ", _SPACE.sub(" ", text)).strip().strip(",").strip()


def phrases(prompt: str) -> tuple[str, ...]:
    """Return the prompt's phrases in order, each once: what stands between commas, breaks and full stops.

    >>> phrases("a fox in snow, (ink:1.2), BREAK ink. Moonlight above")
    ('a fox in snow', 'ink', 'ink.', 'Moonlight above')
    """
    parts = (part.strip() for part in _SPLIT.split(plain_text(prompt)))
    return tuple(dict.fromkeys(part for part in parts if part))


def encodable(text: str) -> str:
    r"""Return the text with a question mark for each half of a surrogate pair, which cannot be sent nor tokenised.

    >>> encodable("a \ud83d fox")
    'a ? fox'
    """
    return text.encode("utf-8", "replace").decode("utf-8")


def quoted(text: str) -> tuple[str, ...]:
    """Return what stands between double quotes, each once and none that is empty.

    >>> quoted('a fox, "ink wash" and “red fox”, 6" wide')
    ('ink wash', 'red fox')
    """
    return tuple(dict.fromkeys(part.strip() for part in _QUOTED.findall(text) if part.strip()))


def _less_brackets(text: str) -> str:
    """Take brackets away with what they say of weights and steps, and unescape those that are meant."""
    kept: list[str] = []
    opened: list[str] = []
    marks: list[int] = []  # places of the colons and bars in what is open,
    starts: list[int] = []  # and how many of them stood there when each bracket opened
    counts = dict.fromkeys(_CLOSES.values(), 0)
    was_bracket = False
    for piece in _PIECE.findall(text):
        after_bracket, was_bracket = was_bracket, piece in counts or piece in _CLOSES
        if after_bracket and kept and _in_a_word(kept[-1][-1]) and _in_a_word(piece[0]):
            kept.append(" ")  # `mei(mha)` is two words to whoever reads emphasis
        if piece in counts:
            opened.append(piece)
            starts.append(len(marks))
            counts[piece] += 1
        elif piece in _CLOSES:
            weighted = piece != "}" and _drop_weight(kept)
            kind = ""
            # What was opened in between and never closed is text.
            while counts[_CLOSES[piece]] and kind != _CLOSES[piece]:
                kind = opened.pop()
                counts[kind] -= 1
                if kind in ("[", "{") and kind == _CLOSES[piece]:
                    _separate(kept, marks[starts[-1] :], ":|" if weighted else "|")
                del marks[starts.pop() :]
        else:
            if opened and piece in (":", "|"):
                marks.append(len(kept))
            elif opened and kept[-1:] == [":"] and (weight := _WEIGHT_INSIDE.match(piece)):
                kept.pop()
                piece = piece[weight.end() :]
            kept.append(piece[1:] if len(piece) == 2 and piece[0] == "\\" else piece)
    return "".join(kept)


def _in_a_word(letter: str) -> bool:
    """Say whether a letter is one of a script that writes spaces between words."""
    return letter.isalnum() and letter < "\u2e80"


def _drop_weight(kept: list[str]) -> bool:
    """Take `:1.2` from the end; say whether there was any."""
    before = len(kept)
    while len(kept) > 1 and kept[-2] == ":" and _WEIGHT.fullmatch(kept[-1]):
        del kept[-2:]
    return len(kept) < before


def _separate(kept: list[str], marks: list[int], separators: str) -> None:
    """Put commas for those of the marks that separate."""
    for place in marks:
        if place < len(kept) and kept[place] in separators:
            kept[place] = ", "


def _end_less_weight(text: str) -> int:
    """Return where a text ends without the `:1.2` that may stand last in it."""
    colon = text.rfind(":")
    return colon if colon >= 0 and _WEIGHT.fullmatch(text, colon + 1) else len(text)


def _unet(arguments: list[str]) -> float:
    """Return the UNet's weight of a tag's arguments, as A1111 reads them: by place the text encoder's, then the UNet's.

    A missing one of the UNet is the text encoder's, and that is 1 when it is missing, too.
    """
    numbers = [number for argument in arguments if "=" not in argument and (number := _number(argument)) is not None]
    named = {key.strip().lower(): _number(value) for key, _, value in (a.partition("=") for a in arguments)}
    for weight in (named.get("unet"), *numbers[1:2], named.get("te"), *numbers[:1]):
        if weight is not None:
            return weight
    return 1.0


def _number(text: str) -> float | None:
    """Return a weight; of several by step, such as `0@0,0.8@0.5`, the strongest."""
    if "@" not in text:
        return _finite(text)
    weights = (_finite(part.partition("@")[0]) for part in re.split("[,;]", text))
    return max((weight for weight in weights if weight is not None), key=abs, default=None)


def _finite(text: str) -> float | None:
    try:
        number = float(text.strip())
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def escaped(phrase: str, brackets: str = "()[]") -> str:
    r"""Escape brackets of a name, such as a trigger phrase, unless they are escaped already or give a weight.

    >>> escaped("saber (fate)"), escaped(r"saber \(fate\)"), escaped("(ink wash:1.2)"), escaped("a [b]", "()")
    ('saber \\(fate\\)', 'saber \\(fate\\)', '(ink wash:1.2)', 'a [b]')
    """
    if not brackets or _WEIGHTED.match(phrase):
        return phrase
    return re.sub(rf"(?<!\\)([{re.escape(brackets)}])", r"\\\1", phrase)


def decimal(number: float) -> str:
    """Write a number without an exponent, which most readers of tags do not know.

    >>> decimal(0.8), decimal(1e-9), decimal(-2.0), decimal(0.0)
    ('0.8', '0.000000001', '-2', '0')
    """
    text = format(Decimal(repr(float(number))), "f")
    return text.rstrip("0").rstrip(".") if "." in text else text
