"""Fetches what is ordered, several at once: each file whole, checked and named, or not there at all."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from functools import partial
from hashlib import file_digest
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

from ..catalog.header import read_header
from ..errors import InputError, SourceError, VelaturaError
from .order import Order
from .part import Part
from .sidecar import keep_sidecar
from .transfer import KEPT, Stopped, Transfer

if TYPE_CHECKING:
    import requests

WORKERS: Final = 3
"""How many files come at once; sites slow down whoever asks for more."""

State = Literal["fetched", "here", "failed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetched:
    """What became of an order."""

    order: Order
    state: State
    """`fetched` now, `here` already, or `failed`."""
    path: str | None = None
    size: int | None = None
    sha256: str | None = None
    """Of the file that came, or of the one that had its name already."""
    reason: str | None = None
    """Why it failed, one sentence."""


def open_session() -> requests.Session:
    """Return a session that reaches public addresses alone."""
    from ..public_http import public_session

    return public_session(kept=KEPT)


def fetch(
    orders: Sequence[Order],
    folder: Path,
    *,
    session: Callable[[], requests.Session] | None = None,
    progress: Callable[[int, int], object] | None = None,
    sleep: Callable[[float], object] = time.sleep,
) -> Iterator[Fetched]:
    """Yield what becomes of each order, as it comes about; one that fails costs no other.

    A file is written beside its name, and given it when it is whole, has the digest that the catalogue knows, and is a
    safetensors file. What stands under the name already is never written over. What was interrupted goes on when the
    same is ordered again.

    Args:
        orders: What to fetch.
        folder: Where to; it is there.
        session: Opens what sends the requests, for each file anew.
        progress: Called with the bytes that are there, and those that are known to be due, of all together.
        sleep: Waits for some seconds.

    Raises:
        InputError: there is no such folder.
    """
    folder = folder.expanduser()
    if not folder.is_dir():
        raise InputError(f"there is no folder {folder}")
    counted = _Count(progress)
    stop = threading.Event()
    one = partial(_fetch_one, folder=folder, session=session or open_session, stop=stop, sleep=sleep, counted=counted)
    pool = ThreadPoolExecutor(WORKERS, thread_name_prefix="fetch")
    try:
        futures, names = [], set[str]()
        for each in orders:
            name = each.file_name.casefold()
            if each.here is None and name in names:
                reason = f"{each.file_name} is what another of these is called too; fetch it into another folder"
                yield Fetched(order=each, state="failed", reason=reason)
            else:
                futures.append(pool.submit(one, each))
            names.add(name)
        for future in as_completed(futures):
            yield future.result()
    finally:
        stop.set()
        pool.shutdown(cancel_futures=True)


class _Count:
    """Adds up what has come of several files."""

    def __init__(self, progress: Callable[[int, int], object] | None) -> None:
        self._progress = progress
        self._lock = threading.Lock()
        self._files: dict[int, tuple[int, int]] = {}

    def told(self, number: int, done: int, whole: int | None) -> None:
        """Take note of how far one file is."""
        if self._progress is not None:
            with self._lock:
                self._files[number] = (done, whole or done)
                done, due = (sum(column) for column in zip(*self._files.values(), strict=True))
                self._progress(done, due)


def _fetch_one(
    order: Order,
    *,
    folder: Path,
    session: Callable[[], requests.Session],
    stop: threading.Event,
    sleep: Callable[[float], object],
    counted: _Count,
) -> Fetched:
    if order.here is not None:
        return Fetched(order=order, state="here", path=order.here)
    try:
        return _bring(order, folder / order.file_name, session, stop, sleep, counted)
    except Stopped:
        return Fetched(order=order, state="failed", reason="stopped; the same command goes on from there")
    except VelaturaError as error:
        return Fetched(order=order, state="failed", reason=str(error))


def _bring(
    order: Order,
    target: Path,
    session: Callable[[], requests.Session],
    stop: threading.Event,
    sleep: Callable[[float], object],
    counted: _Count,
) -> Fetched:
    if order.origin is None:
        raise InputError(f"nobody says where {order.file_name} is fetched from")
    if os.path.lexists(target):
        return _there(order, target)
    with Part(target) as part, session() as opened:
        if os.path.lexists(target):  # while the lock was waited for
            part.remove()
            return _there(order, target)
        version = f"{order.record.source}:{order.record.key}"
        part.resume(version, order.sha256)
        transfer = Transfer(
            opened,
            order.origin,
            version=version,
            sha256=order.sha256,
            size=order.record.size,
            told=partial(counted.told, order.number),
            is_stopped=stop.is_set,
            sleep=sleep,
        )
        transfer.into(part)
        if part.resumed and not _is_right(order, part.sha256()):
            # What was there before was not what it was taken for, such as after a power cut.
            part.clear()
            transfer.into(part)
        digest, size = part.sha256(), part.size
        try:
            _check(order, part, digest)
        except BaseException:
            part.remove()
            raise
        _name(order, part, size, digest)
        return Fetched(order=order, state="fetched", path=str(target), size=size, sha256=digest)


def _is_right(order: Order, digest: str) -> bool:
    """Whether a digest is what the catalogue knows, as much as it knows of it."""
    return digest.startswith(order.sha256 or order.record.hashes.autov2 or "")


def _check(order: Order, part: Part, digest: str) -> None:
    """Raise where what has come is another file than the catalogue knows, or no safetensors file."""
    if not _is_right(order, digest):
        site = order.origin.site if order.origin else "the site"
        due = order.sha256 or f"{order.record.hashes.autov2}..."
        raise SourceError(
            f"what {site} sends as {order.file_name} is not the file that the catalogue knows: its SHA-256 is {digest},"
            f" not {due}; read the page anew with `velatura index`"
        )
    # The reader of the catalogue's folders, so that what is named here can be read there.
    with open(part.path, "rb", buffering=0) as file:  # noqa: PTH123
        read_header(file, order.file_name)


def _name(order: Order, part: Part, size: int, digest: str) -> None:
    try:
        # First what is said of it, so that nobody meets the file without.
        keep_sidecar(order.record, part.target, size, digest)
    except OSError as error:
        raise InputError(
            f"what Civitai says of {part.target.name} cannot be kept beside it: {error.strerror}"
        ) from None
    part.finish()


def _there(order: Order, target: Path) -> Fetched:
    """Return the answer where the name is taken: by this very file, or by another, which is left as it is."""
    digest = None
    try:
        with target.open("rb") as file:
            digest = file_digest(file, "sha256").hexdigest()
    except OSError:
        pass  # a folder, or a link to nothing
    if digest is not None and order.sha256 == digest:
        return Fetched(order=order, state="here", path=str(target), size=target.stat().st_size, sha256=digest)
    raise InputError(f"{target} is there already, and is not known to be this file; name another folder")
