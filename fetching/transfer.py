"""The bytes of one file, over HTTP: resumed after every break, from public addresses alone.

A site answers with a redirection to its storage, whose address is signed: whoever has it has the file. So no address
but the site's own is ever told, and the site's token goes to the site alone.
"""

from __future__ import annotations

import random
import re
import shutil
import time
from collections.abc import Callable
from http.client import HTTPException
from typing import TYPE_CHECKING, Final
from urllib.parse import urljoin, urlsplit

from ..addresses import is_fetchable, trouble
from ..catalog.http_json import asked_pause
from ..errors import InputError, SourceError, SourceUnavailable
from .origin import Origin
from .part import Note, Part

if TYPE_CHECKING:
    import requests

MOST_BYTES: Final = 32 * 2**30
"""Far more than an adapter has."""

_TRIES: Final = 6
_PROGRESS: Final = 2**20
"""Bytes that make a try count as none: a long file may break as often as it likes."""
_HOPS: Final = 6
_LONGEST_URL: Final = 8_000
_PIECE: Final = 1 << 16
_SLACK: Final = 1024
"""Bytes by which a size may differ that was once rounded to kilobytes."""
_SPARE: Final = 64 * 2**20
"""Bytes that stay free on the drive."""
_CONNECT, _SILENCE = 20.0, 60.0
KEPT: Final = 900.0
"""Seconds that one connection is kept: a server that sends a byte now and then is left in the end."""
_FIRST_PAUSE, _LONGEST_PAUSE = 1.0, 30.0
_MOVED: Final = frozenset({301, 302, 303, 307, 308})
_RANGE: Final = re.compile(r"bytes (\d{1,18})-(\d{1,18})/(\d{1,18})")
_ETAG: Final = re.compile(r'"[\x21\x23-\x7e]{1,200}"')


class Stopped(Exception):
    """The person does not want it any more."""


class _Again(Exception):
    """A try failed in a way that another may not.

    Args:
        reason: Why, in a few words.
        pause: Seconds that the server asks to wait.
    """

    def __init__(self, reason: str, pause: float | None = None) -> None:
        super().__init__(reason)
        self.reason, self.pause = reason, pause


class Transfer:
    """Brings the bytes of a file into its part.

    Args:
        session: Sends the requests; must reach public addresses alone, as `public_session` does.
        origin: Where the file is asked for.
        version: The site's name of the file.
        sha256: What it must have; None where nobody knows.
        size: What the catalogue says that it has, in bytes; None where it does not.
        told: Called with the bytes that have arrived and those of the whole, where that is known.
        is_stopped: Asked before every piece.
        sleep: Waits for some seconds.
    """

    def __init__(
        self,
        session: requests.Session,
        origin: Origin,
        *,
        version: str,
        sha256: str | None,
        size: int | None,
        told: Callable[[int, int | None], object] = lambda done, whole: None,
        is_stopped: Callable[[], bool] = lambda: False,
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        self._session, self._origin = session, origin
        self._version, self._sha256, self._size = version, sha256, size
        self._told, self._is_stopped, self._sleep = told, is_stopped, sleep
        self._token = origin.token()

    def into(self, part: Part) -> None:
        """Fetch what the part lacks; what has arrived is not checked here.

        Raises:
            SourceUnavailable: the site does not send it now; what has arrived is kept.
            SourceError: the site refuses it, or sends something else.
            InputError: it cannot be written.
            Stopped: it was told to stop; what has arrived is kept.
        """
        failed = 0
        while True:
            before = part.size
            try:
                self._once(part)
                return
            except _Again as again:
                failed = 1 if part.size - before >= _PROGRESS else failed + 1
                if failed >= _TRIES:
                    raise SourceUnavailable(
                        f"{self._origin.site} does not send {part.target.name} ({again.reason}, {failed} tries);"
                        " what has come is kept, and the same command goes on from there"
                    ) from None
                doubled = min(_LONGEST_PAUSE, _FIRST_PAUSE * 2 ** (failed - 1))
                chance = random.uniform(0.5, 1.0)  # noqa: S311 - spreads requests in time, keeps no secret
                self._sleep(doubled * chance if again.pause is None else again.pause)

    def _once(self, part: Part) -> None:
        import requests
        from urllib3.exceptions import HTTPError

        if part.note is not None and part.size > 0 and part.size == part.note.size:
            return
        try:
            with self._answer(part) as response:
                self._take(response, part)
        except requests.Timeout:
            raise _Again("timeout") from None
        except requests.exceptions.SSLError:
            raise _Again("no safe connection") from None
        except (requests.ConnectionError, requests.exceptions.ChunkedEncodingError) as error:
            if trouble(error).endswith("not on the public network"):
                raise SourceError(f"{self._origin.site} leads to a host that is not on the public network") from None
            raise _Again("no connection") from None
        except (HTTPError, HTTPException):
            raise _Again("the connection broke") from None
        except (requests.RequestException, ValueError) as error:
            raise SourceError(f"{self._origin.site} cannot be asked: {type(error).__name__}") from None

    def _answer(self, part: Part) -> requests.Response:
        """Return the answer of whoever has the file, after the redirections that lead there."""
        headers = {"Accept": "*/*"}
        if part.size:
            headers["Range"] = f"bytes={part.size}-"
            if part.note is not None and part.note.etag:
                headers["If-Range"] = part.note.etag
        url, site = self._origin.url, self._origin.site
        for _ in range(_HOPS):
            parts = urlsplit(url)
            if not is_fetchable(url, longest=_LONGEST_URL) or parts.scheme != "https":
                raise SourceError(f"{site} leads to an address that is not asked: it must be https")
            at_home = parts.hostname == self._origin.host and parts.port in (None, 443)
            secret = {"Authorization": f"Bearer {self._token}"} if self._token and at_home else {}
            response = self._session.get(
                url, headers=headers | secret, stream=True, allow_redirects=False, timeout=(_CONNECT, _SILENCE)
            )
            if response.status_code in _MOVED and (location := response.headers.get("Location")):
                response.close()
                url = urljoin(url, location)
                if at_home and urlsplit(url).path.startswith(("/login", "/join")):
                    raise self._locked()
                continue
            try:
                self._judge(response, at_home=at_home)
            except BaseException:
                response.close()
                raise
            return response
        raise SourceError(f"{site} redirects more than {_HOPS} times")

    def _judge(self, response: requests.Response, *, at_home: bool) -> None:
        """Raise for an answer that is not the file."""
        site, status = self._origin.site, response.status_code
        if status in (200, 206, 416):
            kind = response.headers.get("Content-Type", "").partition(";")[0].strip().lower()
            if kind in ("text/html", "application/xhtml+xml"):
                raise SourceError(f"{site} answers with a page for a browser instead of the file")
            if response.headers.get("Content-Encoding", "identity").strip().lower() != "identity":
                raise SourceError(f"{site} sends the file packed, which was not asked for")
            return
        if status == 429 or status >= 500:
            raise _Again(f"HTTP {status}", asked_pause(response.headers.get("Retry-After")))
        if status in (401, 403):
            if not at_home:  # a signed address is over; the next try has a new one
                raise _Again(f"its storage answers with HTTP {status}")
            raise self._locked(status)
        if status in (404, 410):
            raise SourceError(f"{site} has this file no longer (HTTP {status})")
        raise SourceError(f"{site} refuses to send it (HTTP {status})")

    def _locked(self, status: int | None = None) -> SourceError:
        site, variable = self._origin.site, self._origin.variable
        told = f" (HTTP {status})" if status else ""
        if self._token:
            return SourceError(f"{site} does not let the token in {variable} have it{told}: its page says what it asks")
        return SourceError(f"{site} gives it only to whoever has logged in{told}; set {variable} to a token of yours")

    def _take(self, response: requests.Response, part: Part) -> None:
        """Write what an answer brings."""
        whole = self._whole(response, part)
        etag = response.headers.get("ETag", "")
        part.describe(
            Note(version=self._version, sha256=self._sha256, size=whole, etag=etag if _ETAG.fullmatch(etag) else None)
        )
        most = whole if whole is not None else self._most()
        self._check_room(part, whole)
        for piece in response.raw.stream(_PIECE, decode_content=False):
            if self._is_stopped():
                raise Stopped
            if part.size + len(piece) > most:
                part.remove()
                raise SourceError(f"{self._origin.site} sends more than the {most:,} bytes that are due")
            part.write(piece)
            self._told(part.size, whole)
        if whole is not None and part.size < whole:
            raise _Again("the connection broke")

    def _whole(self, response: requests.Response, part: Part) -> int | None:
        """Return the size of the whole file as the answer tells it, the part made ready for what follows."""
        if response.status_code in (206, 416):
            place = _RANGE.fullmatch(response.headers.get("Content-Range", ""))
            first, whole = (int(place[1]), int(place[3])) if place else (-1, -1)
            if response.status_code == 416 or first != part.size or (part.note and part.note.size not in (None, whole)):
                part.clear()
                raise _Again("it sent another piece than it was asked for", 0.0)
        else:
            part.clear()
            told = response.headers.get("Content-Length", "")
            if not (told.isascii() and told.isdecimal() and len(told) <= 18):
                return None
            whole = int(told)
        if whole > MOST_BYTES:
            raise SourceError(f"{self._origin.site} has a file of {whole:,} bytes there, which is no adapter")
        if self._size is not None and abs(whole - self._size) > _SLACK:
            raise SourceError(
                f"{self._origin.site} has a file of {whole:,} bytes there, and the catalogue says {self._size:,};"
                " read the page anew with `velatura index`"
            )
        return whole

    def _most(self) -> int:
        return MOST_BYTES if self._size is None else self._size + _SLACK

    def _check_room(self, part: Part, whole: int | None) -> None:
        lacking = (whole or self._size or 0) - part.size
        try:
            free = shutil.disk_usage(part.target.parent).free
        except OSError:
            return
        if lacking + _SPARE > free:
            raise InputError(
                f"{part.target.name} needs {lacking:,} bytes more, and {part.target.parent} has {free:,} free"
            )
