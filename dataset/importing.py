"""Takes a dataset over into a catalogue: its adapters, what is said of them, and the vectors of their texts."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Final

from ..db.codec import digest as digest_of
from ..db.exchange import numbers_by_key
from ..db.refinements import dump
from ..errors import InputError
from ..records import RefinedAdapter, Refinement
from ..refiner.passages import VERSION, digest, passages
from .adapter_row import record_of, refinement_of
from .columns import NESTED, PLAIN
from .manifest import check_files
from .shareable import SOURCE
from .source import DatasetSource
from .stricter import Stricter
from .vector_files import read_vectors

if TYPE_CHECKING:
    from ..db import Store, SyncReport

_CHUNK: Final = 500
_SAID: Final = {
    name: kind
    for name, kind in (PLAIN | NESTED).items()
    if name in ("source", "key", "title", "minor") or name.startswith("refined_")
}
"""The columns that tell what is said of an adapter, and whether its row is one."""
_ORIGIN: Final = "dataset "
"""What the origin of a refinement begins with that came of a dataset; any other is the catalogue's own."""

Progress = Callable[[str, int, int], None]
"""Told (what is done, how much is, of how much)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportReport:
    """What an import took over."""

    sync: SyncReport
    """What became of the adapters."""
    held: int = 0
    """Adapters that keep a stricter rating or licence than the dataset's, which the catalogue knows from elsewhere."""
    refined: int = 0
    """Adapters of which something else is said than before."""
    vectors: dict[str, int] = field(default_factory=dict)
    """Vectors that were new to the catalogue, by `model@revision`."""
    refused_vectors: int = 0
    """Vectors that are of no text of the dataset, not of length 1, or not as long as the catalogue's."""
    trouble: tuple[str, ...] = ()
    """A sentence for each file of vectors that could not be used."""
    seconds: float = 0.0


def import_dataset(
    store: Store, folder: str | Path, *, vectors: bool = True, progress: Progress | None = None
) -> ImportReport:
    """Bring the catalogue into step with a dataset; a second time only what has changed is written.

    Every file is held against the manifest before anything is read. The adapters come as those of the source
    `dataset`: none of another source is changed, and none of them is freer than another source says of the same file;
    see `Stricter`. What a describer of the catalogue said itself stays. A vector is
    taken only for a text that the dataset's own rows have, and where the catalogue has none.

    Args:
        store: The catalogue.
        folder: The dataset.
        vectors: Take the vectors too; else the texts are embedded anew by `velatura embed`.
        progress: Told how far it is.

    Raises:
        InputError: There is no dataset, or a file is not the one that its manifest tells of.
        MissingDependency: pyarrow is not installed.
    """
    started = time.perf_counter()
    source = DatasetSource(folder)
    manifest = source.manifest
    whole, checked = sum(file.bytes for file in manifest.files), 0
    for _, size in check_files(source.folder, manifest):
        checked += size
        if progress is not None:
            progress("bytes checked", checked, whole)

    def synced(report: SyncReport) -> None:
        if progress is not None:
            progress("adapters", report.offered, manifest.adapters)

    run = _Run(store, source, progress)
    strict = Stricter(source, store)
    synced_report = store.sync(strict, progress=synced)
    run.take_words()
    report = ImportReport(sync=synced_report, held=strict.held, refined=run.refined)
    if vectors and manifest.embedded:
        report = run.take_vectors(report)
    return replace(report, seconds=time.perf_counter() - started)


class _Run:
    """What follows once the adapters are in the catalogue."""

    def __init__(self, store: Store, source: DatasetSource, progress: Progress | None) -> None:
        self.store = store
        self.source = source
        self.progress = progress
        self.refined = 0
        self.texts: set[bytes] = set()
        """The digests of the texts of all adapters."""

    def take_words(self) -> None:
        """Let the adapters have what the dataset says of them, and note which texts they have."""
        rows = self._good_rows()
        numbers: list[int] = []
        while some := dict(islice(rows, _CHUNK)):
            found = numbers_by_key(self.store, SOURCE, some)
            self._refine({found[key]: said for key, said in some.items() if key in found and said is not None})
            numbers += found.values()
            self._tell("descriptions", len(numbers), self.source.manifest.adapters)
        # Only now: what a text is made from is noted when it is asked which are stale.
        stale = set(self.store.stale_passages(VERSION))
        for start in range(0, len(numbers), _CHUNK):
            self._cut(numbers[start : start + _CHUNK], stale)
            self._tell("texts", start, len(numbers))

    def take_vectors(self, report: ImportReport) -> ImportReport:
        """Keep the vectors that the catalogue lacks."""
        taken: dict[str, int] = {}
        refused = 0
        trouble = []
        for told in self.source.manifest.embedded:
            name = f"{told.model}@{told.revision}"
            taken[name] = done = 0
            for file in told.files:
                try:
                    for names, rows, bad in read_vectors(self.source.folder / file, told):
                        given = {
                            each: row
                            for each, row in zip(names, rows, strict=True)
                            if bytes.fromhex(each) in self.texts
                        }
                        refused += bad + len(names) - len(given)
                        lacking = self.store.missing_vectors(told.model, told.revision, given)
                        self.store.put_vectors(told.model, told.revision, {each: given[each] for each in lacking})
                        taken[name] += len(lacking)
                        done += len(names) + bad
                        self._tell(f"vectors of {told.model}", done, told.vectors)
                except InputError as error:
                    trouble.append(f"{file}: {error}")
        return replace(report, vectors=taken, refused_vectors=refused, trouble=tuple(trouble))

    def _good_rows(self) -> Iterator[tuple[str, Refinement | None]]:
        """Yield (key, what is said) of each row that is an adapter, the first of each key."""
        seen: set[str] = set()
        for _, row in self.source.rows(_SAID):
            if isinstance(row, Mapping):
                try:
                    key = record_of(row).key
                except InputError:
                    continue
                if key not in seen:
                    seen.add(key)
                    yield key, refinement_of(row)

    def _refine(self, given: Mapping[int, Refinement]) -> None:
        kept = self.store.refinements(given)
        wanted: list[tuple[int, Refinement, str]] = []
        for number, said in given.items():
            origin = _ORIGIN + digest_of(f"{said.writer}\n{dump(said)}".encode())
            before = kept.get(number, (_ORIGIN, ""))[0]
            if before is not None and before.startswith(_ORIGIN) and before != origin:
                wanted.append((number, said, origin))
        self.store.put_refinements(wanted)
        self.refined += len(wanted)

    def _cut(self, numbers: list[int], stale: set[int]) -> None:
        """Note the texts of these adapters, and let the catalogue know those of the stale ones."""
        rows: list[tuple[int, list[tuple[str, str]]]] = []
        for adapter in self.store.adapters(numbers):
            named = _named(adapter)
            self.texts.update(bytes.fromhex(address) for _, address in named)
            if adapter.id in stale:
                rows.append((adapter.id, named))
        self.store.set_passages(rows, VERSION)

    def _tell(self, what: str, done: int, whole: int) -> None:
        if self.progress is not None:
            self.progress(what, done, whole)


def _named(adapter: RefinedAdapter) -> list[tuple[str, str]]:
    return [(name, digest(text)) for name, text in passages(adapter)]
