"""Measures what each stage takes between a prompt and its pictures, on the settings' catalogue and checkpoint.

A prompt is retrieved and composed once, for asked again it would be answered out of what is kept; so these stages are
measured as often as there are prompts, and a language model is asked no more than that. Adapter files are read and
laid, and pictures painted, as often as is wished: each time with the files cold, as if they had never been read, and
with them warm.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from .errors import InputError, VelaturaError
from .eval.timing import Stage, Stopwatch, Times
from .records import Choice, Composition, Filter, GenerationRequest

if TYPE_CHECKING:
    from .pipeline import Velatura

PROMPTS: Final = (
    "a portrait of a knight in gothic armor, oil painting",
    "cyberpunk city street at night, neon lights, rain",
    "a cute fox in the snow, watercolor style",
    "a landscape with a castle on a hill, anime style",
    "pixel art spaceship over a desert planet",
    "an old man reading, art nouveau style",
)
OWN_PROMPTS: Final = {
    "miniature": (
        "a yellow duck by the sea",
        "a red rocket at sunset, stained glass style",
        "a robot in a city at night, neon style",
        "a blue umbrella in a meadow",
    ),
}
"""Of families that know other words, by name."""

_WARM_UP: Final = "of which nothing is measured"
"""Added to a prompt that everything is done with beforehand: it is not to be known when it is asked for itself."""

Told = Callable[[int, int], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What was measured."""

    times: tuple[Times, ...]
    prompts: int
    adapters: tuple[int, ...]
    """How many were laid on, for each prompt."""
    left_out: tuple[tuple[str, str], ...]
    """(prompt, why) of prompts whose adapters could not be laid on."""
    notes: tuple[str, ...]


def prompts_for(family: str) -> tuple[str, ...]:
    """Return prompts that suit a checkpoint's base family."""
    return OWN_PROMPTS.get(family, PROMPTS)


def measure_stages(
    velatura: Velatura,
    prompts: Sequence[str],
    *,
    filter: Filter,
    batches: Sequence[int] = (1, 2, 4),
    repeats: int = 3,
    fields: dict[str, Any] | None = None,
    watch: Stopwatch | None = None,
    told: Told | None = None,
) -> Measured:
    """Measure every stage, for each prompt and batch size in turn, so that a slow minute strikes all alike.

    Everything is done once beforehand and not counted: what a process does once when it starts is no part of it.

    Args:
        velatura: The catalogue and the checkpoint; its settings' `batch` must be the largest batch size at least, and
            its adapters are to go on the `weights`.
        prompts: What is asked for.
        filter: What may be laid on.
        batches: Pictures that are painted at once.
        repeats: How often adapters are laid on and pictures painted, for each prompt.
        fields: Fields of every request, such as `steps`.
        watch: Times.
        told: Called with (rounds done, rounds in all); a prompt and a repeat are a round.

    Raises:
        InputError: there are no prompts, or the checkpoint cannot be used.
    """
    if not prompts:
        raise InputError("there are no prompts to measure with")
    work = _Work(velatura, filter, batches, fields or {}, watch or Stopwatch())
    work.ask(f"{prompts[0]}, {_WARM_UP}")
    asked = [work.ask(prompt) for prompt in prompts]
    work.warm_up(asked)
    done, whole = 0, repeats * len(asked)
    for _ in range(repeats):
        for one in asked:
            work.paint(one)
            done += 1
            if told is not None:
                told(done, whole)
    notes = [] if work.laying else [f"{velatura.backend.name} loads adapters itself, while it generates"]
    if bare := sum(not one.composition.choices for one in asked):
        notes.append(f"{bare} of {len(asked)} prompts got no adapter: what is added is of the others")
    return Measured(
        times=work.times(asked),
        prompts=len(asked),
        adapters=tuple(len(one.composition.choices) for one in asked),
        left_out=tuple((one.composition.prompt, one.failure) for one in asked if one.failure),
        notes=tuple(notes),
    )


@dataclass(slots=True, kw_only=True)
class _Asked:
    """A prompt, what was chosen for it, and the seconds of both."""

    composition: Composition
    retrieve: float
    compose: float
    failure: str = ""


class _Work:
    """Times each stage over one catalogue, and keeps the seconds."""

    def __init__(
        self,
        velatura: Velatura,
        filter: Filter,
        batches: Sequence[int],
        fields: dict[str, Any],
        watch: Stopwatch,
    ) -> None:
        self._velatura = velatura
        self._filter = filter
        self._batches = batches
        self._fields = fields
        self._watch = watch
        self._allowed = frozenset(velatura.store.select(filter).tolist())
        self.laying = _Laying(velatura.backend) if hasattr(velatura.backend, "_layers") else None
        """What reads and lays adapters here; None where another program does."""
        self._seconds: dict[tuple[Stage, int | None, bool | None], list[float]] = {}

    def warm_up(self, asked: Sequence[_Asked]) -> None:
        """Lay adapters on and paint once, for a prompt whose adapters can be laid on where there is one."""
        worn = [one for one in asked if one.composition.choices]
        for one in worn or asked[:1]:
            tried = replace(one)
            self.paint(tried)
            if not tried.failure:
                break
        self._seconds.clear()

    def ask(self, prompt: str) -> _Asked:
        """Retrieve and compose."""
        composing = self._velatura.composing
        search = self._velatura.retriever.search_all
        retrieve, candidates = self._watch.time(lambda: next(search([prompt], self._filter, composing.reads)))
        compose, composition = self._watch.time(
            lambda: composing.compose(prompt, candidates, self._allowed, family=self._filter.family)
        )
        return _Asked(composition=self._velatura.localised(composition), retrieve=retrieve, compose=compose)

    def paint(self, asked: _Asked) -> None:
        """Paint without adapters, lay them on cold and warm, and paint with them."""
        if self.laying is not None:
            self.laying.take_off()
        self._generate("base", replace(asked.composition, choices=()))
        if asked.failure or not asked.composition.choices:
            return
        try:
            for warm in (None,) if self.laying is None else (False, True):
                laid = 0.0 if warm is None else self._lay(asked.composition.choices, warm=warm)
                self._keep("added", asked.retrieve + asked.compose + laid, warm=warm)
            self._generate("generate", asked.composition)
        except VelaturaError as error:
            asked.failure = str(error)

    def times(self, asked: Sequence[_Asked]) -> tuple[Times, ...]:
        """Return what was measured, stage by stage."""
        usages = [one.composition.usage for one in asked if one.composition.usage.calls]
        costs = [cost for usage in usages if (cost := self._velatura.settings.cost(usage)) is not None]
        found = [
            Times(stage="retrieve", seconds=tuple(one.retrieve for one in asked)),
            Times(
                stage="compose",
                seconds=tuple(one.compose for one in asked),
                tokens=sum(usage.read + usage.written for usage in usages) / len(asked) if usages else None,
                cost=sum(costs) / len(asked) if costs else None,
            ),
        ]
        if not any(stage == "added" for stage, _, _ in self._seconds):
            self._seconds["added", None, None] = [one.retrieve + one.compose for one in asked]
        order: tuple[Stage, ...] = ("load", "merge", "added", "base", "generate")
        return (
            *found,
            *(
                Times(stage=name, batch=batch, warm=warm, seconds=tuple(seconds))
                for stage in order
                for (name, batch, warm), seconds in self._seconds.items()
                if name == stage
            ),
        )

    def _lay(self, choices: Sequence[Choice], *, warm: bool) -> float:
        """Read the files and lay them on the weights as they were; returns the seconds of both."""
        laying = self.laying
        if laying is None:
            return 0.0
        laying.take_off()
        if not warm:
            laying.forget(choices)
        load, plans = self._watch.time(lambda: laying.load(choices))
        merge, _ = self._watch.time(lambda: laying.merge(plans))
        self._keep("load", load, warm=warm)
        self._keep("merge", merge, warm=warm)
        return load + merge

    def _generate(self, stage: Stage, composition: Composition) -> None:
        request = self._velatura.request(composition, **self._fields)
        for batch in self._batches:
            seconds, _ = self._watch.time(lambda batch=batch: self._painted(request, batch))  # type: ignore[misc]
            self._keep(stage, seconds, batch=batch)

    def _painted(self, request: GenerationRequest, count: int) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what pictures are like is not the question
            for _ in self._velatura.backend.generate(request, count):
                pass

    def _keep(self, stage: Stage, seconds: float, *, batch: int | None = None, warm: bool | None = None) -> None:
        self._seconds.setdefault((stage, batch, warm), []).append(seconds)


class _Laying:
    """The parts of a backend that read adapter files and lay them on the weights."""

    def __init__(self, backend: Any) -> None:
        self._backend = backend

    def take_off(self) -> None:
        """Take everything off the weights."""
        self._backend._layers.restore()

    def forget(self, choices: Sequence[Choice]) -> None:
        """Make these files cold: not matched with the model, and as far as the system lets go of them, not read."""
        from .generation.adapters.plan import Plans

        self._backend._plans = Plans(self._backend._modules)
        for choice in choices:
            with suppress(OSError, AttributeError, TypeError), Path(str(choice.adapter.path)).open("rb") as file:
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)

    def load(self, choices: Sequence[Choice]) -> Any:
        """Read the files and match them with the model."""
        return self._backend._laying(choices)

    def merge(self, plans: Any) -> None:
        """Lay them on the weights."""
        self._backend._layers.lay(plans)
