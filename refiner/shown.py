"""The pictures of an adapter that a model is shown: few, small, and only such as may be shown."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from ..addresses import is_fetchable
from ..errors import InputError, SourceError
from ..records import BLOCKED, AdapterRecord, Rejection
from .picture_fetch import shrink
from .picture_file import read_picture_file, stamp
from .pictures import local_pictures

if TYPE_CHECKING:
    from .picture_fetch import PictureFetcher

_TRIED: Final = 2
"""Times the wanted pictures that are tried, since some are gone."""
_FILMS: Final = (".mp4", ".webm", ".mov", ".mkv", ".avi", ".m4v")


class ShownPictures:
    """Chooses the pictures of an adapter, those on this machine before those at addresses.

    What depicts a minor is not shown, nor what a site has blocked.

    Args:
        fetcher: Fetches the pictures at addresses; None leaves them out.
        most: How many are shown of one adapter.
        nsfw: The OR of the rating bits that may be shown; what is not rated stays out. None shows all.
        digests: The digests of files by their stamps (see `velatura.refiner.picture_file`), where the catalogue has
            them; other files are read to know them.
    """

    def __init__(
        self,
        fetcher: PictureFetcher | None = None,
        *,
        most: int = 3,
        nsfw: int | None = None,
        digests: Mapping[str, str] | None = None,
    ) -> None:
        self.most = most
        self._fetcher = fetcher
        self._allowed = nsfw
        self._lock = threading.Lock()
        self._failed: dict[str, str] = {}
        self._digests = dict(digests or {})

    @property
    def failed(self) -> tuple[Rejection, ...]:
        """The pictures that could not be shown so far."""
        with self._lock:
            return tuple(Rejection(source="picture", locator=name, reason=why) for name, why in self._failed.items())

    def identities(self, record: AdapterRecord) -> tuple[str, ...]:
        """Return what tells the pictures that may be shown: the content of a file, the address of another.

        Nothing is fetched.
        """
        told = (picture if isinstance(picture, str) else self._digest(picture) for picture in self._candidates(record))
        return tuple(dict.fromkeys(identity for identity in told if identity is not None))

    def show(self, record: AdapterRecord) -> list[bytes]:
        """Return the pictures as small JPEGs; one that fails leaves its place to the next, and is remembered."""
        shown: dict[bytes, None] = {}
        for picture in self._candidates(record):
            if len(shown) >= self.most:
                break
            try:
                shown[self._read(picture)] = None
            except (InputError, SourceError, OSError) as error:
                with self._lock:
                    self._failed[str(picture)] = str(error)
        return list(shown)

    def _read(self, picture: Path | str) -> bytes:
        if isinstance(picture, Path):
            return shrink(read_picture_file(picture).decode())
        if self._fetcher is None:
            raise SourceError("pictures at addresses are not fetched")
        return self._fetcher.fetch(picture)

    def _candidates(self, record: AdapterRecord) -> list[Path | str]:
        """Return the pictures that are tried, in their order."""
        if self.most <= 0 or record.minor:
            return []
        ratings = {example.image: example.nsfw for example in record.examples if example.image}
        # A preview has no rating of its own, and the adapter's covers all of its pictures.
        local = local_pictures(record) if self._allows(record.nsfw) else []
        rated_out = {name for name, rating in ratings.items() if "://" not in name and not self._allows(rating)}
        folder = Path(record.path).parent if record.path else Path()
        files: list[Path | str] = [path for path in local if not any(path == folder / name for name in rated_out)]
        return [*files, *self._addresses(ratings)][: _TRIED * self.most]

    def _addresses(self, ratings: dict[str, int | None]) -> Iterator[str]:
        if self._fetcher is None:
            return
        for url, rating in ratings.items():
            if "://" in url and self._allows(rating) and is_fetchable(url) and not _is_film(url):
                yield url

    def _allows(self, rating: int | None) -> bool:
        if rating is not None and rating & BLOCKED:
            return False
        return self._allowed is None or (rating is not None and not rating & ~self._allowed)

    def _digest(self, path: Path) -> str | None:
        """Return the address of a file's content, which is read again when the file changes."""
        try:
            mark = stamp(path, path.stat())
            with self._lock:
                known = self._digests.get(mark)
            if known is None:
                known = read_picture_file(path).digest
                with self._lock:
                    self._digests[mark] = known
        except (OSError, ValueError, InputError):
            return None
        return known


def _is_film(url: str) -> bool:
    return urlsplit(url).path.lower().endswith(_FILMS)
