"""The rows of a dataset's Parquet files, read by a process of their own; see `parquet_child`."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from ..errors import MissingDependency, UnreadableFile
from . import parquet_child
from .columns import NESTED, PLAIN

MEMORY: Final = 2 << 30
"""Bytes that the process may take: with pyarrow it begins at 0.3 GiB."""
_LONGEST: Final = 6 * parquet_child.MOST_ROW
"""Characters of a line: a row in which every character is an escape."""


def read_rows(
    path: Path, columns: Mapping[str, str] = PLAIN | NESTED, *, memory: int = MEMORY
) -> Iterator[dict[str, Any] | str]:
    """Yield each row of a file of adapters, or one sentence that says why it cannot be read.

    Args:
        path: The file.
        columns: The columns that are wanted, with their types; those that the file lacks are left out.
        memory: Bytes that the process may take that reads it.

    Raises:
        UnreadableFile: It is no such file, or what it unpacks to is more than a dataset may hold.
        MissingDependency: pyarrow is not installed.
    """
    if importlib.util.find_spec("pyarrow") is None:
        raise MissingDependency("pyarrow", extra="dataset")
    command = [sys.executable, "-P", parquet_child.__file__, str(path), json.dumps(columns), str(memory)]
    # Arrow's own allocators set aside more addresses than they use, and those count.
    environment = {**os.environ, "ARROW_DEFAULT_MEMORY_POOL": "system", "OMP_NUM_THREADS": "1"}
    child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment)
    assert child.stdout is not None  # noqa: S101 - it was asked for
    ended = False
    try:
        while line := child.stdout.readline(_LONGEST):
            told = _parsed(line, path)
            if isinstance(told, dict) and told.keys() == {"end"}:
                if told["end"] is not None:
                    raise UnreadableFile(f"{path.name} is no file of adapters: {told['end']}")
                ended = True
                break
            yield told
    finally:
        child.stdout.close()
        child.kill()
        child.wait()
    if not ended:
        raise UnreadableFile(f"{path.name} is no file of adapters: whatever reads it dies of it, or of lack of memory")


def _parsed(line: bytes, path: Path) -> Any:
    try:
        return json.loads(line)
    except ValueError:
        raise UnreadableFile(f"{path.name} is no file of adapters: a row of it cannot be passed on") from None
