"""What every way in shares: one open catalogue, its gates, and the painters behind a queue."""

from __future__ import annotations

import threading
from collections.abc import Generator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from ..errors import InputError, VelaturaError
from ..families import TITLES
from ..gates import admitted
from ..painting import Painting
from ..records import USES, Choice, Composition, Filter
from .jobs import Jobs, Paint
from .pictures import PictureShelf

if TYPE_CHECKING:
    from starlette.requests import Request

    from ..pipeline import Velatura
    from ..protocols import Backend, Watch
    from ..records import Candidate, GeneratedImage, GenerationRequest

LONGEST_PROMPT: Final = 10_000
"""Characters of a prompt."""
_GLANCE: Final = 0.2
"""Seconds to wait for a checkpoint that is being loaded where nobody wants to wait for it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wishes:
    """What a request may ask of the filter. It can only ever narrow what the settings allow."""

    family: str | None = None
    whole: bool = False
    """With `family`: only what it wears whole."""
    unknown_family: bool = False
    kinds: tuple[str, ...] = ()
    commercial: str | None = None
    safe: bool = False
    """Only rated PG or PG13."""
    no_real_people: bool = False
    installed: bool = False
    banned: tuple[int, ...] = ()
    """Catalogue numbers."""


class Refused(InputError):
    """What was asked for is outside what the server allows."""


class Studio:
    """One catalogue and its painters, for many requests at once; every method may be called by several threads.

    Args:
        velatura: The open catalogue; its settings say what is allowed.
    """

    def __init__(self, velatura: Velatura) -> None:
        self.velatura = velatura
        self.settings = velatura.settings
        self.shelf = PictureShelf(self.settings.kept_megabytes << 20)
        places = [self.settings.model_copy(update={"device": device}) for device in self.settings.devices]
        self._paintings = [Painting(each, velatura.localised) for each in places] or [velatura.painting]
        self._opening = threading.Lock()
        self._glancing = threading.Lock()
        self._loading: Future[Backend] | None = None
        painters = [self._painter(each) for each in self._paintings]
        self.jobs = Jobs(painters, self.shelf.keep, most=self.settings.queue, at_once=self.settings.batch)

    def close(self) -> None:
        """End every job."""
        self.jobs.close()

    def _painter(self, painting: Painting) -> Paint:
        def paint(requests: Sequence[GenerationRequest], watch: Watch) -> Generator[tuple[int, GeneratedImage]]:
            with self._opening:  # one thread loads a model at a time, and none of them twice
                backend = painting.backend
            yield from backend.generate_each(requests, watch=watch)

        return paint

    # ---------------------------------------------------------------- what may be asked for

    def filter(self, wishes: Wishes = Wishes()) -> Filter:
        """Return the filter of a request: what the settings allow, and no more than the request wants.

        Raises:
            InputError: a family, a use or a kind is none of those that there are.
        """
        settings = self.settings
        if wishes.family is not None and wishes.family not in TITLES:
            raise InputError(f"the family {wishes.family!r} is none of {', '.join(TITLES)}")
        if wishes.commercial is not None and wishes.commercial not in USES:
            raise InputError(f"the use {wishes.commercial!r} is none of {', '.join(USES)}")
        if settings.commercial is not None and wishes.commercial not in (None, settings.commercial):
            raise Refused(f"this server serves only what may be used for {settings.commercial!r}")
        return Filter(
            family=wishes.family,
            partial=not wishes.whole,
            unknown_family=wishes.unknown_family,
            kinds=wishes.kinds,
            commercial=wishes.commercial or settings.commercial,
            nsfw=settings.ratings(safe=wishes.safe),
            installed=wishes.installed,
            real_people=settings.real_people and not wishes.no_real_people,
            blocked=tuple(sorted({*self.velatura.blocked(), *wishes.banned})),
        )

    def for_painting(self, wishes: Wishes = Wishes()) -> Wishes:
        """Return the wishes, narrowed to what is on this machine and fits the checkpoint."""
        return replace(wishes, family=self.backend.family, installed=True)

    @property
    def backend(self) -> Backend:
        """The first painter's backend, loaded when it is first asked for.

        Raises:
            InputError: the settings name no checkpoint, or it cannot be used.
            MissingDependency: a package that it needs is not installed.
        """
        with self._opening:
            return self._paintings[0].backend

    def glance(self) -> Backend | None:
        """Return the first painter's backend, None while it is being loaded; where nobody has begun with that, begin.

        Raises:
            InputError: as `backend`; the next look tries anew.
            MissingDependency: as `backend`.
        """
        with self._glancing:
            loading = self._loading
            if loading is None:
                self._loading = loading = Future()
                threading.Thread(target=self._load, args=(loading,), name="loading", daemon=True).start()
        try:
            return loading.result(_GLANCE)
        except TimeoutError:
            return None
        except VelaturaError:
            self._loading = None
            raise

    def _load(self, loading: Future[Backend]) -> None:
        try:
            loading.set_result(self.backend)
        except Exception as error:
            loading.set_exception(error)

    # ---------------------------------------------------------------- finding and choosing

    def search(self, prompt: str, *, wishes: Wishes = Wishes(), limit: int = 10) -> list[Candidate]:
        """Return the adapters that could serve a prompt, best first, as `Velatura.search`."""
        return self.velatura.search(bounded(prompt), filter=self.filter(wishes), limit=limit)

    def compose(
        self, prompt: str, *, wishes: Wishes = Wishes(), locked: Mapping[int, float | None] | None = None
    ) -> Composition:
        """Choose adapters for a prompt, as `Velatura.compose`.

        Args:
            prompt: The prompt.
            wishes: What may be chosen.
            locked: Weights by catalogue number of what is to be laid on in any case; None takes the advised one.
        """
        kept = {number: self._kept(number, weight) for number, weight in (locked or {}).items()}
        return self.velatura.compose(bounded(prompt), filter=self.filter(wishes), locked=kept)

    def _kept(self, number: int, weight: float | None) -> Choice:
        from ..composer.weights import advise

        adapter = self.velatura.store.adapter(number)
        if weight is None:
            weight = advise(adapter, 1, "evidence").weight
        return Choice(adapter=adapter.record, weight=weight, span="", reason="you keep it", kept=True)

    def admit(self, composition: Composition, *, wishes: Wishes = Wishes()) -> Composition:
        """Return a composition that a client sent, with the catalogue's own records in place of what it says of them.

        A client names adapters; where their files lie and what they are rated, the catalogue alone knows.

        Raises:
            InputError: an adapter is not in the catalogue.
            InputError: the filter's gates keep one out.
        """
        prompt = bounded(composition.prompt)
        store = self.velatura.store
        named = []
        for choice in composition.choices:
            number = store.number_of(choice.adapter)
            if number is None:
                raise InputError(f"“{choice.adapter.title}” is not in the catalogue")
            named.append((choice.adapter.title, [number]))
        numbers = admitted(store, named, self.filter(wishes))
        adapters = store.adapters(numbers)
        choices = tuple(
            replace(choice, adapter=adapter.record)
            for choice, adapter in zip(composition.choices, adapters, strict=True)
        )
        return replace(composition, prompt=prompt, choices=choices, refused=())

    # ---------------------------------------------------------------- painting

    def request(self, composition: Composition, **fields: object) -> GenerationRequest:
        """Return a complete request for a composition, within what the server allows.

        Args:
            composition: Admitted; see `admit`.
            **fields: Fields of `GenerationRequest`; None leaves one to the model. Files in them are the server's own.

        Raises:
            InputError: the request asks for what cannot be.
            Refused: for more than the settings allow.
        """
        settings = self.settings
        for side in ("width", "height"):
            if isinstance(wanted := fields.get(side), int) and wanted > settings.largest_side:
                raise Refused(f"the {side} is {wanted}, and this server paints at most {settings.largest_side}")
        if isinstance(steps := fields.get("steps"), int) and steps > settings.most_steps:
            raise Refused(f"{steps} steps are asked for, and this server makes at most {settings.most_steps}")
        request = self.backend.complete(self._paintings[0].request(composition, **fields))
        # A size that is left open may be that of a picture to start from.
        if max(request.width or 0, request.height or 0) > settings.largest_side:
            size = f"{request.width}x{request.height}"
            raise Refused(f"that would be {size}, and this server paints at most {settings.largest_side} a side")
        return request

    def several(self, request: GenerationRequest, count: int, *, masks: bool = False) -> list[GenerationRequest]:
        """Return a request for each of several pictures, their seeds counting up.

        Args:
            request: The first.
            count: How many.
            masks: Whether each has another choice of the adapters, as `Velatura.varied`.

        Raises:
            Refused: more than the settings allow.
        """
        most = self.settings.most_pictures
        if count > most:
            raise Refused(f"{count} pictures are asked for, and this server paints at most {most}")
        if masks:
            return self.velatura.varied(request, count)
        return [replace(request, seed=request.seed + number) for number in range(count)]


def studio_of(request: Request) -> Studio:
    """Return the studio of the application that a request reached."""
    studio: Studio = request.app.state.studio
    return studio


def bounded(prompt: str) -> str:
    """Return a prompt that is not too long.

    Raises:
        Refused: it is longer than this server reads.
    """
    if len(prompt) > LONGEST_PROMPT:
        raise Refused(f"the prompt has {len(prompt):,} characters, and this server reads at most {LONGEST_PROMPT:,}")
    return prompt
