"""A dataset as a source of adapters."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from ..errors import InputError, UnreadableFile
from ..protocols import Entry
from ..records import AdapterRecord, Rejection
from .adapter_row import VERSION, record_of
from .columns import NESTED, PLAIN
from .manifest import read_manifest
from .parquet_rows import read_rows
from .shareable import SOURCE


class DatasetSource:
    """The adapters of a dataset's folder (implements `protocols.Source`).

    A row that cannot be taken over is a rejection and costs no other; so is a file, of which what came before its
    damage counts. Then the source does not call itself complete: what could not be read is not gone.
    """

    name = SOURCE

    def __init__(self, folder: str | Path) -> None:
        """Read the manifest, and nothing else yet.

        Raises:
            InputError: There is no dataset.
        """
        self.folder = Path(folder).expanduser()
        self.manifest = read_manifest(self.folder)
        self.scope = str(self.folder.absolute())
        self.complete = True

    def entries(self) -> Iterator[Entry | Rejection]:
        """Yield each adapter, and a rejection for each row that is none.

        Raises:
            MissingDependency: pyarrow is not installed.
        """
        self.complete = True
        for where, row in self.rows():
            if isinstance(row, str):
                self.complete = False
                yield Rejection(source=self.name, locator=where, reason=row)
                continue
            try:
                record = record_of(row)
            except InputError as error:
                yield Rejection(source=self.name, locator=where, reason=str(error))
                continue
            yield Entry(locator=record.key, stamp=_stamp(row), read=partial(_given, record))

    def rows(self, columns: Mapping[str, str] = PLAIN | NESTED) -> Iterator[tuple[str, Mapping[str, Any] | str]]:
        """Yield (file and number, some columns) of every row; a sentence in place of a row that cannot be read."""
        for name in self.manifest.rows:
            number = 0
            try:
                for number, row in enumerate(read_rows(self.folder / name, columns), 1):
                    yield f"{name}:{number}", row
            except UnreadableFile as error:
                yield f"{name}:{number + 1}", str(error)


def _stamp(row: Mapping[str, Any]) -> str:
    told = {name: value for name, value in row.items() if not name.startswith("refined_") and name != "passages"}
    text = json.dumps([VERSION, told], separators=(",", ":"), sort_keys=True)
    return hashlib.blake2b(text.encode(), digest_size=12).hexdigest()


def _given(record: AdapterRecord) -> list[AdapterRecord | Rejection]:
    return [record]
