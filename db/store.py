"""The catalogue: records in, records out."""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sqlalchemy import select

from ..errors import InputError
from ..protocols import Source
from ..records import AdapterRecord, BaseNorms, Filter, Id, Probe, RefinedAdapter, Refinement, Rejection, WeightMeasure
from ..words import words
from . import (
    changes,
    codec,
    filters,
    full_text,
    identity,
    measures,
    passages,
    pictures,
    probes,
    reading,
    refinements,
    stats,
    triggers,
    vectors,
)
from .alike import alike
from .connect import Database, chunks, open_database
from .find import find
from .pictures import Seen
from .refinements import Reply
from .revision import revision
from .schema import encoder, scope
from .sync import SyncReport, sync


def open_store(target: str | Path, *, read_only: bool = False) -> Store:
    """Open the catalogue at a path or a URL, and make it if it is not there; a server's database has to be there.

    Args:
        target: A path, `sqlite:///PATH`, or `postgresql://USER@HOST/DATABASE`.
        read_only: Create, change and migrate nothing.

    Raises:
        CatalogueError: It is not there and `read_only`, is no catalogue, is of a newer version, or cannot be opened.
        MissingDependency: The driver of its server is not installed.
    """
    return Store(open_database(target, read_only=read_only))


class Store:
    """An open catalogue. Any number of processes may read it while one writes.

    Every method is one transaction, save where it says that it writes in batches. All of them raise `CatalogueError`
    when the database cannot be read or written. An adapter that its source offers no more is *missing*: it keeps its
    number, refinement and vectors, and is found by its number alone.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._origins: dict[int, str] = {}
        self._digests: dict[int, str] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def name(self) -> str:
        """What a person knows it by, and can name it by to a command: its path, or its URL without a password."""
        return self._database.name

    @property
    def path(self) -> Path | None:
        """The catalogue's file; None where it is on a server."""
        return self._database.dialect.file_of(self._database.url)

    def beside(self, what: str) -> Path:
        """Return where something lies on this machine that is made of the catalogue.

        Next to its file, or for a server's in a folder of `VELATURA_HOME`.

        Raises:
            CatalogueError: The folder for it cannot be made.
        """
        return self._database.dialect.beside(self._database.url, what)

    def close(self) -> None:
        """Close the database."""
        self._database.close()

    def sync(
        self,
        source: Source,
        *,
        batch: int = 500,
        progress: Callable[[SyncReport], None] | None = None,
        force: bool = False,
    ) -> SyncReport:
        """Read into the catalogue what a source offers and what has changed of it.

        Writes in batches, each kept as a whole or not at all; input that has not changed writes nothing. A run that
        is killed leaves what its finished batches wrote, and the next one ends with the rows, numbers included, of a
        run that was never disturbed. An entry that cannot be read becomes a rejection and costs no other.

        What a complete source no longer offers is marked missing when the run ends. A local file that is new since
        the last finished run and has the fingerprint of a missing one is that file, moved: it keeps its number.

        Args:
            source: What to read.
            batch: How many entries are written at once; slow sources are written every two seconds.
            progress: Called after every batch.
            force: Read every entry again; only records that say something else are written.

        Raises:
            SourceError: The source failed; what it gave before that is kept.
        """
        return sync(self._database, source, batch=batch, progress=progress, force=force)

    def bookmark(self, source: str, name: str) -> str | None:
        """Return where an interrupted run of a source over this scope may go on; None when there is none."""
        with self._database.reading() as connection:
            statement = select(scope.c.bookmark).where(
                scope.c.source == codec.storable(source), scope.c.scope == codec.storable(name)
            )
            return connection.execute(statement).scalar()

    def scopes(self, source: str) -> list[str]:
        """Return what was read of a source so far: the folders of `folder`, for one."""
        with self._database.reading() as connection:
            found = connection.execute(select(scope.c.scope).where(scope.c.source == codec.storable(source)))
            return sorted(found.scalars())

    def adapter(self, number: int) -> RefinedAdapter:
        """Return the adapter with this catalogue number, missing or not.

        Raises:
            InputError: No adapter has it.
        """
        found = self.adapters([number])
        if not found:
            raise InputError(f"no adapter in the catalogue has the number {number}")
        return found[0]

    def adapters(self, numbers: Sequence[int] | NDArray[np.int64]) -> list[RefinedAdapter]:
        """Return the adapters with these numbers in their order; numbers that no adapter has are left out."""
        with self._database.reading() as connection:
            return reading.adapters(connection, [int(number) for number in numbers])

    def find(self, text: str) -> list[int]:
        """Return the numbers of the adapters that a name means, the likeliest first.

        Understood, in this order: a catalogue number; a path; `model@version`, also as `civitai:model@version` and
        `urn:air:...`; a file's name or stem; at least 8 digits of a SHA-256, AutoV2 or AutoV3; a site's version id or
        model id; a title.
        """
        with self._database.reading() as connection:
            return find(connection, text)

    def stats(self) -> stats.Stats:
        """Count what the catalogue holds."""
        with self._database.reading() as connection:
            return stats.count(connection)

    def rejections(self, limit: int | None = None) -> list[Rejection]:
        """Return what could not become a record, in the order in which it was met."""
        with self._database.reading() as connection:
            return reading.rejections(connection, limit)

    def duplicates(self) -> list[identity.Duplicates]:
        """Return the groups of adapters that are one file, one network or one page; see `identity.duplicates`."""
        with self._database.reading() as connection:
            return identity.duplicates(connection)

    def identities(self, numbers: Sequence[int]) -> dict[int, identity.Identity]:
        """Return what tells each of the adapters from others, by number; its record is not read."""
        with self._database.reading() as connection:
            return identity.identities(connection, numbers)

    def mark(self) -> Hashable:
        """Return what is another whenever anybody has written to the catalogue; it reads next to nothing."""
        return self._database.mark()

    def revision(self) -> str:
        """Return what is another whenever adapters, or what is known of them, are others; all of that is read."""
        with self._database.reading() as connection:
            return revision(connection)

    def number_of(self, wanted: AdapterRecord) -> int | None:
        """Return the number of the adapter that a record is of, which may be in brief; None where there is none."""
        with self._database.reading() as connection:
            return identity.number_of(connection, wanted)

    def installed(self, wanted: AdapterRecord) -> str | None:
        """Return where the file of a record lies on this machine, or None; see `identity.installed`."""
        with self._database.reading() as connection:
            return identity.installed(connection, wanted)

    def select(self, wanted: Filter) -> NDArray[np.int64]:
        """Return the numbers of the adapters that pass a filter, ascending.

        Missing adapters and those that depict a minor never pass.

        Raises:
            InputError: The filter names a family or a commercial use that does not exist.
        """
        with self._database.reading() as connection:
            return filters.allowed(connection, wanted)

    def of_source(self, name: str) -> NDArray[np.int64]:
        """Return the numbers of the adapters of a source, ascending, missing ones too."""
        with self._database.reading() as connection:
            return filters.of_source(connection, name)

    def excluded(self, wanted: Filter) -> dict[str, int]:
        """Return how many adapters each reason keeps out, by the name of the filter's field, `minor` or `missing`.

        An adapter with several reasons counts under the first, so that the counts and what passes make up the whole.

        Raises:
            InputError: The filter names a family or a commercial use that does not exist.
        """
        with self._database.reading() as connection:
            return filters.excluded(connection, wanted)

    def words_state(self) -> changes.State:
        """Return a state that is another one whenever an adapter has other words or trigger phrases than before."""
        with self._database.reading() as connection:
            return changes.state(connection)

    def words_changed(self, since: changes.State) -> list[int] | None:
        """Return the adapters with other words or trigger phrases than in a state, ascending, those gone too.

        Returns:
            None when this catalogue never was in that state.
        """
        with self._database.reading() as connection:
            return changes.since(connection, since)

    def word_texts(self, numbers: Sequence[int] | None = None) -> Iterator[tuple[int, tuple[str, ...]]]:
        """Yield (number, words of each of `velatura.db.words.COLUMNS`, joined by spaces), ascending, missing ones too.

        Args:
            numbers: Only these; None for all.
        """
        with self._database.reading() as connection:
            yield from full_text.texts(connection, numbers)

    def trigger_phrases(self, numbers: Sequence[int] | None = None) -> list[tuple[str, int]]:
        """Return (phrase, adapter) of these adapters, of all for None, missing ones too; phrases ascending."""
        with self._database.reading() as connection:
            return triggers.every(connection, numbers)

    def matched_words(self, numbers: Sequence[int], query: Sequence[str]) -> dict[int, dict[str, tuple[str, ...]]]:
        """Return, for each adapter, the words and phrases of the query that stand in each of its columns of words.

        Columns and adapters without any are left out.
        """
        asked = [(phrase, f" {' '.join(words(phrase))} ") for phrase in dict.fromkeys(query)]
        found: dict[int, dict[str, tuple[str, ...]]] = {}
        with self._database.reading() as connection:
            for number, column, text in full_text.texts_of(connection, numbers):
                padded = f" {text} "
                standing = tuple(phrase for phrase, cut in asked if cut.strip() and cut in padded)
                if standing:
                    found.setdefault(number, {})[column] = standing
        return found

    def triggers_beginning(self, start: str) -> list[tuple[str, int]]:
        """Return (phrase, adapter) of each trigger phrase that begins so, the phrase itself first, missing ones too.

        Args:
            start: Words joined by single spaces, as `velatura.words.words` cuts them; the last may be a part of one.
        """
        with self._database.reading() as connection:
            return triggers.beginning(connection, start)

    def mentions(self, phrases: Iterable[str], most: int) -> dict[str, set[int]]:
        """Return, for each phrase, the adapters in any of whose columns of words it stands, missing ones too.

        Args:
            phrases: Words joined by single spaces, as `velatura.words.words` cuts them.
            most: How many of each column are enough; a common word stands with nearly every adapter.
        """
        with self._database.reading() as connection:
            return {phrase: full_text.mentions(connection, phrase, most) for phrase in phrases}

    def pages(self) -> dict[int, Id]:
        """Return the page of each adapter: its site's model id, or its own number, negative, where it has none."""
        with self._database.reading() as connection:
            return reading.pages(connection)

    def stale_refinements(self, writer: str) -> list[int]:
        """Return the adapters of which this writer says nothing as their record is now, ascending.

        Missing adapters, and those that depict a minor, can never be found and are left out.
        """
        with self._database.reading() as connection:
            stale = refinements.stale(connection, codec.storable(writer))
        # Should a record change before its refinement arrives, that was made from what it was now.
        self._digests = stale
        return list(stale)

    def refinements(self, numbers: Iterable[int]) -> dict[int, tuple[str | None, str]]:
        """Return (origin, writer) of the refinements of those of the adapters that have one.

        An origin of None is not known.
        """
        with self._database.reading() as connection:
            found = refinements.sources(connection, numbers)
        for number, (_, _, digest) in found.items():
            self._digests.setdefault(number, digest)
        return {number: (origin, writer) for number, (origin, writer, _) in found.items()}

    def put_refinements(self, rows: Iterable[tuple[int, Refinement, str]]) -> None:
        """Let adapters have these refinements in place of theirs; writes in batches.

        Where one says something else than before its words become searchable, and the passages stale.

        Args:
            rows: (adapter, refinement with its writer, origin); numbers that the catalogue lacks are passed over.
        """
        for chunk in chunks(rows):
            given = {number: (refinement, origin) for number, refinement, origin in chunk}
            with self._database.writing() as connection:
                refinements.put(connection, given, self._digests)
            for number in given:
                self._digests.pop(number, None)

    def clear_refinements(self, numbers: Iterable[int] | None = None) -> None:
        """Take from these adapters, from all for None, what describers said of them; writes in batches.

        What they answered stays known, so that having it back costs nothing.
        """
        if numbers is None:
            with self._database.reading() as connection:
                numbers = refinements.every(connection)
        for chunk in chunks(numbers):
            with self._database.writing() as connection:
                refinements.clear(connection, chunk)

    def replies(self, writer: str, origins: Iterable[str]) -> dict[str, Reply]:
        """Return what this writer answered on those of the origins that it was asked of."""
        with self._database.reading() as connection:
            return refinements.replies(connection, codec.storable(writer), origins)

    def put_replies(self, writer: str, given: Iterable[Reply]) -> None:
        """Keep what this writer answered, in place of what it answered on the same origins; writes in batches."""
        for chunk in chunks(given):
            with self._database.writing() as connection:
                refinements.put_replies(connection, codec.storable(writer), chunk)

    def put_unrefined(self, writer: str, rows: Iterable[tuple[int, str]]) -> None:
        """Note (adapter, origin) where this writer's reply on the origin is a failure; writes in batches."""
        for chunk in chunks(rows):
            with self._database.writing() as connection:
                refinements.put_unrefined(connection, codec.storable(writer), dict(chunk))

    def unrefined_failures(self, writer: str) -> list[tuple[int, str, bool]]:
        """Return (adapter, failure, whether it was a refusal) of the present adapters that this writer failed at."""
        with self._database.reading() as connection:
            return refinements.failures(connection, codec.storable(writer))

    def stale_passages(self, version: str) -> list[int]:
        """Return the present adapters whose passages came of another record, description or version, or are none."""
        with self._database.reading() as connection:
            stale = passages.stale(connection, version)
        # Should a record change before its passages arrive, they were made from what it was now.
        self._origins.update(stale)
        return list(stale)

    def set_passages(self, rows: Iterable[tuple[int, Sequence[tuple[str, str]]]], version: str) -> None:
        """Let adapters have these passages in place of theirs; writes in batches.

        Args:
            rows: (adapter, [(field, digest of the text), ...]).
            version: The version of whatever cuts texts into passages, as `stale_passages` is asked for it.
        """
        for chunk in chunks(rows):
            with self._database.writing() as connection:
                passages.replace(connection, chunk, version, self._origins)
            for number, _ in chunk:
                self._origins.pop(number, None)

    def has_vectors(self) -> bool:
        """Say whether any model has embedded anything."""
        with self._database.reading() as connection:
            return connection.execute(select(encoder.c.id).limit(1)).first() is not None

    def missing_vectors(self, model: str, revision: str, digests: Iterable[str]) -> set[str]:
        """Return those of the digests that have no vector of this model."""
        with self._database.reading() as connection:
            return vectors.missing(connection, model, revision, digests)

    def put_vectors(self, model: str, revision: str, given: Mapping[str, ArrayLike]) -> None:
        """Keep vectors by the digest of their text; writes in batches.

        Raises:
            InputError: A vector is no row of finite numbers, or not as long as the model's others.
        """
        for chunk in chunks(given.items()):
            with self._database.writing() as connection:
                vectors.put(connection, model, revision, dict(chunk))

    def unembedded(self, version: str, model: str, revision: str, fields: Collection[str] | None = None) -> list[int]:
        """Return the adapters with stale passages (see `stale_passages`) or with one that has no vector of a model.

        Args:
            version: The version of whatever cuts texts into passages.
            model: The model.
            revision: Its revision.
            fields: The fields whose passages the model embeds; None for all texts.
        """
        stale = self.stale_passages(version)
        with self._database.reading() as connection:
            return sorted({*stale, *passages.lacking(connection, model, revision, fields)})

    def pictures(self, numbers: Iterable[int]) -> dict[int, list[Seen]]:
        """Return the pictures beside those of the adapters that have any, as they were when they were looked at."""
        with self._database.reading() as connection:
            return pictures.get(connection, numbers)

    def set_pictures(self, rows: Iterable[tuple[int, Sequence[Seen]]]) -> None:
        """Let adapters have these pictures in place of theirs; writes in batches."""
        for chunk in chunks(rows):
            with self._database.writing() as connection:
                pictures.replace(connection, dict(chunk))

    def picture_vectors(
        self, model: str, revision: str, numbers: Iterable[int]
    ) -> dict[int, list[tuple[str, NDArray[np.float32]]]]:
        """Return, of each of the adapters, (name, vector) of its pictures, in their order."""
        with self._database.reading() as connection:
            return pictures.vectors(connection, model, revision, numbers)

    def vector_rows(self, model: str, revision: str) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.str_]]:
        """Return (passage ids ascending, their adapters' ids, their fields) of the rows of `load_vectors`."""
        with self._database.reading() as connection:
            return vectors.rows(connection, model, revision)

    def load_vectors(self, model: str, revision: str, *, after: int = 0) -> NDArray[np.float32]:
        """Return the vectors of the passages with ids greater than `after`, shape (passages, dimension).

        Only passages of adapters that are not missing, and only those that have a vector. A passage id stands for
        one text for ever.
        """
        with self._database.reading() as connection:
            return vectors.load(connection, model, revision, after)

    def vectors_of(
        self, model: str, revision: str, numbers: Iterable[int]
    ) -> dict[int, dict[str, NDArray[np.float32]]]:
        """Return, of each of the adapters, its vectors by field, a row a passage; missing adapters too."""
        with self._database.reading() as connection:
            return vectors.of(connection, model, revision, numbers)

    def vector_state(self, model: str, revision: str) -> str:
        """Return a stamp that is another one whenever `load_vectors` could give something else."""
        with self._database.reading() as connection:
            return vectors.state(connection, model, revision)

    def weight_files(self, method: str) -> list[measures.WeightFile]:
        """Return the local files that may hold weights, with their stamps where they were measured by this method."""
        with self._database.reading() as connection:
            return measures.files(connection, method)

    def put_measures(self, measured: Iterable[tuple[int, str, WeightMeasure]]) -> None:
        """Keep what was measured of each (number, stamp of the file); writes in batches.

        It stands until the adapter's record tells another fingerprint.
        """
        for chunk in chunks(measured):
            with self._database.writing() as connection:
                measures.put(connection, chunk)

    def measure(self, number: int) -> WeightMeasure | None:
        """Return what was measured of an adapter; None where nothing was, or its file has changed since."""
        with self._database.reading() as connection:
            return measures.get(connection, number)

    def alike(self, method: str, at_least: float) -> list[tuple[int, int, float]]:
        """Return (number, larger number, cosine) of the adapters whose sketches point the same way, the closest first.

        Of files with one fingerprint only the first is compared; see `duplicates` for them.
        """
        with self._database.reading() as connection:
            numbers, sketches = measures.sketches(connection, method)
        return alike(numbers, sketches, at_least)

    def sketches_of(self, numbers: Sequence[int]) -> dict[int, tuple[str, NDArray[np.float32]]]:
        """Return (method, sketch) of those of the adapters whose weights were measured."""
        with self._database.reading() as connection:
            return measures.sketches_of(connection, numbers)

    def usual_norms(self) -> dict[str, float | None]:
        """Return the norm of the usual measured file of each family; None where too few were measured."""
        with self._database.reading() as connection:
            return measures.usual_norms(connection)

    def put_base_norms(self, norms: BaseNorms) -> None:
        """Keep how large the weights of a family's checkpoint are, in place of what is kept for that family."""
        with self._database.writing() as connection:
            measures.put_base(connection, norms)

    def base_norms(self) -> dict[str, BaseNorms]:
        """Return how large the weights of the measured checkpoints are, by family."""
        with self._database.reading() as connection:
            return {norms.family: norms for norms in measures.get_base(connection)}

    def put_probes(self, probed: Iterable[tuple[int, str, Probe]]) -> None:
        """Keep what each (number, stamp, probe) tells, in place of that adapter's probe on the same base.

        It stands until the adapter's record tells another fingerprint. Writes in batches.
        """
        for chunk in chunks(probed):
            with self._database.writing() as connection:
                probes.put(connection, chunk)

    def probes(self, numbers: Sequence[int], family: str | None = None) -> dict[int, list[Probe]]:
        """Return what was told of those of the adapters that were probed, and whose files have not changed since.

        Args:
            numbers: The adapters.
            family: Only on this base; None for all.
        """
        with self._database.reading() as connection:
            return probes.get(connection, numbers, family)

    def probe_stamps(self, numbers: Sequence[int], family: str) -> dict[int, str]:
        """Return the stamps that the probes of adapters on a base were kept with, where they still stand."""
        with self._database.reading() as connection:
            return probes.stamps(connection, numbers, family)
