"""Compositions: made of candidates, weighed anew under a mask, and judged whoever made them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING

from .composer.arrange import arrange, lay_together
from .composer.budget import Load, Row, borne_by, load_of, table
from .composer.builtin import TITLED
from .composer.conflicts import conflicts
from .composer.masks import Mask, Scheme, masks
from .composer.probed import effective
from .composer.worn import Conflict, Worn, part_of
from .db.known import Known
from .records import Candidate, Choice, Composition, Filter, Probe, RefinedAdapter
from .resolve import pins, stands_for
from .syntax import pinned
from .wiring import STYLUS, STYLUS_READS, manner, picker

if TYPE_CHECKING:
    from .composer.picks import Picker
    from .db import Store
    from .llm import LanguageModel
    from .settings import Settings

_SLIGHT = 0.011
"""Weights have two places: what differs by less was not changed by anybody."""


class Composing:
    """Makes compositions as the settings want them.

    Args:
        store: The catalogue.
        settings: Who composes, and how.
        language_model: Opens the language model when it is first needed.
        repairs: Whether what does not go together is left out; see `composer.arrange.Manner`.
    """

    def __init__(
        self, store: Store, settings: Settings, language_model: Callable[[], LanguageModel], *, repairs: bool = True
    ) -> None:
        self._store = store
        self._known = Known(store)
        self._settings = settings
        self._language_model = language_model
        self._manner = replace(manner(settings), repairs=repairs)

    @property
    def reads(self) -> int:
        """How many candidates the composer reads."""
        return max(self._settings.candidates, STYLUS_READS if self._settings.composer == STYLUS else 0)

    @property
    def least(self) -> float:
        """Below which score of a candidate the composer does not look at it."""
        return TITLED if self._settings.composer == "builtin" else 0.0

    @cached_property
    def picker(self) -> Picker:
        """The composer.

        Raises:
            InputError: it asks a language model, and none is named.
            MissingDependency: openai is not installed.
        """
        return picker(self._settings, self._language_model, len(self._store.select(Filter())))

    def compose(
        self,
        prompt: str,
        candidates: Sequence[Candidate],
        allowed: Collection[int],
        *,
        family: str | None = None,
        locked: Mapping[int, Choice] | None = None,
    ) -> Composition:
        """Choose among candidates, beside what the prompt pins and what is locked.

        Args:
            prompt: As its writer wrote it.
            candidates: What the retriever found.
            allowed: Catalogue numbers of what may be laid on, pins too.
            family: The base family of the model, where it is known.
            locked: Choices with `kept`, by catalogue number; all of them allowed.
        """
        return self.attempt(prompt, candidates, allowed, family=family, locked=locked)[0]

    def attempt(
        self,
        prompt: str,
        candidates: Sequence[Candidate],
        allowed: Collection[int],
        *,
        family: str | None = None,
        locked: Mapping[int, Choice] | None = None,
    ) -> tuple[Composition, str | None]:
        """Choose as `compose` does, and tell why where the composer could not, and what is there is not its choice."""
        self._known = self._known.fresh()
        fixed, refused, told = pins(self._store, pinned(prompt), allowed)
        fixed |= locked or {}
        # Only weighing by evidence knows of probes; the rules that it is compared with stand for themselves.
        probed = [candidate.adapter.id for candidate in candidates] if self._manner.weighing == "evidence" else []
        probes = self._probes(probed, family)
        free, idle = effective([found for found in candidates if not stands_for(found, fixed)], probes)
        picked = self.picker.pick(prompt, free, tuple(fixed.values()))
        composition = arrange(
            prompt,
            replace(picked, refused=(*refused, *idle, *picked.refused), notes=(*told, *picked.notes)),
            fixed,
            composer=self.picker.name,
            manner=self._manner,
            loads=self._loads,
            overlap=self._overlap,
            probes=probes,
            family=family,
        )
        return composition, picked.failed

    def masked(self, composition: Composition, mask: Sequence[bool]) -> Composition:
        """Return a composition whose choices that a mask leaves on have the weights they have without the others.

        A choice's weight alone is its `advised`, else its weight as it stands. One whose weight is not what it comes
        to with all on was set by another tool or a person, and keeps that.
        """
        worn = self._worn(composition.choices)
        pinned = {place for place, item in enumerate(worn) if item.pinned}
        whole = self._laid(worn, range(len(worn)), pinned)
        kept = pinned | {
            place for place, item in enumerate(worn) if abs(whole[place].weight - item.choice.weight) > _SLIGHT
        }
        on = [place for place, is_on in enumerate(mask) if is_on]
        laid = self._laid(worn, on, kept) if len(on) < len(worn) or kept > pinned else whole
        choices = list(composition.choices)
        for place in set(on) - kept:
            choices[place] = replace(laid[place], reason=worn[place].choice.reason)
        return replace(composition, choices=tuple(choices))

    def _laid(self, worn: Sequence[Worn], places: Sequence[int], kept: Collection[int]) -> dict[int, Choice]:
        """Return the choices at some places, laid together from their weights alone, but for those that are kept."""
        order = sorted(places, key=lambda place: place not in kept)
        alone = [
            choice if place in kept or choice.advised is None else replace(choice, weight=choice.advised, advised=None)
            for place, choice in ((place, worn[place].choice) for place in order)
        ]
        fixed = sum(place in kept for place in order)
        adapters = [worn[place].refined for place in order]
        laid = lay_together(alone, adapters, fixed, manner=self._manner, loads=self._loads)
        return dict(zip(order, laid, strict=True))

    def masks(
        self,
        composition: Composition,
        count: int,
        seed: int,
        *,
        chances: Sequence[float] | None = None,
        scheme: Scheme = "paper",
        all_first: bool = True,
    ) -> list[Mask]:
        """Draw the masks of so many pictures, by default the first with all on; see `composer.masks.masks`.

        What part of the picture each choice decides is told by the catalogue, so that a composition read from a file,
        which holds its adapters in brief, has the same masks as when it was made.

        Raises:
            InputError: The count is negative, the scheme unknown, or a chance is missing or no number from 0 to 1.
        """
        worn = self._worn(composition.choices)
        parts = [part_of(item.refined) for item in worn]
        return masks(composition.choices, count, seed, chances=chances, parts=parts, scheme=scheme, all_first=all_first)

    def validate(
        self, composition: Composition, *, family: str | None = None, steps: int | None = None
    ) -> tuple[Conflict, ...]:
        """Return what does not go together in a set of adapters, errors first; see `Velatura.validate`."""
        return self._conflicts(composition, self._worn(composition.choices), family, steps)

    def weights(self, composition: Composition) -> tuple[Row, ...]:
        """Return the table of weights, before and after the others were considered."""
        return self._table(composition, self._worn(composition.choices))

    def judge(
        self, composition: Composition, *, family: str | None = None
    ) -> tuple[tuple[Row, ...], tuple[Conflict, ...]]:
        """Return both the table of `weights` and what `validate` finds, for which the adapters are read once."""
        worn = self._worn(composition.choices)
        return self._table(composition, worn), self._conflicts(composition, worn, family, None)

    def _table(self, composition: Composition, worn: Sequence[Worn]) -> tuple[Row, ...]:
        return table(composition.choices, borne_by([item.refined for item in worn], self._loads_of(worn)))

    def _conflicts(
        self, composition: Composition, worn: Sequence[Worn], family: str | None, steps: int | None
    ) -> tuple[Conflict, ...]:
        return conflicts(
            worn,
            prompt=composition.prompt or None,
            family=family,
            overlap=self._overlap,
            loads=self._loads_of(worn),
            steps=steps,
        )

    def _worn(self, choices: Sequence[Choice]) -> list[Worn]:
        worn = []
        for choice in choices:
            number = self._store.number_of(choice.adapter)
            known = None if number is None else self._store.adapter(number)
            worn.append(Worn(choice=choice, adapter=known, sure=1.0 if choice.sure is None else choice.sure))
        return worn

    def _loads_of(self, worn: Sequence[Worn]) -> list[Load]:
        known = self._loads([item.refined.id for item in worn])
        return [known[item.refined.id] for item in worn]

    def _loads(self, numbers: Sequence[int]) -> dict[int, Load]:
        """Return what is measured of adapters, for the budget."""
        loads = dict.fromkeys(numbers, Load())
        if not self._usual_norms:
            return loads
        for adapter in self._store.adapters(numbers):
            usual = self._usual_norms.get(adapter.record.family)
            loads[adapter.id] = load_of(self._store.measure(adapter.id), usual)
        return loads

    def _probes(self, numbers: Sequence[int], family: str | None) -> dict[int, Probe]:
        """Return what adapters really do on a base; where it is not known, on the one that each is made for."""
        found = self._known.probes(numbers, family)
        if family is not None:
            return {number: probes[0] for number, probes in found.items()}
        own = {adapter.id: adapter.record.family for adapter in self._known.adapters(list(found))}
        return {number: probe for number, probes in found.items() for probe in probes if probe.family == own[number]}

    @cached_property
    def _usual_norms(self) -> Mapping[str, float | None]:
        return self._store.usual_norms()

    def _overlap(self, one: RefinedAdapter, other: RefinedAdapter) -> float | None:
        """Return the cosine of what two adapters do to weights; None where it was not measured."""
        sketches = self._known.sketches_of([one.id, other.id])
        if len(sketches) < 2 or len({method for method, _ in sketches.values()}) > 1:
            return None
        mine, theirs = sketches[one.id][1], sketches[other.id][1]
        size = float((mine @ mine) * (theirs @ theirs)) ** 0.5
        return float(mine @ theirs) / size if len(mine) == len(theirs) and size > 0 else None
