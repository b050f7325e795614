"""Probes of adapters: each painted over a small grid with and without it, looked at by a CLIP model, and kept.

The pictures of an adapter lie in a folder of its own with a contact sheet, and are told by all that decides them: a
probe that was stopped goes on, and one with more seeds paints those that are new.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Final

from .composer.triggers import share_room
from .errors import InputError, VelaturaError
from .families import TITLES, support
from .fenced import line
from .probe_rules import METHOD
from .records import Choice, Composition, Filter, GenerationRequest, Probe, RefinedAdapter, Rejection

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from .db import Store
    from .painting import Painting
    from .protocols import ImageEmbedder, Watch

PROMPTS: Final = (
    "a person in a room",
    "a street at night",
    "a bowl of fruit on a table",
    "a landscape with hills",
)
"""Somebody, a place, a thing and nothing in particular, so that whatever an adapter draws finds room."""
_OWN_PROMPTS: Final = {
    "miniature": (
        "a red ball on a plain background",
        "a blue house at night",
        "a picture by the sea",
        "a picture in a meadow",
    ),
}
"""Of families that know other words, by name."""
WEIGHTS: Final = (0.25, 0.5, 0.75, 1.0, 1.25)
SEEDS: Final = 2

_FOLDER: Final = "probes"
_BETWEEN: Final = 1000
"""From the first seed of a prompt to that of the next."""
_WORDS: Final = 200
"""Characters of what an adapter is said to do."""
_SHOWN: Final = 32
"""Pictures that the CLIP model sees at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Grid:
    """What an adapter is painted over."""

    prompts: tuple[str, ...] = ()
    """None takes those that suit the checkpoint."""
    seeds: int = SEEDS
    """Pictures of each prompt at each weight."""
    weights: tuple[float, ...] = WEIGHTS

    def __post_init__(self) -> None:
        """Put weights and prompts in order, each once.

        Raises:
            InputError: a weight is not above 0, or there are too few prompts or seeds.
        """
        object.__setattr__(self, "prompts", tuple(dict.fromkeys(self.prompts)))
        object.__setattr__(self, "weights", tuple(sorted(set(self.weights))))
        if not self.weights or not all(0 < weight <= 10 for weight in self.weights):
            raise InputError("the weights of a probe must be above 0 and at most 10")
        if len(self.prompts) == 1 or not 2 <= self.seeds < _BETWEEN:
            raise InputError("a probe needs at least two prompts and two seeds")


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeReport:
    """What a run of probes has done so far."""

    adapters: int = 0
    done: tuple[tuple[int, Probe], ...] = ()
    """(catalogue number, probe) of those that were probed now."""
    kept: tuple[int, ...] = ()
    """Those that were probed the same way before, and have not changed since."""
    failed: tuple[Rejection, ...] = ()
    seconds: float = 0.0


class Probing:
    """Probes adapters with the settings' checkpoint and picture model.

    Args:
        store: The catalogue.
        painting: Paints.
        clip: Opens the CLIP model when it is first needed.
        folder: Where the pictures go; None takes one beside the catalogue.
    """

    def __init__(
        self, store: Store, painting: Painting, clip: Callable[[], ImageEmbedder], *, folder: Path | None = None
    ) -> None:
        self._store = store
        self._painting = painting
        self._open_clip = clip
        self.folder = folder or store.beside(_FOLDER)

    @cached_property
    def _clip(self) -> ImageEmbedder:
        return self._open_clip()

    @property
    def family(self) -> str:
        """The base family of the checkpoint."""
        return self._painting.backend.family

    def probe(
        self,
        numbers: Sequence[int] | None = None,
        grid: Grid = Grid(),
        *,
        again: bool = False,
        watch: Watch | None = None,
        progress: Callable[[ProbeReport], None] | None = None,
    ) -> ProbeReport:
        """Probe adapters one after the other, and keep what each does. Can be stopped at any moment and goes on.

        One that cannot be probed is told with the reason and costs no other.

        Args:
            numbers: The adapters; None takes all on this machine that the checkpoint wears.
            grid: What they are painted over.
            again: Probe also those that were probed the same way; pictures that are there stay.
            watch: Looks on while the pictures of one adapter are painted.
            progress: Called after each adapter.

        Raises:
            InputError: the checkpoint or the CLIP model cannot be used, or the folder cannot be written to.
            MissingDependency: a package that one of them needs is not installed.
            BackendError: the program that paints cannot be reached any more.
            Cancelled: `watch` stopped it.
        """
        started = time.perf_counter()
        if numbers is None:
            numbers = self._store.select(Filter(family=self.family, installed=True)).tolist()
        numbers = list(dict.fromkeys(numbers))
        grid = replace(grid, prompts=grid.prompts or _OWN_PROMPTS.get(self.family, PROMPTS))
        known = {} if again else self._store.probe_stamps(numbers, self.family)
        report = ProbeReport(adapters=len(numbers))
        for adapter in self._store.adapters(numbers):
            try:
                work = _Work(adapter, self._painting, grid)
                stamp = work.stamp(self._clip)
                if known.get(adapter.id) == stamp:
                    report = replace(report, kept=(*report.kept, adapter.id))
                else:
                    found = self._probed(work, watch)
                    self._store.put_probes([(adapter.id, stamp, found)])
                    report = replace(report, done=(*report.done, (adapter.id, found)))
            except _Unpaintable as error:
                locator = adapter.record.path or adapter.record.key
                failure = Rejection(source=adapter.record.source, locator=locator, reason=str(error))
                report = replace(report, failed=(*report.failed, failure))
            report = replace(report, seconds=time.perf_counter() - started)
            if progress is not None:
                progress(report)
        return report

    def _probed(self, work: _Work, watch: Watch | None) -> Probe:
        from .eval.probe import Seen, probe
        from .generation.runs import run

        work.refuse_unfit(self.family)
        folder = self.folder / _folder_name(work.adapter)
        report = run(self._painting.backend, work.requests, folder, watch=watch)
        if report.failed:
            raise _Unpaintable(str(report.failed[0].error))
        if len(report.pictures) != len(work.requests):
            raise _Unpaintable("weights or prompts that come to the same picture; give others")
        seen = self._seen(report.pictures).reshape(work.shape)
        features = Seen(
            plain=seen[0],
            worn=seen[1:],
            weights=work.grid.weights,
            bare=self._clip.embed(work.grid.prompts),
            told=self._clip.embed(work.told),
        )
        try:
            return probe(features, family=self.family, model=work.model, clip=_named(self._clip), told=work.said)
        except InputError as error:
            raise _Unpaintable(str(error)) from error

    def _seen(self, paths: Sequence[Path]) -> NDArray[np.float32]:
        """Return the features of picture files, shape (pictures, width)."""
        import numpy as np
        from PIL import Image

        rows = []
        for start in range(0, len(paths), _SHOWN):
            pictures = []
            for path in paths[start : start + _SHOWN]:
                with Image.open(path) as picture:
                    pictures.append(picture.convert("RGB"))
            rows.append(self._clip.embed_images(pictures))
        return np.concatenate(rows)


class _Unpaintable(VelaturaError):
    """Why one adapter cannot be probed."""


class _Work:
    """One adapter and its grid: the requests, and the texts that its pictures are held against.

    Raises:
        _Unpaintable: nothing can be requested with this adapter; one sentence.
    """

    def __init__(self, adapter: RefinedAdapter, painting: Painting, grid: Grid) -> None:
        self.adapter = adapter
        self.grid = grid
        self._painting = painting
        about = line(adapter.refinement.description or adapter.record.title, _WORDS)
        try:
            worn = [self._worn(prompt) for prompt in grid.prompts]
        except InputError as error:
            raise _Unpaintable(str(error)) from error
        phrases = dict.fromkeys(phrase for one in worn for phrase in one.composition.choices[0].triggers)
        self.said = ", ".join([*phrases, about])
        """In words: its triggers, and what it is described as."""
        self.told = [f"{request.prompt}, {about}" for request in worn]
        self.model = worn[0].model
        self.requests = [
            replace(self._at(request, weight), seed=place * _BETWEEN + number)
            for weight in (None, *grid.weights)
            for place, request in enumerate(worn)
            for number in range(grid.seeds)
        ]

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """Of the features of the requests: weights, the first being none; prompts; seeds; width."""
        return 1 + len(self.grid.weights), len(self.grid.prompts), self.grid.seeds, -1

    def stamp(self, clip: ImageEmbedder) -> str:
        """Return the address of all that the probe depends on beside the adapter's file; models count by content."""
        from .generation.runs.digest import request_digest

        backend = self._painting.backend
        try:
            first = backend.complete(self.requests[0])
        except InputError as error:
            raise _Unpaintable(str(error)) from error
        how = request_digest(first, str(getattr(backend, "stamp", "")))
        asked = (self.grid.prompts, self.grid.seeds, self.grid.weights, self.told)
        return hashlib.sha256(json.dumps([METHOD, _named(clip), how, asked]).encode()).hexdigest()[:32]

    def refuse_unfit(self, family: str) -> None:
        """Refuse an adapter that is not here, or that the checkpoint does not wear.

        Raises:
            _Unpaintable: it is not; one sentence.
        """
        record = self.adapter.record
        if support(record.family, family, kind=record.kind) == "none":
            made, worn = (TITLES.get(name, name) for name in (record.family, family))
            raise _Unpaintable(f"made for {made}, and the checkpoint is {worn}")
        if self.requests[-1].choices[0].adapter.path is None:
            raise _Unpaintable("its file is not on this machine")

    def _worn(self, prompt: str) -> GenerationRequest:
        """Return the request of a prompt with the adapter and the triggers that the composer would add."""
        [triggers] = share_room(prompt, [self.adapter])
        choice = Choice(adapter=self.adapter.record, weight=1.0, span="", triggers=triggers)
        return self._painting.request(Composition(prompt=prompt, choices=(choice,)))

    @staticmethod
    def _at(worn: GenerationRequest, weight: float | None) -> GenerationRequest:
        """Return the request at a weight; without the adapter, but with the same words, for None."""
        if weight is None:
            return replace(worn, composition=Composition(prompt=worn.prompt))
        [choice] = worn.composition.choices
        return replace(worn, composition=replace(worn.composition, choices=(replace(choice, weight=weight),)))


def _named(clip: ImageEmbedder) -> str:
    return f"{clip.model}@{clip.revision}"


def _folder_name(adapter: RefinedAdapter) -> str:
    """Return where an adapter's pictures lie: a copy of the file shares them, and a changed file has others."""
    record = adapter.record
    told = record.fingerprint or record.hashes.sha256 or f"{record.source} {record.key}"
    return hashlib.sha256(told.encode("utf-8", "backslashreplace")).hexdigest()[:16]
