"""Says what a picture shows and how it is made, as a prompt that would paint one like it.

By CLIP over lists of words, after CLIP Interrogator (pharmapsychotic, 2022): the medium and the subject that go best
together, then the setting, then whatever else brings the text nearer to the picture. Nothing is said
twice. `interrogate_llm` has a language model that sees say it instead.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from ..errors import InputError
from ..fenced import line
from ..plain import untagged
from ..words import FUNCTION_WORDS, words
from .word_vectors import word_vectors

if TYPE_CHECKING:
    from PIL.Image import Image

    from ..llm import LanguageModel
    from ..protocols import ImageEmbedder, Vectors
    from .interrogate_llm import LlmInterrogator

Lists = Mapping[str, tuple[str, ...]]
"""Entries by the list's name. Subjects and mediums carry their articles (`a fox`, `an oil painting`), and settings
their prepositions (`in the snow`)."""

_SUBJECTS, _MEDIUMS, _SETTINGS, _ARTISTS = "subjects", "mediums", "settings", "artists"
_SHORTLIST: Final = {_SUBJECTS: 12, _MEDIUMS: 6, _SETTINGS: 12, "flavours": 24}
"""How many entries of a list are tried in the prompt; of the others so many:"""
_SHORT: Final = 8
_TIMES: Final = {"flavours": 4}
"""How often a list may be taken from after the opening; of the others once."""
_OPENINGS: Final = 4
"""That are tried with every setting."""
_LONGEST: Final = 10
"""Parts of a prompt."""
_RISE: Final = 0.01
"""The least share by which a part must bring the text nearer: less is chance."""

_LIST_BYTES: Final = 1_000_000
_ENTRIES: Final = 20_000
_ENTRY: Final = 120


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A part of a prompt."""

    source: str
    """The list that it is from."""
    text: str
    score: float
    """The cosine of the picture and the prompt up to here, this part included."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Interrogation:
    """A prompt for a picture."""

    prompt: str
    by: str
    """Who says so: a model's name."""
    parts: tuple[Part, ...] = ()
    """In the order in which they were found; none where a language model wrote the prompt."""


class Interrogator:
    """Puts pictures into the words of lists.

    Args:
        embedder: A CLIP model.
        lists: The words; None takes ours (see `velatura.refiner.word_lists`).
        cache: A folder for the vectors of the lists, which take a CPU a minute; None computes them for this object.
        told: Called with (texts embedded, texts) while that is done.
    """

    def __init__(
        self,
        embedder: ImageEmbedder,
        lists: Lists | None = None,
        *,
        cache: Path | None = None,
        told: Callable[[int, int], None] | None = None,
    ) -> None:
        if lists is None:
            from .word_lists import LISTS

            lists = LISTS
        self._embedder = embedder
        self._lists = {name: entries for name, entries in lists.items() if entries}
        self._cache = cache
        self._told = told
        self._vectors: dict[str, Vectors] = {}

    def interrogate(self, picture: Image) -> Interrogation:
        """Return the prompt for a picture.

        Raises:
            InputError: The lists are empty, or the model cannot be opened.
        """
        if not self._lists:
            raise InputError("the word lists are empty")
        [seen] = self._embedder.embed_images([picture])
        short = {name: self._shortlist(name, seen) for name in self._lists}
        parts = self._placed(self._openings(short, seen), short, seen)
        while len(parts) < _LONGEST and (further := self._further(parts, short, seen)) is not None:
            parts.append(further)
        return Interrogation(prompt=_joined(parts), by=self._embedder.model, parts=tuple(parts))

    def _openings(self, short: Mapping[str, list[str]], seen: Vectors) -> list[Part]:
        """Return the likeliest subjects, each in a medium where there are both, the best first."""
        subjects, mediums = short.get(_SUBJECTS, []), short.get(_MEDIUMS, [])
        if subjects and mediums:
            texts = [
                f"{medium} of {subject}" for medium in mediums for subject in subjects if not _repeats(subject, medium)
            ]
            ranked = self._ranked(texts or mediums, seen)
            return [Part(source=_SUBJECTS, text=text, score=score) for text, score in ranked[:_OPENINGS]]
        source = _SUBJECTS if subjects else _MEDIUMS if mediums else None
        if source is not None:
            return [Part(source=source, text=text, score=score) for text, score in self._ranked(short[source], seen)]
        found = {_phrase(name, entry): name for name, entries in short.items() for entry in entries}
        text, score = self._ranked(list(found), seen)[0]
        return [Part(source=found[text], text=text, score=score)]

    def _placed(self, openings: list[Part], short: Mapping[str, list[str]], seen: Vectors) -> list[Part]:
        """Return the best of the openings, and the setting that brings one of them nearest."""
        pairs = [
            (opening, setting)
            for opening in openings[:_OPENINGS]
            for setting in short.get(_SETTINGS, [])
            if not _repeats(setting, opening.text)
        ]
        texts = {f"{opening.text} {setting}": (opening, setting) for opening, setting in pairs}
        if texts:
            text, score = self._ranked(list(texts), seen)[0]
            if _is_rise(openings[0].score, score):
                opening, setting = texts[text]
                return [opening, Part(source=_SETTINGS, text=setting, score=score)]
        return openings[:1]

    def _further(self, parts: Sequence[Part], short: dict[str, list[str]], seen: Vectors) -> Part | None:
        """Return what brings the prompt nearest to the picture; what takes it away is not tried again."""
        said, taken = _joined(parts), Counter(part.source for part in parts[1:])
        found: dict[str, tuple[str, str]] = {}
        for name, entries in short.items():
            if name in (_MEDIUMS, _SETTINGS) or taken[name] >= _TIMES.get(name, 1):
                continue
            found |= {
                f"{said}, {_phrase(name, entry)}": (name, entry) for entry in entries if not _repeats(entry, said)
            }
        if not found:
            return None
        ranked = self._ranked(list(found), seen)
        for text, score in ranked:
            if score <= parts[-1].score:
                name, entry = found[text]
                short[name].remove(entry)
        text, score = ranked[0]
        if not _is_rise(parts[-1].score, score):
            return None
        name, entry = found[text]
        return Part(source=name, text=_phrase(name, entry), score=score)

    def _ranked(self, texts: Sequence[str], seen: Vectors) -> list[tuple[str, float]]:
        scores = self._embedder.embed(texts) @ seen
        return [(texts[place], float(scores[place])) for place in np.argsort(-scores, kind="stable")]

    def _shortlist(self, name: str, seen: Vectors) -> list[str]:
        if name not in self._vectors:
            texts = [f"a picture of {entry}" if name == _SUBJECTS else entry for entry in self._lists[name]]
            self._vectors[name] = word_vectors(self._embedder, texts, len(seen), self._cache, self._told)
        best = np.argsort(-(self._vectors[name] @ seen), kind="stable")[: _SHORTLIST.get(name, _SHORT)]
        return [self._lists[name][place] for place in best]


def interrogator(
    by: str,
    *,
    embedder: Callable[[], ImageEmbedder],
    language_model: Callable[[], LanguageModel],
    lists: Path | None = None,
    cache: Path | None = None,
    told: Callable[[int, int], None] | None = None,
) -> Interrogator | LlmInterrogator:
    """Return who puts pictures into words.

    Args:
        by: `clip`, or `llm` for the language model.
        embedder: Opens the CLIP model.
        language_model: Opens the language model.
        lists: A folder of a person's own lists (see `read_lists`), which stand for ours.
        cache: See `Interrogator`.
        told: See `Interrogator`.

    Raises:
        InputError: There is none of this name, the lists cannot be read, or what it needs is not named.
        MissingDependency: A package that it needs is not installed.
    """
    if by == "clip":
        own = None if lists is None else read_lists(lists)
        return Interrogator(embedder(), own, cache=cache, told=told)
    if by == "llm":
        from .interrogate_llm import LlmInterrogator

        if lists is not None:
            raise InputError("lists of words are for clip; the language model has words of its own")
        return LlmInterrogator(language_model())
    raise InputError(f"nobody called {by!r} puts pictures into words; take clip or llm")


def read_lists(folder: Path) -> dict[str, tuple[str, ...]]:
    """Return a person's own lists: each `.txt` file of a folder is one, of its name, with an entry a line.

    `subjects`, `mediums` and `settings` open the prompt, and `artists` become `by ...`; what else there is follows.

    Raises:
        InputError: There are none, or one cannot be read.
    """
    try:
        paths = sorted(path for path in folder.iterdir() if path.suffix.lower() == ".txt" and path.is_file())
        lists = {path.stem.lower(): _entries(path) for path in paths}
    except OSError as error:
        raise InputError(f"{error.filename or folder} cannot be read: {error.strerror}") from None
    if not any(lists.values()):
        raise InputError(f"{folder} holds no word lists; write subjects.txt, mediums.txt and the like, an entry a line")
    return lists


def _entries(path: Path) -> tuple[str, ...]:
    with path.open("rb") as stream:
        content = stream.read(_LIST_BYTES + 1)
    try:
        rows = content.decode("utf-8-sig").split("\n")
    except UnicodeDecodeError:
        raise InputError(f"{path} is not text in UTF-8") from None
    entries = dict.fromkeys(entry for row in rows if (entry := untagged(line(row, _ENTRY))))
    if len(content) > _LIST_BYTES or len(entries) > _ENTRIES:
        raise InputError(f"{path} is too long: a list has at most {_ENTRIES:,} entries, and 1 MB")
    return tuple(entries)


def _phrase(name: str, entry: str) -> str:
    return f"by {entry}" if name == _ARTISTS else entry


def _joined(parts: Sequence[Part]) -> str:
    """Return the parts as a prompt; a setting stands behind what it is the setting of without a comma."""
    text = parts[0].text
    for part in parts[1:]:
        text += f" {part.text}" if part.source == _SETTINGS else f", {part.text}"
    return text


def _repeats(entry: str, said: str) -> bool:
    """Whether an entry has a word that was said, in the singular or the plural."""
    return not _stems(entry).isdisjoint(_stems(said))


def _stems(text: str) -> set[str]:
    return {word.removesuffix("s") for word in words(text) if word not in FUNCTION_WORDS}


def _is_rise(before: float, after: float) -> bool:
    return after - before >= _RISE * abs(before)
