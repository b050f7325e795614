"""Fetches the pictures that adapters are shown with, each once, and keeps them small."""

from __future__ import annotations

import hashlib
import io
import threading
import time
from concurrent.futures import Future
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import urljoin

from ..addresses import is_fetchable, shown_address, trouble
from ..errors import InputError, SourceError, UnreadableFile
from ..whole_file import whole_file
from .picture_file import decode_picture

if TYPE_CHECKING:
    import requests
    from PIL.Image import Image

SIDE: Final = 512
"""Pixels of the longer side of what a model is shown: one tile, as OpenAI counts pictures."""

_QUALITY: Final = 85
_MOST_BYTES: Final = 20_000_000
_MOST_PIXELS: Final = 40_000_000
_SECONDS: Final = 30.0
_SILENCE: Final = 10.0
_HOPS: Final = 3
_PART: Final = 65_536
_MOVED: Final = frozenset({301, 302, 303, 307, 308})
_TYPES: Final = frozenset(
    {"", "image/png", "image/jpeg", "image/jpg", "image/webp", "image/gif", "application/octet-stream",
     "binary/octet-stream"}
)  # fmt: skip
"""Content types under which sites serve pictures. Whether it is one, its bytes tell."""


class PictureFetcher:
    """Fetches pictures over http and https from public addresses, and keeps small ones in a folder.

    A URL is fetched once: the folder tells which picture it led to, a failure is remembered while this lives, and two
    threads that want the same one share it.

    Args:
        folder: Where the pictures are kept; made when the first one comes.
        session: Sends the requests; None takes `public_http.public_session()`, which reaches public addresses alone.
            Another one must see to that itself.
        seconds: How long one picture may take, redirections included.
    """

    def __init__(self, folder: Path, *, session: requests.Session | None = None, seconds: float = _SECONDS) -> None:
        self._folder = folder
        self._session = session
        self._seconds = seconds
        self._lock = threading.Lock()
        self._under_way: dict[str, Future[bytes]] = {}
        self._failed: dict[str, str] = {}

    def fetch(self, url: str) -> bytes:
        """Return the picture at an address as a small JPEG; see `shrink`.

        Raises:
            InputError: The address is none that may be asked, or what is there is no picture, or too large.
            SourceError: It cannot be fetched.
        """
        with self._lock:
            if (reason := self._failed.get(url)) is not None:
                raise SourceError(reason)
            waiting = self._under_way.get(url)
            mine: Future[bytes] = Future()
            if waiting is None:
                self._under_way[url] = mine
        if waiting is not None:
            return waiting.result()
        try:
            picture = self._fetch(url)
        except BaseException as error:
            with self._lock:
                del self._under_way[url]
                if isinstance(error, InputError | SourceError):
                    self._failed[url] = str(error)
            mine.set_exception(error)
            raise
        with self._lock:
            del self._under_way[url]
        mine.set_result(picture)
        return picture

    def _fetch(self, url: str) -> bytes:
        link = self._folder / "urls" / hashlib.blake2b(url.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()
        if (kept := self._kept(link)) is not None:
            return kept
        content = self._download(url)
        digest = hashlib.blake2b(content, digest_size=16).hexdigest()
        path = self._path(digest)
        try:
            if not path.is_file():
                _write(path, shrink(decode_picture(content, shown_address(url), most_pixels=_MOST_PIXELS)))
            # Last, so that what it names is there whenever it is.
            _write(link, digest.encode())
            return path.read_bytes()
        except OSError as error:
            raise SourceError(f"{self._folder} does not take pictures ({error.strerror or error})") from None

    def _kept(self, link: Path) -> bytes | None:
        try:
            digest = link.read_bytes().decode()
            return self._path(digest).read_bytes() if len(digest) == 32 and digest.isalnum() else None
        except (OSError, ValueError):
            return None

    def _path(self, digest: str) -> Path:
        return self._folder / f"{digest}-{SIDE}.jpg"

    def _download(self, url: str) -> bytes:
        """Return what an address holds, following a few redirections; each is checked as the first."""
        import requests

        end = time.monotonic() + self._seconds
        start = url
        for _ in range(_HOPS + 1):
            _check_url(url)
            left = end - time.monotonic()
            if left <= 0:
                raise SourceError(f"{shown_address(start)} takes longer than {self._seconds:g} s")
            try:
                with self._open().get(
                    url, stream=True, allow_redirects=False, timeout=(left, min(left, _SILENCE))
                ) as response:
                    if response.status_code in _MOVED and response.headers.get("Location"):
                        url = urljoin(url, response.headers["Location"])
                        continue
                    return _body(response, shown_address(start), end)
            except (requests.RequestException, OSError, ValueError) as error:
                raise SourceError(f"{shown_address(start)} cannot be fetched ({trouble(error)})") from None
        raise SourceError(f"{shown_address(start)} redirects more than {_HOPS} times")

    def _open(self) -> requests.Session:
        with self._lock:
            if self._session is None:
                from ..public_http import public_session

                self._session = public_session()
            return self._session


def shrink(picture: Image) -> bytes:
    """Return a picture as a JPEG whose longer side is at most 512 pixels; of the file it came from nothing is left.

    No EXIF, no comment, no colour profile: prompts and places stand there.
    """
    small = picture.convert("RGB")
    small.thumbnail((SIDE, SIDE))
    small.info = {}
    file = io.BytesIO()
    small.save(file, "JPEG", quality=_QUALITY)
    return file.getvalue()


def _check_url(url: str) -> None:
    if not is_fetchable(url):
        raise InputError(f"{shown_address(url)} is no address that pictures are fetched from; it must be http or https")


def _body(response: requests.Response, name: str, end: float) -> bytes:
    """Return the content of an answer that says to be a picture.

    Raises:
        SourceError: It is another answer, or takes too long.
        UnreadableFile: It is no picture, or too large.
    """
    if response.status_code != 200:
        raise SourceError(f"{name} cannot be fetched (HTTP {response.status_code})")
    kind = response.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    if kind not in _TYPES:
        raise UnreadableFile(f"{name} is no PNG, JPEG, WebP or GIF picture")
    told = response.headers.get("Content-Length", "")
    size = int(told) if told.isdecimal() and len(told) < 20 else 0
    content = bytearray()
    if size <= _MOST_BYTES:
        for part in response.iter_content(_PART):
            content += part
            size = len(content)
            if size > _MOST_BYTES:
                break
        if time.monotonic() >= end:
            raise SourceError(f"{name} takes too long")
    if size > _MOST_BYTES:
        raise UnreadableFile(f"{name} is larger than {_MOST_BYTES // 1_000_000} MB")
    return bytes(content)


def _write(path: Path, content: bytes) -> None:
    """Write a file as a whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(path) as unfinished:
        unfinished.write_bytes(content)
