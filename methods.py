"""The methods that an evaluation compares: ways to choose adapters for a prompt, ours, the paper's, and its baselines.

A method's name may end in `+debias`: the same, with words that hold the checkpoint to its own look. The paper gives
these to Stylus alone, so that what they bring is counted as Stylus's; here every method can have them or not.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from .db import file_of, name_of
from .errors import InputError
from .looks import debias as known_debias
from .records import Candidate, Choice, Composition, Filter

if TYPE_CHECKING:
    from .composer.masks import Mask
    from .composing import Composing
    from .pipeline import Velatura
    from .protocols import Method as Ranking
    from .settings import Settings

METHODS: Final = (
    "base", "random", "retriever", "reranker", "stylus", "stylus-nomask", "velatura", "velatura-llm",
)  # fmt: skip
DEBIAS: Final = "+debias"
NEEDS_LLM: Final = ("velatura-llm",)

_MERGING: Final = ("random", "retriever", "reranker")
"""The baselines that merge what is found, and choose nothing."""
_MERGED: Final = 3
"""Adapters that the baselines merge (the paper's section 4.3)."""
_RANKED: Final = 150
"""The paper's K: of as many the reranker takes the best, and Stylus's composer chooses among them."""
_TOGETHER: Final = 32
"""Prompts whose candidates are found, and timed, together."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Composed:
    """What a method lays on for a prompt, and what that took."""

    composition: Composition
    """Of a method with masks, the weights as it set them: `Methods.masked` brings what a mask leaves on to the sum."""
    retrieve: float
    """Seconds until the candidates were there; of prompts whose candidates are found together, the mean."""
    compose: float
    """Seconds of choosing among them."""
    failed: str | None = None
    """Why the method could not choose, so that the composition is not its own; None where it did."""


class Methods:
    """Composes by each method, over one catalogue.

    Args:
        velatura: The catalogue, with the settings of everything that a method does not fix.
        filter: What may be laid on.
        debias: The words of `+debias`; None takes those known for the checkpoint.
        total: The sum of the weights' magnitudes that every method is brought to where it lays anything on, so that
            methods differ by what they choose alone; None leaves weights as each method sets them.
    """

    def __init__(
        self, velatura: Velatura, *, filter: Filter, debias: str | None = None, total: float | None = None
    ) -> None:
        self._velatura = velatura
        self._filter = filter
        self._debias = debias if debias is not None else known_debias(velatura.settings.model)
        self._total = total
        self._composing: dict[str, Composing] = {}
        self._revision: tuple[object, str] | None = None

    def check(self, method: str) -> None:
        """Refuse a method that there is not, or that cannot be had here.

        Raises:
            InputError: one sentence.
        """
        refuse_unknown(method)
        name = method.removesuffix(DEBIAS)
        if self.lacks_words(method):
            raise InputError(
                f"no words are known that hold the checkpoint to its look; give them with --debias for {method}"
            )
        if name in NEEDS_LLM and self._velatura.settings.llm is None:
            raise InputError(f"the method {name} asks a language model, and none is named; set VELATURA_LLM")

    def lacks_words(self, method: str) -> bool:
        """Say whether a method ends in `+debias`, and no words are known for the checkpoint."""
        return method.endswith(DEBIAS) and not self._debias

    def described(self, method: str) -> str:
        """Say what a method is here, in a phrase."""
        name = method.removesuffix(DEBIAS)
        settings = self._velatura.settings
        stylus = (
            f"the first {_RANKED} by Stylus's retriever, chosen by "
            + (f"its composer ({settings.llm})" if settings.llm else "rules, since no language model is named")
            + ", weights by the paper's rule"
        )
        reranker = settings.reranker or "the words they share with the prompt (BM25), since no reranker is named"
        said = {
            "base": "nothing laid on",
            "random": f"{_MERGED} adapters by lot",
            "retriever": f"the {_MERGED} nearest cards (Stylus's retriever alone)",
            "reranker": f"the best {_MERGED} of the {_RANKED} nearest cards, by {reranker}",
            "stylus": f"{stylus}, another mask for each picture",
            "stylus-nomask": f"{stylus}, everything on in each picture",
            "velatura": "our retriever, and rules that choose",
            "velatura-llm": f"our retriever, and {settings.llm} that chooses",
        }[name]
        return f"{said}, and “{self._debias}”" if method.endswith(DEBIAS) else said

    def is_masked(self, method: str) -> bool:
        """Say whether each picture of a prompt has another mask."""
        return method.removesuffix(DEBIAS) == "stylus"

    def address(self, method: str) -> list[object]:
        """Return all that decides what a method composes, as plain JSON.

        Raises:
            InputError: the language model that it asks is not named, or there is no key for it.
            MissingDependency: openai is not installed.
        """
        name = method.removesuffix(DEBIAS)
        suffix = self._debias if method.endswith(DEBIAS) else ""
        if name == "base":  # it hangs on no catalogue, and need have none
            return [method, suffix]
        settings = self._settings(name)
        names = (
            "composer", "most", "least", "per_task", "weighing", "budget", "add_triggers", "emphasis",
            "candidates", "reranker", "llm", "llm_url", "temperature", "embedder",
        )  # fmt: skip
        picker = self._composing_of(name).picker.name if name not in _MERGING else ""
        file = file_of(settings.db)
        db = name_of(settings.db) if file is None else str(file.resolve())  # however it is named
        own = (getattr(settings, name) for name in names)
        return [method, suffix, self._total, db, self._catalogue(), picker, *own, repr(self._filter)]

    def compose(self, method: str, prompts: Sequence[str]) -> Iterator[Composed]:
        """Yield what a method lays on for each prompt, in order.

        Raises:
            InputError: see `check`.
        """
        self.check(method)
        name = method.removesuffix(DEBIAS)
        made = self._made(name, prompts)
        for composed in made:
            composition = composed.composition
            if not self.is_masked(method):
                composition = self._levelled(composition)
            if method.endswith(DEBIAS):
                composition = replace(composition, suffix=self._debias)
            yield replace(composed, composition=composition)

    def masked(self, composition: Composition, count: int, seed: int) -> list[tuple[Composition, Mask]]:
        """Return a mask for each of several pictures, and what it leaves on, with the weights that this has alone."""
        composing = self._composing_of("stylus")
        masks = composing.masks(composition, count, seed, all_first=False)
        drawn = []
        for mask in masks:
            laid = composing.masked(composition, mask)
            on = tuple(choice for choice, is_on in zip(laid.choices, mask, strict=True) if is_on)
            drawn.append((self._levelled(replace(laid, choices=on)), mask))
        return drawn

    def _made(self, name: str, prompts: Sequence[str]) -> Iterator[Composed]:
        if name == "base":
            for prompt in prompts:
                yield Composed(composition=Composition(prompt=prompt), retrieve=0.0, compose=0.0)
            return
        allowed = frozenset(self._velatura.store.select(self._filter).tolist())
        composing = self._composing_of(name)
        for prompt, (candidates, seconds) in zip(prompts, self._candidates(name, prompts), strict=True):
            started = time.perf_counter()
            failed = None
            if name in _MERGING:
                composition = _merged(prompt, candidates[:_MERGED], name)
            else:
                composition, failed = composing.attempt(prompt, candidates, allowed, family=self._filter.family)
            took = time.perf_counter() - started
            yield Composed(composition=composition, retrieve=seconds, compose=took, failed=failed)

    def _candidates(self, name: str, prompts: Sequence[str]) -> Iterator[tuple[list[Candidate], float]]:
        """Yield each prompt's candidates, and the seconds that they took."""
        ranking: Ranking = "fused" if name.startswith("velatura") else "random" if name == "random" else "dense"
        limit = self._composing_of(name).reads if name.startswith("velatura") else _RANKED
        if name in ("random", "retriever"):
            limit = _MERGED
        reranks = name == "reranker" and self._velatura.settings.reranker is not None
        by_words = name == "reranker" and not reranks
        whole = len(self._velatura.store.select(self._filter)) if by_words else 0
        search = self._velatura.retriever.search_all
        for place in range(0, len(prompts), _TOGETHER):
            batch = prompts[place : place + _TOGETHER]
            started = time.perf_counter()
            found = list(search(batch, self._filter, limit, "rerank" if reranks else ranking))
            if by_words:
                worded = search(batch, self._filter, whole, "bm25")
                found = [_by_words(nearest, words) for nearest, words in zip(found, worded, strict=True)]
            seconds = (time.perf_counter() - started) / len(batch)
            yield from ((candidates, seconds) for candidates in found)

    def _composing_of(self, name: str) -> Composing:
        from .composing import Composing

        if name not in self._composing:
            velatura = self._velatura
            self._composing[name] = Composing(
                velatura.store,
                self._settings(name),
                lambda: velatura.language_model,
                repairs=not name.startswith("stylus"),
            )
        return self._composing[name]

    def _catalogue(self) -> str:
        """Return what is another when the catalogue's content is."""
        store = self._velatura.store
        mark = store.mark()
        if self._revision is None or self._revision[0] != mark:
            self._revision = mark, store.revision()
        return self._revision[1]

    def _settings(self, name: str) -> Settings:
        """Return the settings with what a method fixes of them."""
        settings = self._velatura.settings
        if name.startswith("stylus"):
            composer = "stylus" if settings.llm is not None else "builtin"
            fixed: dict[str, object] = {"composer": composer, "weighing": "stylus", "budget": False}
        else:
            fixed = {"composer": "llm" if name == "velatura-llm" else "builtin"}
        if not name.startswith("velatura"):  # the paper's, which know nothing of ours
            fixed |= {"emphasis": None, "add_triggers": True}
        return settings.model_copy(update={**fixed, "debias": None})

    def _levelled(self, composition: Composition) -> Composition:
        """Return a composition whose weights have the sum that every method is brought to."""
        whole = sum(abs(choice.weight) for choice in composition.choices)
        if self._total is None or not whole:
            return composition
        factor = self._total / whole
        choices = tuple(replace(choice, weight=round(choice.weight * factor, 3)) for choice in composition.choices)
        return replace(composition, choices=choices)


def refuse_unknown(method: str) -> None:
    """Refuse a name that no method has.

    Raises:
        InputError: one sentence.
    """
    if method.removesuffix(DEBIAS) not in METHODS:
        raise InputError(f"there is no method {method!r}; there are {', '.join(METHODS)}, each also with {DEBIAS}")


def _by_words(candidates: Sequence[Candidate], worded: Sequence[Candidate]) -> list[Candidate]:
    """Return candidates in the order in which words find them; what words do not find keeps its order behind."""
    places = {candidate.adapter.id: place for place, candidate in enumerate(worded)}
    return sorted(candidates, key=lambda candidate: places.get(candidate.adapter.id, len(places)))


def _merged(prompt: str, candidates: Sequence[Candidate], name: str) -> Composition:
    """Lay candidates on together as the paper's baselines do: each at what is recommended, or 0.8, undivided."""
    from .composer.triggers import share_room
    from .composer.weights import advise

    adapters = [candidate.adapter for candidate in candidates]
    choices = []
    for adapter, triggers in zip(adapters, share_room(prompt, adapters), strict=True):
        advice = advise(adapter, 1, "stylus")
        choices.append(
            Choice(
                adapter=adapter.record,
                weight=advice.weight,
                span="",
                triggers=triggers,
                reason=f"{name}; {advice.reason}",
            )
        )
    return Composition(prompt=prompt, choices=tuple(choices), composer=name)
