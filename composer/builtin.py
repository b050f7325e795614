"""Chooses without any language model: calibrated evidence, and a few rules that users asked for by name.

What a candidate's evidence must be depends on how the prompt speaks of it:

- *Named*: a trigger phrase of its own stands in the prompt, or most of its title. Then it needs the least probability
  alone.
- *Shown*: nothing names it, and people laid it on for prompts nearly like this one. Probabilities compare adapters with
  each other, and some adapter is always the nearest; so an example must be near in itself, too, and be so in a
  catalogue large enough to choose from.

A certain person, real or invented, is laid on only when named, or when an example is so near that the prompt draws
that person by its looks. A tool is laid on only when a phrase calls it, or two words of its name stand
together.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from ..categories import is_person
from ..families import TITLES, support
from ..fenced import line
from ..records import AdapterRecord, Candidate, Choice, RefinedAdapter, Refusal
from ..words import words
from .asked import sexes
from .picks import Pick, Picked
from .spans import Mention, Spoken, mention, names_somebody, names_tool, other_thing, read, served_by, somebody_else
from .triggers import category_for
from .worn import Part, part_for, part_of

LEAST = 0.06
"""The least probability at which a named adapter is laid on (see `benchmarks/composition.py`)."""
_SHOWN: Final = 0.5
"""Share of that at which one is laid on that examples alone speak for: it needs a near one as well."""
_CROWD: Final = 2000
"""Adapters from which on being the likeliest of all tells something: of a few, one is always nearest to any prompt."""
_NEAR: Final = 0.6
"""Cosine of an example prompt from which on it is a near one. What is nearest to captions of photographs, which ask for
none of these adapters, reaches it hardly ever."""
_SAME: Final = 0.75
"""Cosine from which on an example prompt asks for the same picture."""
_TELLING, _TELLING_OF_SOMEBODY = 2, 3
"""Words that a prompt must have, beside those for quality, anybody and looks, for nearness to an example to say
anything, and for drawing somebody by looks."""
_MATE: Final = 0.3
"""Share of the likeliest adapter's probability from which on another one for the same words is an alternative to it."""
_COMMON, _OWN = 0.2, 0.3
"""Rarities of a trigger phrase below which it is a word that many pages use, and below which it is hardly its own."""
_ALONE: Final = 0.2
"""The least probability at which one common word is enough."""
TITLED: Final = 0.01
"""The same for one whose whole title stands in the prompt: `oil painting` asks for an adapter called so, though people
who wrote it mostly used none."""
_TOLD: Final = 0.03
"""Below this a candidate is not worth a refusal's line."""
_LETTERS: Final = 60
"""Letters of a title in a reason."""


class BuiltinComposer:
    """The composer that needs no model, no key and no network (implements `picks.Picker`).

    Args:
        most: the most adapters it lays on, those that are fixed among them.
        least: the least probability at which it lays on what the prompt names.
        per_task: how many adapters may serve the same words: alternatives, of which a mask takes one, or several
            that share their strength.
        among: how many adapters the candidates were found among.
    """

    name = "builtin 2"

    def __init__(self, *, most: int = 3, least: float = LEAST, per_task: int = 2, among: int = _CROWD) -> None:
        self._most = most
        self._least = least
        self._per_task = per_task
        # Of a few adapters one is always nearest, however little it has to do with the prompt.
        self._least_shown = least * _SHOWN * _CROWD / min(max(among, 1), _CROWD)

    def pick(self, prompt: str, candidates: Sequence[Candidate], fixed: Sequence[Choice] = ()) -> Picked:
        """Choose among the candidates, best first; each adapter once, and the same words for one adapter of a kind.

        Args:
            prompt: As its writer wrote it.
            candidates: What the retriever found.
            fixed: Choices that stay as they are, and that all others must go with.
        """
        picks: list[Pick] = []
        refused: list[Refusal] = []
        spoken = read(prompt)
        laid = [_pinned(choice.adapter, spoken) for choice in fixed]
        for candidate in sorted(candidates, key=lambda item: -item.score):
            if candidate.score < TITLED:
                break
            mentioned = mention(candidate, spoken)
            if candidate.score < _TOLD and not mentioned.is_titled:
                continue
            category = category_for(candidate.adapter)
            mates = _mates(mentioned, part_for(category), laid)
            reason = self._unfit(mentioned, category, spoken) or self._in_the_way(mentioned, category, mates, laid)
            if reason is None and len(laid) >= self._most:
                reason = f"{self._most} adapters are the most for one prompt"
            if reason is not None:
                refused.append(Refusal(adapter=candidate.adapter.record, reason=reason))
                continue
            # An alternative serves the task that the surest one serves, whatever of its words they share.
            span = mates[0].span if mates else mentioned.span
            picks.append(Pick(span=span, candidate=candidate, reason=_evidence(candidate), score=candidate.score))
            laid.append(_Laid(candidate.adapter.record, span, part_for(category), candidate.score, mentioned.is_named))
        return Picked(picks=tuple(picks), refused=tuple(refused), tasks=spoken.tasks)

    def _unfit(self, mentioned: Mention, category: str | None, spoken: Spoken) -> str | None:
        """Return why the prompt does not ask for the candidate, or None when it does."""
        candidate = mentioned.candidate
        # A prompt that tells little is near to somebody's example whoever is meant: `1girl`, `blue eyes`, `a tiger`.
        tells = len(spoken.telling) >= (_TELLING_OF_SOMEBODY if is_person(category) else _TELLING)
        near = mentioned.near if tells else 0.0
        if not mentioned.span:
            return "no words of the prompt ask for it"
        least = self._least if mentioned.is_named else self._least_shown
        if candidate.score < least and not (mentioned.is_titled and self._least < 1):
            return f"too unlikely to be meant ({candidate.score:.0%})"
        if category == "tool" and not names_tool(mentioned, spoken):
            return "a tool for the whole picture, laid on only when it is named"
        if is_person(category) and near < _SAME and not names_somebody(mentioned, spoken):
            return f"a certain {category}, whom the prompt does not name"
        named = _names(mentioned)
        if is_person(category) and near < _SAME and named and all(sexes([word]) for word in named):
            return f"a certain {category}, and the prompt says no more than what anybody is"
        if not mentioned.is_named and near < _NEAR:
            return "nothing of what it is stands in the prompt, and none of its examples is nearly this prompt"
        if near < _NEAR and not mentioned.is_titled and (slight := self._slight(mentioned, category, spoken)):
            return slight
        if near < _NEAR and (task := other_thing(mentioned, spoken)):
            return f"“{task}” is another thing than {_title(candidate.adapter.record)}"
        return None

    def _slight(self, mentioned: Mention, category: str | None, spoken: Spoken) -> str | None:
        """Return why the words that name a candidate are too slight a reason, or None."""
        named = _names(mentioned)
        is_common = mentioned.rarity < _COMMON and not is_person(category)
        if len(named) <= 1 and is_common and mentioned.candidate.score < _ALONE:
            return f"one common word alone names it ({mentioned.candidate.score:.0%} likely)"
        if mentioned.rarity < _OWN and somebody_else(mentioned, spoken):
            return "it brings in a person, for whom the prompt does not ask"
        return None

    def _in_the_way(
        self, mentioned: Mention, category: str | None, mates: Sequence[_Laid], laid: Sequence[_Laid]
    ) -> str | None:
        """Return which adapter that is laid on already speaks against the candidate, or None."""
        record, score = mentioned.candidate.adapter.record, mentioned.candidate.score
        for other in laid:
            if (other.record.source, other.record.key) == (record.source, record.key):
                return "it is laid on already"
            if support(record.family, other.record.family) == "none":
                return f"made for {TITLES[record.family]}, and {_title(other.record)} for {TITLES[other.record.family]}"
        # Who pins an adapter has chosen what serves these words; and a style that is named is spoilt by another one.
        is_style = mentioned.is_named and part_for(category) == "style"
        one = any(mate.is_pinned or (is_style and mate.kind == "style") for mate in mates)
        enough = len(mates) >= (1 if one else self._per_task)
        if mates and (enough or score < _MATE * mates[0].sure):
            return f"“{mentioned.span}” is served by {' and '.join(_title(mate.record) for mate in mates)}"
        styles = [other for other in laid if other.kind == "style" and other not in mates]
        if styles and part_for(category) == "style" and not mentioned.is_named:
            return f"another style beside {_title(styles[0].record)}, which the prompt does not name"
        return None


@dataclass(frozen=True, slots=True)
class _Laid:
    """An adapter that is laid on."""

    record: AdapterRecord
    span: str
    kind: Part
    sure: float
    is_named: bool
    """Whether the span says what it is; else it was chosen by examples, and serves that span as well as others."""
    is_pinned: bool = False


def _pinned(record: AdapterRecord, spoken: Spoken) -> _Laid:
    return _Laid(
        record,
        served_by(record, spoken),
        part_of(RefinedAdapter(id=0, record=record)),
        1.0,
        is_named=True,
        is_pinned=True,
    )


def _mates(mentioned: Mention, kind: Part, laid: Sequence[_Laid]) -> list[_Laid]:
    """Return what serves the same words already: of the same kind, or so that nothing else names the candidate."""
    served = [other for other in laid if _overlap(mentioned.span, other.span)]
    mates = [other for other in served if other.kind == kind or (other.is_named and _is_told_by(mentioned, other.span))]
    if mates or kind != "style" or mentioned.is_named:
        return mates
    # Styles that nothing names are for the whole picture, whichever words their examples share with the prompt.
    return [other for other in laid if other.kind == kind and not other.is_named]


def _names(mentioned: Mention) -> frozenset[str]:
    """Return all words that name a candidate."""
    return mentioned.naming | frozenset(words(mentioned.phrase or ""))


def _is_told_by(mentioned: Mention, span: str) -> bool:
    """Say whether all that names a candidate stands in a span."""
    named = _names(mentioned)
    return bool(named) and named <= _cut(span)


def _overlap(span: str, other: str) -> bool:
    mine, theirs = _cut(span), _cut(other)
    return bool(mine) and len(mine & theirs) * 2 > min(len(mine), len(theirs))


@lru_cache(maxsize=256)
def _cut(span: str) -> frozenset[str]:
    return frozenset(words(span))


def _title(record: AdapterRecord) -> str:
    """Return how a reason speaks of an adapter: authors write into titles what they like."""
    return line(record.title, _LETTERS) or line(record.key, _LETTERS)


def _evidence(candidate: Candidate) -> str:
    return "; ".join([*candidate.because[:3], f"{candidate.score:.0%} likely"])
