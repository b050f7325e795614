"""How the answer of a vision language model becomes a refinement: nothing of it is taken unseen.

A model that reads a hostile card may say anything. So triggers can only be chosen among the record's own, a weight only
within what the record speaks for, a category only of ours, and prose is plain, short, and without anything that a
prompt or a page would take for more than words.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Any, Final

from ..fenced import line
from ..records import CATEGORIES, FACETS, AdapterRecord, Refinement
from .vlm_text import GROUPS

_WEIGHTS: Final = (0.1, 1.5)
"""Between what a weight may be of which the record says nothing."""

_DESCRIPTION, _FACET, _AVOID, _EVIDENCE = 600, 100, 240, 160
_LONGEST: Final = 4_000
"""Characters of a text that is not an answer any more."""
_NUMBERS: Final = 1_000

_MARKUP: Final = re.compile(
    r"<\s*(?:lora|lyco|hypernet)[^<>]{0,200}>?"  # a prompt tag would lay an adapter on
    r"|<[/!?]?[a-zA-Z][^<>]{0,400}>"
    r"|!?\[(?P<named>[^\[\]]{0,200})\]\([^()\s]{0,400}\)"
    r"|(?:\bhttps?://|\bwww\.|\bdata:[a-z]+/|\bjavascript:)[^\s<>\"')]*"
    r"|\b(?:[a-z0-9-]{1,63}\.){1,4}[a-z]{2,10}/[^\s<>\"')]*"
    r"|[`*_~#|\\]{2,}|`",
    re.IGNORECASE,
)
_SENTENCE: Final = re.compile(r"[.!?](?=\s)|[。！？]")


def read_answer(answer: Any, record: AdapterRecord) -> Refinement:
    """Return the refinement that an answer holds; its writer is left open.

    What is out of bounds and can be left out is left out: a number of no trigger group, a weight beyond the evidence,
    links and markup.

    Raises:
        ValueError: The answer is none; says in words that a model understands what is wrong with it.
    """
    if not isinstance(answer, dict):
        raise ValueError("it is no JSON object")
    description = _shortened(_prose(answer, "description"), _DESCRIPTION)
    if not any(letter.isalnum() for letter in description):
        raise ValueError('"description" says nothing; say in one to three plain sentences what the adapter draws')
    weight = _weight(answer.get("weight"), record)
    evidence = _shortened(_prose(answer, "evidence"), _EVIDENCE)
    return Refinement(
        description=description,
        category=_category(answer.get("category")),
        facets=_facets(answer.get("facets")),
        avoid=_shortened(_prose(answer, "avoid"), _AVOID) or None,
        triggers=_triggers(answer.get("triggers"), record.triggers),
        weight=weight,
        evidence=(evidence or None) if weight is not None else None,
    )


def _prose(answer: dict[str, Any], name: str) -> str:
    """Return a text of the answer as one plain line; null is an empty one."""
    text = answer.get(name)
    if text is None:
        return ""
    if not isinstance(text, str):
        raise ValueError(f'"{name}" must be a string')
    if len(text) > _LONGEST:
        raise ValueError(f'"{name}" is {len(text):,} characters long; say it in one to three sentences')
    # First without what is invisible, behind which markup hides; then without what only looked like a fence.
    seen = "".join(letter if letter.isprintable() else " " for letter in text)
    plain = _MARKUP.sub(lambda found: f" {found['named'] or ''} ", seen)
    return line(plain, _LONGEST).replace("‹", "").replace("›", "").strip()


def _shortened(text: str, most: int) -> str:
    """Return a text cut behind the last whole sentence that has room, else behind the last whole word.

    >>> _shortened("It draws foxes. They are red and they run.", 30)
    'It draws foxes.'
    """
    if len(text) <= most:
        return text
    ends = [found.end() for found in _SENTENCE.finditer(text[: most + 1])]
    if ends:
        return text[: ends[-1]]
    return text[:most].rpartition(" ")[0] or text[:most]


def _category(told: Any) -> str:
    name = told.strip().lower() if isinstance(told, str) else None
    if name not in CATEGORIES:
        raise ValueError(f'"category" must be one of {", ".join(CATEGORIES)}')
    return name


def _facets(told: Any) -> tuple[tuple[str, str], ...]:
    if told is None:
        return ()
    if not isinstance(told, dict):
        raise ValueError(f'"facets" must be an object with the names {", ".join(FACETS)}')
    facets = ((facet, _shortened(_prose(told, facet), _FACET)) for facet in FACETS)
    return tuple((facet, text) for facet, text in facets if text)


def _triggers(told: Any, groups: Sequence[tuple[str, ...]]) -> tuple[tuple[str, ...], ...]:
    """Return the groups that are named, each once; numbers of none are passed over."""
    if told is None:
        return ()
    if not isinstance(told, list):
        raise ValueError('"triggers" must be an array of the numbers of trigger groups')
    if not all(isinstance(number, int) and not isinstance(number, bool) for number in told):
        raise ValueError('"triggers" must hold the numbers of trigger groups, and no words')
    known = dict(enumerate(groups[:GROUPS], 1))
    return tuple(known[number] for number in dict.fromkeys(told[:_NUMBERS]) if number in known)


def _weight(told: Any, record: AdapterRecord) -> float | None:
    """Return a weight within what the record's evidence reaches from and to, else None."""
    if told is None:
        return None
    if isinstance(told, bool) or not isinstance(told, int | float):
        raise ValueError('"weight" must be a number or null')
    seen = [known.weight for known in record.weights if math.isfinite(known.weight)]
    least, most = (min(seen), max(seen)) if seen else _WEIGHTS
    return round(float(told), 3) if least <= told <= most else None
