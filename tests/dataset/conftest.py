"""What the tests of datasets share: a catalogue that was described and embedded, and the dataset made of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import shelf
from dataset_records import RECORDS, Given

from velatura.dataset import export_dataset
from velatura.dataset.columns import schema
from velatura.dataset.manifest import Manifest, file_of, write_manifest
from velatura.db import Store, open_store
from velatura.refiner.card import CardDescriber
from velatura.refiner.embed import embed
from velatura.refiner.refine import refine


@pytest.fixture(scope="package")
def catalogue(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """Two pages of a site, and a file of this machine with its owner's notes."""
    with open_store(tmp_path_factory.mktemp("old") / "old.db") as store:
        for name in ("civitai", "folder"):
            store.sync(Given(name, RECORDS))
        refine(store, CardDescriber())
        embed(store, shelf.BagEmbedder())
        yield store


@pytest.fixture(scope="package")
def dataset(catalogue: Store, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The dataset of the catalogue, with the notes, so that every text of it has a vector."""
    folder = tmp_path_factory.mktemp("set") / "adapters"
    export_dataset(catalogue, folder, notes=True)
    return folder


@pytest.fixture
def forged(tmp_path: Path) -> Callable[..., Path]:
    """Makes a dataset of rows, or of any file in place of them, whose manifest is right."""

    def make(rows: Sequence[dict[str, Any]] = (), *, content: bytes | None = None, columns: Any = None) -> Path:
        import pyarrow as pa
        from pyarrow import parquet

        folder = tmp_path / "forged"
        folder.mkdir(exist_ok=True)
        path = folder / "adapters.parquet"
        if content is not None:
            path.write_bytes(content)
        else:
            parquet.write_table(pa.Table.from_pylist(list(rows), schema=columns or schema()), path)
        write_manifest(folder, Manifest(adapters=len(rows), passages="3", files=(file_of(path),)))
        return folder

    return make
