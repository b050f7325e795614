"""Keeps what adapters do to weights up to date with their files, and finds the files that do the same."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import InputError
from ..records import Rejection, WeightMeasure

if TYPE_CHECKING:
    from ..db import Store

_BATCH = 64
_PATIENCE = 2.0
"""Seconds after which what was measured is kept though the batch is not full: reading a file may take as long."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasureReport:
    """What a run of `measure` has done so far."""

    files: int = 0
    """Files that were new, or had changed since they were measured."""
    done: int = 0
    failed: tuple[Rejection, ...] = ()
    """Files of those that could not be measured, with the reason."""
    seconds: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class NearDuplicate:
    """Two adapters of different bytes that do the same to weights, or nearly."""

    adapters: tuple[int, int]
    """Catalogue numbers, ascending."""
    overlap: float
    """The cosine of their differences; 1 is the same but for the strength."""
    ratio: float
    """How strong the second is, the first being 1."""
    is_exact: bool = True
    """False where a file could not be read again, so that the overlap is estimated from sketches."""
    is_partial: bool = False
    """Whether networks were left out that cannot be compared without a model."""


def measure(
    store: Store,
    measure_file: Callable[[str], WeightMeasure],
    method: str,
    *,
    progress: Callable[[MeasureReport], None] | None = None,
) -> MeasureReport:
    """Measure every local file that is new or has changed.

    Can be killed at any moment and called again: what is stored is not measured twice. A file that cannot be measured
    costs no other, and is not read again before it changes.

    Args:
        store: The catalogue.
        measure_file: Measures the file at a path; raises `InputError` where it is damaged.
        method: The version of what measures.
        progress: Called after every file.
    """
    run = _Run(store, method)
    for number, path in run.stale:
        run.take(number, path, measure_file)
        if progress is not None:
            progress(run.report)
    run.write()
    return run.report


class _Run:
    def __init__(self, store: Store, method: str) -> None:
        self.store = store
        self.method = method
        self.started = self.written_at = time.perf_counter()
        known = store.weight_files(method)
        self.stale = [
            (file.number, file.path) for file in known if file.stamp is None or _stamp(file.path) != file.stamp
        ]
        self.report = MeasureReport(files=len(self.stale))
        self.waiting: list[tuple[int, str, WeightMeasure]] = []

    def take(self, number: int, path: str, measure_file: Callable[[str], WeightMeasure]) -> None:
        """Measure one file; whatever goes wrong with it is told and costs no other."""
        reason: str | None = None
        try:
            with Path(path).open("rb") as stream:  # what cannot be opened now is tried again next time
                stamp = _text(os.fstat(stream.fileno()))
            try:
                found = measure_file(path)
            except InputError as error:
                found = WeightMeasure(method=self.method, failure=str(error))
            reason = found.failure
            self.waiting.append((number, stamp, found))
        except OSError as error:
            reason = f"it cannot be read: {error.strerror or type(error).__name__}"
        except MemoryError:
            raise
        except Exception as error:
            lines = str(error).splitlines()
            reason = f"it could not be measured: {type(error).__name__}{f' ({lines[0][:200]})' if lines else ''}"
        failed = (Rejection(source="folder", locator=path, reason=reason),) if reason is not None else ()
        self.report = replace(
            self.report,
            done=self.report.done + 1,
            failed=self.report.failed + failed,
            seconds=time.perf_counter() - self.started,
        )
        if len(self.waiting) >= _BATCH or time.perf_counter() - self.written_at > _PATIENCE:
            self.write()

    def write(self) -> None:
        """Keep what was measured."""
        self.store.put_measures(self.waiting)
        self.waiting = []
        self.written_at = time.perf_counter()


def near_duplicates(
    store: Store,
    overlap: Callable[[str, str], float],
    method: str,
    *,
    at_least: float,
    shortlist: float,
    progress: Callable[[int, int], None] | None = None,
) -> list[NearDuplicate]:
    """Return pairs of local files that do the same to weights, the most alike first.

    Of many that are alike, each is paired once with the nearest that is in the group already, so n files make n - 1
    pairs. Files of one fingerprint count as one: `Store.duplicates` tells them.

    Args:
        store: The catalogue, measured by `measure`.
        overlap: Tells the exact overlap of two files; raises `InputError` where one is damaged.
        method: The version of what measured.
        at_least: The least overlap.
        shortlist: The least cosine of sketches that makes two files be compared exactly.
        progress: Called with (pairs looked at, pairs on the shortlist).
    """
    candidates = store.alike(method, shortlist)
    groups: dict[int, int] = {}
    found: list[NearDuplicate] = []
    for place, (one, other, cosine) in enumerate(candidates):
        if _root(groups, one) != _root(groups, other):
            pair = _compare(store, one, other, cosine, overlap)
            if pair is not None and pair.overlap >= at_least:
                groups[_root(groups, other)] = _root(groups, one)
                found.append(pair)
        if progress is not None:
            progress(place + 1, len(candidates))
    return sorted(found, key=lambda pair: (-pair.overlap, pair.adapters))


def _compare(
    store: Store, one: int, other: int, cosine: float, overlap: Callable[[str, str], float]
) -> NearDuplicate | None:
    measures = store.measure(one), store.measure(other)
    paths = [adapter.record.path for adapter in store.adapters([one, other])]
    if measures[0] is None or measures[1] is None or len(paths) != 2:  # it changed while we looked
        return None
    is_exact = True
    try:
        cosine = overlap(paths[0] or "", paths[1] or "")
    except (InputError, OSError):
        is_exact = False
    first, second = (found.whole.norm for found in (measures[0], measures[1]))
    return NearDuplicate(
        adapters=(one, other),
        overlap=cosine,
        ratio=second / first,
        is_exact=is_exact,
        is_partial=bool(measures[0].unmeasured or measures[1].unmeasured),
    )


def _root(groups: dict[int, int], number: int) -> int:
    """Return the number that stands for a group, and shorten the way there."""
    root = number
    while root in groups:
        root = groups[root]
    while number != root:
        groups[number], number = root, groups[number]
    return root


def _stamp(path: str) -> str | None:
    """Return what changes when a file does; None where it cannot be asked."""
    try:
        return _text(Path(path).stat())
    except (OSError, ValueError):
        return None


def _text(stat: os.stat_result) -> str:
    return f"{stat.st_size}-{stat.st_mtime_ns}"
