"""A refined catalogue as a dataset: a folder of Parquet, safetensors and a card, to give away and to take over.

    adapters.parquet              a row an adapter: its record, its licence, what a describer says of it
    embeddings-MODEL.safetensors  the vectors of their texts, by digest
    README.md                     the card: what is in it, under which licences, and how it is loaded
    velatura.json                 the format's version, and the digest of every file

Nothing of this machine is in it, nothing in it can run, and the same catalogue gives the same bytes.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .exporting import ExportReport as ExportReport
    from .exporting import export_dataset as export_dataset
    from .hub import pull_dataset as pull_dataset
    from .hub import push_dataset as push_dataset
    from .importing import ImportReport as ImportReport
    from .importing import import_dataset as import_dataset
    from .manifest import Manifest as Manifest
    from .manifest import read_manifest as read_manifest
    from .source import DatasetSource as DatasetSource

_HOME = {
    "DatasetSource": "source",
    "ExportReport": "exporting",
    "ImportReport": "importing",
    "Manifest": "manifest",
    "export_dataset": "exporting",
    "import_dataset": "importing",
    "pull_dataset": "hub",
    "push_dataset": "hub",
    "read_manifest": "manifest",
}

__all__ = [
    "DatasetSource",
    "ExportReport",
    "ImportReport",
    "Manifest",
    "export_dataset",
    "import_dataset",
    "pull_dataset",
    "push_dataset",
    "read_manifest",
]


def __getattr__(name: str) -> object:
    if name in _HOME:
        return getattr(import_module(f".{_HOME[name]}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
