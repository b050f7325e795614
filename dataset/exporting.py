"""Writes what a catalogue knows of adapters into a folder, as a dataset."""

from __future__ import annotations

import re
import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from ..db.codec import storable
from ..db.exchange import encoders, vectors_by_digest
from ..errors import InputError, MissingDependency
from ..only_one import only_one
from ..records import Filter, RefinedAdapter
from ..refiner.passages import VERSION, digest, passages
from .card import card
from .columns import row_of, schema
from .manifest import ADAPTERS, CARD, NAME, Embedded, Manifest, file_of, is_known, shard, write_manifest
from .shareable import shareable
from .tally import Tally
from .vector_files import DIGEST, file_stem, write_vectors

if TYPE_CHECKING:
    import pyarrow
    from numpy.typing import NDArray

    from ..db import Store

SHARD_ROWS: Final = 100_000
"""Adapters in one file."""
SHARD_BYTES: Final = 128 << 20
"""Bytes of vectors in one file, which are held in memory at once, and once more while they are written."""
_GROUP: Final = 1000
"""Adapters that are read and written at once."""
_DIGESTS: Final = 10_000

Progress = Callable[[str, int, int], None]
"""Told (what is written, how many are, of how many)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportReport:
    """What an export wrote."""

    folder: str
    adapters: int = 0
    described: int = 0
    """Adapters of which a describer says something."""
    vectors: dict[str, int] = field(default_factory=dict)
    """By `model@revision`."""
    files: int = 0
    bytes: int = 0
    kept_out: dict[str, int] = field(default_factory=dict)
    """Adapters that the filter kept out, by its reasons."""
    notes_left_out: int = 0
    """Adapters whose owner's notes were left out; their cards may have no vector for it."""
    seconds: float = 0.0


def export_dataset(
    store: Store,
    folder: str | Path,
    wanted: Filter | None = None,
    *,
    sources: Sequence[str] = (),
    notes: bool = False,
    overwrite: bool = False,
    shard_rows: int = SHARD_ROWS,
    progress: Progress | None = None,
) -> ExportReport:
    """Write the adapters that a filter lets through, what is said of them and the vectors of their texts.

    The folder appears whole or not at all; over an older dataset its files are exchanged, the manifest last. The same
    catalogue gives the same bytes. Nothing of this machine is written; what that means is told by `shareable`.

    Args:
        store: The catalogue.
        folder: Where the dataset is to be: a folder that is empty or not there.
        wanted: Which adapters; None for all. What depicts a minor or is missing never passes.
        sources: Only those of these sources; empty for all.
        notes: Also write what the owner of each file wrote about it.
        overwrite: Take the place of a dataset that lies there.
        shard_rows: Adapters in one file.
        progress: Told how far it is.

    Raises:
        InputError: Nothing passes, the folder holds something else, or cannot be written.
        MissingDependency: pyarrow is not installed.
    """
    started = time.perf_counter()
    chosen = wanted or Filter()
    target = _target(Path(folder).expanduser(), overwrite=overwrite)
    numbers = _numbers(store, chosen, sources)
    with _unfinished(target) as unfinished:
        run = _Run(store, unfinished, notes=notes, shard_rows=shard_rows, progress=progress)
        run.write_adapters(numbers)
        embedded = tuple(run.write_vectors())
        excluded = store.excluded(chosen)
        manifest = _finish(unfinished, run.tally, embedded, _in_words(excluded, sources, notes=notes))
        _exchange(unfinished, target)
    return ExportReport(
        folder=str(target),
        adapters=run.tally.adapters,
        described=run.tally.described,
        vectors={f"{one.model}@{one.revision}": one.vectors for one in embedded},
        files=len(manifest.files) + 1,
        bytes=sum(file.bytes for file in manifest.files) + (target / NAME).stat().st_size,
        kept_out=excluded,
        notes_left_out=run.notes_left_out,
        seconds=time.perf_counter() - started,
    )


class _Run:
    """One export: writes, and counts what it wrote."""

    def __init__(self, store: Store, folder: Path, *, notes: bool, shard_rows: int, progress: Progress | None) -> None:
        self.store = store
        self.folder = folder
        self.notes = notes
        self.shard_rows = shard_rows
        self.progress = progress
        self.tally = Tally()
        self.notes_left_out = 0
        self.keys: Counter[tuple[str, str]] = Counter()
        self.digests = bytearray()

    def write_adapters(self, numbers: NDArray[np.int64]) -> None:
        """Write the Parquet files."""
        parquet, columns = _parquet(), schema()
        count = -(-len(numbers) // self.shard_rows)
        for place in range(count):
            members = numbers[place * self.shard_rows : (place + 1) * self.shard_rows]
            path = self.folder / shard("adapters", "parquet", place, count)
            with parquet.ParquetWriter(path, columns, compression="zstd") as writer:
                for start in range(0, len(members), _GROUP):
                    rows = [self._row(one) for one in self.store.adapters(members[start : start + _GROUP])]
                    writer.write_table(_table(rows, columns), row_group_size=_GROUP)
                    self._tell("adapters", place * self.shard_rows + start + len(rows), len(numbers))

    def write_vectors(self) -> Iterator[Embedded]:
        """Write the vectors of the texts of what was written, by every model that embedded any; yield each model."""
        texts = _distinct(self.digests)
        written: set[str] = set()
        for model, revision, dimension in encoders(self.store):
            name = bare_model(model)
            # Two folders of one model are one: its revision is a digest of what is in them.
            if file_stem(name, revision) in written:
                continue
            written.add(file_stem(name, revision))
            files, count = self._write_model(texts, model, revision, dimension, file_stem(name, revision))
            if count:
                yield Embedded(
                    model=name, revision=storable(revision), dimension=dimension, vectors=count, files=tuple(files)
                )

    def _row(self, adapter: RefinedAdapter) -> dict[str, Any]:
        record, said = shareable(adapter, notes=self.notes)
        self.keys[record.source, record.key] += 1
        copies = self.keys[record.source, record.key]
        if copies > 1:
            record = replace(record, key=f"{record.key}#{copies}")
        told = passages(RefinedAdapter(id=adapter.id, record=record, refinement=said))
        named = [(name, digest(text)) for name, text in told]
        for _, address in named:
            self.digests += bytes.fromhex(address)
        self.tally.add(record, said)
        self.notes_left_out += bool(adapter.record.notes) and not self.notes
        return row_of(record, said, named)

    def _tell(self, what: str, done: int, whole: int) -> None:
        if self.progress is not None:
            self.progress(what, done, whole)

    def _write_model(
        self, texts: NDArray[np.uint8], model: str, revision: str, dimension: int, stem: str
    ) -> tuple[list[str], int]:
        """Write what one model embedded of these texts; return (the files, how many vectors)."""
        most = max(1, SHARD_BYTES // (4 * dimension + DIGEST))
        parts: list[Path] = []
        names, rows = bytearray(), bytearray()
        count = 0

        def write() -> None:
            parts.append(self.folder / f"{stem}.{len(parts)}.part")
            digests = np.frombuffer(bytes(names), np.uint8).reshape(-1, DIGEST)
            vectors = np.frombuffer(bytes(rows), "<f4").reshape(-1, dimension)
            write_vectors(parts[-1], bare_model(model), storable(revision), digests, vectors)
            names.clear()
            rows.clear()

        for start in range(0, len(texts), _DIGESTS):
            asked = [bytes(one).hex() for one in texts[start : start + _DIGESTS]]
            found = dict(vectors_by_digest(self.store, model, revision, asked))
            # In the order of the digests, whatever order the database has them in; a damaged one is none.
            for name in asked:
                if len(found.get(name, b"")) == 4 * dimension:
                    names += bytes.fromhex(name)
                    rows += found[name]
                    count += 1
                    if len(names) == most * DIGEST:
                        write()
            self._tell(f"vectors of {bare_model(model)}", start + len(asked), len(texts))
        if names:
            write()
        files = [shard(stem, "safetensors", place, len(parts)) for place in range(len(parts))]
        for part, name in zip(parts, files, strict=True):
            part.rename(self.folder / name)
        return files, count


def bare_model(model: str) -> str:
    """Return the name of a model as strangers may see it: of a folder on this machine the last part.

    >>> bare_model("/home/ada/models/minilm"), bare_model("sentence-transformers/all-MiniLM-L6-v2")
    ('minilm', 'sentence-transformers/all-MiniLM-L6-v2')
    """
    is_place = re.match(r"[/\\~.]|[A-Za-z]:[\\/]", model) or len(re.findall(r"[\\/]", model)) > 1
    return storable(re.split(r"[\\/]", model.rstrip("\\/"))[-1] if is_place else model)


def _numbers(store: Store, wanted: Filter, sources: Sequence[str]) -> NDArray[np.int64]:
    numbers = store.select(wanted)
    if sources:
        numbers = numbers[np.isin(numbers, np.concatenate([store.of_source(name) for name in sources]))]
    if not len(numbers):
        raise InputError("no adapter of the catalogue passes; there is nothing to write")
    return numbers


def _distinct(digests: bytearray) -> NDArray[np.uint8]:
    """Return the digests ascending, each once, shape (digests, 16)."""
    halves = np.frombuffer(bytes(digests), ">u8").reshape(-1, 2)
    halves = halves[np.lexsort((halves[:, 1], halves[:, 0]))]
    is_new = np.ones(len(halves), bool)
    is_new[1:] = (halves[1:] != halves[:-1]).any(axis=1)
    return np.ascontiguousarray(halves[is_new]).view(np.uint8).reshape(-1, DIGEST)


def _parquet() -> Any:
    try:
        from pyarrow import parquet
    except ModuleNotFoundError:
        raise MissingDependency("pyarrow", extra="dataset") from None
    return parquet


def _table(rows: list[dict[str, Any]], columns: pyarrow.Schema) -> pyarrow.Table:
    import pyarrow as pa

    try:
        return pa.Table.from_pylist(rows, schema=columns)
    except UnicodeEncodeError:
        return pa.Table.from_pylist([_encodable(row) for row in rows], schema=columns)


def _encodable(value: Any) -> Any:
    """Return a row in which halves of characters are visible escapes."""
    if isinstance(value, str):
        return storable(value)
    if isinstance(value, dict):
        return {name: _encodable(item) for name, item in value.items()}
    return [_encodable(item) for item in value] if isinstance(value, list) else value


def _in_words(excluded: dict[str, int], sources: Sequence[str], *, notes: bool) -> list[str]:
    words = {
        "family": "those of other base families",
        "kinds": "those of other kinds",
        "nsfw": "those that are rated more explicit, or not rated",
        "commercial": "those whose licence does not allow a commercial use that was asked for, or is not known",
        "real_people": "those that are known to depict a real person",
        "blocked": "those that were blocked by name",
        "installed": "those whose file the exporter does not have",
    }
    told = [sentence for name, sentence in words.items() if name in excluded]
    return [*told, *(["other sources"] if sources else []), *([] if notes else ["notes of the files' owner"])]


def _finish(folder: Path, tally: Tally, embedded: tuple[Embedded, ...], kept_out: Sequence[str]) -> Manifest:
    """Write the card and the manifest."""
    manifest = Manifest(adapters=tally.adapters, passages=VERSION, embedded=embedded)
    (folder / CARD).write_text(card(manifest, tally, kept_out), encoding="utf-8", newline="\n")
    files = tuple(file_of(path) for path in sorted(folder.iterdir()))
    manifest = replace(manifest, files=files)
    write_manifest(folder, manifest)
    return manifest


def _target(folder: Path, *, overwrite: bool) -> Path:
    """Return the whole path of the folder that may be written."""
    target = folder.absolute()
    try:
        # What begins with a dot is the drive's or git's own, and stays.
        held = [path for path in target.iterdir() if not path.name.startswith(".")] if target.exists() else []
    except OSError as error:
        raise InputError(f"{folder} cannot be written: {error.strerror}") from None
    if not held:
        return target
    # Without a manifest it may be what is left of one, whose exchange was cut short.
    is_rest = all(is_known(path.name) for path in held) and any(ADAPTERS.fullmatch(path.name) for path in held)
    if not (target / NAME).is_file() and not is_rest:
        raise InputError(f"{folder} holds something else than a dataset; name another folder")
    if not overwrite:
        raise InputError(f"a dataset is in {folder} already; name another folder, or give --overwrite")
    return target


@contextmanager
def _unfinished(target: Path) -> Iterator[Path]:
    """Lend an empty folder beside the target, to one process at a time; what a killed one left is taken away.

    Raises:
        InputError: Another process writes there now, or it cannot be written.
    """
    holder = target.with_name(f".{target.name}.part")
    try:
        holder.mkdir(parents=True, exist_ok=True)
        if holder.is_symlink():
            raise InputError(f"{holder} is a link to another place; take it away")
        with only_one(holder / "lock", f"another process writes {target} now; wait for it, or name another folder"):
            try:
                shutil.rmtree(holder / "set", ignore_errors=True)
                (holder / "set").mkdir()
                yield holder / "set"
            finally:
                shutil.rmtree(holder, ignore_errors=True)
    except OSError as error:
        raise InputError(f"{target} cannot be written: {error.strerror or error}") from None


def _exchange(finished: Path, target: Path) -> None:
    """Move the files to their place, and those of an older dataset out of it; its manifest goes first, ours is last."""
    target.mkdir(parents=True, exist_ok=True)
    (target / NAME).unlink(missing_ok=True)
    for path in target.iterdir():
        if is_known(path.name):
            path.unlink()
    for path in sorted(finished.iterdir(), key=lambda path: path.name == NAME):
        path.replace(target / path.name)
