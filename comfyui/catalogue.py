"""The catalogue that the nodes choose from, kept open from one prompt to the next."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from threading import RLock
from typing import TYPE_CHECKING

from ..errors import InputError, MissingDependency

if TYPE_CHECKING:
    from ..pipeline import Velatura
    from ..settings import Settings

_DEVICE = "cpu"
"""Where texts are embedded: a prompt is quickly read, and the GPU is ComfyUI's."""


def settings_of(catalogue: str | None, **flags: object) -> Settings:
    """Return the settings; an empty catalogue is the settings' own.

    Raises:
        InputError: a value is wrong.
    """
    from ..settings import load_settings

    return load_settings(db=(catalogue or "").strip() or None, device=_DEVICE, **flags)


class Kept:
    """The catalogue that was last chosen from, left open."""

    def __init__(self) -> None:
        self._lock = RLock()
        self._key: object = None
        self._velatura: Velatura | None = None
        self._revision: tuple[object, str] | None = None

    @contextmanager
    def opened(self, settings: Settings) -> Iterator[Velatura]:
        """Lend the catalogue of some settings, to one node at a time.

        Raises:
            InputError: there is none yet.
            CatalogueError: it cannot be read.
        """
        from ..pipeline import Velatura

        with self._lock:
            key = (settings.model_dump_json(), _file(settings))
            if key != self._key or self._velatura is None:
                self.close()
                self._velatura, self._key = Velatura(settings, read_only=True), key
            with plainly():
                yield self._velatura

    def revision(self, settings: Settings) -> str:
        """Return what is another text whenever something else may be chosen from the catalogue.

        Raises:
            InputError: there is none yet.
            CatalogueError: it cannot be read.
        """
        with self.opened(settings) as velatura:
            mark = (self._key, velatura.store.mark())
            if self._revision is None or self._revision[0] != mark:
                self._revision = (mark, velatura.store.revision())
            return self._revision[1]

    def close(self) -> None:
        """Let go of it."""
        with self._lock:
            if self._velatura is not None:
                self._velatura.close()
            self._velatura, self._key, self._revision = None, None, None


KEPT = Kept()
"""ComfyUI makes its nodes anew for every workflow, so this is theirs together."""


@contextmanager
def plainly() -> Iterator[None]:
    """Tell of a missing package as it is installed here: the repository was cloned, and is no package to pip."""
    try:
        yield
    except MissingDependency as error:
        raise InputError(
            f"{error.package} is not installed; in ComfyUI's own Python run: pip install {error.package}"
        ) from None


def _file(settings: Settings) -> tuple[int, int] | None:
    """Return what tells this file from another one that is put in its place; None for a server's catalogue.

    Raises:
        InputError: there is no catalogue.
    """
    from ..db import file_of

    path = file_of(settings.db)
    if path is None:
        return None
    try:
        found = path.stat()
    except (OSError, ValueError):
        raise InputError(
            f"there is no catalogue at {path} yet; put the node “Velatura: Index LoRA Folders” before this one, "
            "or run `velatura index` on your folder of LoRAs"
        ) from None
    return found.st_dev, found.st_ino
