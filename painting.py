"""What paints: the backend that the settings name, requests made for it, and pictures written as they come."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from .errors import InputError
from .records import Composition, GeneratedImage, GenerationRequest
from .settings import Settings

if TYPE_CHECKING:
    from .engines.on_ray import RayEngine
    from .generation.demofusion import Plan
    from .protocols import Backend, Watch

AUTO = "auto"
"""A negative prompt that means the one known for the checkpoint."""


class Painting:
    """Paints requests with the settings' backend.

    Args:
        settings: The settings.
        localised: Gives a composition with each adapter's file on this machine.
        engine: Where the checkpoint is opened; None for this process.
    """

    def __init__(
        self,
        settings: Settings,
        localised: Callable[[Composition], Composition],
        engine: RayEngine | None = None,
    ) -> None:
        self._settings = settings
        self._localised = localised
        self._engine = engine

    @cached_property
    def backend(self) -> Backend:
        """The backend that paints, with the checkpoint of the settings.

        Raises:
            InputError: no checkpoint is named, or it cannot be used.
            MissingDependency: a package that it needs is not installed.
            EngineError: the engine's cluster does not answer.
        """
        from .wiring import painter

        if self._engine is None:
            return painter(self._settings)
        from .engines.painting import EngineBackend, PaintRecipe

        return EngineBackend(self._engine.workers(PaintRecipe.of(self._settings)))

    def close(self) -> None:
        """Let go of what was opened elsewhere to paint; what is open here goes with its last user."""
        close = getattr(self.__dict__.get("backend"), "close", None)
        if close is not None:
            close()

    def request(self, composition: Composition, **fields: object) -> GenerationRequest:
        """Return a request for a composition, with the settings' values where a field is not given."""
        settings = self._settings
        defaults: dict[str, object] = {
            "model": settings.model or "",
            "backend": settings.backend or "",
            "steps": settings.steps,
            "guidance": settings.guidance,
            "scheduler": settings.scheduler,
        }
        given = {name: value for name, value in fields.items() if value is not None}
        if given.get("negative") == AUTO:
            given["negative"] = self._known_negative()
        return GenerationRequest(composition=self._localised(composition), **(defaults | given))  # type: ignore[arg-type]

    def plan(self, request: GenerationRequest, *, timed: bool = False) -> Plan | None:
        """Say what painting large takes, without painting; None for what is painted in one piece.

        Args:
            request: What is to be painted.
            timed: Paint a few samples, to estimate the time too.

        Raises:
            InputError: the request asks for what cannot be.
        """
        estimate = getattr(self.backend, "estimate", None)
        plain = request.enlargement is not None and request.enlargement.mode == "upscale"
        return None if estimate is None or plain else estimate(request, timed=timed)

    def generate(
        self, request: GenerationRequest, *, count: int = 1, watch: Watch | None = None
    ) -> Iterator[GeneratedImage]:
        """Paint `count` images, with the seeds counting up from the request's."""
        yield from self.backend.generate(request, count, watch=watch)

    def paths(self, requests: Sequence[GenerationRequest], *, count: int = 1, overwrite: bool = False) -> list[Path]:
        """Return where `paint` writes the pictures of requests, `count` of each.

        Raises:
            InputError: a picture of that name is there already and `overwrite` is not given, or two have one name.
        """
        from .generation import image_name

        folder = Path(self._settings.output)
        paths = [folder / image_name(request, number) for request in requests for number in range(count)]
        taken = next((path for path in paths if path.exists()), None)
        if taken is not None and not overwrite:
            raise InputError(f"{taken} is there already; give --overwrite, another --seed or another --output")
        seen: set[Path] = set()
        for path in paths:
            if path in seen:
                raise InputError(f"two pictures would be called {path}; give them different seeds")
            seen.add(path)
        return paths

    def paint(
        self, request: GenerationRequest, *, count: int = 1, overwrite: bool = False, watch: Watch | None = None
    ) -> Iterator[tuple[Path, GeneratedImage]]:
        """Generate, and write each picture with its story into the output folder as it comes.

        Raises:
            InputError: a picture of that name is there already and `overwrite` is not given.
        """
        paths = self.paths([request], count=count, overwrite=overwrite)
        images = self.backend.generate(request, count, watch=watch)
        yield from self._written(paths, enumerate(images), overwrite=overwrite)

    def paint_each(
        self, requests: Sequence[GenerationRequest], *, overwrite: bool = False, watch: Watch | None = None
    ) -> Iterator[tuple[Path, GeneratedImage]]:
        """Paint one picture of each request, those that share adapters together; as `paint`, in whatever order."""
        paths = self.paths(requests, overwrite=overwrite)
        yield from self._written(paths, self.backend.generate_each(requests, watch=watch), overwrite=overwrite)

    def _written(
        self, paths: Sequence[Path], images: Iterator[tuple[int, GeneratedImage]], *, overwrite: bool
    ) -> Iterator[tuple[Path, GeneratedImage]]:
        from .generation import save_png

        folder = Path(self._settings.output)
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(f"the folder {folder} cannot be made: {error.strerror}") from None
        for place, image in images:
            save_png(image, paths[place], overwrite=overwrite)
            yield paths[place], image

    def _known_negative(self) -> str:
        """Return the negative prompt known for the checkpoint.

        Raises:
            InputError: none is.
        """
        from .generation.known import resolve

        known = resolve(self._settings.model or "")[1]
        if known is None or not known.negative:
            raise InputError(f"no negative prompt is known for {self._settings.model}; write one")
        return known.negative
