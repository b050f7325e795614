"""A run: a folder of pictures, a manifest of what made each, and a contact sheet. It goes on where it was stopped.

The manifest is keyed by what decides the pixels, so a folder takes the pictures of other requests beside those that it
has, and nothing in it is painted twice. That is the request with all that it leaves to the backend filled in, and what
of the backend no request tells: its attribute `stamp`, where it has one.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol

from ...errors import BackendError, Cancelled, InputError, VelaturaError
from ...protocols import Watch
from ...records import GeneratedImage, GenerationRequest
from ..file_names import bare, bare_file
from ..story import image_name, save_png
from .digest import adapter_digest, request_digest, without_folders
from .manifest import Entry, Laid, Manifest, file_digest, open_manifest
from .sheet import refuse_foreign_sheets, write_sheets

if TYPE_CHECKING:
    from PIL.Image import Image

    from ...protocols import Backend

_HOPELESS: Final = 5
"""After so many calls in a row that failed without a picture, the program that paints is gone."""


class Save(Protocol):
    """Writes a picture with its story; see `velatura.generation.save_png`."""

    def __call__(self, image: GeneratedImage, path: Path, *, overwrite: bool) -> object:
        """Write it whole or not at all; raises InputError where it cannot be written."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunReport:
    """What a run did."""

    folder: Path
    entries: tuple[Entry, ...]
    """One for each request, in their order; one for requests that are the same."""
    of_requests: tuple[Entry, ...]
    """One for each request, in their order; the same one again for requests that are the same."""
    painted: int
    kept: int
    """Pictures that were there already."""
    others: int
    """Pictures in the folder that other requests made."""
    sheets: tuple[Path, ...]

    @property
    def failed(self) -> tuple[Entry, ...]:
        """The requests that could not be painted, each with the reason."""
        return tuple(entry for entry in self.entries if not entry.is_done)

    @property
    def pictures(self) -> tuple[Path, ...]:
        """The pictures of the requests, in their order."""
        return tuple(self.folder / entry.file for entry in self.entries if entry.file is not None and entry.is_done)


def run(
    backend: Backend,
    requests: Sequence[GenerationRequest],
    folder: str | Path,
    *,
    watch: Watch | None = None,
    overwrite: bool = False,
    told: Callable[[int, int], None] | None = None,
    save: Save = save_png,
    sheets: bool = True,
) -> RunReport:
    """Paint what is not in the folder yet, write its manifest line by line, and its contact sheets at the end.

    A request that cannot be painted is noted with the reason, and does not hold up the others; a later run tries it
    again. A picture that was changed or deleted is painted again. Killed at any moment, the same call goes on.

    Args:
        backend: Paints; requests that share adapters are painted together.
        requests: What is painted; the same request twice is painted once.
        folder: Where; a run of other requests may lie there.
        watch: Looks on; its `progress` tells the share of the pictures that are to be painted, and its `preview` a
            picture's place among `requests`. When it stops the run, what was finished is kept.
        overwrite: Paint also what is there already.
        told: Called with (pictures that are there, pictures that there will be) at the beginning and after each one.
        save: Writes a picture.
        sheets: Whether contact sheets are made.

    Raises:
        InputError: The folder cannot be written to, is full, is in use by another process, or holds another
            program's manifest or contact sheet.
        BackendError: The program that paints cannot be reached any more.
        Cancelled: `watch` stopped it.
    """
    folder = Path(folder)
    with open_manifest(folder) as manifest:
        refuse_foreign_sheets(folder)
        work = _Work(backend, manifest, requests, watch, told, save, overwrite=overwrite)
        work.paint()
        manifest.settle(work.wanted)
        done = [entry for entry in manifest.entries.values() if entry.is_done]
        return RunReport(
            folder=folder,
            entries=tuple(manifest.entries[name] for name in work.wanted),
            of_requests=tuple(manifest.entries[name] for name in work.asked),
            painted=work.painted,
            kept=work.kept,
            others=sum(entry.is_done for name, entry in manifest.entries.items() if name not in work.wanted),
            sheets=tuple(write_sheets(done, folder)) if sheets else (),
        )


class _Work:
    """The requests of a run, by their digests, and how far they are."""

    def __init__(
        self,
        backend: Backend,
        manifest: Manifest,
        requests: Sequence[GenerationRequest],
        watch: Watch | None,
        told: Callable[[int, int], None] | None,
        save: Save,
        *,
        overwrite: bool,
    ) -> None:
        self._backend, self._manifest, self._told, self._save = backend, manifest, told, save
        self._watch = watch
        self.wanted: dict[str, GenerationRequest] = {}
        """Complete, but for those that cannot be."""
        self._faults: dict[str, VelaturaError] = {}
        """Why those cannot."""
        self._places: dict[str, int] = {}
        self.asked: list[str] = []
        """The digest of each request, in their order."""
        self._address(requests)
        # In their order; what is settled is taken out.
        self._open = dict.fromkeys(name for name in self.wanted if overwrite or not manifest.holds(name))
        self._whole = len(self._open)
        self.kept = len(self.wanted) - self._whole
        self.painted = 0

    def paint(self) -> None:
        """Paint what is left; of a call that fails, the halves are tried alone, until one request is to blame."""
        self._tell()
        for name in [name for name in self._open if name in self._faults]:
            self._fail(name, self._faults[name])
        calls = deque([list(self._open)] if self._open else [])
        hopeless = 0
        while calls:
            names, before = calls.popleft(), self.painted
            fault = self._call(names)
            hopeless = hopeless + 1 if isinstance(fault, BackendError) and self.painted == before else 0
            if fault is not None and hopeless >= _HOPELESS:
                raise fault
            left = [name for name in names if name in self._open]
            if len(left) == 1:
                self._fail(left[0], fault or BackendError(f"{self._backend.name} gave no picture"))
            elif left:
                calls += [left[: len(left) // 2], left[len(left) // 2 :]]

    def _address(self, requests: Sequence[GenerationRequest]) -> None:
        """Complete each request, and give it the address of all that decides its picture.

        What cannot be completed goes by what was asked; that it failed is forgotten once it can be.
        """
        stamp = str(getattr(self._backend, "stamp", ""))
        failed_before = any(not entry.is_done for entry in self._manifest.entries.values())
        hopeless = 0
        for place, asked in enumerate(requests):
            request, fault = asked, None
            try:
                request = self._backend.complete(asked)
            except Cancelled:
                raise
            except VelaturaError as error:
                fault = error
            hopeless = hopeless + 1 if isinstance(fault, BackendError) else 0
            if fault is not None and hopeless >= _HOPELESS:
                raise fault
            name = request_digest(request, stamp)
            self.asked.append(name)
            if fault is not None:
                self._faults.setdefault(name, fault)
            elif failed_before:
                self._manifest.forget_failure(request_digest(asked, stamp))
            self.wanted.setdefault(name, request)
            self._places.setdefault(name, place)

    def _call(self, names: Sequence[str]) -> VelaturaError | None:
        """Paint some at once, and keep each as it comes; returns what ended that early."""
        painted = self._painted(names)
        while True:
            # What goes wrong where a picture is kept is no fault of its request.
            try:
                place, image = next(painted)
            except StopIteration:
                return None
            except Cancelled:
                raise
            except VelaturaError as error:
                return error
            self._keep(names[place], image)

    def _painted(self, names: Sequence[str]) -> Iterator[tuple[int, GeneratedImage]]:
        requests = [self.wanted[name] for name in names]
        yield from self._backend.generate_each(requests, watch=self._watched(names))

    def _keep(self, name: str, image: GeneratedImage) -> None:
        request = self.wanted[name]
        path = self._manifest.folder / f"{image_name(request, 0).removesuffix('.png')}-{name[:12]}.png"
        self._save(image, path, overwrite=True)
        try:
            digest = file_digest(path)
        except OSError as error:
            raise InputError(f"{path} cannot be read: {error.strerror}") from None
        entry = replace(
            _entry(name, request),
            file=path.name,
            sha256=digest,
            seconds=round(image.seconds, 3),
            model_hash=image.model_hash,
        )
        self._manifest.append(entry)
        del self._open[name]
        self.painted += 1
        self._tell()

    def _fail(self, name: str, error: VelaturaError) -> None:
        request = self.wanted[name]
        self._manifest.append(replace(_entry(name, request), error=without_folders(str(error), request)))
        del self._open[name]
        self._tell()

    def _tell(self) -> None:
        if self._told is not None:
            self._told(len(self.wanted) - len(self._open), len(self.wanted))

    def _watched(self, names: Sequence[str]) -> Watch | None:
        """Return who looks on while a part of the pictures is painted, to whom it is a part of the whole."""
        watch = self._watch
        if watch is None:
            return None
        before, progress, preview = self._whole - len(self._open), watch.progress, watch.preview

        def share(done: float) -> None:
            if progress is not None:
                progress((before + done * len(names)) / self._whole)

        def show(place: int, image: Image) -> None:
            if preview is not None:
                preview(self._places[names[place]], image)

        return replace(watch, progress=progress and share, preview=preview and show)


def _entry(name: str, request: GenerationRequest) -> Entry:
    mask = request.mask
    on = request.choices if mask is None or len(mask) == len(request.composition.choices) else ()
    laid = tuple(
        Laid(
            title=choice.adapter.title,
            weight=choice.weight,
            file=bare_file(choice.adapter.path or choice.adapter.file_name or "") or None,
            sha256=adapter_digest(choice.adapter),
        )
        for choice in on
    )
    return Entry(
        request=name,
        prompt=request.composition.prompt,
        seed=request.seed,
        adapters=laid,
        model=bare(request.model),
        notes=tuple(without_folders(note, request) for note in request.composition.notes),
    )
